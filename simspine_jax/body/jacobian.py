"""The geometric marker Jacobian in the free coordinates.

Notation: as in ``kinematics``. An entry is one axis that one free coordinate
drives, directly or through curves and couplers; most columns have one entry, a
coupled lumbar column has one per level. Marker x moves with ``v + w x x`` for every
entry whose body carries it.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from simspine_jax.body import couplers, kinematics
from simspine_jax.body.model import Model, Topology
from simspine_jax.types import Array


def column_order(topology: Topology, columns: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the columns in the order that costs the least to assemble."""
    place = _entries(topology, columns)[2]
    return tuple(columns[i] for i in np.argsort(place))


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
    batch = q_free.shape[:-1]
    columns = tuple(range(len(model.topology.free)))
    lanes = kinematics.lanes_last(q_free)
    _, jacobian = positions_and_jacobian(model, lanes, columns)
    m = len(model.marker_names)
    shaped = jacobian.reshape(lanes.shape[1], 3, m, len(columns))
    return jnp.swapaxes(shaped, 1, 2).reshape(*batch, m, 3, len(columns))


def positions_and_jacobian(
    model: Model, q_free: Float[Array, "f t"], columns: tuple[int, ...]
) -> tuple[Float[jax.Array, "t 3 m"], Float[jax.Array, "t 3*m c"]]:
    """Returns marker positions and Jacobian columns, lanes first.

    Args:
        model: Compiled model.
        q_free: Free coordinates of each lane, lanes last.
        columns: Free coordinates wanted, as indices into the free ones.

    Returns:
        Positions, m; Jacobian with rows ordered x of all markers, then y, then z.
    """
    x, dense = entry_jacobian(model, q_free, columns)
    return x, gather_columns(model.topology, columns, dense)


def entry_jacobian(
    model: Model,
    q_free: Float[Array, "f t"],
    columns: tuple[int, ...],
    root_weight: Float[Array, "t m"] | None = None,
    dtype: type | np.dtype | None = None,
) -> tuple[Float[jax.Array, "t 3 m"], Float[jax.Array, "t 3*m e"]]:
    """Returns marker positions and what each entry does to the markers.

    Args:
        model: Compiled model.
        q_free: Free coordinates of each lane, lanes last.
        columns: Free coordinates wanted, as indices into the free ones.
        root_weight: Factor of each marker's rows; none for one.
        dtype: Precision of the Jacobian; that of ``q_free`` by default.

    Returns:
        Positions, m; Jacobian by entry.
    """
    topology = model.topology
    q, chain = couplers.expand_lanes(model, q_free)
    joints = kinematics.joint_transforms(model, q)
    bodies = kinematics.to_bodies(model, joints.x_gm)
    x = kinematics.place_markers(model, bodies)  # [m, 3, t]
    t, m = q.shape[1], x.shape[0]
    x = jnp.transpose(x, (2, 1, 0))  # [t, 3, m]
    dtype = dtype or q.dtype
    entries = _entries(topology, columns)[0]
    if not entries or m == 0:
        return x, jnp.zeros((t, 3 * m, len(entries)), dtype)
    axes = np.array([(e.body, e.slot) for e in entries])
    rate = _rates(model, entries, joints.curve_slopes, chain)  # [e, t]
    twist = kinematics.axis_twists(joints)[axes[:, 0], axes[:, 1]]
    twist = (twist * rate[:, None]).astype(dtype)
    twist = jnp.transpose(twist, (2, 1, 0))  # [t, 6, e]
    carried = np.array(
        [
            [e.body in topology.ancestors(b) for e in entries]
            for b in topology.marker_bodies
        ]
    )
    # As a contraction of [cross | identity] with the twists: see kinematics.
    one = jnp.ones((t, m), q.dtype) if root_weight is None else root_weight
    zero = jnp.zeros((t, m), q.dtype)
    px, py, pz = x[:, 0] * one, x[:, 1] * one, x[:, 2] * one
    lever = jnp.stack(
        [
            jnp.stack([zero, pz, -py, one, zero, zero], axis=-1),
            jnp.stack([-pz, zero, px, zero, one, zero], axis=-1),
            jnp.stack([py, -px, zero, zero, zero, one], axis=-1),
        ],
        axis=1,
    )
    lever = lever.reshape(t, 3 * m, 6).astype(dtype)
    dense = jnp.matmul(lever, twist, precision=jax.lax.Precision.HIGHEST)
    mask = np.tile(carried, (3, 1)).astype(dtype)[None]  # [1, 3 m, e]
    return x, dense * mask


def gather_columns(
    topology: Topology, columns: tuple[int, ...], dense: Float[jax.Array, "t r e"]
) -> Float[jax.Array, "t r c"]:
    """Adds up entries to columns along the last axis."""
    entries, n_single, order, gather = _entries(topology, columns)
    if n_single < len(columns):
        many = jnp.matmul(
            dense[:, :, n_single:],
            jnp.asarray(gather, dense.dtype),
            precision=jax.lax.Precision.HIGHEST,
        )
        dense = jnp.concatenate([dense[:, :, :n_single], many], axis=2)
    if list(order) != list(range(len(columns))):
        dense = dense[:, :, np.asarray(order)]
    return dense


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


@lru_cache(maxsize=64)
def _entries(topology: Topology, columns: tuple[int, ...]):
    """Orders entries so that columns with one entry come first.

    Returns:
        Entries, number of single columns, position of each wanted column among
        ``[single, several]``, and the 0/1 matrix that adds up the several.
    """
    by_column = {c: [e for e in driven_axes(topology) if e.free == c] for c in columns}
    single = [c for c in columns if len(by_column[c]) == 1]
    several = [c for c in columns if len(by_column[c]) != 1]
    entries = [by_column[c][0] for c in single]
    rows = [(e, k) for k, c in enumerate(several) for e in by_column[c]]
    entries += [e for e, _ in rows]
    gather = np.zeros((len(rows), len(several)))
    for i, (_, k) in enumerate(rows):
        gather[i, k] = 1.0
    place = {c: k for k, c in enumerate([*single, *several])}
    return entries, len(single), tuple(place[c] for c in columns), gather


def _rates(
    model: Model,
    entries: list[Entry],
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
