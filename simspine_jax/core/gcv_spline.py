"""Smoothing splines along time, as smooth as generalised cross-validation finds best.

Notation: signals y [N, S] at the N times t that have weight, weights w, and a spline s
of degree 2m - 1, m = 3 for the quintic and 2 for the cubic. The spline is the curve
with the least

    sum_i w_i (y_i - s(t_i))^2  +  p integral s^(m)(t)^2 dt

Its m-th derivative is ``sum_j c_j N_j`` with N_j the B-splines of degree m - 1 on the
times. With ``R_ij = integral N_i N_j``, Q the m-th divided differences, scaled so that
``Q^T s(t) = R c`` for each such spline, and ``C = Q^T W^-1 Q``,

    (R + p C) c = Q^T y    and    s(t) = y - p W^-1 Q c

All matrices are banded. With A the matrix from y to s(t), p is chosen where

    GCV = N sum_i w_i (y_i - s(t_i))^2 / trace(I - A)^2

is least. The trace is the derivative of ``log det (R + p C)`` by ``log p``.

Where samples lie dt apart with equal weight w the spline filters like a zero-phase
Butterworth filter of order m: a sine of frequency f is left by ``1 / (1 + (f/g)^2m)``
with ``p = w / (dt (2 pi g)^2m)``.

Source: Woltring, A Fortran package for generalized, cross-validatory spline smoothing
and differentiation, 1986 (GCVSPL); Craven and Wahba, Smoothing noisy data with spline
functions, 1978; Reinsch, Smoothing by spline functions, 1967 (the equations).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import interpolate, linalg, optimize, sparse

DEGREES = (3, 5)
# Cutoffs tried, samples per period: below the last the equations of a quintic spline
# are beyond double precision (p is about 3e10 in units of the samples).
_SHORTEST, _LONGEST = 2.0, 400.0
_PER_OCTAVE = 3
_STEP = 1e-30  # complex: its square vanishes


class Smoothed(NamedTuple):
    """Smoothed signals.

    Attributes:
        x: The splines at all times. Shape [T, *rest].
        cutoff_hz: Where a long record with the mean weight is lowered to half the
            power (-3 dB); as ``core.filters.butterworth`` counts. Shape of the weights
            after time.
    """

    x: np.ndarray
    cutoff_hz: np.ndarray


def smooth(
    x: Float[np.ndarray, " t *rest"],
    rate_hz: float,
    weight: Float[np.ndarray, " t *some"] | None = None,
    *,
    degree: int = 5,
    cutoff_hz: float | None = None,
) -> Smoothed:
    """Smooths signals by splines.

    Signals that share a column of weights share one smoothing, chosen for all of them:
    with points [T, K, 3] and weights [T, K] each point has its own, and it does not
    matter along which axes its components are counted.

    Args:
        x: Signals, time first.
        rate_hz: Samples per second.
        weight: Inverse variances of the samples, up to a common factor, 0 where a
            sample is missing; None means one. Its shape is that of x or the first
            axes of it.
        degree: 5, or 3 for a cubic spline.
        cutoff_hz: Cutoff to use (see ``Smoothed``); None to choose it by generalised
            cross-validation, between 1/400 of the rate and half of it.

    Returns:
        The splines, at missing samples too, and their cutoffs. Beyond its first and
        last weight a spline goes on as a polynomial of degree m - 1.

    Raises:
        ValueError: An unknown degree, weights of another shape, below zero or not
            finite, a column with fewer than 2m weights, a rate that is not positive,
            a cutoff outside the range above, or weights that differ by more than
            double precision can solve for at the cutoff given (1e4 is no problem,
            1e8 may be).
    """
    if degree not in DEGREES:
        raise ValueError(f"a spline's degree must be one of {DEGREES}; it is {degree}")
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise ValueError(f"a spline needs a positive rate; it is {rate_hz} Hz")
    low, high = rate_hz / _LONGEST, rate_hz / _SHORTEST
    if cutoff_hz is not None and not low <= cutoff_hz <= high:
        raise ValueError(
            f"a cutoff of {cutoff_hz:g} Hz must lie between {low:g} and {high:g} Hz, "
            f"1/{_LONGEST:g} and 1/{_SHORTEST:g} of the rate"
        )
    weight = np.ones(len(x)) if weight is None else np.asarray(weight, float)
    if weight.shape != x.shape[: weight.ndim] or not weight.ndim:
        raise ValueError(
            f"weights of shape {weight.shape} do not fit signals of shape {x.shape}"
        )
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("weights must be finite and not below zero")
    m = (degree + 1) // 2
    fewest = int((weight > 0).sum(axis=0).min(initial=len(x)))
    if fewest < 2 * m:
        raise ValueError(
            f"a spline of degree {degree} needs {2 * m} samples with weight, "
            f"not {fewest}"
        )
    columns = weight.reshape(len(x), -1)  # [T, W]
    signals = np.asarray(x, float).reshape(*columns.shape, -1)  # [T, W, S]
    out, cutoff = np.empty_like(signals), np.empty(columns.shape[1])
    period = None if cutoff_hz is None else rate_hz / cutoff_hz
    for k, column in enumerate(columns.T):
        out[:, k], found = _smooth(signals[:, k], column, m, period)
        cutoff[k] = rate_hz / found
    return Smoothed(out.reshape(x.shape), cutoff.reshape(weight.shape[1:]))


class _System(NamedTuple):
    """Banded matrices, times in samples; upper diagonals of R and C, lowest last."""

    gram: np.ndarray
    bent: np.ndarray
    differences: sparse.csc_array
    weight: np.ndarray


def _smooth(
    x: np.ndarray, weight: np.ndarray, m: int, period: float | None
) -> tuple[np.ndarray, float]:
    """Smooths [T, S] with one column of weights; returns the period too, samples."""
    given = np.flatnonzero(weight > 0)
    y, system = x[given], _system(given.astype(float), weight[given], m)
    if period is None:
        period = _best_period(system, y, m)
    out = np.array(x)
    try:
        out[given] = y - _residual(system, y, _penalty(system, m, period))
    except linalg.LinAlgError as error:
        raise ValueError(
            f"weights from {system.weight.min():g} to {system.weight.max():g} differ "
            f"by too much for a spline of degree {2 * m - 1} with so low a cutoff"
        ) from error
    missing = np.flatnonzero(weight == 0)
    if missing.size:
        out[missing] = _natural(given, out[given], m, missing)
    return out, period


def _best_period(system: _System, y: np.ndarray, m: int) -> float:
    """Returns the period with the least GCV: a grid, then a search between its lines.

    The grid is there because GCV may have more than one minimum.
    """
    score = lambda octave: _gcv(system, y, m, 2**octave)
    first, last = np.log2(_LONGEST), np.log2(_SHORTEST)
    # Smoothest first: it is taken where all are alike.
    tried = np.linspace(first, last, 1 + int(np.ceil(_PER_OCTAVE * (first - last))))
    scores = [score(octave) for octave in tried]
    best = int(np.argmin(scores))
    near = tried[min(best + 1, len(tried) - 1)], tried[max(best - 1, 0)]
    at, least, *_ = optimize.fminbound(score, *near, full_output=True)
    return float(2 ** (at if least < scores[best] else tried[best]))


def _penalty(system: _System, m: int, period: float) -> float:
    """Returns p for a period of the cutoff, in samples."""
    halved = 2 * np.pi / period / (2**0.5 - 1) ** (0.5 / m)
    return float(system.weight.mean() / halved ** (2 * m))


def _system(t: np.ndarray, weight: np.ndarray, m: int) -> _System:
    n = len(t)
    around = np.lib.stride_tricks.sliding_window_view(t, m + 1)  # [N - m, m + 1]
    apart = around[:, :, None] - around[:, None, :] + np.eye(m + 1)
    span = np.prod(np.arange(1, m)) * (around[:, -1] - around[:, 0])
    share = span[:, None] / np.prod(apart, axis=2)
    rows = np.arange(n - m)[:, None] + np.arange(m + 1)
    starts = np.arange(0, share.size + 1, m + 1)
    q = sparse.csc_array((share.ravel(), rows.ravel(), starts), shape=(n, n - m))
    # Gauss's rule is exact for products of two splines of degree m - 1.
    at, area = np.polynomial.legendre.leggauss(m)
    width = np.diff(t)[:, None]
    points = (t[:-1, None] + 0.5 * width * (at + 1)).ravel()
    steps = np.arange(1, m)
    knots = np.concatenate([t[0] - steps[::-1], t, t[-1] + steps])
    basis = interpolate.BSpline.design_matrix(points, knots, m - 1)
    basis = basis[:, m - 1 : n - 1]  # those that end within the times: N - m
    area = sparse.diags_array((0.5 * width * area).ravel())
    gram = basis.T @ area @ basis
    bent = q.T @ sparse.diags_array(1 / weight) @ q
    return _System(_upper(gram, m), _upper(bent, m), q, weight)


def _upper(matrix, bands: int) -> np.ndarray:
    """Returns the upper diagonals as LAPACK stores them. Shape [bands + 1, n]."""
    found = np.zeros((bands + 1, matrix.shape[0]))
    for k in range(min(bands + 1, matrix.shape[0])):
        found[bands - k, k:] = matrix.diagonal(k)
    return found


def _residual(system: _System, y: np.ndarray, p: float) -> np.ndarray:
    """Returns y - s(t)."""
    c = linalg.solveh_banded(system.gram + p * system.bent, system.differences.T @ y)
    return p * (system.differences @ c) / system.weight[:, None]


def _gcv(system: _System, y: np.ndarray, m: int, period: float) -> float:
    """Returns GCV, infinite where weights differ by too much to solve for it."""
    p = _penalty(system, m, period)
    try:
        left = np.sum(system.weight[:, None] * _residual(system, y, p) ** 2)
    except linalg.LinAlgError:
        return np.inf
    return float(len(y) * left / _lost(system, p) ** 2)


def _lost(system: _System, p: float) -> float:
    """Returns the trace of I - A: the derivative of log det (R + p C) by log p."""
    upper = system.gram + p * (1 + 1j * _STEP) * system.bent
    bands, n = upper.shape[0] - 1, upper.shape[1]
    both = np.zeros((3 * bands + 1, n), complex)  # the first rows are LAPACK's own
    both[bands : 2 * bands + 1] = upper
    for k in range(1, min(bands + 1, n)):
        both[2 * bands + k, : n - k] = upper[bands - k, k:]
    (factorise,) = linalg.get_lapack_funcs(["gbtrf"], [both])
    factor, _, _ = factorise(both, bands, bands)
    pivots = factor[2 * bands]
    return float(np.sum(pivots.imag / pivots.real) / _STEP)


def _natural(t: np.ndarray, y: np.ndarray, m: int, at: np.ndarray) -> np.ndarray:
    """Evaluates the natural spline of degree 2m - 1 through y at other times."""
    flat = [(k, np.zeros(y.shape[1:])) for k in range(m, 2 * m - 1)]
    curve = interpolate.make_interp_spline(t, y, k=2 * m - 1, bc_type=(flat, flat))
    edge = np.clip(at, t[0], t[-1])
    beyond, out, scale = (at - edge)[:, None], curve(edge), 1.0
    for k in range(1, m):
        scale = scale * beyond / k
        out = out + scale * curve(edge, nu=k)
    return out
