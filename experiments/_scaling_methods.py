"""Three ways to scale a model, each giving the same kind of answer."""

import dataclasses
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments._scaling_inputs import Inputs, Options

if TYPE_CHECKING:
    from simspine_jax import MarkerTrajectory, Model
    from simspine_jax.fitting.scale import MeasurementRatios


@dataclass(frozen=True)
class Scaled:
    """A scaled model of B bodies.

    Attributes:
        model: The model.
        factors: Of each body along x, y and z. Shape [B, 3].
        sd: Of these; None where the method gives none. Shape [B, 3].
        frames: Frames that it rests on.
        text: What the method says of itself.
    """

    model: "Model"
    factors: np.ndarray
    sd: np.ndarray | None
    frames: int
    text: str


def scale(
    method: str, inputs: Inputs, options: Options, trajectory: "MarkerTrajectory"
) -> Scaled:
    """Scales the model.

    Args:
        method: One of ``METHODS``.
        inputs: With the set-up and its static trial for "setup".
        options: Of the methods.
        trajectory: What "lengths" and "joint" scale from.

    Raises:
        ValueError: The trial or the set-up cannot be used.
    """
    if method == "setup":
        return _by_setup(inputs, options)
    return (_by_lengths if method == "lengths" else _jointly)(
        inputs, options, trajectory
    )


def _by_setup(inputs: Inputs, options: Options) -> Scaled:
    from simspine_jax.fitting.marker_placement import place_markers
    from simspine_jax.fitting.scale import scale_by_setup
    from simspine_jax.io.fixed_markers import read_fixed_markers

    setup, static, trial = inputs.setup, inputs.static, inputs.trial
    assert setup is not None
    assert static is not None
    with warnings.catch_warnings():
        if not options.skip_measurements:  # the refusal says it
            warnings.filterwarnings("ignore", "measurement .* scales nothing")
        found = scale_by_setup(trial.model, static, setup)
    measured = found.measured
    if measured is not None and measured.skipped and not options.skip_measurements:
        told = "; ".join(f"{name}: {why}" for name, why in measured.skipped.items())
        raise ValueError(
            f"{inputs.setup_path} has measurements that {inputs.static_path} and the "
            f"model cannot give ({told}); config.skip_measurements=True leaves them "
            "out, as OpenSim does"
        )
    model, lines = found.model, _measurements(measured)
    if setup.placer.apply:
        fixed = read_fixed_markers(trial.model_path, inputs.markers_path)
        placed = place_markers(model, static, setup.placer, fixed)
        model = placed.model
        lines.append(
            f"{len(placed.moved)} markers were placed where the static trial has them "
            f"(all {1e3 * placed.rms_m:.1f} mm RMS away before); {len(placed.kept)}, "
            "fixed on the model or not seen, were not"
        )
    factors = np.stack([found.factors[name] for name in trial.model.body_names])
    return Scaled(model, factors, None, found.n_frames, "\n".join(lines))


def _measurements(measured: "MeasurementRatios | None") -> list[str]:
    if measured is None:
        return ["the set-up measures nothing"]
    told = [f"{name}: factor {ratio:.3f}" for name, ratio in measured.ratios.items()]
    return told + [f"{name}: skipped, {why}" for name, why in measured.skipped.items()]


def _by_lengths(
    inputs: Inputs, options: Options, trajectory: "MarkerTrajectory"
) -> Scaled:
    from simspine_jax.fitting.segment_lengths import scale_by_lengths

    model = inputs.trial.model
    scaled, found = scale_by_lengths(model, trajectory, options.lengths)
    factors = [(found.factors.get(name, 1.0),) * 3 for name in model.body_names]
    frames = found.frames_kept["straight"]
    return Scaled(scaled, np.array(factors), None, frames, found.to_text())


def _jointly(
    inputs: Inputs, options: Options, trajectory: "MarkerTrajectory"
) -> Scaled:
    from simspine_jax.body import segments
    from simspine_jax.fitting.calibration import calibrate

    model = inputs.trial.model
    how = options.joint
    if not options.move_markers:
        how = dataclasses.replace(how, fixed_markers=model.marker_names)
    found = calibrate(model, trajectory, inputs.trial.tasks, how)
    factors = np.array([found.factors[name] for name in model.body_names])
    # A body's axis is scaled by one segment, or by none.
    relative = np.einsum(
        "s,sba->ba", found.ratio_sd / found.ratio, segments.of_model(model).scales
    )
    return Scaled(
        found.model, factors, factors * relative, len(found.frame), str(found)
    )
