"""How well views agree with the points triangulated from them, in numbers."""

from dataclasses import dataclass

import jax
import numpy as np

from simspine_jax.cameras import pinhole
from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.types import CameraRig, Detections2D

_THIGHS = (("LHip", "LKnee"), ("RHip", "RKnee"))
_NOTHING_PX = 1e-3
_project = jax.jit(pinhole.project)


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
class ErrorParts:
    """Shares of the mean squared reprojection error; they sum to one.

    Attributes:
        camera: One offset (px) for all keypoints and frames of a camera.
        keypoint: What each keypoint has besides in each camera, in all frames.
        slow: What changes along the trial, but little from frame to frame.
        scatter: From frame to frame: half the mean square of the differences of
            consecutive frames (von Neumann).
    """

    camera: float
    keypoint: float
    slow: float
    scatter: float

    def __str__(self) -> str:
        """Returns one sentence: the parts, and what the largest one means."""
        causes = (
            (self.camera, "the places and directions of the cameras limit it"),
            (self.keypoint, "where the detector puts keypoints in a view limits it"),
            (self.slow, "what varies with pose and place limits it"),
            (self.scatter, "the scatter of the detector limits it"),
        )
        return (
            f"of the mean squared reprojection error {self.camera:.0%} is a constant "
            f"offset of a whole camera, {self.keypoint:.0%} one of single keypoints in "
            f"a camera, {self.slow:.0%} changes slowly and {self.scatter:.0%} is "
            f"scatter from frame to frame: {max(causes)[1]}"
        )


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
        parts: What the error is made of; None where there is none, or no camera uses
            a keypoint in two consecutive frames.
    """

    views: tuple[ViewSummary, ...]
    mean_px: float
    median_px: float
    used_fraction: float
    valid_fraction: float
    noise_px: float
    thigh_m: tuple[tuple[float, float], ...]
    parts: ErrorParts | None


def summarise(
    found: Triangulation, detections: Detections2D, rig: CameraRig
) -> Summary:
    """Returns the summary of a trial.

    Args:
        found: Points of T frames in the rig's world.
        detections: What they were triangulated from.
        rig: The cameras.
    """
    error, used = np.asarray(found.reprojection_error), np.asarray(found.used_views)
    seen, valid = np.asarray(detections.confidence) > 0, np.asarray(found.valid)
    able = seen.sum(axis=1) >= 2
    views = []
    for c, camera in enumerate(rig.names):
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
    miss = np.asarray(_project(rig, found.points)) - np.asarray(detections.points)
    return Summary(
        tuple(views),
        _mean(error[used]),
        _quantile(error[used], 0.5),
        float(used.sum() / max(possible, 1)),
        float(valid.sum() / max(able.sum(), 1)),
        float(found.noise_px),
        _thighs(found, detections.keypoint_names),
        error_parts(miss, used),
    )


def error_parts(miss: np.ndarray, used: np.ndarray) -> ErrorParts | None:
    """Splits misses into what is constant, what changes slowly, and scatter.

    Scatter alone would leave means that are not zero; what it adds to them is taken
    off, so that misses independent from frame to frame have no constant part.

    Args:
        miss: Pixels, reprojected minus detected. Shape [T, C, K, 2].
        used: Which of them count. Shape [T, C, K].

    Returns:
        The parts; None where the misses are mere rounding, or no camera has two
        consecutive frames of a keypoint.
    """
    both = used[1:] & used[:-1]
    total = float((miss[used] ** 2).sum())
    if not both.any() or total < used.sum() * _NOTHING_PX**2:
        return None
    miss = np.where(used[..., None], miss, 0.0)
    steps = (np.diff(miss, axis=0) ** 2).sum(axis=-1)
    scatter = float(steps[both].mean()) / 2

    def constant(axes: tuple[int, ...]) -> float:
        """Squares of the means over some axes, summed over all observations."""
        count = used.sum(axis=axes)
        square = (miss.sum(axis=axes) ** 2).sum(axis=-1) / np.maximum(count, 1)
        return max(float(square.sum()) - scatter * int((count > 0).sum()), 0.0)

    camera, each = constant((0, 2)), constant((0,))
    scattered = scatter * int(used.sum())
    parts = np.array(
        [camera, max(each - camera, 0.0), max(total - each - scattered, 0.0), scattered]
    )
    return ErrorParts(*(parts / parts.sum()).tolist())


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
