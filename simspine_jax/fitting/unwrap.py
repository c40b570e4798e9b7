"""Takes whole turns out of fitted angles."""

import numpy as np

from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.model import Model

TURN = 2 * np.pi
_ROTATIONS = 3  # slots 0 to 2 of a joint
_ROUNDING = 1e-12  # rad; a limit met up to this is met
_TIE = 1e-9  # turns; so close to half a turn, an angle stays what it is


def plain_angles(model: Model) -> tuple[int, ...]:
    """Returns the free coordinates that turn bodies and do nothing else.

    Each axis that such a coordinate drives is a rotation by ``q + offset`` or
    ``-q + offset``, without a curve, a sum or a coupler. What kind of joint it
    belongs to does not matter.

    Args:
        model: Compiled model.

    Returns:
        Indices into all coordinates, in ascending order of the free ones.
    """
    topology = model.topology
    slope = np.asarray(model.axis_slope)
    entries = driven_axes(topology)
    coupled = {independent for _, independent in topology.couplers}
    found = []
    for k, c in enumerate(topology.free):
        mine = [e for e in entries if e.free == k]
        plain = all(
            e.coordinate == c
            and e.curve < 0
            and e.sum < 0
            and e.slot < _ROTATIONS
            and abs(slope[e.body, e.slot]) == 1.0
            for e in mine
        )
        if mine and plain and c not in coupled:
            found.append(c)
    return tuple(found)


def turnable(model: Model, held: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Returns the coordinates that may change by 2 pi without moving anything.

    They are plain angles without a task, whose limits, if clamped, are at least a
    whole turn apart. Ranges that are not clamped count as none.

    Args:
        model: Compiled model.
        held: Coordinates with a task, as indices into all coordinates.
    """
    room = np.asarray(model.upper) - np.asarray(model.lower)
    return tuple(c for c in plain_angles(model) if c not in held and room[c] >= TURN)


def turns(step: np.ndarray) -> np.ndarray:
    """Returns the whole turns in steps of angles; half a turn is none yet.

    Args:
        step: Differences of angles, rad. Any shape.

    Returns:
        Whole numbers of either sign, as floats. Same shape.
    """
    return np.sign(step) * np.ceil(np.abs(step) / TURN - 0.5 - _TIE)


def into_limits(
    angle: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Brings angles into their limits by as few whole turns as possible.

    Args:
        angle: Angles, rad. Any shape that fits the limits.
        lower: Lower limits, rad, or -inf.
        upper: Upper limits, rad, or inf.

    Returns:
        The angles, and whether each now keeps its limits; those that no whole
        turns bring there are returned anywhere.
    """
    up = np.maximum(np.ceil((lower - angle - _ROUNDING) / TURN), 0)
    down = np.minimum(np.floor((upper - angle + _ROUNDING) / TURN), 0)
    moved = angle + TURN * (up + down)
    clipped = np.clip(moved, lower, upper)
    return clipped, np.abs(clipped - moved) <= 2 * _ROUNDING


def unwrap(
    model: Model,
    q: np.ndarray,
    held: tuple[int, ...] = (),
    before: np.ndarray | None = None,
) -> np.ndarray:
    """Returns coordinates without jumps of whole turns along time.

    An angle is turned to where it is nearest to the frame before, but not out of
    its limits: there it keeps a jump of a whole turn. An angle half a turn away, or
    one that would not come nearer, stays what it is.

    Args:
        model: Compiled model.
        q: Coordinates, rad and m. Shape [T, N].
        held: Coordinates with a task.
        before: Coordinates of the frame before the first, where there is one; else
            the first frame is put within half a turn of the default pose. Shape [N].

    Returns:
        Coordinates of the same poses; a new array. Shape [T, N].
    """
    result = np.array(q)
    if len(q) == 0:
        return result
    first = np.asarray(model.default_q if before is None else before)
    lower, upper = np.asarray(model.lower), np.asarray(model.upper)
    for c in turnable(model, held):
        angles = np.concatenate([first[c : c + 1], q[:, c]])
        jumps = turns(np.diff(angles))
        if not jumps.any():
            continue
        if np.isfinite(lower[c]) or np.isfinite(upper[c]):
            result[:, c] = _within(angles, float(lower[c]), float(upper[c]))
        else:
            result[:, c] = angles[1:] - TURN * np.cumsum(jumps)
    return result


def _within(angles: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Unwraps all but the first angle within limits, frame by frame."""
    # The fewest and the most turns that leave each angle within its limits.
    fewest = np.ceil((lower - _ROUNDING - angles) / TURN)
    most = np.floor((upper + _ROUNDING - angles) / TURN)
    result = angles.copy()
    for t in range(1, len(angles)):
        wanted = np.clip(-turns(angles[[t]] - result[t - 1])[0], fewest[t], most[t])
        moved = np.clip(angles[t] + TURN * wanted, lower, upper)
        gain = abs(angles[t] - result[t - 1]) - abs(moved - result[t - 1])
        if wanted != 0 and gain > TURN * _TIE:
            result[t] = moved
    return result[1:]
