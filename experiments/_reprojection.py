"""Reprojection errors of anybody's points, by OpenCV."""

from dataclasses import dataclass

import cv2
import numpy as np

from simspine_jax.types import CameraRig, Detections2D


@dataclass(frozen=True)
class Measured:
    """Reprojection errors of a method.

    Attributes:
        name: In the metrics.
        label: In the table.
        mean_px: Mean over the observations used.
        median_px: Their median.
        used: How many these are.
        used_share: The same over all detections.
        valid_share: Points found over those that two views see.
    """

    name: str
    label: str
    mean_px: float
    median_px: float
    used: int
    used_share: float
    valid_share: float

    def metrics(self) -> dict[str, float]:
        """Returns its numbers by name."""
        return {
            f"reprojection_px_mean_{self.name}": self.mean_px,
            f"reprojection_px_median_{self.name}": self.median_px,
            f"observations_used_{self.name}": self.used,
            f"observations_used_fraction_{self.name}": self.used_share,
            f"points_valid_fraction_{self.name}": self.valid_share,
        }


def judged(
    name: str,
    label: str,
    rig: CameraRig,
    detections: Detections2D,
    points: np.ndarray,
    used: np.ndarray,
) -> Measured:
    """Returns the reprojection errors of points, by OpenCV.

    Args:
        name: In the metrics.
        label: In the table.
        rig: Cameras.
        detections: What was triangulated.
        points: NaN where there is none, m. Shape [T, K, 3].
        used: Observations that the points are from. Shape [T, C, K].

    Raises:
        ValueError: No observation was used.
    """
    seen = np.asarray(detections.confidence) > 0
    able = np.asarray(seen.sum(axis=1) >= 2)
    there = np.asarray(np.isfinite(points).all(axis=-1))
    used = used & seen & there[:, None]
    if not used.any():
        raise ValueError(f"{label}: no point was found")
    errors = []
    for c in range(len(rig.names)):
        mine = used[:, c]
        if not mine.any():
            continue
        place = cv2.projectPoints(
            points[mine],
            cv2.Rodrigues(np.asarray(rig.rotation[c]))[0],
            np.asarray(rig.translation[c]),
            np.asarray(rig.matrix[c]),
            np.asarray(rig.distortion[c]),
        )[0][:, 0]
        miss = place - np.asarray(detections.points)[:, c][mine]
        errors.append(np.linalg.norm(miss, axis=1))
    error = np.concatenate(errors)
    return Measured(
        name,
        label,
        float(error.mean()),
        float(np.median(error)),
        len(error),
        float(len(error) / seen.sum()),
        float((used.any(axis=1) & able).sum() / able.sum()),
    )
