"""Keeps three-angle rotations on one of their two branches along time.

Three rotations about orthogonal axes turn a body the same way at ``(a, b, c)`` and
at ``(a + pi, pi - b, c + pi)``. A solver that searches each frame on its own finds
either; joint angles over time must not change between them.
"""

import numpy as np

from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.model import Model
from simspine_jax.fitting import unwrap

_ORTHOGONAL = 1e-9


def triples(model: Model, held: tuple[int, ...] = ()) -> tuple[tuple[int, ...], ...]:
    """Returns the coordinates of the joints that have two branches.

    Their three rotations are one free, unlimited coordinate each, one radian per
    radian, that drives nothing else, about orthogonal axes.

    Args:
        model: Compiled model.
        held: Coordinates with a task, as indices into all coordinates.
    """
    turnable = set(unwrap.turnable(model, held))
    entries = driven_axes(model.topology)
    direction = np.asarray(model.axis_direction)
    offset = np.asarray(model.axis_offset)
    found = []
    for body in range(len(model.body_names)):
        here = {e.slot: e.coordinate for e in entries if e.body == body and e.slot < 3}
        chosen = tuple(here.get(slot, -1) for slot in range(3))
        alone = all(sum(e.coordinate == c for e in entries) == 1 for c in chosen)
        axes = direction[body, :3]
        across = np.abs(axes @ axes.T - np.eye(3)).max() < _ORTHOGONAL
        if set(chosen) <= turnable and alone and across and not offset[body, :3].any():
            found.append(chosen)
    return tuple(found)


def follow(
    model: Model,
    q: np.ndarray,
    held: tuple[int, ...] = (),
    before: np.ndarray | None = None,
) -> np.ndarray:
    """Returns coordinates of the same poses without changes of branch along time.

    Args:
        model: Compiled model.
        q: Coordinates, rad and m. Shape [T, N].
        held: Coordinates with a task.
        before: Coordinates of the frame before the first; None means the default
            pose. Shape [N].
    """
    if len(q) == 0:
        return q
    result = np.array(q)
    first = np.asarray(model.default_q if before is None else before)
    for columns in map(list, triples(model, held)):
        angles = np.concatenate([first[None, columns], q[:, columns]])
        now, last = angles[1:], angles[:-1]
        # Both branches move alike, so that it is enough to count the changes.
        changes = _distance(now, _other(last)) < _distance(now, last)
        swapped = np.cumsum(changes) % 2 == 1
        result[:, columns] = np.where(swapped[:, None], _other(now), now)
    return result


def _other(angles: np.ndarray) -> np.ndarray:
    return np.pi + angles * np.array([1, -1, 1])


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    turned = (a - b + np.pi) % (2 * np.pi) - np.pi
    return (turned**2).sum(axis=-1)
