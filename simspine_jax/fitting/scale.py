"""Scales a model to a static trial, as a set-up of OpenSim's ScaleTool says."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.body import kinematics
from simspine_jax.body.model import Model
from simspine_jax.body.scaling import scale_model
from simspine_jax.io.scale_setup import (
    MEASUREMENTS,
    Measurement,
    ModelScaler,
    ScaleSetup,
)
from simspine_jax.types import MarkerTrajectory

# Part of a frame; files round their times.
_SAME_TIME = 1e-6


@dataclass(frozen=True)
class MeasurementRatios:
    """How much larger the subject is than the model.

    Attributes:
        ratios: Length in the trial over length in the model by measurement, averaged
            over its pairs; those that could not be taken are not in it.
        skipped: Why not, by measurement.
        frames: Which frames of the trial were measured.
    """

    ratios: dict[str, float]
    skipped: dict[str, str]
    frames: slice


@dataclass(frozen=True)
class ScaleResult:
    """A scaled model and where its scale comes from.

    Attributes:
        model: The scaled model.
        factors: Scale of each body along its x, y and z, by name. Each of shape [3].
        measured: Ratios of the measurements; None where the set-up takes none.
        n_frames: Number of frames measured; 0 where the set-up takes none.
    """

    model: Model
    factors: dict[str, np.ndarray]
    measured: MeasurementRatios | None
    n_frames: int


def scale_by_setup(
    model: Model, trajectory: MarkerTrajectory, setup: ScaleSetup | ModelScaler
) -> ScaleResult:
    """Scales a model by measurements of a static trial, and by hand.

    Each step of ``scaling_order`` sets factors in place of those before it: a
    measurement those of its bodies along its axes, a manual scale all three of a
    body. What no step sets stays 1.

    Args:
        model: Model to scale, with the markers that are measured.
        trajectory: The static trial, m.
        setup: What to measure and to scale; its file names are not used.

    Returns:
        The scaled model and its factors.

    Warns:
        UserWarning: A measurement cannot be taken and scales nothing; a body to be
            scaled is not in the model; the time range does not meet the trial.

    Raises:
        ValueError: A manual scale of the ground, two markers of a measurement at one
            place in the model, or a measurement that comes to nothing.

    Source: OpenSim 4.6 ``ModelScaler::processModel``, its rules found by running it.
    It also scales what is fixed to the ground. See ``scale_model`` on the rest.
    """
    scaler = setup.scaler if isinstance(setup, ScaleSetup) else setup
    names = model.body_names
    table = np.ones((len(names), 3))
    measured = None
    for step in scaler.scaling_order if scaler.apply else ():
        if step == MEASUREMENTS:
            measured = measurement_ratios(
                model, trajectory, scaler.measurements, scaler.time_range_s
            )
            _apply_measurements(table, names, scaler.measurements, measured)
        else:
            _apply_manual(table, names, scaler)
    used = 0 if measured is None else measured.frames.stop - measured.frames.start
    return ScaleResult(
        # Factors of 1 can change slanted translations: see ``scale_model``.
        model=scale_model(model, table) if scaler.apply else model,
        factors=dict(zip(names, table, strict=True)),
        measured=measured,
        n_frames=used,
    )


def measurement_ratios(
    model: Model,
    trajectory: MarkerTrajectory,
    measurements: Sequence[Measurement],
    time_range_s: tuple[float, float],
) -> MeasurementRatios:
    """Compares distances between markers in a trial with those on a model.

    The trial's distance is the mean over the frames, the model's is that in its
    default pose (couplers satisfied), the ratio the mean over the pairs.

    Args:
        model: Model with the markers that are measured.
        trajectory: The trial, m.
        measurements: What to measure; those with ``apply`` false are left out.
        time_range_s: See ``frames_between``.

    Returns:
        The ratios. As in OpenSim, a measurement is skipped if it has no pair, or a
        marker of it is not in the model, not in the trial, or not seen in one of
        the frames.

    Warns:
        UserWarning: A measurement is skipped, or as ``frames_between``.

    Raises:
        ValueError: Two markers of a pair are at one place in the model, or in the
            trial.

    Source: OpenSim 4.6 ``ModelScaler::computeMeasurementScaleFactor``.
    """
    frames = frames_between(trajectory, time_range_s)
    q = model.expand(model.free_of(model.default_q))
    placed = np.asarray(kinematics.marker_positions(model, q))
    on_model = dict(zip(model.marker_names, placed, strict=True))
    points = np.asarray(trajectory.points)[frames]
    valid = np.asarray(trajectory.valid, bool)[frames]
    columns = {name: i for i, name in enumerate(trajectory.names)}
    ratios, skipped = {}, {}
    for measurement in measurements:
        if not measurement.apply:
            continue
        names = {name for pair in measurement.pairs for name in pair}
        reason = _unusable(names, on_model, columns, valid)
        if reason is not None:
            skipped[measurement.name] = reason
            warnings.warn(
                f"measurement {measurement.name!r} scales nothing: {reason}",
                stacklevel=3,
            )
            continue
        each = [
            _ratio(
                measurement.name,
                pair,
                float(np.linalg.norm(on_model[pair[1]] - on_model[pair[0]])),
                points[:, columns[pair[1]]] - points[:, columns[pair[0]]],
            )
            for pair in measurement.pairs
        ]
        ratios[measurement.name] = float(np.mean(each))
    return MeasurementRatios(ratios, skipped, frames)


def frames_between(
    trajectory: MarkerTrajectory, time_range_s: tuple[float, float]
) -> slice:
    """Returns the frames of a time range, one before and after it if it needs them.

    They begin with the last frame that is not after the first time, and end with the
    first that is not before the last time; at the ends of the trial they stop.

    Args:
        trajectory: At least one frame.
        time_range_s: First and last time, s; the same may be asked of both.

    Warns:
        UserWarning: The range does not meet the trial, whose nearest frame it gets.

    Source: OpenSim 4.6 ``MarkerData::findFrameRange``, which compares times as a file
    rounds them; here times within a millionth of a frame are the same.
    """
    first, last = time_range_s
    times = trajectory.times_s
    slack = _SAME_TIME / trajectory.rate_hz
    if last < times[0] - slack or first > times[-1] + slack:
        warnings.warn(
            f"the time range {first:g} to {last:g} s does not meet the trial, which "
            f"goes from {times[0]:g} to {times[-1]:g} s; its nearest frame is taken",
            stacklevel=3,
        )
    start = max(int(np.searchsorted(times, first + slack, side="right")) - 1, 0)
    stop = int(np.searchsorted(times, last - slack, side="left")) + 1
    return slice(start, max(min(stop, len(times)), start + 1))


def _unusable(
    names: set[str],
    on_model: dict[str, np.ndarray],
    columns: dict[str, int],
    valid: np.ndarray,
) -> str | None:
    """Says why markers cannot be measured, or nothing."""
    if not names:
        return "it has no pair of markers"
    for name in sorted(names):
        if name not in on_model:
            return f"the model has no marker {name!r}"
        if name not in columns:
            return f"the trial has no marker {name!r}"
        missing = int((~valid[:, columns[name]]).sum())
        if missing:
            return f"marker {name!r} is missing in {missing} of {len(valid)} frames"
    return None


def _ratio(
    measurement: str,
    pair: tuple[str, str],
    model_length: float,
    apart: Float[np.ndarray, "t 3"],
) -> float:
    length = float(np.linalg.norm(apart, axis=1).mean())
    if not (model_length > 0 and length > 0):
        where = "trial" if model_length > 0 else "model"
        raise ValueError(
            f"measurement {measurement!r}: markers {pair[0]!r} and {pair[1]!r} are at "
            f"one place in the {where}, so that no ratio can be taken"
        )
    return length / model_length


def _apply_measurements(
    table: np.ndarray,
    names: tuple[str, ...],
    measurements: Sequence[Measurement],
    measured: MeasurementRatios,
) -> None:
    for measurement in measurements:
        if measurement.name not in measured.ratios or not measurement.apply:
            continue
        for scale in measurement.bodies:
            row = _row(scale.body, names, f"measurement {measurement.name!r}")
            if row is not None:
                table[row, list(scale.axes)] = measured.ratios[measurement.name]


def _apply_manual(table: np.ndarray, names: tuple[str, ...], scaler: ModelScaler):
    for scale in scaler.manual_scales:
        row = _row(scale.body, names, "a manual scale") if scale.apply else None
        if row is not None:
            table[row] = scale.factors


def _row(body: str, names: tuple[str, ...], what: str) -> int | None:
    if body == "ground":
        raise ValueError(f"{what} is of the ground, and only bodies can be scaled")
    if body in names:
        return names.index(body)
    warnings.warn(
        f"{what} is of body {body!r}, which the model does not have", stacklevel=4
    )
    return None
