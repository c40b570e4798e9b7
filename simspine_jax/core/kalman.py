"""A Kalman smoother of points whose covariances are known.

Notation: a point z_t [3] seen with covariance R_t at frames dt apart, its true place
x_t, the state u_t = (x, dx, ...) of x_t and its backward differences, all in metres.
The n-th difference e_t of the places, n = 2 for the acceleration and 3 for the jerk,
is taken as white noise of variance ``q = S^2 dt^(2n - 1)``, with S the root spectral
density of the acceleration (m/s^2 per root hertz) or jerk (m/s^3 per root hertz). Up to
a constant the negative logarithm of the posterior is

    1/2 sum_seen (z_t - x_t)^T R_t^-1 (z_t - x_t)  +  1/2 sum_t |e_t|^2 / q

which for the acceleration is the prior of ``core.temporal_prior`` with stiffness 1/q.
Nothing is assumed of the first state. With noise of SD s in each frame the filter is
much like a zero-phase Butterworth filter of order n; both lower the power to a half
(-3 dB) near the frequency f with ``(2 pi f)^(2n) = (sqrt(2) - 1) S^2 / (s^2 dt)``.

Method: the filter runs forwards in information form (inverse covariance Y, Y u = y),
where knowing nothing is Y = 0, and the smoother of Rauch, Tung and Striebel backwards.
A frame goes to the next as u' = F (u + E e): the noise enters the last difference (E
picks it) and each difference adds to the one before it (F). Every covariance is a sum
of squares, as in Joseph's form, so that rounding leaves it positive.

Source: Rauch, Tung, Striebel, Maximum Likelihood Estimates of Linear Dynamic Systems,
1965; Bierman, Factorization Methods for Discrete Sequential Estimation, 1977 (the
information form and Joseph's).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

ORDERS = {"acceleration": 2, "jerk": 3}
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Smoothed(NamedTuple):
    """Smoothed points.

    Attributes:
        points: Positions, m; 0 where not known. Shape [T, K, 3].
        covariance: Of each position given all frames, m^2; 0 where not known. Shape
            [T, K, 3, 3].
        known: Whether the point was seen often enough to be placed: in two frames for
            the acceleration, in three for the jerk. Shape [K].
    """

    points: Array
    covariance: Array
    known: Array


def smooth(
    points: Float[Array, "t k 3"],
    covariance: Float[Array, "t k 3 3"],
    seen: Bool[Array, "t k"],
    rate_hz: float,
    density: Float[Array, ""] | float,
    of: str = "jerk",
) -> Smoothed:
    """Smooths points over time, each weighted by its covariance.

    Frames in which a point was not seen are filled in, those before its first and
    after its last too; how little is known of them is in their covariances.

    Args:
        points: Positions, m. What stands where not seen is not used.
        covariance: Of each observed position, m^2, positive definite where seen.
        seen: Whether the point was observed.
        rate_hz: Frames per second.
        density: S, m/s^2 (m/s^3) per root hertz.
        of: "acceleration" or "jerk": what is white noise.

    Returns:
        Smoothed points and their covariances, of the points' type.

    Raises:
        ValueError: An unknown kind, or a rate or density that is not positive.
    """
    if of not in ORDERS:
        raise ValueError(
            f"a Kalman smoother of the {of!r} is not known; choose one of "
            f"{tuple(ORDERS)}"
        )
    numbers = {"rate": rate_hz, "density": density}
    for name, value in numbers.items():
        if not isinstance(value, jax.Array) and not (np.isfinite(value) and value > 0):
            raise ValueError(
                f"the {name} of a Kalman smoother must be positive; it is {value}"
            )
    n = ORDERS[of]
    noise = jnp.asarray(density, points.dtype) ** 2 / rate_hz ** (2 * n - 1)
    smoothed = jax.vmap(functools.partial(_smooth_point, n), (1, 1, 1, None), (1, 1, 0))
    return Smoothed(*smoothed(points, covariance, seen, noise))


def _smooth_point(n: int, z: Array, covariance: Array, seen: Array, noise: Array):
    """Smooths one point, [T, 3] with covariances [T, 3, 3] and noise q."""
    eye, whole = jnp.eye(3, dtype=z.dtype), jnp.eye(3 * n, dtype=z.dtype)
    pick = whole[:, -3:]  # E
    # F takes all differences of a frame to the next; its inverse is this short.
    back = jnp.kron(jnp.eye(n, dtype=z.dtype) - jnp.eye(n, k=1, dtype=z.dtype), eye)
    # What was not seen is replaced before it is used, so that no NaN enters.
    known = jnp.sum(seen) >= n
    z = jnp.where(seen[:, None], z, 0.0)
    # From their mean, points far from the origin keep their digits.
    centre = jnp.sum(z, axis=0) / jnp.maximum(jnp.sum(seen), 1)
    covariance = jnp.where(seen[:, None, None], covariance, eye[None])
    told = jnp.where(seen[:, None, None], _inverse(covariance), 0.0)  # [T, 3, 3]
    pulled = _matmul(told, (z - centre[None])[:, :, None])[:, :, 0]

    def forwards(state, frame):
        info, pull = state
        # Any noise e may have come in: what is known of u + E e.
        left = _inverse(info[-3:, -3:] + eye / noise)
        gain = _matmul(info[:, -3:], left)  # [3n, 3]
        rest = whole - _matmul(gain, pick.T)
        spread = _matmul(left, pull[-3:])
        info = _between(rest, info) + _matmul(gain, gain.T) / noise
        pull = _matmul(rest, pull)
        # The same of the next state.
        info = _between(back.T, info).at[:3, :3].add(frame[0])
        pull = _matmul(back.T, pull).at[:3].add(frame[1])
        return (info, pull), (rest, left, spread)

    def backwards(state, frame):
        u, cov = state
        rest, left, spread = frame
        before = _matmul(rest.T, _matmul(back, u)) + _matmul(pick, spread)
        step = _matmul(rest.T, back)
        before_cov = _between(step, cov) + _between(pick, left)
        return (before, before_cov), (u[:3], cov[:3, :3])

    start = jnp.zeros((3 * n, 3 * n), z.dtype), jnp.zeros(3 * n, z.dtype)
    (info, pull), frames = jax.lax.scan(forwards, start, (told, pulled))
    last = _inverse(jnp.where(known, info, whole))
    state = _matmul(last, pull), last
    _, (x, x_cov) = jax.lax.scan(backwards, state, frames, reverse=True)
    return (
        jnp.where(known, x + centre[None], 0.0),
        jnp.where(known, x_cov, 0.0),
        known,
    )


def _between(a: Array, m: Array) -> Array:
    """Returns a m a^T, symmetric."""
    product = _matmul(_matmul(a, m), a.T)
    return 0.5 * (product + product.T)


@jax.custom_jvp
def _inverse(m: Array) -> Array:
    """Inverts positive definite matrices, scaled to ones on their diagonals."""
    scale = jax.lax.rsqrt(jnp.diagonal(m, axis1=-2, axis2=-1))
    scale = scale[..., :, None] * scale[..., None, :]
    eye = jnp.broadcast_to(jnp.eye(m.shape[-1], dtype=m.dtype), m.shape)
    root = jax.lax.linalg.cholesky(m * scale)
    half = jax.lax.linalg.triangular_solve(root, eye, left_side=True, lower=True)
    return scale * _matmul(jnp.swapaxes(half, -1, -2), half)


@_inverse.defjvp
def _inverse_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    inverse = _inverse(*primals)
    return inverse, -_matmul(inverse, _matmul(*tangents, inverse))
