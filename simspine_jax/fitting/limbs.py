"""Trunk and limbs of a model, for searching limbs apart from one another.

Given the trunk's pose, limbs share no marker and no coordinate, so that the best
pose of each can be sought on its own (design decision 7).
"""

import numpy as np

from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.model import Topology
from simspine_jax.body.normal_equations import column_order

TRUNK = 0


def limb_blocks(
    topology: Topology, columns: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Splits unknowns and markers into the trunk (block 0) and limbs (1, 2, ...).

    A limb is a largest subtree that never branches into two parts that both carry
    markers and unknowns, hung on a body that does. A coordinate that also drives a
    body outside (the coupled lumbar ones) belongs to the trunk.

    Args:
        topology: Wiring of a model whose markers are those observed.
        columns: Unknowns, as indices into the free coordinates.

    Returns:
        Block of each unknown, block of each marker, and the number of blocks.
    """
    children: dict[int, list[int]] = {}
    for body, parent in enumerate(topology.parents):
        children.setdefault(parent, []).append(body)
    entries = [e for e in driven_axes(topology) if e.free in columns]
    driven = {k: {e.body for e in entries if e.free == k} for k in columns}
    moved_here = {e.body for e in entries}

    def subtree(body: int) -> set[int]:
        return {body}.union(*(subtree(c) for c in children.get(body, [])))

    def alive(body: int) -> bool:
        bodies = subtree(body)
        return bool(bodies & moved_here) and any(
            b in bodies for b in topology.marker_bodies
        )

    def unbranched(body: int) -> bool:
        living = [c for c in children.get(body, []) if alive(c)]
        return len(living) <= 1 and all(unbranched(c) for c in living)

    limbs: list[set[int]] = []

    def walk(body: int) -> None:
        for child in children.get(body, []):
            if alive(child) and unbranched(child):
                limbs.append(subtree(child))
            elif alive(child):
                walk(child)

    walk(-1)
    block = np.zeros(len(columns), np.int32)
    marker_block = np.zeros(len(topology.marker_bodies), np.int32)
    for i, bodies in enumerate(limbs, start=1):
        for k, column in enumerate(columns):
            if driven[column] and driven[column] <= bodies:
                block[k] = i
        for m, body in enumerate(topology.marker_bodies):
            if body in bodies:
                marker_block[m] = i
    return block, marker_block, len(limbs) + 1


def movable_columns(
    topology: Topology, tasked_free: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """Returns the free coordinates that can move a marker or carry a task."""
    carrying = {b for m in topology.marker_bodies for b in topology.ancestors(m)}
    seen = {e.free for e in driven_axes(topology) if e.body in carrying}
    return column_order(topology, tuple(sorted(seen | set(tasked_free))))
