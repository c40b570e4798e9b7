"""Damped Gauss-Newton steps within box limits, for many lanes at once.

Notation: lanes w, unknowns n, blocks k; gradient g [w, n], Hessian H [w, n, n],
damping lambda [w, k] on the Jacobi-scaled Hessian. Unknowns that sit at a limit and
are pushed against it stay (active set).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_EXACT = jax.lax.Precision.HIGHEST


class Limits(NamedTuple):
    """What the unknowns of every problem have in common.

    Attributes:
        lower: Lower limits; -inf for none. Shape [n].
        upper: Upper limits. Shape [n].
        movable: False holds an unknown. Shape [n].
        member: One-hot block of each unknown. Shape [n, k].
        vacant: Blocks without unknowns. Shape [k].
        longest: No unknown moves further in one step. Shape [].
    """

    lower: Array
    upper: Array
    movable: Array
    member: Array
    vacant: Array
    longest: Array


def propose(
    x: Float[Array, "w n"],
    gradient: Float[Array, "w n"],
    hessian: Float[Array, "w n n"],
    damping: Float[Array, "w k"],
    limits: Limits,
) -> tuple[Float[Array, "w n"], Float[Array, "w k"]]:
    """Returns the step and the decrease it should bring by block.

    Args:
        x: Unknowns.
        gradient: Of the cost.
        hessian: Gauss-Newton's, symmetric.
        damping: Lambda by block.
        limits: See ``Limits``.

    A decrease of -1 says that the matrix had no factor: more damping is needed.

    Source: Nocedal & Wright, Numerical Optimization, 2006, sections 10.3 and 16.7
    (active set); the answer to one cut unknown is ours.
    """
    g, h = gradient, hessian
    down, up = limits.lower[None] - x, limits.upper[None] - x  # room
    held = ((down >= 0) & (g > 0)) | ((up <= 0) & (g < 0))
    active = limits.movable[None] & ~held  # [w, n]
    down, up = jnp.maximum(down, -limits.longest), jnp.minimum(up, limits.longest)
    diagonal = jnp.diagonal(h, axis1=1, axis2=2)
    top = jnp.max(diagonal, axis=1, keepdims=True)
    # Columns that barely act are damped as if they acted a little: an unseen
    # coordinate then stays where it is.
    scale = jnp.where(active, jnp.maximum(diagonal, 1e-6 * top) + 1e-30, 1.0)
    root = jax.lax.rsqrt(scale)
    both = active[:, :, None] & active[:, None, :]
    # The transpose is the same matrix, but stored as LAPACK reads it.
    scaled = jnp.where(both, h.mT * root[:, :, None] * root[:, None, :], 0.0)
    added = jnp.where(active, jnp.matmul(damping, limits.member.T), 1.0)
    matrix = scaled + added[:, :, None] * jnp.eye(h.shape[-1], dtype=h.dtype)[None]
    chol = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
    straight = cholesky_solve(chol, jnp.where(active, -g * root, 0.0)) * root
    definite = jnp.all(jnp.isfinite(straight), axis=1, keepdims=True)
    straight = jnp.where(active & definite, straight, 0.0)

    # A step that is cut at a limit no longer suits the other unknowns: hold the one
    # that is cut most at its limit and let the others answer.
    cut = (jnp.clip(straight, down, up) - straight).astype(h.dtype)
    over = jnp.abs(cut) / root
    worst = jnp.argmax(over, axis=1)[:, None] == jnp.arange(x.shape[1])[None]
    worst = (worst & (over > 0)).astype(h.dtype)
    answer = cholesky_solve(chol, worst * root) * root
    own = jnp.sum(answer * worst, axis=1, keepdims=True)
    by = jnp.sum(cut * worst, axis=1, keepdims=True) / jnp.where(own > 0, own, 1.0)
    answered = jnp.where(active & definite, straight + answer * by, 0.0)

    step = jnp.clip(answered, down, up).astype(h.dtype)
    bent = jnp.matmul(h, step[:, :, None], precision=_EXACT)[:, :, 0]
    share = -(g * step + 0.5 * step * bent)
    drop = jnp.matmul(share, limits.member, precision=_EXACT)
    return step, jnp.where(definite, drop, -1.0)


def curved(
    hessian: Float[Array, "w n n"],
    gradient: Float[Array, "w n"],
    before: Float[Array, "w n"],
    step: Float[Array, "w n"],
    near: Bool[Array, "w k"],
    limits: Limits,
) -> Float[Array, "w n n"]:
    """Adds the curvature that Gauss-Newton misses along the last step.

    With large residuals the last steps of Gauss-Newton swing across the minimum along
    one direction, because its Hessian is too small there. One positive rank-one
    (SR1) update makes the Hessian agree with the change of the gradient.

    Args:
        hessian: Gauss-Newton's after the step.
        gradient: After the step.
        before: Gradient before the step.
        step: The step.
        near: Blocks so close to their minimum that the model should hold.
        limits: Whose blocks are used.

    Source: Nocedal & Wright, Numerical Optimization, 2006, eq. 6.24.
    """
    bent = jnp.matmul(hessian, step[:, :, None], precision=_EXACT)[:, :, 0]
    missed = gradient - before - bent  # [w, n]
    along = jnp.matmul(missed * step, limits.member, precision=_EXACT)  # [w, k]
    known = jnp.matmul(bent * step, limits.member, precision=_EXACT)
    good = near & (along > 0.01 * known) & (along < 3.0 * known)
    root = jnp.where(good, jax.lax.rsqrt(jnp.where(good, along, 1.0)), 0.0)
    root = jnp.matmul(root, limits.member.T, precision=_EXACT)  # [w, n]
    part = jnp.where(root > 0, missed * root, 0.0)
    same = jnp.matmul(limits.member, limits.member.T)  # [n, n]
    return hessian + part[:, :, None] * part[:, None, :] * same[None]


def cholesky_solve(
    chol: Float[Array, "w n n"], rhs: Float[Array, "w n"]
) -> Float[Array, "w n"]:
    """Solves ``L L^T x = rhs`` for each lane."""
    y = jax.lax.linalg.triangular_solve(
        chol, rhs[:, :, None], left_side=True, lower=True
    )
    return jax.lax.linalg.triangular_solve(
        chol, y, left_side=True, lower=True, transpose_a=True
    )[:, :, 0]
