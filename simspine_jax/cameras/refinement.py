"""Refines a calibration with the people that its cameras filmed.

Cameras and triangulated points are adjusted together (``bundle``) to some frames; the
frames left out tell whether the cameras became better (only the SD of the noise, which
scales all weights alike, is estimated from all of them). Which views agree on a point
depends on the cameras, so that points are triangulated again after each adjustment.

Gauge: people alone do not fix position, orientation and scale of the world. The weak
prior that ties each camera to the given calibration does: of all rigs that fit equally
well the nearest to the given one is found. Lengths in the world thus keep the scale of
the given calibration, and an error of that scale stays.

Source: Triggs et al., Bundle Adjustment: A Modern Synthesis, 2000; people as the
calibration object: Puwein et al., Joint Camera Pose Estimation and 3D Human Pose
Estimation in a Multi-Camera Setup, 2014.
"""

from dataclasses import dataclass

import jax
import numpy as np
from flax import struct

from simspine_jax.cameras import bundle
from simspine_jax.cameras.triangulation import Triangulation, require, triangulate
from simspine_jax.types import Array, CameraRig, Detections2D

_ROUNDS = 4  # triangulations, each with an adjustment after it
_SETTLED = 1e-5  # rad and m: a round that changes no camera by more is the last
_MIN_VIEWS = 3  # two rays meet too easily to tell much of the cameras
_LEAST_POINTS = 50


