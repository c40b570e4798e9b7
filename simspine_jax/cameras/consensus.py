"""Which views agree on a point: the pair of rays that most of the others support.

All pairs of views are tried, O(C^2) of them, in all lanes alike; nothing depends on
which views a point has, so that one compilation serves any mix.

Notation: pair p of views i, j, lane l. A pair's point is the middle of the shortest
segment between its rays. A view supports a point that is in front of it and misses its
ray by at most ``reach`` pixels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.cameras import point_fit
from simspine_jax.cameras.rays import Rays, Views
from simspine_jax.core.staging import stage
from simspine_jax.types import Array

_PARALLEL = 1e-9  # squared sine of the angle between rays below which they do not meet
_EXACT = jax.lax.Precision.HIGHEST


class Consensus(NamedTuple):
    """The best pair of each lane.

    Attributes:
        point: Its point in the moved world, m. Shape [3, L].
        supporters: Of every pair the views that support it, as bits. Shape [P, L].
    """

    point: Array
    supporters: Array


def best_pair(
    go: Bool[Array, ""], views: Views, rays: Rays, reach: Float[Array, ""] | float
) -> Consensus:
    """Returns the pair with the least truncated cost over all views.

    Args:
        go: See ``staging.stage``.
        views: Cameras.
        rays: Observations.
        reach: Distance at which a view supports a point, px at confidence 1.
    """
    first, second = np.triu_indices(rays.x.shape[0], 1)
    way = stage(go, _ways, views, rays)
    one, other, meet = stage(go, _lengths, views, way)
    point = stage(go, _middles, views, way, one, other)  # [3, P, L]
    both = (rays.weight[first] > 0) & (rays.weight[second] > 0) & meet
    cost = stage(go, _costs, views, rays, point, reach)
    best = stage(go, lambda c, b: jnp.argmin(jnp.where(b, c, jnp.inf), 0), cost, both)
    supporters = stage(go, _supporters, views, rays, point, reach)
    chosen = jnp.arange(len(first), dtype=best.dtype)[:, None] == best[None]
    picked = jnp.sum(jnp.where(chosen[None], point, 0.0), axis=1)
    return Consensus(picked, jnp.where(both, supporters, 0))


def _ways(views: Views, rays: Rays) -> jax.Array:
    """Directions of the rays in the world. Shape [3, C, L]."""
    turn = jnp.asarray(views.rotation)[..., None]
    return jnp.stack(
        [
            turn[:, 0, i] * rays.x + turn[:, 1, i] * rays.y + turn[:, 2, i]
            for i in range(3)
        ]
    )


def _centres(views: Views) -> jax.Array:
    return -jnp.einsum(
        "cji,cj->ic", views.rotation, views.translation, precision=_EXACT
    )


def _lengths(views: Views, way: jax.Array) -> tuple[Array, Array, Array]:
    """How far along both rays they are nearest, and whether they are. [P, L]."""
    first, second = np.triu_indices(way.shape[1], 1)
    centre = _centres(views)
    p, q = way[:, first], way[:, second]
    base = (centre[:, second] - centre[:, first])[:, :, None]
    add = point_fit.over_views
    pp, qq, pq = add(p * p), add(q * q), add(p * q)
    pb, qb = add(p * base), add(q * base)
    size = pp * qq - pq * pq
    meet = size > _PARALLEL * pp * qq
    over = 1.0 / jnp.where(meet, size, 1.0)
    return (qq * pb - pq * qb) * over, (pq * pb - pp * qb) * over, meet


def _middles(views: Views, way: Array, one: Array, other: Array) -> jax.Array:
    first, second = np.triu_indices(way.shape[1], 1)
    centre = _centres(views)
    middle = 0.5 * (centre[:, second] + centre[:, first])[:, :, None]
    return middle + 0.5 * (one[None] * way[:, first] + other[None] * way[:, second])


def _shares(
    views: Views, rays: Rays, point: Array, reach: Array
) -> tuple[Array, Array]:
    """Squared misses over the reach, and which of them support. [C, P, L]."""
    wide = Rays(*(a[:, None] for a in rays))
    miss = point_fit.miss_of(views, wide, point)
    share = miss.square * (wide.weight / reach**2)
    return share, (wide.weight > 0) & (share < 1) & (miss.depth > 0)


def _costs(views: Views, rays: Rays, point: Array, reach: Array) -> Array:
    share, good = _shares(views, rays, point, reach)
    missed = (rays.weight > 0).astype(share.dtype)[:, None]
    return point_fit.over_views(jnp.where(good, share, missed))


def _supporters(views: Views, rays: Rays, point: Array, reach: Array) -> Array:
    _, good = _shares(views, rays, point, reach)
    return point_fit.over_views(as_bits(good))


def as_bits(flags: Bool[Array, " c *lanes"]) -> jax.Array:
    """Returns a bit of its own for every view that is True."""
    bit = (1 << np.arange(flags.shape[0])).astype(np.uint32)
    return jnp.where(flags, bit.reshape(-1, *[1] * (flags.ndim - 1)), np.uint32(0))
