"""Takes whole turns out of fitted angles."""

import numpy as np

from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.model import Model


def turnable(model: Model, held: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Returns the coordinates that may change by 2 pi without moving anything.

    They are free angles without limits or task that drive nothing but rotations,
    one radian per radian.

    Args:
        model: Compiled model.
        held: Coordinates with a task, as indices into all coordinates.
    """
    topology = model.topology
    slope = np.asarray(model.axis_slope)
    open_ended = ~np.isfinite(np.asarray(model.lower)) & ~np.isfinite(
        np.asarray(model.upper)
    )
    entries = driven_axes(topology)
    found = []
    for k, c in enumerate(topology.free):
        mine = [e for e in entries if e.free == k]
        plain = all(
            e.coordinate == c
            and e.curve < 0
            and e.sum < 0
            and e.slot < 3  # noqa: PLR2004
            and abs(slope[e.body, e.slot]) == 1.0
            for e in mine
        )
        coupled = any(i == c for _, i in topology.couplers)
        if mine and plain and not coupled and open_ended[c] and c not in held:
            found.append(c)
    return tuple(found)


def unwrap(
    model: Model,
    q: np.ndarray,
    held: tuple[int, ...] = (),
    before: np.ndarray | None = None,
) -> np.ndarray:
    """Returns coordinates without jumps of whole turns along time.

    Args:
        model: Compiled model.
        q: Coordinates, rad and m. Shape [T, N].
        held: Coordinates with a task.
        before: Coordinates of the frame before the first, where there is one; else
            the first frame is put within half a turn of the default pose. Shape [N].
    """
    if len(q) == 0:
        return q
    columns = list(turnable(model, held))
    reference = np.asarray(model.default_q if before is None else before)[columns]
    angles = np.concatenate([reference[None], q[:, columns]])
    result = q.copy()
    result[:, columns] = np.unwrap(angles, axis=0)[1:]
    return result