@dataclass(frozen=True)
class RefinementOptions:
    """How a calibration is refined.

    Attributes:
        focal: Whether focal lengths are refined too, one factor for each camera.
        huber_sds: Miss, in SDs of the noise that triangulation finds, beyond which
            Huber's loss is linear.
        max_points: Points to adjust to at most, drawn at random.
        held_out: Share of the frames that only judge, evenly spread: 0.25 is every
            fourth frame.
        max_steps: Steps of each adjustment at most.
        rotation_deg: Prior SD of a camera's rotation about the given one.
        translation_m: Prior SD of each component of a camera's displacement.
        focal_percent: Prior SD of a focal length.
        seed: Of the drawing of points.

    Raises:
        ValueError: A number out of range.
    """

    focal: bool = False
    huber_sds: float = 2.0
    max_points: int = 4000
    held_out: float = 0.25
    max_steps: int = 30
    rotation_deg: float = 1.0
    translation_m: float = 0.05
    focal_percent: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:  # noqa: D105
        positive = ("huber_sds", "rotation_deg", "translation_m", "focal_percent")
        for name in positive:
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} must be positive and finite; it is {getattr(self, name)}"
                )
        for name, least in (("max_points", _LEAST_POINTS), ("max_steps", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(
                    f"{name} must be at least {least}; it is {getattr(self, name)}"
                )
        if not 0 < self.held_out <= 0.5:
            raise ValueError(
                f"held_out must be above 0 and at most 0.5; it is {self.held_out}"
            )


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


@struct.dataclass
class Refined:
    """A refined calibration.

    Attributes:
        rig: The refined cameras.
        before: Error of the given rig.
        after: Error of the refined rig, over the same detections: those that agree
            with their point by both rigs.
        rotation_deg: Turn of each camera. Shape [C].
        translation_mm: Displacement of each camera's centre. Shape [C].
        focal_percent: Change of each focal length; 0 where not refined. Shape [C].
        points: Points adjusted to, in the last round.
        steps: Steps of all adjustments.
    """

    rig: CameraRig
    before: HeldOutError
    after: HeldOutError
    rotation_deg: Array
    translation_mm: Array
    focal_percent: Array
    points: int = struct.field(pytree_node=False)
    steps: int = struct.field(pytree_node=False)


def refine(
    rig: CameraRig,
    detections: Detections2D,
    options: RefinementOptions = RefinementOptions(),
) -> Refined:
    """Refines the places of cameras, and focal lengths on request.

    Args:
        rig: Given calibration, in the order of the detections' views.
        detections: One person, or any points with names, in those views.
        options: See ``RefinementOptions``.

    Returns:
        The refined rig with its error before and after. Cameras that no point uses
        stay where they are.

    Raises:
        ValueError: Fewer than three cameras, single precision, too few points that
            three views agree on, or what ``triangulate`` refuses.
    """
    require(rig, detections)
    cameras = len(rig.names)
    if cameras < _MIN_VIEWS:
        raise ValueError(
            f"refinement takes at least {_MIN_VIEWS} cameras; the rig has {cameras}"
        )
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            "refinement needs double precision; call "
            'jax.config.update("jax_enable_x64", True) first'
        )
    given = jax.tree.map(lambda a: np.array(a, np.float64), rig)
    held = _held_out(len(detections.points), options)
    count = 7 if options.focal else 6
    change, steps, used, now = np.zeros((cameras, count)), 0, 0, given
    first = solved = triangulate(given, detections)
    for _ in range(_ROUNDS):
        problem, points, used = _problem(given, detections, solved, ~held, options)
        found = bundle.adjust(problem, change, points, options.max_steps)
        steps += found.steps
        last, change = change, np.asarray(found.change)
        now = jax.tree.map(np.asarray, bundle.moved(given, change))
        solved = triangulate(now, detections)
        if np.abs(change - last).max() < _SETTLED:
            break
    before, after = _errors(first, solved, detections, held)
    return Refined(
        rig=now,
        before=before,
        after=after,
        rotation_deg=np.degrees(np.linalg.norm(change[:, :3], axis=1)),
        translation_mm=1000 * np.linalg.norm(change[:, 3:6], axis=1),
        focal_percent=100 * np.expm1(change[:, 6])
        if options.focal
        else np.zeros(cameras),
        points=used,
        steps=steps,
    )


def _held_out(frames: int, options: RefinementOptions) -> np.ndarray:
    share = (np.arange(frames) + 1) * options.held_out
    return np.floor(share + 1e-9) > np.floor(share - options.held_out + 1e-9)


def _problem(
    given: CameraRig,
    detections: Detections2D,
    solved: Triangulation,
    fitted: np.ndarray,
    options: RefinementOptions,
) -> tuple[bundle.Problem, np.ndarray, int]:
    """Returns what to adjust to, the points [3, L], m, and how many are real."""
    used, valid = np.asarray(solved.used_views), np.asarray(solved.valid)
    good = valid & (used.sum(axis=1) >= _MIN_VIEWS) & fitted[:, None]
    places = np.argwhere(good)
    if len(places) < _LEAST_POINTS:
        raise ValueError(
            f"refinement takes at least {_LEAST_POINTS} points that {_MIN_VIEWS} views "
            f"agree on; the frames that are not held out have {len(places)}"
        )
    if len(places) > options.max_points:
        rng = np.random.default_rng(options.seed)
        kept = rng.choice(len(places), options.max_points, replace=False)
        places = places[np.sort(kept)]
    # Filled up with a point that no view sees: rounds share one compilation.
    size, real = min(options.max_points, fitted.sum() * good.shape[1]), len(places)
    t, k = np.concatenate([places, np.repeat(places[:1], size - real, axis=0)]).T
    confidence = np.asarray(detections.confidence, np.float64)[t, :, k].T
    weight = np.where(used[t, :, k].T, confidence, 0.0) / float(solved.noise_px) ** 2
    weight[:, real:] = 0.0
    pixels = np.asarray(detections.points, np.float64)[t, :, k].swapaxes(0, 1)
    sds = [np.radians(options.rotation_deg)] * 3 + [options.translation_m] * 3
    sds += [options.focal_percent / 100] * options.focal
    pull = 1 / np.array(sds) ** 2
    problem = bundle.Problem(given, pixels, weight, options.huber_sds, pull)
    return problem, np.asarray(solved.points)[t, k].T, real


def _errors(
    first: Triangulation,
    last: Triangulation,
    detections: Detections2D,
    held: np.ndarray,
) -> tuple[HeldOutError, HeldOutError]:
    """Returns the errors of two rigs over the detections that both use."""
    solved, uses = (first, last), []
    for each in solved:
        used = np.asarray(each.used_views) & held[:, None, None]
        uses.append(used & (used.sum(axis=1, keepdims=True) >= _MIN_VIEWS))
    both = uses[0] & uses[1]
    if not both.any():
        raise ValueError(
            f"no point of the held-out frames has {_MIN_VIEWS} views that agree"
        )
    seen = (np.asarray(detections.confidence)[held] > 0).sum()
    before, after = (
        HeldOutError(
            float(np.mean(each.reprojection_error[both])),
            float(np.median(each.reprojection_error[both])),
            float(use.sum() / seen),
        )
        for each, use in zip(solved, uses, strict=True)
    )
    return before, after
