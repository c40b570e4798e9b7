"""Gradient and Gauss-Newton Hessian of weighted marker distances, without a Jacobian.

Notation: marker m at p with weight w and miss r = p - observed; a unit of a column
moves it with ``v + w x p`` (its twist). The markers behind a joint act as a rigid
cloud of point masses: with their summed mass, first and second moments the Hessian
of two columns is ``twist_i . I twist_j``, where I belongs to the markers that both
carry, and the gradient is ``twist . wrench``. Twists and moments are taken about the
mean marker, so that single precision suffices for the products of twists.

Source: the composite-rigid-body algorithm (Featherstone, Rigid Body Dynamics
Algorithms, 2008, section 6.2), with marker weights in place of masses.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from simspine_jax.body import couplers, kinematics, lane_algebra
from simspine_jax.body.jacobian import Entry, axis_rates_of, driven_axes
from simspine_jax.body.model import Model, Topology
from simspine_jax.core import robust
from simspine_jax.core.robust import RobustLoss
from simspine_jax.types import Array

_EXACT = jax.lax.Precision.HIGHEST


class NormalEquations(NamedTuple):
    """Of ``1/2 sum_m w_m |r_m|^2``.

    Attributes:
        square: ``w_m |r_m|^2``, or ``w_m rho``. Shape [T, M].
        gradient: Shape [T, C].
        hessian: Gauss-Newton's. Shape [T, C, C].
    """

    square: jax.Array
    gradient: jax.Array
    hessian: jax.Array


@partial(jax.jit, static_argnames=("columns", "dtype"), inline=True)
def normal_equations(
    model: Model,
    q_free: Float[Array, "f t"],
    columns: tuple[int, ...],
    points: Float[Array, "t m 3"],
    weight: Float[Array, "t m"],
    dtype: type | np.dtype | None = None,
    loss: RobustLoss | None = None,
) -> NormalEquations:
    """Returns the normal equations of the markers in some free coordinates.

    Args:
        model: Compiled model.
        q_free: Free coordinates of each lane, lanes last, rad and m.
        columns: Free coordinates wanted, as indices into the free ones.
        points: Observed markers in ground, m.
        weight: Their weights; 0 where missing.
        dtype: Precision of gradient and Hessian; that of ``q_free`` by default.
        loss: Applied to each marker's distance; the Hessian is then that of
            iteratively reweighted least squares.
    """
    dtype = dtype or q_free.dtype
    points, weight = jnp.asarray(points), jnp.asarray(weight)
    q, chain = couplers.expand_lanes(model, q_free)
    joints = kinematics.joint_transforms(model, q)
    placed = kinematics.place_markers(model, kinematics.to_bodies(model, joints.x_gm))
    miss = placed - jnp.transpose(points, (1, 2, 0))  # [m, 3, t]
    square, mass = lane_algebra.total(miss * miss), weight.T  # [m, t]
    if loss is not None:
        square, factor = robust.apply(loss, square)
        mass = mass * factor
    square = (weight.T * square).T  # [t, m]
    force = mass[:, None] * miss
    t, n = q.shape[1], len(columns)
    plan = _plan(model.topology, columns)
    if not plan.entries or square.shape[1] == 0:
        return NormalEquations(
            square, jnp.zeros((t, n), dtype), jnp.zeros((t, n, n), dtype)
        )
    centre = jnp.mean(placed, axis=0, keepdims=True)  # [1, 3, t]
    lever = (placed - centre).astype(dtype)
    moments = _moments(lever, force.astype(dtype), mass.astype(dtype))
    member = jnp.asarray(plan.member, dtype)
    cloud = jnp.einsum("gm,mkt->gkt", member, moments, precision=_EXACT)
    cloud = cloud[plan.group]  # [u, 16, t]

    axes = np.array([(e.body, e.slot) for e in plan.entries])
    rate = axis_rates_of(model, plan.entries, joints.curve_slopes, chain)
    twist = kinematics.axis_twists(joints, centre)[axes[:, 0], axes[:, 1]]
    twist = (twist * rate[:, None]).astype(dtype)
    merge = jnp.asarray(plan.merge, dtype)
    twist = jnp.einsum("ue,ekt->ukt", merge, twist, precision=_EXACT)
    gradient = lane_algebra.total(twist * cloud[:, :6]).T  # [t, u]
    momentum = jnp.transpose(_momentum(cloud[:, 6:], twist), (2, 1, 0))
    both = jnp.matmul(jnp.transpose(twist, (2, 0, 1)), momentum, precision=_EXACT)
    upper = jnp.asarray(plan.carries, dtype)[None]
    lower = jnp.asarray(plan.carries.T & ~plan.carries, dtype)[None]
    hessian = both * upper + both.mT * lower
    if plan.gather.size:
        gradient, hessian = _gathered(gradient, hessian, plan.gather)
    if plan.order != tuple(range(n)):
        order = np.asarray(plan.order, int)
        gradient, hessian = gradient[:, order], hessian[:, order][:, :, order]
    return NormalEquations(square, gradient, hessian)


def _gathered(
    gradient: Float[jax.Array, "t u"],
    hessian: Float[jax.Array, "t u u"],
    gather: np.ndarray,
) -> tuple[jax.Array, jax.Array]:
    """Adds up the last units to columns; the first are columns already."""
    single = gradient.shape[1] - len(gather)
    add = jnp.asarray(gather, gradient.dtype)
    push = jnp.matmul(gradient[:, single:], add, precision=_EXACT)
    some = jnp.matmul(hessian[:, :, single:], add, precision=_EXACT)  # [t, u, c]
    side, corner = some[:, :single], some[:, single:]
    corner = jnp.einsum("uc,tud->tcd", add, corner, precision=_EXACT)
    upper = jnp.concatenate([hessian[:, :single, :single], side], axis=2)
    lower = jnp.concatenate([side.mT, corner], axis=2)
    return (
        jnp.concatenate([gradient[:, :single], push], axis=1),
        jnp.concatenate([upper, lower], axis=1),
    )


def _moments(
    lever: Float[jax.Array, "m 3 t"],
    force: Float[jax.Array, "m 3 t"],
    mass: Float[jax.Array, "m t"],
) -> Float[jax.Array, "m 16 t"]:
    """Returns wrench, mass, first moment and second moments of each marker."""
    first = mass[:, None] * lever
    x, y, z = lever[:, 0], lever[:, 1], lever[:, 2]
    mx, my, mz = first[:, 0], first[:, 1], first[:, 2]
    second = jnp.stack([mx * x, my * y, mz * z, mx * y, mx * z, my * z], axis=1)
    return jnp.concatenate(
        [lane_algebra.cross(lever, force), force, mass[:, None], first, second], axis=1
    )


def _momentum(
    cloud: Float[jax.Array, "e 10 t"], twist: Float[jax.Array, "e 6 t"]
) -> Float[jax.Array, "e 6 t"]:
    """Returns the cloud's angular and linear momentum under the twist."""
    turn, slide = twist[:, :3], twist[:, 3:]
    mass, first = cloud[:, :1], cloud[:, 1:4]
    xx, yy, zz, xy, xz, yz = (cloud[:, k] for k in range(4, 10))
    wx, wy, wz = turn[:, 0], turn[:, 1], turn[:, 2]
    inertia = jnp.stack(
        [
            (yy + zz) * wx - xy * wy - xz * wz,
            (xx + zz) * wy - xy * wx - yz * wz,
            (xx + yy) * wz - xz * wx - yz * wy,
        ],
        axis=1,
    )
    linear = mass * slide + lane_algebra.cross(turn, first)
    return jnp.concatenate([inertia + lane_algebra.cross(first, slide), linear], axis=1)


