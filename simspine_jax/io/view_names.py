"""Names of cameras and numbers of frames in the names of files and folders.

A name is read as its words and numbers, so that ``cam_01``, ``cam01`` and ``Cam1``
are one camera, and ``cam1`` is not the start of ``cam10``.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

Token = str | int

_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_ENDING = re.compile(r"_keypoints$", re.IGNORECASE)
# Numbers this many times sparser than the files are no frame numbers.
_LARGEST_GAP = 100


def tokens(name: str) -> tuple[Token, ...]:
    """Returns the words (lower case) and whole numbers of a name, in order."""
    return tuple(
        int(part) if part.isdecimal() else part.lower() for part in _TOKEN.findall(name)
    )


def camera_of(name: str, cameras: Sequence[str]) -> str | None:
    """Returns the camera that a name contains, or None.

    If it contains several, the one with the most words and numbers is meant.

    Args:
        name: Name of a file or folder.
        cameras: Names of cameras.

    Raises:
        ValueError: Two cameras are contained equally.
    """
    inside = tokens(name)
    found = [c for c in cameras if _end_of(tokens(c), inside) is not None]
    longest = max((len(tokens(camera)) for camera in found), default=0)
    best = [camera for camera in found if len(tokens(camera)) == longest]
    if len(best) > 1:
        raise ValueError(
            f"{name!r} contains the names of the cameras {' and '.join(best)}, and it "
            "must contain one"
        )
    return best[0] if best else None


def frame_number(stem: str, cameras: Iterable[str]) -> int | None:
    """Returns the number of ``<camera>...<number>``, or None if that is not the form.

    Args:
        stem: File name without its suffix; ``_keypoints`` at the end is ignored.
        cameras: Names one of which must come before the number.
    """
    stem = _ENDING.sub("", stem)
    inside = tokens(stem)
    if not inside or not stem[-1].isdecimal():
        return None
    for camera in cameras:
        if _end_of(tokens(camera), inside[:-1]) is not None:
            return int(inside[-1])
    return None


def align_frames(numbers: Mapping[str, Iterable[int]], source: object) -> range:
    """Returns the frames that cover all views, evenly spaced.

    They go from the lowest to the highest number of any view, in the largest step
    that meets all of them. A view may lack some.

    Args:
        numbers: Frame numbers of each view, by camera.
        source: Where they came from, for the message.

    Raises:
        ValueError: The views have no number in common, or the numbers are so far
            apart that they do not count frames.
    """
    sets = {camera: set(frames) for camera, frames in numbers.items()}
    if not set.intersection(*sets.values()):
        ranges = ", ".join(
            f"{camera} {min(found)} to {max(found)}" if found else f"{camera} none"
            for camera, found in sets.items()
        )
        raise ValueError(
            f"{source}: the views have no frame number in common, so that they cannot "
            f"be aligned; they have {ranges}"
        )
    every = sorted(set.union(*sets.values()))
    step = math.gcd(*(number - every[0] for number in every)) or 1
    frames = range(every[0], every[-1] + 1, step)
    if len(frames) > _LARGEST_GAP * len(every):
        raise ValueError(
            f"{source}: {len(every)} frames have numbers from {every[0]} to "
            f"{every[-1]}, too far apart to count frames"
        )
    return frames


def _end_of(part: tuple[Token, ...], whole: tuple[Token, ...]) -> int | None:
    """Returns where a run of tokens ends in another, or None if it is not there."""
    if not part:
        return None
    for start in range(len(whole) - len(part) + 1):
        if whole[start : start + len(part)] == part:
            return start + len(part)
    return None
