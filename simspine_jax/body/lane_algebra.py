"""Small vectors and matrices, one of each for every lane, lanes last.

Notation: a frame is rows [4, 3, T], its axes and then its origin; see ``kinematics``.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from simspine_jax.core import numerics
from simspine_jax.types import Array

_EXACT = jax.lax.Precision.HIGHEST


def axis_rotations(
    axis: Float[Array, "b s 3"], angle: Float[Array, "b s t"]
) -> Float[jax.Array, "b s 3 3 t"]:
    """Returns rotations by ``angle`` (rad) about unit axes (Rodrigues' formula)."""
    sine, cosine = numerics.sincos(jnp.asarray(angle))
    basis = jnp.stack([jnp.ones_like(sine), cosine, sine], axis=2)  # [b, s, 3, t]
    eye = jnp.eye(3, dtype=axis.dtype)[None, None]
    outer = axis[..., :, None] * axis[..., None, :]
    zero = jnp.zeros_like(axis[..., 0])
    x, y, z = axis[..., 0], axis[..., 1], axis[..., 2]
    skew = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    parts = jnp.stack(
        [outer, eye - outer, skew.reshape(*skew.shape[:-1], 3, 3)], axis=-1
    )  # [b, s, 3, 3, 3]
    return jnp.einsum("bsijk,bskt->bsijt", parts, basis, precision=_EXACT)


def product(
    a: Float[jax.Array, "b 3 3 t"], b: Float[jax.Array, "b 3 3 t"]
) -> jax.Array:
    """Multiplies 3 x 3 matrices lane by lane."""
    return a[:, :, :1] * b[:, :1] + a[:, :, 1:2] * b[:, 1:2] + a[:, :, 2:] * b[:, 2:]


def turned(a: Float[jax.Array, "b 3 3 t"], axis: Float[Array, "b 3"]) -> jax.Array:
    """Multiplies matrices and constant vectors lane by lane."""
    return total(jnp.swapaxes(a, 1, 2) * axis[:, :, None, None])


def combine_rows(
    x: Float[jax.Array, "b k 3 t"], axes: Float[jax.Array, "b r 3 t"]
) -> Float[jax.Array, "b k 3 t"]:
    """Returns vectors given in the first three rows of ``axes``, lane by lane."""
    return (
        x[:, :, 0, None] * axes[:, :1]
        + x[:, :, 1, None] * axes[:, 1:2]
        + x[:, :, 2, None] * axes[:, 2:3]
    )


def row_matrix(
    rotation: Float[Array, "b 3 3"], origin: Float[Array, "b 3"]
) -> Float[jax.Array, "b 4 4"]:
    """Returns the matrix that acts on the four rows of a frame."""
    upper = jnp.concatenate([rotation, origin[:, None]], axis=1)  # [b, 4, 3]
    last = np.array([0.0, 0.0, 0.0, 1.0], rotation.dtype)[None, :, None]
    ones = jnp.broadcast_to(last, (upper.shape[0], 4, 1))
    return jnp.concatenate([upper, ones], axis=2)


def total(terms: Float[jax.Array, " b k *rest"]) -> Float[jax.Array, " b *rest"]:
    """Adds up the second, short axis term by term: faster than a reduction."""
    return sum((terms[:, k] for k in range(1, terms.shape[1])), start=terms[:, 0])


def cross(a: Array, b: Array) -> jax.Array:
    """Cross product of vectors whose components stand last but one."""
    ax, ay, az = a[..., 0, :], a[..., 1, :], a[..., 2, :]
    bx, by, bz = b[..., 0, :], b[..., 1, :], b[..., 2, :]
    return jnp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-2)
