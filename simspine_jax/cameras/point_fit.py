"""Least squares of points in all lanes: misses, normal equations, covariance.

Notation: as in ``rays``; X is a point of the moved world, one for each lane l, and
``e_c(X)`` what it misses ray c by. The cost is ``1/2 sum_c w_c e_c^T A_c e_c``, px^2.

Source: Hartley and Zisserman, Multiple View Geometry, 2004, section 12.3 (the
reprojection error); Gauss-Newton.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float, Shaped

from simspine_jax.cameras.rays import Rays, Views
from simspine_jax.types import Array

_NEAR_M = 1e-2  # what is nearer to a camera, or behind, is seen from so far


class Miss(NamedTuple):
    """What points miss their rays by: e, depth, and squared pixels. Shapes [C, L]."""

    x: Array
    y: Array
    depth: Array
    square: Array


class Symmetric(NamedTuple):
    """A symmetric 3 x 3 matrix for each lane, entries of shape [L]."""

    xx: Array
    xy: Array
    xz: Array
    yy: Array
    yz: Array
    zz: Array


def miss_of(views: Views, rays: Rays, point: Float[Array, " 3 *lanes"]) -> Miss:
    """Returns by what points miss their rays."""
    axes = tuple(range(1, point.ndim))
    turn = jnp.expand_dims(jnp.asarray(views.rotation), tuple(a + 2 for a in axes))
    slide = jnp.expand_dims(jnp.asarray(views.translation), tuple(a + 1 for a in axes))
    px, py, pz = (point[i][None] for i in range(3))
    row = lambda k: turn[:, k, 0] * px + turn[:, k, 1] * py + turn[:, k, 2] * pz
    x, y, depth = (row(k) + slide[:, k] for k in range(3))
    far = 1.0 / jnp.maximum(depth, _NEAR_M)
    x, y = x * far - rays.x, y * far - rays.y
    square = rays.axx * x * x + 2 * rays.axy * x * y + rays.ayy * y * y
    return Miss(x, y, depth, square)


class Rows(NamedTuple):
    """The normal equations before views are added up; shapes [3, C, L] and [C, L].

    Attributes:
        u: Derivative of the first normalised coordinate in the point.
        v: Of the second.
        pull_x: Weighted ``A e``, first part.
        pull_y: Second part.
        xx: Entries of the weighted A.
        xy: The same.
        yy: The same.
    """

    u: Array
    v: Array
    pull_x: Array
    pull_y: Array
    xx: Array
    xy: Array
    yy: Array


def rows_of(views: Views, rays: Rays, miss: Miss, weight: Float[Array, "c l"]) -> Rows:
    """Returns what each view adds to the normal equations."""
    turn = jnp.asarray(views.rotation)[..., None]
    far = 1.0 / jnp.maximum(miss.depth, _NEAR_M)
    px, py = rays.x + miss.x, rays.y + miss.y
    # Derivative of the projection: (R_0 - x R_2) / z and (R_1 - y R_2) / z.
    u = [(turn[:, 0, i] - px * turn[:, 2, i]) * far for i in range(3)]
    v = [(turn[:, 1, i] - py * turn[:, 2, i]) * far for i in range(3)]
    return Rows(
        jnp.stack(u),
        jnp.stack(v),
        weight * (rays.axx * miss.x + rays.axy * miss.y),
        weight * (rays.axy * miss.x + rays.ayy * miss.y),
        weight * rays.axx,
        weight * rays.axy,
        weight * rays.ayy,
    )


def assembled(rows: Rows) -> tuple[Array, Symmetric]:
    """Returns gradient [3, L] and Gauss-Newton Hessian of the cost."""
    u, v, pull_x, pull_y, xx, xy, yy = rows
    gradient = [over_views(u[i] * pull_x + v[i] * pull_y) for i in range(3)]
    entry = lambda i, j: over_views(
        u[i] * (xx * u[j] + xy * v[j]) + v[i] * (xy * u[j] + yy * v[j])
    )
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    return jnp.stack(gradient), Symmetric(*(entry(i, j) for i, j in pairs))


def newton(
    point: Float[Array, "3 l"], gradient: Float[Array, "3 l"], hessian: Symmetric
) -> Float[Array, "3 l"]:
    """Returns the points after a Gauss-Newton step; those without one stay."""
    return point - times(inverse(hessian)[0], gradient)


def over_views(terms: Shaped[Array, " c *lanes"]) -> Shaped[Array, " *lanes"]:
    """Adds up the views one by one: the compiler's reductions do not vectorise."""
    return sum((terms[c] for c in range(1, terms.shape[0])), start=terms[0])


def inverse(matrix: Symmetric) -> tuple[Symmetric, Array]:
    """Returns the inverse, and where there is none to working precision. Shape [L]."""
    xx, xy, xz, yy, yz, zz = matrix
    cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    size = xx * cxx + xy * cxy + xz * cxz
    scale = (xx * yy) * zz  # of the determinant, after Jacobi scaling one
    flat = ~(size > 100 * jnp.finfo(size.dtype).eps * scale)
    over = 1.0 / jnp.where(flat, 1.0, size)
    found = Symmetric(
        cxx * over,
        cxy * over,
        cxz * over,
        (xx * zz - xz * xz) * over,
        (xy * xz - xx * yz) * over,
        (xx * yy - xy * xy) * over,
    )
    return Symmetric(*(jnp.where(flat, 0.0, entry) for entry in found)), flat


def drawn_out(covariance: Symmetric, factor: float) -> Array:
    """Whether the largest SD exceeds the other two together by a factor. Shape [L]."""
    xx, xy, xz, yy, yz, zz = covariance
    trace = xx + yy + zz
    minors = xx * yy - xy * xy + xx * zz - xz * xz + yy * zz - yz * yz
    return trace * trace > factor**2 * minors


def times(matrix: Symmetric, vector: Float[Array, "3 l"]) -> Float[Array, "3 l"]:
    """Multiplies lane by lane."""
    x, y, z = vector
    return jnp.stack(
        [
            matrix.xx * x + matrix.xy * y + matrix.xz * z,
            matrix.xy * x + matrix.yy * y + matrix.yz * z,
            matrix.xz * x + matrix.yz * y + matrix.zz * z,
        ]
    )
