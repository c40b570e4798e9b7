"""Elementary functions that are safe and fast where the library's own are not."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# pi/2 = HIGH + LOW to twice double precision.
_HALF_PI_HIGH = math.pi / 2
_HALF_PI_LOW = 6.123233995736766e-17


def sincos(x: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Returns sine and cosine, rad, to a few units in the last place.

    Plain arithmetic that the CPU compiler vectorises, where the library's own pair is
    a routine called for each element: about 11 against 34 ns for both in float64
    (2 cores, one run). Angles up to 1e5 rad keep full accuracy.

    Method: Cody and Waite's reduction to [-pi/4, pi/4] by three parts of pi/2, then
    the Taylor series, whose first omitted term is below 1e-17 there.
    """
    dtype = x.dtype
    bits = 30 if dtype == jnp.float64 else 10
    parts = _split(_HALF_PI_HIGH, bits)
    k = jnp.round(x * (1.0 / _HALF_PI_HIGH))
    r = x
    for part in (*parts, _HALF_PI_LOW):
        r = r - k * part
    u = r * r
    sine, cosine = jnp.zeros_like(u), jnp.zeros_like(u)
    for n in range(8, -1, -1):
        sign = (-1.0) ** n
        sine = sine * u + sign / math.factorial(2 * n + 1)
        cosine = cosine * u + sign / math.factorial(2 * n)
    sine = sine * r
    quadrant = k - 4.0 * jnp.floor(k * 0.25)
    odd = (quadrant == 1.0) | (quadrant == 3.0)
    s, c = jnp.where(odd, cosine, sine), jnp.where(odd, sine, cosine)
    return (
        jnp.where(quadrant >= 2.0, -s, s),
        jnp.where((quadrant == 1.0) | (quadrant == 2.0), -c, c),
    )


def _split(value: float, bits: int) -> tuple[float, float, float]:
    """Splits a number into parts short enough to be multiplied exactly."""
    first = math.floor(value * 2.0**bits) / 2.0**bits
    second = math.floor((value - first) * 2.0 ** (2 * bits)) / 2.0 ** (2 * bits)
    return first, second, value - first - second


def safe_norm(
    x: Float[Array, "*n d"], *, keepdims: bool = False
) -> Float[Array, "..."]:
    """Returns the Euclidean norm over the last axis, with gradient 0 at 0."""
    square = jnp.sum(x * x, axis=-1, keepdims=keepdims)
    zero = square == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, np.ones((), x.dtype), square)))
