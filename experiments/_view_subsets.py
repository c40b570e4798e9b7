"""Points from as many views as leave a small mean error, by our triangulation.

Pose2Sim's rule: a point is from all views if their mean reprojection error is at most a
threshold, or else from the views of which fewest are left out. Every set of views is
triangulated by least squares, believed as it is.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from simspine_jax.cameras.triangulation import TriangulationOptions, triangulate
from simspine_jax.types import CameraRig, Detections2D

ALL_AGREE_PX = 1000.0  # noise by which no view is left out
_HALVINGS = 20


@dataclass(frozen=True)
class Subsets:
    """Points of all sets of at least two views.

    Attributes:
        points: m. Shape [S, T, K, 3].
        error: Mean reprojection error, px; inf where not all views of the set see the
            point. Shape [S, T, K].
        views: Of each set. Shape [S, C].
    """

    points: np.ndarray
    error: np.ndarray
    views: np.ndarray

    def fewest_left_out(self, threshold_px: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns points, NaN where there is none, [T, K, 3], and views, [T, C, K]."""
        count = self.views.sum(axis=1)[:, None, None]
        good = np.asarray(self.error <= threshold_px)
        # More views first, then less error, which is below the threshold.
        merit = np.where(good, count - self.error / (threshold_px + 1.0), -np.inf)
        best = np.argmax(merit, axis=0)
        found = np.asarray(good.any(axis=0))
        pick = np.take_along_axis(self.points, best[None, :, :, None], axis=0)[0]
        used = np.moveaxis(self.views[best], 2, 1) & found[:, None]
        return np.where(found[..., None], pick, np.nan), used


def all_subsets(rig: CameraRig, detections: Detections2D) -> Subsets:
    """Triangulates every set of at least two views of every point."""
    score = np.asarray(detections.confidence)
    cameras = score.shape[1]
    options = TriangulationOptions(noise_px=ALL_AGREE_PX)
    points, errors, sets = [], [], []
    for size in range(2, cameras + 1):
        for chosen in itertools.combinations(range(cameras), size):
            mine = np.isin(np.arange(cameras), chosen)
            part = np.where(mine[:, None], score, 0.0)
            if not ((part > 0).sum(axis=1) == size).any():
                continue
            only = Detections2D(
                detections.points,
                part,
                detections.keypoint_names,
                detections.rate_hz,
            )
            one = triangulate(rig, only, options)
            whole = np.asarray(one.used_views).sum(axis=1) == size
            mean = np.asarray(one.reprojection_error).sum(axis=1) / size
            points.append(np.asarray(one.points))
            errors.append(np.where(whole & one.valid, mean, np.inf))
            sets.append(mine)
    return Subsets(np.array(points), np.array(errors), np.array(sets))


def as_many(subsets: Subsets, least: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Returns the least threshold, px, that uses so many observations, and its points.

    Raises:
        ValueError: There are not so many observations.
    """
    low, high = 0.0, float(subsets.error[np.isfinite(subsets.error)].max())
    points, used = subsets.fewest_left_out(high)
    if used.sum() < least:
        raise ValueError(
            f"at most {used.sum()} observations can be used; {least} are asked for"
        )
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        fewer = subsets.fewest_left_out(middle)
        if fewer[1].sum() >= least:
            high, (points, used) = middle, fewer
        else:
            low = middle
    return high, points, used
