"""Refines a calibration with the people that its cameras filmed.

Cameras and triangulated points are adjusted together (``bundle``) to some frames; the
frames left out tell whether the cameras became better (only the SD of the noise, which
scales all weights alike, is estimated from all of them). Which views agree on a point
depends on the cameras, so that points are triangulated again after each adjustment.

A detector puts a keypoint seen from behind elsewhere than one seen from the front. Each
keypoint may therefore have a bias in each view, the same in all frames, which is
adjusted together with the cameras and kept small by a prior. It is that of this person
in this pose: where a person turns about, it averages out. Without it cameras take the
biases up: of simulated captures with 5 px of bias, 4 px of noise that lasts and cameras
off by 0.39 deg and 18 mm, those refined without were off by 0.40 deg and 21 mm, those
with by 0.24 deg and 12 mm; without bias in the detections both did equally well.

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
from jaxtyping import Float

from simspine_jax.cameras import bundle, held_out
from simspine_jax.cameras.held_out import MIN_VIEWS, HeldOutError
from simspine_jax.cameras.triangulation import Triangulation, require, triangulate
from simspine_jax.types import Array, CameraRig, Detections2D

_ROUNDS = 4  # triangulations, each with an adjustment after it
_SETTLED = 1e-5  # rad and m: a round that changes no camera by more is the last
_LEAST_POINTS = 50


@dataclass(frozen=True)
class RefinementOptions:
    """How a calibration is refined.

    Attributes:
        focal: Whether focal lengths are refined too, one factor for each camera.
        huber_sds: Miss, in SDs of the noise that triangulation finds, beyond which
            Huber's loss is linear.
        max_points: Points to adjust to at most, drawn at random.
        held_out: Share of the frames that only judge: a stretch in the middle of each
            half of the trial.
        max_steps: Steps of each adjustment at most.
        rotation_deg: Prior SD of a camera's rotation about the given one.
        translation_m: Prior SD of each component of a camera's displacement.
        focal_percent: Prior SD of a focal length.
        bias_px: Prior SD of each component of a keypoint's bias in a view; 0 for no
            biases. It is small because frames, whose misses last, tell less than the
            adjustment believes: 1 px allowed 3 px of bias in a trial of 100 frames.
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
    bias_px: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:  # noqa: D105
        positive = ("huber_sds", "rotation_deg", "translation_m", "focal_percent")
        for name in positive:
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} must be positive and finite; it is {getattr(self, name)}"
                )
        if not 0 <= self.bias_px < np.inf:
            raise ValueError(
                f"bias_px must be 0 or more and finite; it is {self.bias_px}"
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
class Refined:
    """A refined calibration.

    Attributes:
        rig: The refined cameras.
        before: Error of the given rig.
        after: Error of the refined rig, over the same detections: those that agree
            with their point each time.
        unbiased: The same with biases taken out of the detections.
        rotation_deg: Turn of each camera. Shape [C].
        translation_mm: Displacement of each camera's centre. Shape [C].
        focal_percent: Change of each focal length; 0 where not refined. Shape [C].
        bias_px: What each view adds to each keypoint's place; 0 without biases. Shape
            [C, K, 2].
        points: Points adjusted to, in the last round.
        steps: Steps of all adjustments.
    """

    rig: CameraRig
    before: HeldOutError
    after: HeldOutError
    unbiased: HeldOutError
    rotation_deg: Array
    translation_mm: Array
    focal_percent: Array
    bias_px: Array
    points: int = struct.field(pytree_node=False)
    steps: int = struct.field(pytree_node=False)


def refine(
    rig: CameraRig,
    detections: Detections2D,
    options: RefinementOptions = RefinementOptions(),
) -> Refined:
    """Refines the places of cameras, and focal lengths on request.

    Triangulate ``without_bias(detections, refined.bias_px)`` with the refined rig.

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
    if cameras < MIN_VIEWS:
        raise ValueError(
            f"refinement takes at least {MIN_VIEWS} cameras; the rig has {cameras}"
        )
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            "refinement needs double precision; call "
            'jax.config.update("jax_enable_x64", True) first'
        )
    given = jax.tree.map(lambda a: np.array(a, np.float64), rig)
    held = held_out.frames(len(detections.points), options.held_out)
    count = 7 if options.focal else 6
    keypoints = len(detections.keypoint_names) if options.bias_px else 0
    change, bias = np.zeros((cameras, count)), np.zeros((cameras, keypoints, 2))
    steps, used, now = 0, 0, given
    first = solved = triangulate(given, detections)
    for _ in range(_ROUNDS):
        problem, points, used = _problem(given, detections, solved, ~held, options)
        found = bundle.adjust(problem, change, bias, points, options.max_steps)
        steps += found.steps
        last, change, bias = change, np.asarray(found.change), np.asarray(found.bias)
        now = jax.tree.map(np.asarray, bundle.moved(given, change))
        solved = triangulate(now, without_bias(detections, bias))
        if np.abs(change - last).max() < _SETTLED:
            break
    biased = triangulate(now, detections) if keypoints else solved
    before, after, unbiased = held_out.errors((first, biased, solved), detections, held)
    return Refined(
        rig=now,
        before=before,
        after=after,
        unbiased=unbiased,
        rotation_deg=np.degrees(np.linalg.norm(change[:, :3], axis=1)),
        translation_mm=1000 * np.linalg.norm(change[:, 3:6], axis=1),
        focal_percent=100 * np.expm1(change[:, 6])
        if options.focal
        else np.zeros(cameras),
        bias_px=bias if keypoints else np.zeros(np.shape(detections.points)[1:]),
        points=used,
        steps=steps,
    )


def without_bias(
    detections: Detections2D, bias_px: Float[Array, "c k 2"]
) -> Detections2D:
    """Returns detections less what each view adds to each keypoint's place.

    Args:
        detections: As given.
        bias_px: ``Refined.bias_px``; K = 0 for none.
    """
    if not np.size(bias_px):
        return detections
    seen = np.asarray(detections.confidence)[..., None] > 0
    points = np.asarray(detections.points)
    return detections.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=np.where(seen, points - bias_px, points)
    )


def _problem(
    given: CameraRig,
    detections: Detections2D,
    solved: Triangulation,
    fitted: np.ndarray,
    options: RefinementOptions,
) -> tuple[bundle.Problem, np.ndarray, int]:
    """Returns what to adjust to, the points [3, L], m, and how many are real."""
    used, valid = np.asarray(solved.used_views), np.asarray(solved.valid)
    good = valid & (used.sum(axis=1) >= MIN_VIEWS) & fitted[:, None]
    places = np.argwhere(good)
    if len(places) < _LEAST_POINTS:
        raise ValueError(
            f"refinement takes at least {_LEAST_POINTS} points that {MIN_VIEWS} views "
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
    if options.bias_px:
        prior = np.full((good.shape[1], 2), 1 / options.bias_px**2)
        problem = problem._replace(bias_pull=prior, keypoint=k)
    return problem, np.asarray(solved.points)[t, k].T, real
