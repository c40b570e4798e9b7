"""Gradients of a minimum with respect to what the objective depends on.

At a minimum x of f(x, theta) the gradient vanishes, so that its derivative follows
from the Hessian alone, ``dx = -H^-1 d(grad f)``, however x was found. Lanes are
independent problems of one shape, first axis w.

Source: the implicit function theorem as in Blondel et al., Efficient and Modular
Implicit Differentiation, 2022, eq. 2; through ``jax.lax.custom_root``.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_EXACT = jax.lax.Precision.HIGHEST
# Scaled curvature below this share of the largest is none: nothing moves along it.
_NULL = 1e-10


def hessian_blocks(
    gradient: Callable[[Float[Array, "w n"]], Float[Array, "w n"]],
    x: Float[Array, "w n"],
) -> Float[Array, "w n n"]:
    """Returns the Hessian of every lane, given the gradient of all lanes."""
    return _blocks(lambda v: jax.jvp(gradient, (x,), (v,))[1], x)


def polished(
    gradient: Callable[[Float[Array, "w n"]], Float[Array, "w n"]],
    x: Float[Array, "w n"],
    held: Bool[Array, "w n"],
    steps: int = 4,
) -> Float[Array, "w n"]:
    """Takes exact Newton steps, each only where it makes the gradient smaller.

    Args:
        gradient: Of every lane's objective.
        x: Near the minimum.
        held: Unknowns that stay.
        steps: How many.
    """
    free = lambda y: jnp.where(held, 0.0, gradient(y))

    def one(_, x: jax.Array) -> jax.Array:
        g = free(x)
        step = _solve(_held(hessian_blocks(gradient, x), held), -g)
        better = jnp.sum(free(x + step) ** 2, 1) < jnp.sum(g**2, 1)
        return jnp.where(better[:, None], x + step, x)

    return jax.lax.fori_loop(0, steps, one, x)


def at_minimum(
    gradient: Callable[[Float[Array, "w n"]], Float[Array, "w n"]],
    x: Float[Array, "w n"],
    held: Bool[Array, "w n"],
) -> Float[Array, "w n"]:
    """Returns x as it is, with the gradients of a minimum.

    Args:
        gradient: Of every lane's objective; its closure is what x gets gradients for.
        x: A minimum of every lane, converged (see ``polished``).
        held: Unknowns that do not move, such as those pressed against a limit.

    Directions without curvature get no gradient: there the minimum is not one point,
    and of all derivatives the smallest is returned.
    """
    x = jax.lax.stop_gradient(x)
    held = jax.lax.stop_gradient(held)

    def root(y: jax.Array) -> jax.Array:
        return jnp.where(held, y - x, gradient(y))

    def tangent_solve(linear: Callable, rhs: jax.Array) -> jax.Array:
        return _solve(_held(_blocks(linear, rhs), held), rhs)

    return jax.lax.custom_root(root, x, lambda _, start: start, tangent_solve)


def _blocks(linear: Callable, like: Float[Array, "w n"]) -> Float[Array, "w n n"]:
    """Returns the matrices of a linear map that does not mix lanes."""
    unit = jnp.eye(like.shape[1], dtype=like.dtype)
    column = lambda e: linear(jnp.broadcast_to(e, like.shape))
    return jnp.moveaxis(jax.vmap(column)(unit), 0, 2)


def _held(matrix: Float[Array, "w n n"], held: Bool[Array, "w n"]) -> jax.Array:
    """Replaces rows and columns of held unknowns by the identity's."""
    off = held[:, :, None] | held[:, None, :]
    eye = jnp.eye(matrix.shape[1], dtype=matrix.dtype)
    return jnp.where(off, eye[None] * held[:, :, None], matrix)


def _solve(matrix: Float[Array, "w n n"], rhs: Float[Array, "w n"]) -> jax.Array:
    """Solves in the eigenvectors of the Jacobi-scaled matrix, null space left out."""
    symmetric = 0.5 * (matrix + matrix.mT)
    size = jnp.abs(jnp.diagonal(symmetric, axis1=1, axis2=2))
    top = jnp.max(size, axis=1, keepdims=True)
    size = jnp.maximum(size, 1e-12 * top)
    root = jax.lax.rsqrt(jnp.where(size > 0, size, 1.0))  # 0 where nothing is fitted
    scaled = symmetric * root[:, :, None] * root[:, None, :]
    value, vector = jnp.linalg.eigh(jax.lax.stop_gradient(scaled))
    null = jnp.abs(value) <= _NULL * jnp.max(jnp.abs(value), axis=1, keepdims=True)
    inverse = jnp.where(null, 0.0, 1.0 / jnp.where(null, 1.0, value))
    inner = jnp.einsum("wij,wi->wj", vector, rhs * root, precision=_EXACT)
    outer = jnp.einsum("wij,wj->wi", vector, inner * inverse, precision=_EXACT)
    return outer * root
