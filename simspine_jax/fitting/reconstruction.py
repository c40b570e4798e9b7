"""From the 2D detections of a subject's sequences to markers and to fitted motions.

The order: triangulation, merging with body markers known otherwise, inverse kinematics
with the subject's scaled model; ``finished_sequence`` goes on. Sequences may be fitted
together, as that shares the work of the search; each frame is fitted alone unless a
prior along time is asked for.

Source: steps 0, 1 and 3 of SIMSPINE (arXiv 2602.20792), whose faults are not taken over
(docs/published-faults.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from simspine_jax.body import spine_rhythm
from simspine_jax.body.model import Model
from simspine_jax.cameras import world_axes
from simspine_jax.cameras.triangulation import (
    Triangulation,
    TriangulationOptions,
    triangulate,
)
from simspine_jax.fitting import ik, ik_solution, lumbar_rhythm, merge
from simspine_jax.fitting.ik import IkOptions
from simspine_jax.fitting.ik_solution import IkSolution
from simspine_jax.fitting.posture_tasks import posture_tasks
from simspine_jax.types import CameraRig, Detections2D, IkTasks, MarkerTrajectory


@dataclass(frozen=True)
class ReconstructionOptions:
    """How sequences are made.

    Attributes:
        triangulation: Of the detections.
        ik: Of the fit.
        rhythm_sd_deg: SD of the lumbar levels about the model's rhythm
            (``lumbar_rhythm``); 0 keeps the rhythm.
        posture_sd_deg: SD of the sum of the lumbar levels and of the neck about their
            default (``posture_tasks``); 0 for no such tasks.
        noise_m: Noise of a marker's component that these SDs are weighed against, m.
        body_sd_m: SD of a component of body markers known otherwise, m.
        least_valid: Sequences of which a smaller share of the seen keypoints could be
            triangulated are refused: cameras and detections do not belong together.
    """

    triangulation: TriangulationOptions = field(default_factory=TriangulationOptions)
    ik: IkOptions = field(default_factory=IkOptions)
    rhythm_sd_deg: float = 0.0
    posture_sd_deg: float = 45.0
    noise_m: float = 0.01
    body_sd_m: float = 0.005
    least_valid: float = 0.5


@dataclass(frozen=True)
class Observed:
    """What the views and the body markers say, before any model.

    Attributes:
        found: Triangulated keypoints, in the world of the cameras.
        triangulated: The same in ground (Y up), m.
        markers: Of both, in ground, m; weights where body markers are merged.
        covariance: Of the markers, m^2. Shape [T, K, 3, 3].
    """

    found: Triangulation
    triangulated: MarkerTrajectory
    markers: MarkerTrajectory
    covariance: Float[np.ndarray, "t k 3 3"]


def observe(
    rig: CameraRig,
    detections: Detections2D,
    body: MarkerTrajectory | None = None,
    options: ReconstructionOptions | None = None,
) -> Observed:
    """Triangulates a sequence and merges it with what is known otherwise.

    Args:
        rig: Cameras in a world with Z up.
        detections: Of one person.
        body: Markers in ground, m, which take the place of triangulated ones.
        options: See ``ReconstructionOptions``.

    Raises:
        ValueError: Views and detections, frames or rates do not belong together.
    """
    options = options or ReconstructionOptions()
    found = triangulate(rig, detections, options.triangulation)
    _require_agreement(found, detections, options.least_valid)
    points = world_axes.to_trajectory(
        found, detections.keypoint_names, detections.rate_hz
    )
    turn = np.asarray(world_axes.TO_GROUND["z"])
    covariance = turn @ np.asarray(found.covariance) @ turn.T
    if body is None:
        return Observed(found, points, points, covariance)
    known = merge.Source("body markers", body, sd_m=options.body_sd_m)
    seen = merge.Source("triangulated keypoints", points, covariance=covariance)
    both = merge.merge(known, seen, on_conflict="first")
    return Observed(found, points, both.markers, both.covariance)


def fit(
    model: Model,
    observed: Sequence[Observed],
    tasks: IkTasks | None = None,
    options: ReconstructionOptions | None = None,
) -> tuple[Model, list[IkSolution]]:
    """Fits sequences of one subject; with a prior along time one after the other.

    Args:
        model: The subject's scaled model.
        observed: Of each sequence; all with the same markers and rate.
        tasks: As ``ik.fit_ik`` takes them.
        options: See ``ReconstructionOptions``.

    Returns:
        The model that the fits are of, which has free lumbar levels where these may
        leave the rhythm, and a fit for each sequence.

    Raises:
        ValueError: As ``ik.fit_ik``, sequences of several rates or marker sets, or a
            model without the lumbar levels.
    """
    options = options or ReconstructionOptions()
    trials = [one.markers for one in observed]
    tasks = tasks or IkTasks(dict.fromkeys(trials[0].names, 1.0))
    if options.posture_sd_deg:
        near = posture_tasks(model, options.posture_sd_deg, options.noise_m)
        tasks = replace(tasks, coordinate_tasks=(*tasks.coordinate_tasks, *near))
    if not options.rhythm_sd_deg:
        return model, _fits(model, trials, tasks, options)
    rhythm = spine_rhythm.with_rhythm_deviations(model)
    held = lumbar_rhythm.rhythm_tasks(rhythm, options.noise_m, options.rhythm_sd_deg)
    tasks = replace(tasks, coordinate_tasks=(*tasks.coordinate_tasks, *held))
    fits = _fits(rhythm.model, trials, tasks, options)
    return rhythm.plain, [lumbar_rhythm.actual_angles(rhythm, one) for one in fits]


def _fits(
    model: Model,
    trials: list[MarkerTrajectory],
    tasks: IkTasks | None,
    options: ReconstructionOptions,
) -> list[IkSolution]:
    if options.ik.smooth is not None:
        return [ik.fit_ik(model, trial, tasks, options.ik) for trial in trials]
    joined = _joined(trials)
    together = replace(options.ik, chunk_frames=len(joined.points))
    solution = ik.fit_ik(model, joined, tasks, together)
    ends = np.cumsum([len(trial.points) for trial in trials])
    return [
        ik_solution.cut(solution, slice(end - len(t.points), end), t.start_s)
        for end, t in zip(ends.tolist(), trials, strict=True)
    ]


def _joined(trials: list[MarkerTrajectory]) -> MarkerTrajectory:
    first = trials[0]
    for trial in trials[1:]:
        if (trial.names, trial.rate_hz) != (first.names, first.rate_hz):
            raise ValueError(
                "sequences that are fitted together must have the same markers and "
                f"rate; found {len(first.names)} at {first.rate_hz:g} Hz and "
                f"{len(trial.names)} at {trial.rate_hz:g} Hz"
            )
    stack = lambda name: np.concatenate([np.asarray(getattr(t, name)) for t in trials])
    weighted = any(trial.weight is not None for trial in trials)
    ones = lambda t: np.ones(np.shape(t.valid)) if t.weight is None else t.weight
    weight = np.concatenate([ones(t) for t in trials]) if weighted else None
    return first.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=stack("points"), valid=stack("valid"), weight=weight
    )


def _require_agreement(
    found: Triangulation, detections: Detections2D, least: float
) -> None:
    """Refuses cameras that do not see the same person in the same places."""
    views = (np.asarray(detections.confidence) > 0).sum(axis=1)  # [T, K]
    could = views >= 2
    share = float(np.asarray(found.valid)[could].mean()) if could.any() else 0.0
    if share < least:
        raise ValueError(
            f"only {share:.0%} of the keypoints that two views saw could be "
            f"triangulated, and {least:.0%} are needed; is the calibration that of "
            "another subject or session?"
        )
