"""Whether detections were seen by the cameras that they are said to be of.

A calibration of another session mostly looks like a poor one: nearly all points can be
triangulated, as the noise is estimated from them. What tells it is that other cameras
at hand fit much better.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simspine_jax.cameras.triangulation import triangulate
from simspine_jax.types import CameraRig, Detections2D

_FRAMES = 48
_MUCH = 0.5


@dataclass(frozen=True)
class RigCheck:
    """How well rigs fit some detections.

    Attributes:
        own: Name of the rig that they are said to be of.
        error_px: Median distance of the detections that agree, by rig; inf where fewer
            than half of the points can be triangulated.
    """

    own: str
    error_px: dict[str, float]

    @property
    def better(self) -> str | None:
        """The rig that fits best where it fits much better than the own, else None."""
        best = min(self.error_px, key=lambda name: self.error_px[name])
        much = self.error_px[best] < _MUCH * self.error_px[self.own]
        return best if best != self.own and much else None


def check_rig(
    rigs: Mapping[str, CameraRig], own: str, detections: Detections2D
) -> RigCheck:
    """Compares rigs on some frames.

    Args:
        rigs: By name; those with another number of cameras are passed over.
        own: Which of them the detections are said to be of.
        detections: Of one person.

    Returns:
        The errors. "Much better" is half the error or less.

    Raises:
        ValueError: The own rig is not among them, or has another number of views.
    """
    if own not in rigs:
        raise ValueError(f"there is no rig {own!r}; there are {', '.join(rigs)}")
    frames = len(detections.points)
    few = np.unique(np.linspace(0, frames - 1, min(frames, _FRAMES)).astype(int))
    part: Detections2D = detections.replace(  # pyright: ignore
        points=np.asarray(detections.points)[few],
        confidence=np.asarray(detections.confidence)[few],
    )
    views = part.points.shape[1]
    same = {n: r for n, r in rigs.items() if n == own or len(r.names) == views}
    return RigCheck(own, {name: _error(rig, part) for name, rig in same.items()})


def _error(rig: CameraRig, detections: Detections2D) -> float:
    found = triangulate(rig, detections)
    could = (np.asarray(detections.confidence) > 0).sum(axis=1) >= 2
    valid, used = np.asarray(found.valid), np.asarray(found.used_views)
    if not could.any() or valid[could].mean() < 0.5 or not used.any():
        return float("inf")
    return float(np.median(np.asarray(found.reprojection_error)[used]))
