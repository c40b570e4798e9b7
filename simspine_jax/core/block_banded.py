"""Symmetric block matrices with two side bands, as priors along time make them.

Notation: T frames with n unknowns each. The diagonal block of a frame is dense, D_t;
its coupling with the frame before and with the one before that are diagonal matrices,
given as vectors b_t and c_t. Windows w are independent systems of one shape; time is
walked by ``lax.scan``. L are the blocks of the Cholesky factor: ``own`` L_tt,
``last`` L_t,t-1 and ``past`` L_t,t-2.

Source: block Cholesky (Golub and Van Loan, Matrix Computations, 2013, section 4.5);
the blocks of the inverse by Takahashi's recursion (Erisman and Tinney, On Computing
Certain Elements of the Inverse of a Sparse Matrix, 1975).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_EXACT = jax.lax.Precision.HIGHEST


class Banded(NamedTuple):
    """A matrix.

    Attributes:
        diagonal: D, symmetric. Shape [W, T, n, n].
        last: b, with the frame before; that of the first frame is not read.
            Shape [W, T, n].
        past: c, with the frame before that. Shape [W, T, n].
    """

    diagonal: Float[Array, "w t n n"]
    last: Float[Array, "w t n"]
    past: Float[Array, "w t n"]


class Factor(NamedTuple):
    """Cholesky factor, time first: own, last and past, each [T, W, n, n]."""

    own: Float[Array, "t w n n"]
    last: Float[Array, "t w n n"]
    past: Float[Array, "t w n n"]


def factor(matrix: Banded) -> Factor:
    """Returns the Cholesky factor; NaN where the matrix is not positive definite."""
    w, t, n = matrix.last.shape
    dtype = matrix.last.dtype
    frame = jnp.arange(t)[:, None, None]
    last = jnp.where(frame >= 1, jnp.swapaxes(matrix.last, 0, 1), 0.0)
    past = jnp.where(frame >= 2, jnp.swapaxes(matrix.past, 0, 1), 0.0)
    eye = jnp.broadcast_to(jnp.eye(n, dtype=dtype), (w, n, n))

    def one(carry, row):
        own1, own2, last1 = carry  # L of t-1, of t-2, and L_t-1,t-2
        diagonal, b, c = row
        past = _right_solve(own2, c[:, :, None] * eye)
        side = b[:, :, None] * eye - _times(past, last1.mT)
        last = _right_solve(own1, side)
        left = diagonal - _times(last, last.mT) - _times(past, past.mT)
        own = jax.lax.linalg.cholesky(left, symmetrize_input=False)
        return (own, own1, last), Factor(own, last, past)

    rows = (jnp.swapaxes(matrix.diagonal, 0, 1), last, past)
    return jax.lax.scan(one, (eye, eye, jnp.zeros_like(eye)), rows)[1]


def solve(found: Factor, rhs: Float[Array, "w t n"]) -> Float[Array, "w t n"]:
    """Solves with a factored matrix."""
    zero = jnp.zeros_like(rhs[:, 0])

    def forward(carry, row):
        y1, y2 = carry
        own, last, past, r = row
        r = r - _apply(last, y1) - _apply(past, y2)
        y = _own_solve(own, r, transpose=False)
        return (y, y1), y

    def backward(carry, row):
        near, far, later = carry  # taken by x_t+1 from t and from t-1, by x_t+2 from t
        own, last, past, y = row
        x = _own_solve(own, y - near - later, transpose=True)
        return (_apply(last.mT, x), _apply(past.mT, x), far), x

    y = jax.lax.scan(forward, (zero, zero), (*found, jnp.swapaxes(rhs, 0, 1)))[1]
    x = jax.lax.scan(backward, (zero, zero, zero), (*found, y), reverse=True)[1]
    return jnp.swapaxes(x, 0, 1)


def inverse_diagonal(found: Factor) -> Float[Array, "w t n n"]:
    """Returns the diagonal blocks of the inverse."""
    zero = jnp.zeros_like(found.own[0])
    eye = jnp.broadcast_to(jnp.eye(zero.shape[-1], dtype=zero.dtype), zero.shape)
    # L_t+1,t and L_t+2,t stand in the rows of later frames.
    next1 = jnp.concatenate([found.last[1:], zero[None]])
    next2 = jnp.concatenate([found.past[2:], zero[None], zero[None]])[: len(next1)]

    def one(carry, row):
        s11, s21, s22 = carry  # inverse at (t+1, t+1), (t+2, t+1), (t+2, t+2)
        own, low1, low2 = row
        gain1, gain2 = _right_own(own, low1), _right_own(own, low2)
        s1 = -(_times(s11, gain1) + _times(s21.mT, gain2))
        s2 = -(_times(s21, gain1) + _times(s22, gain2))
        root = jax.lax.linalg.triangular_solve(own, eye, left_side=True, lower=True)
        s = _times(root.mT, root) - _times(gain1.mT, s1) - _times(gain2.mT, s2)
        s = 0.5 * (s + s.mT)
        return (s, s1, s11), s

    rows = (found.own, next1, next2)
    blocks = jax.lax.scan(one, (zero, zero, zero), rows, reverse=True)[1]
    return jnp.swapaxes(blocks, 0, 1)


def _right_solve(own: Array, b: Array) -> Array:
    """Returns ``b own^-T``."""
    return jax.lax.linalg.triangular_solve(
        own, b, left_side=False, lower=True, transpose_a=True
    )


def _right_own(own: Array, b: Array) -> Array:
    """Returns ``b own^-1``."""
    return jax.lax.linalg.triangular_solve(own, b, left_side=False, lower=True)


def _own_solve(own: Array, b: Array, *, transpose: bool) -> Array:
    return jax.lax.linalg.triangular_solve(
        own, b[:, :, None], left_side=True, lower=True, transpose_a=transpose
    )[:, :, 0]


def _times(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=_EXACT)


def _apply(a: Array, x: Array) -> Array:
    return jnp.matmul(a, x[:, :, None], precision=_EXACT)[:, :, 0]
