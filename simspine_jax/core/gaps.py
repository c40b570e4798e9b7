"""Short gaps of points seen over time, filled from the frames around them.

A gap is a run of frames in which a point was not seen. It lies inside where the point
was seen before and after it. A stretch is a run of frames between two gaps that stay.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy import interpolate

METHODS = ("linear", "cubic", "pchip")


def fill(
    points: Float[np.ndarray, "t k 3"],
    valid: Bool[np.ndarray, "t k"],
    max_frames: int,
    method: str = "cubic",
) -> tuple[
    Float[np.ndarray, "t k 3"], Bool[np.ndarray, "t k"], Bool[np.ndarray, "t k"]
]:
    """Fills the gaps inside that are short enough; all else stays as it is.

    A gap is filled from the seen frames of its own stretch only: nothing is carried
    across a gap that stays.

    Args:
        points: Positions, any unit of length. What stands where not valid is not used.
        valid: Whether the point was seen.
        max_frames: Longest gap that is filled, frames; 0 fills none.
        method: "linear"; "cubic", a spline with continuous acceleration, a parabola
            or a line where it has three or two frames; or "pchip", a cubic that
            never leaves the range of its two neighbours.

    Returns:
        The points, whether each is now seen or filled, and whether it was filled.

    Raises:
        ValueError: An unknown method or a negative length.

    Source: numpy's ``interp``; scipy's ``CubicSpline`` (not-a-knot ends) and
    ``PchipInterpolator``.
    """
    if method not in METHODS:
        raise ValueError(
            f"gaps cannot be filled by {method!r}; choose one of {METHODS}"
        )
    if max_frames < 0:
        raise ValueError(
            f"the longest gap to fill must not be negative; it is {max_frames} frames"
        )
    filled = short_gaps(valid, max_frames)
    points = points.copy()
    for k in np.flatnonzero(filled.any(axis=0)):
        for stretch in runs(valid[:, k] | filled[:, k]):
            frames = np.arange(stretch.start, stretch.stop)
            seen, missing = frames[valid[stretch, k]], frames[filled[stretch, k]]
            if missing.size:
                curve = _curve(method, seen, points[seen, k])
                points[missing, k] = curve(missing)
    return points, valid | filled, filled


def short_gaps(
    valid: Bool[np.ndarray, "t k"], max_frames: int
) -> Bool[np.ndarray, "t k"]:
    """Returns which frames lie in a gap inside of at most ``max_frames`` frames."""
    short = np.zeros_like(valid)
    for k in range(valid.shape[1]):
        for gap in runs(~valid[:, k]):
            inside = gap.start > 0 and gap.stop < len(valid)
            if inside and gap.stop - gap.start <= max_frames:
                short[gap, k] = True
    return short


def runs(mask: Bool[np.ndarray, " t"]) -> list[slice]:
    """Returns the runs of consecutive frames for which a mask holds, first to last."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _curve(
    method: str, frames: np.ndarray, values: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the curve through values [N, 3] at some frames."""
    if method == "cubic":
        return interpolate.CubicSpline(frames, values)
    if method == "pchip":
        return interpolate.PchipInterpolator(frames, values)
    return lambda at: np.stack([np.interp(at, frames, v) for v in values.T], axis=-1)