class _Plan(NamedTuple):
    """How entries make up columns.

    An entry is one axis that a column drives. Entries of one column that carry the
    same markers are one unit (``merge``); columns of a single unit come first, the
    units of the others are added up at the end (``gather``).
    """

    entries: tuple[Entry, ...]  # [E]
    member: np.ndarray  # [G, M] markers of each group
    group: np.ndarray  # [U] group that each unit carries
    carries: np.ndarray  # [U, U] the row's unit carries all markers of the column's
    merge: np.ndarray  # [U, E]
    gather: np.ndarray  # [U - singles, C - singles]
    order: tuple[int, ...]  # [C] place of each wanted column


@lru_cache(maxsize=64)
def _plan(topology: Topology, columns: tuple[int, ...]) -> _Plan:
    behind = [
        frozenset(
            m
            for m, body in enumerate(topology.marker_bodies)
            if b in topology.ancestors(body)
        )
        for b in range(len(topology.body_names))
    ]
    driven = [e for e in driven_axes(topology) if e.free in columns and behind[e.body]]
    unit_of = {e: (e.free, behind[e.body]) for e in driven}
    by_column = {
        c: list(dict.fromkeys(u for u in unit_of.values() if u[0] == c))
        for c in columns
    }
    several = [c for c in columns if len(by_column[c]) != 1]
    placed = [c for c in columns if len(by_column[c]) == 1] + several
    units = [u for c in placed for u in by_column[c]]
    entries = tuple(sorted(driven, key=lambda e: units.index(unit_of[e])))
    merge = np.array([[float(unit_of[e] == u) for e in entries] for u in units])
    groups = list(dict.fromkeys(markers for _, markers in units))
    markers_all = range(len(topology.marker_bodies))
    extra = units[len(columns) - len(several) :]
    return _Plan(
        entries=entries,
        member=np.array([[float(m in g) for m in markers_all] for g in groups]),
        group=np.array([groups.index(markers) for _, markers in units], int),
        carries=np.array([[b <= a for _, b in units] for _, a in units], bool),
        merge=merge,
        gather=np.array(
            [[float(c == column) for column in several] for c, _ in extra]
        ).reshape(len(extra), len(several)),
        order=tuple(placed.index(c) for c in columns),
    )


def column_order(topology: Topology, columns: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the columns in the order that costs the least to assemble."""
    place = _plan(topology, columns).order
    return tuple(columns[i] for i in np.argsort(place))
