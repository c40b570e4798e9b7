"""How well views agree with the points triangulated from them, in numbers."""

from dataclasses import dataclass

import numpy as np

from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.types import Detections2D

_THIGHS = (("LHip", "LKnee"), ("RHip", "RKnee"))


@dataclass(frozen=True)
class ViewSummary:
    """Reprojection of one camera.

    Attributes:
        camera: Its name.
        detected: Observations that it has.
        used: Those that the points agree with.
        mean_px: Mean distance of the used ones.
        median_px: Their median.
        far_px: 95th percentile of all of valid points.
    """

    camera: str
    detected: int
    used: int
    mean_px: float
    median_px: float
    far_px: float


@dataclass(frozen=True)
class Summary:
    """Of a trial.

    Attributes:
        views: Each camera.
        mean_px: Mean reprojection error over all used observations.
        median_px: Their median.
        used_fraction: Used observations over those of points that two views saw.
        valid_fraction: Valid points over those that two views saw.
        noise_px: SD of a pixel component.
        thigh_m: Mean length and SD of each thigh; empty without hips and knees.
    """

    views: tuple[ViewSummary, ...]
    mean_px: float
    median_px: float
    used_fraction: float
    valid_fraction: float
    noise_px: float
    thigh_m: tuple[tuple[float, float], ...]


def summarise(
    found: Triangulation, detections: Detections2D, cameras: tuple[str, ...]
) -> Summary:
    """Returns the summary of a trial."""
    error, used = np.asarray(found.reprojection_error), np.asarray(found.used_views)
    seen, valid = np.asarray(detections.confidence) > 0, np.asarray(found.valid)
    able = seen.sum(axis=1) >= 2
    views = []
    for c, camera in enumerate(cameras):
        own, all_own = error[:, c][used[:, c]], error[:, c][seen[:, c] & valid]
        views.append(
            ViewSummary(
                camera,
                int(seen[:, c].sum()),
                int(used[:, c].sum()),
                _mean(own),
                _quantile(own, 0.5),
                _quantile(all_own, 0.95),
            )
        )
    possible = (seen & able[:, None]).sum()
    return Summary(
        tuple(views),
        _mean(error[used]),
        _quantile(error[used], 0.5),
        float(used.sum() / max(possible, 1)),
        float(valid.sum() / max(able.sum(), 1)),
        float(found.noise_px),
        _thighs(found, detections.keypoint_names),
    )


def _thighs(
    found: Triangulation, names: tuple[str, ...]
) -> tuple[tuple[float, float], ...]:
    lengths = []
    for hip, knee in _THIGHS:
        if hip in names and knee in names:
            ends = [names.index(hip), names.index(knee)]
            both = np.asarray(found.valid)[:, ends].all(axis=1)
            if both.any():
                one, other = np.asarray(found.points)[both][:, ends].swapaxes(0, 1)
                length = np.linalg.norm(one - other, axis=1)
                lengths.append((float(length.mean()), float(length.std())))
    return tuple(lengths)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _quantile(values: np.ndarray, share: float) -> float:
    return float(np.quantile(values, share)) if values.size else 0.0
