"""The prior that ties the unknowns of neighbouring frames, and its banded matrix.

Notation: frames t, unknowns n; with stiffness s and the first or second difference e
of the unknowns along time the prior costs ``1/2 sum_t sum_k s_k e_tk^2``. A first
difference at t is x_t+1 - x_t, a second one x_t+1 - 2 x_t + x_t-1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from simspine_jax.core.block_banded import Banded

STENCILS = {"velocity": (0.0, -1.0, 1.0), "acceleration": (1.0, -2.0, 1.0)}


class Prior(NamedTuple):
    """What ties the frames.

    Attributes:
        stencil: Weights of the frames before, at and after, one of ``STENCILS``.
        stiffness: s, in cost per squared difference. Shape [n].
        linked: Whether the difference at a frame counts: False at the ends of a
            trial. Shape [T].
    """

    stencil: tuple[float, float, float]
    stiffness: Float[Array, " n"]
    linked: Bool[Array, " t"]


def cost(prior: Prior, x: Float[Array, "t n"]) -> Float[Array, " t"]:
    """Returns the prior's cost, each difference counted at its frame."""
    e = _difference(prior, x)
    return 0.5 * jnp.sum(prior.stiffness[None] * e**2, axis=1)


def gradient(prior: Prior, x: Float[Array, "t n"]) -> Float[Array, "t n"]:
    """Returns the gradient of the summed prior cost."""
    pull = prior.stiffness[None] * _difference(prior, x)
    before, at, after = prior.stencil
    return before * _shift(pull, -1) + at * pull + after * _shift(pull, 1)


def system(
    hessian: Float[Array, "t n n"],
    active: Bool[Array, "t n"],
    prior: Prior,
    damping: Float[Array, " t"],
) -> Banded:
    """Returns the damped Hessian of all frames and the prior.

    One long window; unknowns that are not active are cut out of it, with ones on the
    diagonal. The damping of a frame scales its diagonal.
    """
    n = active.shape[1]
    stiff = prior.stiffness[None]
    before, at, after = prior.stencil
    linked = prior.linked.astype(hessian.dtype)
    later, sooner = _shift(linked, -1), _shift(linked, 1)
    own = (at**2 * linked + before**2 * later + after**2 * sooner)[:, None]
    last = (at * before * linked + after * at * sooner)[:, None] * stiff
    past = (after * before * sooner)[:, None] * stiff
    added = own * stiff
    diagonal = jnp.diagonal(hessian, axis1=1, axis2=2) + added
    # What neither markers nor prior inform stays where it is.
    top = jnp.max(jnp.abs(diagonal), axis=1, keepdims=True)
    least = jnp.where(top > 0, 1e-12 * top, 1.0)
    added = added + damping[:, None] * jnp.maximum(diagonal, least)
    added = jnp.where(active, added, 1.0)
    both = active[:, :, None] & active[:, None, :]
    eye = jnp.eye(n, dtype=hessian.dtype)
    block = jnp.where(both, hessian, 0.0) + added[:, :, None] * eye[None]
    return Banded(
        block[None],
        jnp.where(active & _shift(active, 1), last, 0.0)[None],
        jnp.where(active & _shift(active, 2), past, 0.0)[None],
    )


def times(matrix: Banded, v: Float[Array, "t n"]) -> Float[Array, "t n"]:
    """Multiplies the matrix of all frames with a vector."""
    block, last, past = (a[0] for a in matrix)
    y = jnp.einsum("tij,tj->ti", block, v, precision=jax.lax.Precision.HIGHEST)
    y = y + last * _shift(v, 1) + _shift(last * v, -1)
    return y + past * _shift(v, 2) + _shift(past * v, -2)


def _difference(prior: Prior, x: Array) -> Array:
    before, at, after = prior.stencil
    e = before * _shift(x, 1) + at * x + after * _shift(x, -1)
    return jnp.where(prior.linked[:, None], e, 0.0)


def _shift(x: Array, by: int) -> Array:
    """Moves rows to later (1) or earlier (-1) frames; zero where none comes."""
    rows = jnp.arange(x.shape[0])
    lost = (rows < by) | (rows >= x.shape[0] + by)
    return jnp.where(lost.reshape(-1, *[1] * (x.ndim - 1)), 0, jnp.roll(x, by, axis=0))
