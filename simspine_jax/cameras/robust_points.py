"""Points from rays of which some may be wrong, all lanes alike.

A pair of views that most others support starts a robust fit (iteratively reweighted
least squares, Geman-McClure); the views that it agrees with then fit the point by
least squares, so that good views lose nothing. A point is not valid where fewer views
agree than asked for, where their rays do not fix it (nearly parallel rays do, poorly,
and are believed where no view objects), or where another set of views, as large, agrees
on another place.

Source: Holland and Welsch, Robust Regression Using Iteratively Reweighted Least
Squares, 1977; the rule for rival sets is ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from simspine_jax.cameras import consensus, point_fit
from simspine_jax.cameras.point_fit import Miss, Symmetric
from simspine_jax.cameras.rays import Rays, Views
from simspine_jax.core import implicit
from simspine_jax.core.staging import stage
from simspine_jax.types import Array

_ROBUST_STEPS, _LAST_STEPS = 3, 3
# In standard deviations of a pixel component at confidence 1.
_SCALE = 3.0  # of the Geman-McClure loss
_PAIR_REACH = 1.5  # a pair's point is less exact: its reach is longer by this factor
_STRONG = 2.0  # a view this many reaches away is not noise
_DRAWN_OUT = 8.0  # SD along nearly parallel rays, over that across them


@struct.dataclass
class Effort:
    """What counts as agreement.

    Attributes:
        noise_px: SD of a pixel component at confidence 1.
        reach: Distance in these SDs up to which a view agrees with a point.
        min_views: Views that must agree.
    """

    noise_px: Array | float
    reach: float = struct.field(pytree_node=False, default=4.0)
    min_views: int = struct.field(pytree_node=False, default=2)


class Fitted(NamedTuple):
    """Points of L lanes in the moved world.

    Attributes:
        point: m. Shape [3, L].
        valid: See above. Shape [L].
        used: Views that agree. Shape [C, L].
        square: Squared miss, px^2, to first order in the lens. Shape [C, L].
        covariance: At noise 1 px. Shape [L] each.
    """

    point: Array
    valid: Array
    used: Array
    square: Array
    covariance: Symmetric


def fit(go: Array, views: Views, rays: Rays, effort: Effort) -> Fitted:
    """Fits all lanes; gradients are those of the last least squares.

    Args:
        go: See ``staging.stage``.
        views: Cameras.
        rays: Observations.
        effort: What counts as agreement.
    """
    still_views, still = jax.lax.stop_gradient((views, rays))
    noise = jax.lax.stop_gradient(jnp.asarray(effort.noise_px, rays.x.dtype))
    reach = effort.reach * noise
    # Single precision tells which views agree, in half the time.
    single = lambda tree: jax.tree.map(lambda a: a.astype(jnp.float32), tree)
    rough_views, rough, level = single(still_views), single(still), single(noise)
    start = consensus.best_pair(
        go, rough_views, rough, _PAIR_REACH * effort.reach * level
    )
    point = _robust(go, rough_views, rough, start.point, level).astype(still.x.dtype)
    agreeing = lambda miss: jnp.where(_agree(still, miss, reach), still.weight, 0.0)
    last = lambda _, point: _step(go, still_views, still, point, agreeing)
    point = jax.lax.fori_loop(0, _LAST_STEPS, last, point)
    used = stage(
        go,
        lambda x: _agree(still, point_fit.miss_of(still_views, still, x), reach),
        point,
    )
    weight = jnp.where(used, rays.weight, 0.0)

    def slope(x: jax.Array) -> jax.Array:
        miss = point_fit.miss_of(views, rays, x.T)
        rows = point_fit.rows_of(views, rays, miss, weight)
        return jnp.asarray(point_fit.assembled(rows)[0]).T

    held = jnp.zeros((point.shape[1], 3), bool)
    point = implicit.at_minimum(slope, jnp.asarray(point).T, held).T
    square, rows = stage(go, lambda x: _rows(views, rays, x, lambda _: weight), point)
    _, hessian = stage(go, point_fit.assembled, rows)
    covariance, flat = stage(go, point_fit.inverse, hessian)
    count = jnp.sum(used, axis=0)
    enough = count >= max(2, effort.min_views)
    strong = rays.weight * square > (_STRONG * reach) ** 2
    doubted = count < jnp.sum(rays.weight > 0, axis=0)
    loose = doubted & point_fit.drawn_out(covariance, _DRAWN_OUT)
    valid = enough & ~flat & ~loose & ~_rivalled(start.supporters, strong, count)
    return Fitted(point, valid, used, square, covariance)


def _rows(views: Views, rays: Rays, point: Array, weigh: Callable) -> tuple:
    miss = point_fit.miss_of(views, rays, point)
    return miss.square, point_fit.rows_of(views, rays, miss, weigh(miss))


def _step(go: Array, views: Views, rays: Rays, point: Array, weigh: Callable) -> Array:
    _, rows = stage(go, lambda x: _rows(views, rays, x, weigh), point)
    return stage(go, point_fit.newton, point, *stage(go, point_fit.assembled, rows))


def _robust(go: Array, views: Views, rays: Rays, point: Array, noise: Array) -> Array:
    def weigh(miss: Miss) -> Array:
        share = rays.weight * miss.square / (_SCALE * noise) ** 2
        return jnp.where(miss.depth > 0, rays.weight / (1 + share) ** 2, 0.0)

    step = lambda _, point: _step(go, views, rays, point, weigh)
    return jax.lax.fori_loop(0, _ROBUST_STEPS, step, point)


def _agree(rays: Rays, miss: Miss, reach: Array) -> Array:
    near = rays.weight * miss.square < reach**2
    return near & (rays.weight > 0) & (miss.depth > 0)


def _rivalled(supporters: Array, strong: Array, count: Array) -> Array:
    """Whether as many views, one of them far off this point, agree on another."""
    off = point_fit.over_views(consensus.as_bits(strong))
    as_many = jax.lax.population_count(supporters) >= count[None]
    return jnp.any(as_many & ((supporters & off[None]) != 0), axis=0)
