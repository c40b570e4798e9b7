"""Moves a model's markers to where a static trial has them, as OpenSim does."""

import dataclasses
import warnings
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.body import kinematics
from simspine_jax.body.model import Model
from simspine_jax.fitting import ik, scale
from simspine_jax.fitting.ik import IkOptions
from simspine_jax.io.scale_setup import MarkerPlacer
from simspine_jax.types import Array, MarkerTrajectory

# One frame: the padded size of a call need not be larger.
_OPTIONS = IkOptions(objective="opensim", chunk_frames=1)


@dataclass(frozen=True)
class PlacementResult:
    """A model with its markers placed.

    Attributes:
        model: The model; all its markers are still there, in their order.
        q: The static pose, rad and m. Shape [N].
        static: The static trial, averaged to one frame, m.
        moved: Names of the markers that moved.
        kept: Names of those that did not: fixed, or not seen in the trial.
        rms_m: Root mean square distance between the markers that the tasks name and
            the averaged trial, before any moved, m; NaN if there is none.
    """

    model: Model
    q: np.ndarray
    static: MarkerTrajectory
    moved: tuple[str, ...]
    kept: tuple[str, ...]
    rms_m: float


def place_markers(
    model: Model,
    trajectory: MarkerTrajectory,
    placer: MarkerPlacer,
    fixed: Collection[str] = (),
    *,
    pose: Float[Array, " n"] | None = None,
    options: IkOptions = _OPTIONS,
) -> PlacementResult:
    """Fits a static trial, then moves each marker to its measured place.

    Args:
        model: The scaled model.
        trajectory: The static trial, m.
        placer: What to follow and what to average; its file names are not used.
        fixed: Names of the markers that stay (`fixed_markers.read_fixed_markers`).
        pose: The static pose, rad and m, taken as given; None to fit it.
        options: Of the fit.

    Returns:
        The model with markers moved to their places in the static pose.

    Warns:
        UserWarning: A marker moves in the trial by more than the placer's limit, or
            as ``scale.frames_between`` and ``ik.fit_ik``.

    Raises:
        ValueError: The time range does not begin before the trial ends and end after
            it begins, the pose has another shape, or as ``ik.fit_ik``.

    Source: OpenSim 4.6 ``MarkerPlacer::processModel``, which takes markers that the
    trial lacks out of the model, and leaves one that is missing in some of the frames
    out of the fit; here the mean of the others is fitted.
    """
    static = average_frames(trajectory, placer)
    if pose is None:
        q = np.asarray(ik.fit_ik(model, static, placer.tasks, options).q[0], float)
    else:
        q = np.asarray(pose, float)
        if q.shape != (len(model.coordinate_names),):
            raise ValueError(
                f"the static pose has shape {q.shape}, and the model needs "
                f"({len(model.coordinate_names)},), one value a coordinate"
            )
    bodies = kinematics.forward_kinematics(model, q)
    rotation, position = np.asarray(bodies.rotation), np.asarray(bodies.position)
    reached = np.asarray(kinematics.marker_positions(model, q))
    offset = np.array(model.marker_offset, float)
    seen = dict(zip(static.names, np.asarray(static.points)[0], strict=True))
    for name, valid in zip(static.names, np.asarray(static.valid)[0], strict=True):
        if not valid:
            del seen[name]
    moved = []
    for m, name in enumerate(model.marker_names):
        if name in fixed or name not in seen:
            continue
        body = model.topology.marker_bodies[m]
        place = seen[name]
        if body >= 0:
            place = rotation[body].T @ (place - position[body])
        offset[m] = place
        moved.append(name)
    followed = [
        m
        for m, name in enumerate(model.marker_names)
        if name in seen and placer.tasks.marker_weights.get(name, 0.0) > 0
    ]
    apart = [reached[m] - seen[model.marker_names[m]] for m in followed]
    return PlacementResult(
        model=dataclasses.replace(model, marker_offset=offset),
        q=q,
        static=static,
        moved=tuple(moved),
        kept=tuple(name for name in model.marker_names if name not in moved),
        rms_m=float(np.sqrt(np.mean(np.sum(np.square(apart), axis=1))))
        if apart
        else float("nan"),
    )


def average_frames(
    trajectory: MarkerTrajectory, placer: MarkerPlacer
) -> MarkerTrajectory:
    """Averages each marker over the frames of the time range that see it.

    Args:
        trajectory: The static trial, m.
        placer: Says the time range, and how far a marker may move in it.

    Returns:
        One frame, at the beginning of the range; markers that no frame sees are not
        valid in it.

    Warns:
        UserWarning: A marker moves along an axis by more than
            ``max_marker_movement_m``.

    Raises:
        ValueError: The time range does not meet the trial.

    Source: OpenSim 4.6 ``MarkerData::averageFrames``.
    """
    times = trajectory.times_s
    first, last = placer.time_range_s
    if last < times[0] or first > times[-1]:
        raise ValueError(
            f"the time range of the marker placer is {first:g} to {last:g} s, and it "
            f"must meet the trial, which goes from {times[0]:g} to {times[-1]:g} s"
        )
    frames = scale.frames_between(trajectory, placer.time_range_s)
    points = np.asarray(trajectory.points, float)[frames]
    valid = np.asarray(trajectory.valid, bool)[frames]
    count = valid.sum(axis=0)
    total = np.where(valid[..., None], points, 0.0).sum(axis=0)
    mean = total / np.maximum(count, 1)[:, None]
    if placer.max_marker_movement_m is not None:
        _warn_of_movement(trajectory.names, points, valid, placer.max_marker_movement_m)
    return MarkerTrajectory(
        points=mean[None],
        valid=(count > 0)[None],
        names=trajectory.names,
        rate_hz=trajectory.rate_hz,
        start_s=float(max(first, times[0])),
    )


def _warn_of_movement(
    names: tuple[str, ...],
    points: Float[np.ndarray, "t k 3"],
    valid: Bool[np.ndarray, "t k"],
    limit_m: float,
) -> None:
    seen = np.expand_dims(valid, -1)
    lowest = np.where(seen, points, np.inf).min(axis=0)
    highest = np.where(seen, points, -np.inf).max(axis=0)
    # A marker never seen has moved by minus infinity.
    movement = (highest - lowest).max(axis=1)
    far = [
        f"{name} {distance:.3g} m"
        for name, distance in zip(names, movement, strict=True)
        if distance > limit_m
    ]
    if far:
        warnings.warn(
            f"markers move in the static trial by more than {limit_m:g} m: "
            f"{', '.join(far)}",
            stacklevel=4,
        )
