"""Mends flips by 180 degrees and turns of 360 degrees of angles along time.

Three rotations about axes of which the second is perpendicular to the other two
(Davenport angles: Euler, Cardan and those about skew first and third axes) turn a
body the same way at ``(a, b, c)`` and at ``(a + pi, 2 m - b, c + pi)``. A solver that
searches each frame on its own finds either branch; joint angles over time must not
change between them.

Proof: with ``m`` the angle about the second axis that takes the third to the first,
``R1(a) R2(b) R3(c) = R2(m) R3(a) R2(b - m) R3(c)``, and half a turn about the third
axis on both sides of ``R2(b - m)`` turns it round.

Source: Shuster and Markley (2003), Generalization of the Euler Angles, Journal of
the Astronautical Sciences 51(2); Wittenburg and Lilov (2003), Decomposition of a
Finite Rotation into Three Rotations about Given Axes, Multibody System Dynamics 9.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.model import Model
from simspine_jax.fitting import unwrap

_PERPENDICULAR = 1e-10  # cosine; what the pose may change by
_TIE = 1e-9  # rad^2; branches equally far are no change
_COUNT = 3


@dataclass(frozen=True)
class Triple:
    """Three rotations of one body that have two branches.

    Attributes:
        body: Name of the body that they turn.
        coordinates: The coordinate of each, as indices into all coordinates.
        middle: Where the two branches have the same second coordinate, rad.
    """

    body: str
    coordinates: tuple[int, ...]
    middle: float

    def other(self, angles: Float[np.ndarray, "*t 3"]) -> Float[np.ndarray, "*t 3"]:
        """Returns the same rotation on the other branch, rad. Shape [..., 3]."""
        shift = np.array([np.pi, 2 * self.middle, np.pi])
        return shift + angles * np.array([1, -1, 1])

    def flips(self, q: Float[np.ndarray, "t n"]) -> np.ndarray:
        """Tells which steps between frames change the branch. Shape [T - 1]."""
        angles = q[:, list(self.coordinates)]
        last, now = angles[:-1], angles[1:]
        return _distance(now, self.other(last)) < _distance(now, last) - _TIE


@dataclass(frozen=True)
class Mended:
    """What mending took out of a motion; add those of the pieces of a trial.

    Attributes:
        flips: Changes of branch between frames, by the body that they are of.
        spins: Whole turns between frames, by coordinate; negative where the only
            way to one branch was a turn at a limit.
    """

    flips: dict[str, int] = field(default_factory=dict)
    spins: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "Mended") -> "Mended":
        """Returns the sums over two pieces."""
        return Mended(_sums(self.flips, other.flips), _sums(self.spins, other.spins))

    def __hash__(self) -> int:
        """Hashes the counts, so that a solution may be an argument of jax.jit."""
        return hash((tuple(self.flips.items()), tuple(self.spins.items())))

    def to_text(self) -> tuple[str, ...]:
        """Returns a sentence for each body and coordinate; none if none."""
        turns = [
            (f"Rotations of {body}", count, "flip", "by 180 degrees")
            for body, count in self.flips.items()
        ] + [
            (name, count, "turn", "of 360 degrees")
            for name, count in self.spins.items()
        ]
        return tuple(
            f"{name}: {count} {kind}{'' if count == 1 else 's'} {size} between frames "
            f"{'was' if count == 1 else 'were'} taken out."
            for name, count, kind, size in turns
            if count > 0
        )


def davenport_triples(model: Model, held: tuple[int, ...] = ()) -> tuple[Triple, ...]:
    """Returns the joints that have two branches.

    Their three rotations are one plain angle each (``unwrap.plain_angles``) that
    drives nothing else; the kind of joint does not matter. Out of scope are three
    rotations spread over the joints of consecutive bodies, as in some shoulders.

    Args:
        model: Compiled model.
        held: Coordinates with a task, as indices into all coordinates.
    """
    plain = set(unwrap.plain_angles(model)) - set(held)
    entries = driven_axes(model.topology)
    direction = np.asarray(model.axis_direction)
    found = []
    for body, name in enumerate(model.body_names):
        here = {e.slot: e.coordinate for e in entries if e.body == body}
        chosen = tuple(here.get(slot, -1) for slot in range(_COUNT))
        alone = all(sum(e.coordinate == c for e in entries) == 1 for c in chosen)
        first, second, third = direction[body, :_COUNT]
        across = max(abs(first @ second), abs(second @ third)) < _PERPENDICULAR
        if set(chosen) <= plain and alone and across:
            # Axis value = slope * coordinate + offset, and the slope is 1 or -1.
            angle = np.arctan2(second @ np.cross(third, first), third @ first)
            offset, slope = model.axis_offset[body, 1], model.axis_slope[body, 1]
            found.append(Triple(name, chosen, float(slope * (angle - offset))))
    return tuple(found)


def triples(model: Model, held: tuple[int, ...] = ()) -> tuple[tuple[int, ...], ...]:
    """Returns the coordinates whose other branch is ``(a + pi, pi - b, c + pi)``.

    They are those of ``davenport_triples`` with perpendicular axes and no offset.

    Args:
        model: Compiled model.
        held: Coordinates with a task, as indices into all coordinates.
    """
    return tuple(
        triple.coordinates
        for triple in davenport_triples(model, held)
        if abs(np.cos(triple.middle)) < _PERPENDICULAR
    )


def follow(
    model: Model,
    q: np.ndarray,
    held: tuple[int, ...] = (),
    before: np.ndarray | None = None,
) -> np.ndarray:
    """Returns coordinates of the same poses without changes of branch along time.

    Frames between two changes go to the other branch together, and only if whole
    turns bring all of them into their limits there; else they stay where they are,
    and the frames after them follow from there. Angles may then still be whole turns
    off (``unwrap.unwrap``).

    Args:
        model: Compiled model.
        q: Coordinates, rad and m. Shape [T, N].
        held: Coordinates with a task.
        before: Coordinates of the frame before the first; None means the default
            pose. Shape [N].

    Returns:
        Coordinates; a new array. Shape [T, N].
    """
    result = np.array(q)
    first = np.asarray(model.default_q if before is None else before)
    lower, upper = np.asarray(model.lower), np.asarray(model.upper)
    for triple in davenport_triples(model, held):
        columns = list(triple.coordinates)
        changes = triple.flips(np.concatenate([first[None], q]))
        moved, inside = unwrap.into_limits(
            triple.other(q[:, columns]), lower[columns], upper[columns]
        )
        # Both branches move alike, so that the changes stay where they are.
        part = np.cumsum(changes)
        leaving = np.bincount(part, ~inside.all(axis=1), int(changes.sum()) + 1)
        swapped = [False]
        for outside in leaving[1:]:
            swapped.append(not swapped[-1] and outside == 0)
        swap = np.array(swapped)[part]
        result[:, columns] = np.where(swap[:, None], moved, q[:, columns])
    return result


def mend(
    model: Model,
    q: Float[np.ndarray, "t n"],
    held: tuple[int, ...] = (),
    before: Float[np.ndarray, " n"] | None = None,
    raw_before: Float[np.ndarray, " n"] | None = None,
) -> tuple[Float[np.ndarray, "t n"], Mended]:
    """Takes changes of branch and whole turns out of a motion.

    Args:
        model: Compiled model.
        q: Coordinates, rad and m. Shape [T, N].
        held: Coordinates with a task.
        before: Mended coordinates of the frame before the first; None means that
            there is none, and the motion starts near the default pose. Shape [N].
        raw_before: The same frame before it was mended, so that the counts of pieces
            add up to those of the whole; None means that it was not changed.

    Returns:
        Coordinates of the same poses, a new array [T, N], and what was taken out.
    """
    result = unwrap.unwrap(model, follow(model, q, held, before), held, before)
    if before is None:
        return result, changes(model, q, result, held)
    earlier = before if raw_before is None else raw_before
    raw, mended = np.vstack([earlier, q]), np.vstack([before, result])
    return result, changes(model, raw, mended, held)


def changes(
    model: Model,
    raw: Float[np.ndarray, "t n"],
    mended: Float[np.ndarray, "t n"],
    held: tuple[int, ...] = (),
) -> Mended:
    """Counts the changes of branch and whole turns that a motion has lost.

    A step between frames that changes the branch in either motion counts as a flip
    only, as half a turn is part of it.

    Args:
        model: Compiled model.
        raw: Coordinates as they were found, rad and m. Shape [T, N].
        mended: Coordinates of the same poses. Shape [T, N].
        held: Coordinates with a task.
    """
    flips = {}
    spins = [np.abs(unwrap.turns(np.diff(q, axis=0))) for q in (raw, mended)]
    lost = spins[0] - spins[1]
    for triple in davenport_triples(model, held):
        had, has = triple.flips(raw), triple.flips(mended)
        flips[triple.body] = int(had.sum()) - int(has.sum())
        lost[:, list(triple.coordinates)] *= ~(had | has)[:, None]
    totals = map(int, lost.sum(axis=0))
    return Mended(
        _sums(flips, {}),
        _sums(dict(zip(model.coordinate_names, totals, strict=True)), {}),
    )


def _sums(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    """Adds counts by name; those of zero are left out."""
    total = {name: a.get(name, 0) + b.get(name, 0) for name in a | b}
    return {name: count for name, count in total.items() if count != 0}


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    turned = (a - b + np.pi) % (2 * np.pi) - np.pi
    return (turned**2).sum(axis=-1)
