"""What Gauss-Newton leaves out: the curvature of the marker paths times the misses.

Notation: as in ``normal_equations``; f_m = w_m r_m is the force on marker m at lever
p_m. An axis i before an axis j turns the path that j gives a marker, so that
``d2p/dq_i dq_j = w_i x (v_j + w_j x p)``, and summed over the markers behind j the
Hessian of ``1/2 sum w |r|^2`` gains ``w_i . t_j`` with
``t_j = v_j x F + M w_j - tr(M) w_j``, ``F = sum f_m`` and ``M = sum p_m f_m^T``. Curved
functions of a coordinate add their second derivative times the axis' share of the
gradient.

Source: the derivative of a screw along a chain (Murray, Li and Sastry, A Mathematical
Introduction to Robotic Manipulation, 1994, section 4.2).
"""

from functools import partial

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


@partial(jax.jit, static_argnames="columns", inline=True)
def residual_curvature(
    model: Model,
    q_free: Float[Array, "f t"],
    columns: tuple[int, ...],
    points: Float[Array, "t m 3"],
    weight: Float[Array, "t m"],
    loss: RobustLoss | None = None,
) -> Float[jax.Array, "t c c"]:
    """Returns the exact Hessian of ``1/2 sum_m w_m |r_m|^2`` less Gauss-Newton's.

    Args:
        model: Compiled model.
        q_free: Free coordinates of each lane, lanes last, rad and m.
        columns: Free coordinates wanted, as indices into the free ones.
        points: Observed markers in ground, m.
        weight: Their weights; 0 where missing.
        loss: Applied to each marker's distance; it reweights the markers, its own
            curvature is left out.
    """
    topology = model.topology
    carried, entries = _carried(topology, columns)
    t, n = q_free.shape[1], len(columns)
    if not entries:
        return jnp.zeros((t, n, n), q_free.dtype)
    q, chain = couplers.expand_lanes(model, q_free)
    joints = kinematics.joint_transforms(model, q)
    placed = kinematics.place_markers(model, kinematics.to_bodies(model, joints.x_gm))
    miss = placed - jnp.transpose(jnp.asarray(points), (1, 2, 0))  # [m, 3, t]
    _, factor = robust.apply(loss, lane_algebra.total(miss * miss))
    force = (jnp.asarray(weight).T * factor)[:, None] * miss
    centre = jnp.mean(placed, axis=0, keepdims=True)
    lever = placed - centre
    outer = (lever[:, :, None] * force[:, None]).reshape(len(lever), 9, t)
    behind = jnp.asarray(carried, q.dtype)
    cloud = jnp.einsum(
        "em,mkt->ekt",
        behind,
        jnp.concatenate([force, outer], axis=1),
        precision=_EXACT,
    )
    axes = np.array([(e.body, e.slot) for e in entries])
    unit = kinematics.axis_twists(joints, centre)[axes[:, 0], axes[:, 1]]  # [e, 6, t]
    rate_of = lambda x: _rates(model, entries, x)
    rate, bend = jax.jvp(rate_of, (q_free,), (jnp.ones_like(q_free),))
    twist = unit * rate[:, None]
    turn = _turned_force(cloud, twist)  # t_j, [e, 3, t]
    pairs = jnp.einsum("iat,jat->tij", twist[:, :3], turn, precision=_EXACT)
    first = np.asarray(_first(topology, entries))
    both = pairs * first[None] + pairs.mT * (first.T & ~first)[None]
    force_e, outer_e = cloud[:, :3], cloud[:, 3:]
    torque = jnp.stack(
        [
            outer_e[:, 5] - outer_e[:, 7],
            outer_e[:, 6] - outer_e[:, 2],
            outer_e[:, 1] - outer_e[:, 3],
        ],
        axis=1,
    )
    share = lane_algebra.total(unit[:, :3] * torque + unit[:, 3:] * force_e)
    picks = np.array([[float(e.free == c) for c in columns] for e in entries])
    add = jnp.asarray(picks, q.dtype)
    whole = jnp.einsum("ic,tij,jd->tcd", add, both, add, precision=_EXACT)
    own = jnp.matmul((share * bend).T, add, precision=_EXACT)  # [t, c]
    return whole + own[:, :, None] * jnp.eye(n, dtype=q.dtype)[None]


def _turned_force(
    cloud: Float[jax.Array, "e 12 t"], twist: Float[jax.Array, "e 6 t"]
) -> Float[jax.Array, "e 3 t"]:
    """Returns ``sum_m (v + w x p_m) x f_m``."""
    force, m = cloud[:, :3], cloud[:, 3:]
    turn, slide = twist[:, :3], twist[:, 3:]
    trace = m[:, 0] + m[:, 4] + m[:, 8]
    rows = [
        m[:, 3 * a] * turn[:, 0]
        + m[:, 3 * a + 1] * turn[:, 1]
        + m[:, 3 * a + 2] * turn[:, 2]
        - trace * turn[:, a]
        for a in range(3)
    ]
    return lane_algebra.cross(slide, force) + jnp.stack(rows, axis=1)


def _rates(
    model: Model, entries: tuple[Entry, ...], q_free: Float[jax.Array, "f t"]
) -> Float[jax.Array, "e t"]:
    q, chain = couplers.expand_lanes(model, q_free)
    _, slopes = kinematics.axis_values(model, q)
    return axis_rates_of(model, entries, slopes, chain)


def _carried(
    topology: Topology, columns: tuple[int, ...]
) -> tuple[np.ndarray, tuple[Entry, ...]]:
    """Entries of the columns that carry markers, and which they carry [E, M]."""
    entries, rows = [], []
    for e in driven_axes(topology):
        row = [e.body in topology.ancestors(b) for b in topology.marker_bodies]
        if e.free in columns and any(row):
            entries.append(e)
            rows.append(row)
    return np.array(rows, float), tuple(entries)


def _first(topology: Topology, entries: tuple[Entry, ...]) -> np.ndarray:
    """Whether the row's axis turns the path that the column's axis gives. [E, E]."""

    def turns(i: Entry, j: Entry) -> bool:
        if i.slot >= 3:
            return False
        if i.body == j.body:
            return i.slot <= j.slot < 3
        return i.body in topology.ancestors(j.body)

    return np.array([[turns(i, j) for j in entries] for i in entries])
