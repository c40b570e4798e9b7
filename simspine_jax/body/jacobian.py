"""The geometric marker Jacobian in the free coordinates.

Notation: as in ``kinematics``. An entry is one axis that one free coordinate
drives, directly or through curves and couplers; most columns have one entry, a
coupled lumbar column has one per level. Marker x moves with ``v + w x x`` for every
entry whose body carries it.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from simspine_jax.body import couplers, kinematics, lane_algebra
from simspine_jax.body.model import Model, Topology
from simspine_jax.types import Array


@partial(jax.jit, inline=True)
def marker_jacobian(
    model: Model, q_free: Float[Array, "*batch f"]
) -> Float[jax.Array, "*batch m 3 f"]:
    """Returns d(marker position) / d(free coordinate), m per rad or m.

    Args:
        model: Compiled model.
        q_free: Free coordinates, rad and m.

    Source: OpenSim's station Jacobian mapped from speeds to coordinates, with the
    couplers inside by the chain rule.
    """
    q_free = jnp.asarray(q_free)
    model = model.with_dtype(q_free.dtype)
    topology, batch = model.topology, q_free.shape[:-1]
    lanes = kinematics.lanes_last(q_free)
    q, chain = couplers.expand_lanes(model, lanes)
    joints = kinematics.joint_transforms(model, q)
    placed = kinematics.place_markers(model, kinematics.to_bodies(model, joints.x_gm))
    entries = driven_axes(topology)
    shape = (*batch, len(topology.marker_names), 3, len(topology.free))
    if not entries or placed.shape[0] == 0:
        return jnp.zeros(shape, q.dtype)
    axes = np.array([(e.body, e.slot) for e in entries])
    rate = axis_rates_of(model, entries, joints.curve_slopes, chain)  # [e, t]
    twist = kinematics.axis_twists(joints)[axes[:, 0], axes[:, 1]] * rate[:, None]
    carried = [
        [e.body in topology.ancestors(b) for e in entries]
        for b in topology.marker_bodies
    ]
    drives = [[e.free == c for c in range(len(topology.free))] for e in entries]
    swept = lane_algebra.cross(twist[None, :, :3], placed[:, None])  # [m, e, 3, t]
    moved = (swept + twist[None, :, 3:]) * np.array(carried)[:, :, None, None]
    jacobian = jnp.einsum(
        "meit,ec->tmic",
        moved,
        np.array(drives).astype(q.dtype),
        precision=jax.lax.Precision.HIGHEST,
    )
    return jacobian.reshape(shape)


class Entry(tuple):
    """(free, body, slot, coordinate, curve, sum): one axis driven by one column."""

    __slots__ = ()
    free = property(lambda e: e[0])
    body = property(lambda e: e[1])
    slot = property(lambda e: e[2])
    coordinate = property(lambda e: e[3])
    curve = property(lambda e: e[4])
    sum = property(lambda e: e[5])


def driven_axes(topology: Topology) -> list[Entry]:
    """Lists every (free coordinate, axis) pair of the model."""
    root = couplers.driving_free(topology)
    n, n_curves = len(topology.coordinate_names), len(topology.curve_coordinates)
    entries = []
    for axis, source in enumerate(topology.axis_sources):
        if source < 0:
            continue
        body, slot = divmod(axis, 6)
        curve = total = -1
        if source < n:
            driving: tuple[int, ...] = (source,)
        elif source < n + n_curves:
            curve = source - n
            driving = (topology.curve_coordinates[curve],)
        else:
            total = source - n - n_curves
            driving = topology.sum_coordinates[total]
        entries += [
            Entry((root[c], body, slot, c, curve, total)) for c in driving if c in root
        ]
    return entries


def axis_rates_of(
    model: Model,
    entries: Sequence[Entry],
    slopes: Float[jax.Array, "f t"],
    chain: Float[jax.Array, "n t"],
) -> Float[jax.Array, "e t"]:
    """Returns d(axis value) / d(free coordinate) of every entry."""
    free, body, slot, coordinate, curve, total = np.array(entries).T
    del free
    rate = chain[coordinate] * model.axis_slope[body, slot][:, None]
    if np.any(curve >= 0):
        rate = jnp.where((curve >= 0)[:, None], rate * slopes[curve], rate)
    if np.any(total >= 0):
        weight = model.sum_coefficients[total, coordinate][:, None]
        rate = jnp.where((total >= 0)[:, None], rate * weight, rate)
    return rate
