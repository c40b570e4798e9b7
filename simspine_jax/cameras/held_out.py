"""Judging cameras by frames that they were not adjusted to.

Frames that judge are whole stretches: what a detector gets wrong lasts for some
frames, and the neighbours of a frame that was adjusted to would look too good.
"""

import numpy as np
from flax import struct

from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.types import Detections2D

MIN_VIEWS = 3  # two rays meet too easily to tell much of the cameras


@struct.dataclass
class HeldOutError:
    """Reprojection error on the frames that were held out.

    Attributes:
        mean_px: Mean distance between detection and projected point, px.
        median_px: Median of the same, px.
        agreeing: Share of the detections that agree with their point, where at
            least three views agree.
    """

    mean_px: float
    median_px: float
    agreeing: float


def frames(count: int, share: float) -> np.ndarray:
    """Returns which frames only judge: the middle of each half of a trial. Shape [T].

    Args:
        count: T.
        share: Of the frames.
    """
    place = (2 * np.arange(count) + 1) / count % 1.0  # in its half, from 0 to 1
    return np.abs(place - 0.5 + 1e-9) < share / 2


def errors(
    solved: tuple[Triangulation, ...], detections: Detections2D, held: np.ndarray
) -> list[HeldOutError]:
    """Returns the error of each triangulation over the detections that all use.

    Args:
        solved: Triangulations by several rigs.
        detections: What they are of.
        held: Frames that judge. Shape [T].

    Raises:
        ValueError: No detection of these frames is used by all.
    """
    uses = []
    for each in solved:
        used = np.asarray(each.used_views) & held[:, None, None]
        uses.append(used & (used.sum(axis=1, keepdims=True) >= MIN_VIEWS))
    shared = np.all(uses, axis=0)
    if not shared.any():
        raise ValueError(
            f"no point of the held-out frames has {MIN_VIEWS} views that agree"
        )
    seen = (np.asarray(detections.confidence)[held] > 0).sum()
    return [
        HeldOutError(
            float(np.mean(each.reprojection_error[shared])),
            float(np.median(each.reprojection_error[shared])),
            float(use.sum() / seen),
        )
        for each, use in zip(solved, uses, strict=True)
    ]
