"""Points in a room and what the cameras saw of them, and how a method did on them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from simspine_jax.cameras import pinhole
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import CameraRig

_SUBJECT = "S1"
_LOW_M, _HIGH_M = (-1.5, -1.5, 0.1), (1.5, 1.5, 1.9)  # a room in Z-up coordinates
_PAIR = (0, 1)  # the views that methods for two take


class Scene(NamedTuple):
    """Points and what the cameras saw of them.

    Attributes:
        rig: C cameras.
        pixels: 0 where missing. Shape [N, C, 2].
        seen: Whether a camera saw a point. Shape [N, C].
        truth: The points, m. Shape [N, 3].
        wrong: Whether one view of a point is far off. Shape [N].
    """

    rig: CameraRig
    pixels: np.ndarray
    seen: np.ndarray
    truth: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True)
class Measured:
    """How one method did.

    Attributes:
        name: Ends the names of its metrics; "" for ours, steady and double.
        label: For the table.
        points: How many it was given.
        seconds: Of each repeat.
        error_mm: NaN where it has no answer. Shape [points].
        wrong: Which points have a view that is far off. Shape [points].
        peer: Whether it is another tool.
    """

    name: str
    label: str
    points: int
    seconds: list[float]
    error_mm: np.ndarray
    wrong: np.ndarray
    peer: bool = False

    def metrics(self) -> dict[str, float]:
        """Returns rates, errors and the share of points with an answer."""
        rates = self.points / np.array(self.seconds)
        valid = np.isfinite(self.error_mm)
        given = self.error_mm[valid]
        if not len(given):
            raise ValueError(f"{self.label}: no point was found; give it more points")
        found = {
            "points_per_second": np.median(rates),
            "points_per_second_min": rates.min(),
            "points_per_second_max": rates.max(),
            "error_mm_median": np.median(given),
            "error_mm_p95": np.percentile(given, 95),
            "valid_share": valid.mean(),
        }
        misled = self.error_mm[valid & self.wrong]
        if len(misled):
            found["error_mm_median_wrong_view"] = np.median(misled)
        end = f"_{self.name}" if self.name else ""
        return {f"{key}{end}": float(value) for key, value in found.items()}


def make_scene(config: Any) -> Scene:
    """Returns the points; the same for the same configuration.

    Raises:
        ValueError: The points do not fill whole frames.
    """
    if config.points < 1 or config.points % config.keypoints:
        raise ValueError(
            f"points must be a multiple of keypoints, {config.keypoints}; it is "
            f"{config.points}"
        )
    rig, rng = h36m_rig(_SUBJECT), np.random.default_rng(config.seed)
    truth = rng.uniform(_LOW_M, _HIGH_M, (config.points, 3))
    exact = np.asarray(pinhole.project(rig, truth[:, None]))[:, :, 0]  # [N, C, 2]
    pixels = exact + config.noise_px * rng.normal(size=exact.shape)
    seen = rng.random(exact.shape[:2]) >= config.missing_share
    wrong = (rng.random(config.points) < config.wrong_share) & seen.any(axis=1)
    # A view that was seen, at random.
    view = np.where(seen, rng.random(seen.shape), -1.0).argmax(axis=1)
    nearest_px, farthest_px = config.wrong_px
    far_px = rng.uniform(nearest_px, farthest_px, config.points)
    angle = rng.uniform(0, 2 * np.pi, config.points)
    away = far_px[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    pixels[np.flatnonzero(wrong), view[wrong]] += away[wrong]
    return Scene(rig, np.where(seen[..., None], pixels, 0.0), seen, truth, wrong)


def judged(
    name: str,
    label: str,
    scene: Scene,
    seconds: list[float],
    points: np.ndarray,
    valid: np.ndarray,
    *,
    peer: bool = False,
) -> Measured:
    """Compares points with the truth."""
    count = len(scene.truth)
    points, valid = points.reshape(-1, 3)[:count], valid.ravel()[:count]
    error_mm = 1e3 * np.linalg.norm(points - scene.truth, axis=1)
    error_mm = np.where(valid, error_mm, np.nan)
    return Measured(name, label, count, seconds, error_mm, scene.wrong, peer)


def pair_of(scene: Scene) -> tuple[Scene, np.ndarray]:
    """Returns the scene with two views, and which points both see."""
    pair = list(_PAIR)
    rig = scene.rig
    rig = jax.tree.map(lambda a: np.asarray(a)[pair], rig).replace(
        names=tuple(rig.names[c] for c in pair)
    )
    seen = scene.seen[:, pair]
    less = scene._replace(rig=rig, pixels=scene.pixels[:, pair], seen=seen)
    return less, np.all(seen, axis=1, keepdims=True)[:, 0]


def cut(scene: Scene, which: Any) -> Scene:
    """Returns some of the points."""
    return Scene(scene.rig, *(a[which] for a in scene[1:]))


def framed(a: np.ndarray, config: Any) -> np.ndarray:
    """Gives [N, C, ...] the axes [T, C, K, ...]."""
    return a.reshape(-1, config.keypoints, *a.shape[1:]).swapaxes(1, 2)


def repeated(call: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """Returns the seconds of each call after a first, and the last answer.

    The first may compile.
    """
    answer, seconds = call(), []
    for _ in range(repeats):
        took, answer = timed(call)
        seconds.append(took)
    return seconds, answer


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the seconds of a call and its answer."""
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer
