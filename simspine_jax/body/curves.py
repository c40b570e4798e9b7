"""Scalar functions as piecewise polynomials: built on the host, evaluated in JAX.

Notation: a table of F curves has K break points each (padded with +inf) and
K + 1 pieces; on piece p, ``f(x) = sum_d coefficients[p, d] (x - origins[p])^d``.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from simspine_jax.body import spec
from simspine_jax.types import Array


@struct.dataclass
class CurveTable:
    """F piecewise polynomials.

    Attributes:
        breaks: Ascending break points, padded with +inf. Shape [F, K].
        origins: Origin of each piece. Shape [F, K + 1].
        coefficients: Lowest power first. Shape [F, K + 1, D + 1].
    """

    breaks: Array
    origins: Array
    coefficients: Array


def evaluate(
    table: CurveTable, x: Float[Array, "f t"]
) -> tuple[Float[jax.Array, "f t"], Float[jax.Array, "f t"]]:
    """Evaluates every curve and its derivative; curve f at ``x[f]``.

    At a break the piece to the right counts. Elementwise on purpose: on a CPU a
    chain of selects over T lanes is far cheaper than a gather per lane.
    """
    degree = table.coefficients.shape[2] - 1
    origin = jnp.broadcast_to(table.origins[:, :1], x.shape)
    c = [
        jnp.broadcast_to(table.coefficients[:, :1, d], x.shape)
        for d in range(degree + 1)
    ]
    for k in range(table.breaks.shape[1]):
        right = x >= table.breaks[:, k, None]
        origin = jnp.where(right, table.origins[:, k + 1, None], origin)
        c = [
            jnp.where(right, table.coefficients[:, k + 1, d, None], c[d])
            for d in range(degree + 1)
        ]
    u = x - origin
    value, slope = c[degree], jnp.zeros_like(x)
    for d in range(degree - 1, -1, -1):
        slope = slope * u + value
        value = value * u + c[d]
    return value, slope


def empty() -> CurveTable:
    """Returns a table without curves."""
    return CurveTable(np.zeros((0, 0)), np.zeros((0, 1)), np.zeros((0, 1, 2)))


def build(functions: list[spec.Function]) -> CurveTable:
    """Compiles one-argument functions to a padded table of NumPy arrays."""
    if not functions:
        return empty()
    pieces = [_pieces(f) for f in functions]
    n_breaks = max(len(b) for b, _, _ in pieces)
    width = max(c.shape[1] for _, _, c in pieces)
    breaks = np.full((len(pieces), n_breaks), np.inf)
    origins = np.zeros((len(pieces), n_breaks + 1))
    coefficients = np.zeros((len(pieces), n_breaks + 1, width))
    for i, (b, o, c) in enumerate(pieces):
        breaks[i, : len(b)] = b
        origins[i, : len(o)] = o
        coefficients[i, : len(c), : c.shape[1]] = c
    return CurveTable(breaks, origins, coefficients)


def unscaled(function: spec.Function) -> tuple[float, spec.Function]:
    """Splits nested multipliers off a function: ``f = scale * inner``."""
    scale = 1.0
    while isinstance(function, spec.Scaled):
        scale *= function.scale
        function = function.inner
    return scale, function


def value(function: spec.Function, x: float) -> float:
    """Evaluates a function of one argument on the host."""
    breaks, origins, coefficients = _pieces(function)
    piece = int(np.searchsorted(breaks, x, side="right"))
    powers = (x - origins[piece]) ** np.arange(coefficients.shape[1])
    return float(coefficients[piece] @ powers)


def _pieces(function: spec.Function) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns break points [K], origins [K + 1] and coefficients [K + 1, D + 1]."""
    scale, inner = unscaled(function)
    if isinstance(inner, spec.Polynomial):
        c = np.asarray(inner.coefficients, float)[::-1][None]
        return np.zeros(0), np.zeros(1), scale * c
    if isinstance(inner, spec.Linear):
        c = np.asarray(inner.coefficients, float)[::-1][None]
        return np.zeros(0), np.zeros(1), scale * c
    assert isinstance(inner, spec.SimmSpline | spec.PiecewiseLinear)
    x, y = np.asarray(inner.x, float), np.asarray(inner.y, float)
    if len(x) == 1:
        return np.zeros(0), np.zeros(1), scale * y[None]
    if isinstance(inner, spec.PiecewiseLinear):
        c = np.stack([y[:-1], np.diff(y) / np.diff(x)], axis=1)
        return x[1:-1], x[:-1], scale * c
    return _simm_spline(x, y, scale)


def _simm_spline(
    x: np.ndarray, y: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compiles OpenSim's SimmSpline, which is linear outside its knots.

    Despite its documentation it is not the natural spline: at both ends the third
    derivative equals that of the cubic through the four outermost knots (Forsythe,
    Malcolm and Moler, Computer Methods for Mathematical Computations, 1977, ch. 4);
    with three knots it is the parabola through them, with two the straight line.

    Source: matches ``SimmSpline::calcValue`` of OpenSim 4.6.
    """
    n = len(x)
    h = np.diff(x)
    slope = np.diff(y) / h
    if n == 2:  # noqa: PLR2004
        sigma = np.zeros(2)
    else:
        a = np.zeros((n, n))
        rhs = np.zeros(n)
        for i in range(1, n - 1):
            a[i, i - 1 : i + 2] = h[i - 1], 2 * (h[i - 1] + h[i]), h[i]
            rhs[i] = slope[i] - slope[i - 1]
        a[0, :2] = -h[0], h[0]
        a[-1, -2:] = h[-1], -h[-1]
        if n > 3:  # noqa: PLR2004
            rhs[0] = h[0] ** 2 * _third_difference(x[:4], y[:4])
            rhs[-1] = -(h[-1] ** 2) * _third_difference(x[-4:], y[-4:])
        sigma = np.linalg.solve(a, rhs)  # half the second derivative over 3
    b = slope - h * (sigma[1:] + 2 * sigma[:-1])
    inner = np.stack([y[:-1], b, 3 * sigma[:-1], np.diff(sigma) / h], axis=1)
    end = b[-1] + h[-1] * (6 * sigma[-2] + 3 * (sigma[-1] - sigma[-2]))
    left = np.array([[y[0], b[0], 0.0, 0.0]])
    right = np.array([[y[-1], end, 0.0, 0.0]])
    c = np.concatenate([left, inner, right])
    return x, np.concatenate([x[:1], x]), scale * c


def _third_difference(x: np.ndarray, y: np.ndarray) -> float:
    """Third divided difference over four points."""
    d = y
    for k in range(1, 4):
        d = np.diff(d) / (x[k:] - x[:-k])
    return float(d[0])
