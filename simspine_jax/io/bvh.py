"""Biovision hierarchy files (BVH): a skeleton and its joint angles over time.

A joint hangs from its parent at ``OFFSET``, is moved by its position channels, which
take the place of the offset, and turned by its rotation channels (degrees, each about
an axis that the earlier ones have turned). ``End Site`` is the tip of a last segment.

BVH does not state its axes. Read here is what is common: Y up, and the rest pose (all
angles zero) facing Z with the left to X.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from simspine_jax.io.clip import Clip

# Rows are OpenSim's axes (forward, up, right) in those of the file.
_TO_GROUND = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
_CHANNELS = {
    axis + kind: (kind, "XYZ".index(axis))
    for axis in "XYZ"
    for kind in ("position", "rotation")
}


@dataclass(frozen=True)
class _Joint:
    name: str
    parent: int
    offset: np.ndarray
    channels: tuple[tuple[str, int], ...]


@dataclass
class _Lines:
    """The words of the file's lines that are not blank, one after the other."""

    path: str
    rows: list[tuple[int, list[str]]]
    at: int = 0
    number: int = field(default=0)

    def take(self, wanted: str) -> list[str]:
        """Returns the words of the next line; ``wanted`` is for the message."""
        if self.at >= len(self.rows):
            self.fail(f"the file ends where {wanted} is wanted")
        self.number, words = self.rows[self.at]
        self.at += 1
        return words

    def fail(self, what: str) -> None:
        raise ValueError(f"{self.path}, line {self.number}: {what}")

    def numbers(self, words: list[str], count: int, what: str) -> list[float]:
        """Returns ``count`` finite numbers."""
        try:
            values = [float(w) for w in words]
        except ValueError:
            values = []
        if len(words) != count or not np.isfinite(values or [np.nan] * count).all():
            shown = " ".join(words[:8]) + (" ..." if len(words) > 8 else "")
            self.fail(f"{what} needs {count} numbers; found {len(words)}: {shown!r}")
        return values


def read_bvh(path: str | os.PathLike[str], *, metres_per_unit: float) -> Clip:
    """Reads a BVH file.

    Args:
        path: The file.
        metres_per_unit: Length of the file's unit, which it does not state.

    Returns:
        The joints in every frame, tips of segments with the name of their joint and
        ``_end``. A file that faces another way than Z comes out turned about the
        vertical.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The unit is not positive, or the file is not BVH; the message
            names the line.
    """
    if not (np.isfinite(metres_per_unit) and metres_per_unit > 0):
        raise ValueError(f"metres_per_unit must be positive; it is {metres_per_unit}")
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    rows = [(k, line.split()) for k, line in enumerate(text.splitlines(), 1)]
    lines = _Lines(str(path), [(k, words) for k, words in rows if words])
    joints = _hierarchy(lines)
    values, rate_hz = _motion(lines, sum(len(j.channels) for j in joints))
    positions, rotations = _forward(joints, values)
    return Clip(
        Path(path).stem,
        tuple(j.name for j in joints),
        metres_per_unit * positions @ _TO_GROUND.T,
        _TO_GROUND @ rotations @ _TO_GROUND.T,
        rate_hz,
    )


def _hierarchy(lines: _Lines) -> list[_Joint]:
    if lines.take("HIERARCHY") != ["HIERARCHY"]:
        lines.fail("a BVH file begins with HIERARCHY")
    joints: list[_Joint] = []
    open_joints: list[int] = []
    while not joints or open_joints:
        words = lines.take("a joint or }")
        if words == ["}"] and open_joints:
            open_joints.pop()
        elif words[0] == ("JOINT" if open_joints else "ROOT") and len(words) > 1:
            name = " ".join(words[1:])
            if name in (j.name for j in joints):
                lines.fail(f"joint {name!r} is named twice")
            joints.append(_joint(lines, name, open_joints, tip=False))
            open_joints.append(len(joints) - 1)
        elif words == ["End", "Site"] and open_joints:
            name = joints[open_joints[-1]].name + "_end"
            joints.append(_joint(lines, name, open_joints, tip=True))
            if lines.take("}") != ["}"]:
                lines.fail("an End Site has only an OFFSET; } is wanted")
        else:
            wanted = "JOINT, End Site or }" if open_joints else "ROOT"
            lines.fail(f"{wanted} is wanted; found {' '.join(words)!r}")
    return joints


def _joint(lines: _Lines, name: str, above: list[int], *, tip: bool) -> _Joint:
    """Reads what stands at the head of a joint's braces."""
    if lines.take("{") != ["{"]:
        lines.fail(f"the braces of {name!r} are wanted")
    word, *rest = lines.take("OFFSET")
    if word != "OFFSET":
        lines.fail(f"{name!r} needs its OFFSET first; found {word!r}")
    offset = np.array(lines.numbers(rest, 3, "OFFSET"))
    channels: list[str] = []
    if not tip:
        word, *rest = lines.take("CHANNELS")
        count, *channels = rest or [""]
        unknown = [c for c in channels if c not in _CHANNELS]
        repeated = len(set(channels)) < len(channels)
        if word != "CHANNELS" or count != str(len(channels)) or unknown or repeated:
            lines.fail(
                f"{name!r} needs CHANNELS, their number and as many different ones "
                f"of {', '.join(_CHANNELS)}; found {' '.join([word, *rest])!r}"
            )
    parent = above[-1] if above else -1
    return _Joint(name, parent, offset, tuple(_CHANNELS[c] for c in channels))


def _motion(lines: _Lines, width: int) -> tuple[np.ndarray, float]:
    """Returns the channels of every frame [T, width] and the rate."""
    if lines.take("MOTION") != ["MOTION"]:
        lines.fail("MOTION is wanted after the hierarchy, which has one ROOT")
    word, *rest = lines.take("Frames:")
    if word != "Frames:" or len(rest) != 1 or not rest[0].isdecimal() or rest == ["0"]:
        lines.fail("'Frames:' and their number, at least 1, are wanted")
    frames = int(rest[0])
    words = lines.take("Frame Time:")
    if words[:2] != ["Frame", "Time:"]:
        lines.fail("'Frame Time:' and a number of seconds are wanted")
    (duration,) = lines.numbers(words[2:], 1, "Frame Time:")
    if duration <= 0:
        lines.fail(f"Frame Time must be positive; it is {duration:g}")
    values = [
        lines.numbers(lines.take(f"frame {k + 1} of {frames}"), width, "a frame")
        for k in range(frames)
    ]
    if lines.at < len(lines.rows):
        lines.take("")
        lines.fail(f"the file goes on after its {frames} frames")
    return np.array(values).reshape(frames, width), 1.0 / duration


def _forward(joints: list[_Joint], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions [T, J, 3] and rotations [T, J, 3, 3], in the file's axes."""
    positions: list[np.ndarray] = []
    turns: list[Rotation] = []
    column = 0
    for joint in joints:
        moved = np.tile(joint.offset, (len(values), 1))
        turn = Rotation.identity(len(values))
        for kind, axis in joint.channels:
            if kind == "position":
                moved[:, axis] = values[:, column]
            else:
                about = np.eye(3)[axis] * np.radians(values[:, column, None])
                turn = turn * Rotation.from_rotvec(about)
            column += 1
        if joint.parent < 0:
            positions.append(moved)
            turns.append(turn)
        else:
            above = turns[joint.parent]
            positions.append(positions[joint.parent] + above.apply(moved))
            turns.append(above * turn)
    return np.stack(positions, 1), np.stack([t.as_matrix() for t in turns], 1)
