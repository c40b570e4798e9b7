"""The built-in trials on which both inverse kinematics solvers are compared.

body25b: a real capture. lstm: markers made from a published motion. flex: SIMSPINE's
33 markers on a made-up motion. The last two have noise added.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Model
from simspine_jax.datasets import synthetic_motion
from simspine_jax.evaluation.ik_comparison import Trial
from simspine_jax.fitting import simspine_tasks
from simspine_jax.io import ik_setup, load, marker_set, storage, trc
from simspine_jax.skeletons import simspine_markers
from simspine_jax.types import IkTasks, MarkerTrajectory, Motion
from third_party import fetch

_DEMO = "Pose2Sim/S00_Demo_BatchSession/S00_P00_SingleParticipant/S00_P00_OpenSim"
_SETUP = "Pose2Sim/OpenSim_Setup"
_LSTM_MOTION = "S00_P00_T01_BalancingTrial_filt_butterworth_0-100_LSTM.mot"
_FLEX_FRAMES, _FLEX_RATE_HZ = 60, 50.0


@dataclass(frozen=True)
class Case:
    """A trial, and what it was made from.

    Attributes:
        trial: As both solvers take it.
        clean: Its markers before noise was added; those of a real capture as they
            are. All frames.
        inputs: Files that were read.
    """

    trial: Trial
    clean: MarkerTrajectory
    inputs: tuple[Path, ...]


def load_case(
    name: str,
    folder: Path,
    *,
    frames: int,
    noise_mm: float,
    seed: int,
    keep_coordinate_tasks: bool,
) -> Case:
    """Makes one of the built-in trials.

    Args:
        name: A name in ``NAMES``.
        folder: Takes the files that OpenSim needs.
        frames: How many frames at most; 0 means all.
        noise_mm: SD of the noise on the components of made-up markers.
        seed: Of noise and made-up motion.
        keep_coordinate_tasks: Whether the set-up's coordinate tasks stay.

    Returns:
        The trial.

    Raises:
        ValueError: Another name.
        FetchError: A package cannot be had.
    """
    if name not in _MAKERS:
        raise ValueError(f"there is no trial {name!r}; choose from {', '.join(NAMES)}")
    case = _MAKERS[name](folder, noise_mm / 1e3, seed)
    trial = case.trial
    tasks = trial.tasks
    if not keep_coordinate_tasks:
        tasks = tasks.without_coordinate_tasks()
    if frames:
        trial = replace(trial, trajectory=trial.trajectory.cut(slice(frames)))
    return replace(case, trial=replace(trial, tasks=tasks))


def inputs_of(cases: Sequence[Case]) -> tuple[Path, ...]:
    """Returns the files that the cases were made from, each once."""
    return tuple(dict.fromkeys(path for case in cases for path in case.inputs))


def _body25b(folder: Path, noise_m: float, seed: int) -> Case:
    package = fetch.fetch("pose2sim-0.8.4")
    model_path = package / _DEMO / "Model_Pose2Sim_body25b_scaled.osim"
    setup = package / _SETUP / "IK_Setup_Pose2Sim_Body25b.xml"
    markers = (
        fetch.fetch("pose2sim-0.4.15") / "Pose2Sim/Demo/opensim/Balancing_for_IK.trc"
    )
    tasks = ik_setup.read_ik_setup(setup)
    seen = _in_range(trc.read_trc(markers), tasks)
    trial = Trial("body25b", load.load_model(model_path), model_path, None, seen, tasks)
    return Case(trial, seen, (model_path, setup, markers))


def _lstm(folder: Path, noise_m: float, seed: int) -> Case:
    package = fetch.fetch("pose2sim-0.8.4")
    model_path = package / _DEMO / "Model_Pose2Sim_LSTM_scaled.osim"
    setup = package / _SETUP / "IK_Setup_Pose2Sim_LSTM.xml"
    motion_path = package / _DEMO / _LSTM_MOTION
    model, tasks = load.load_model(model_path), ik_setup.read_ik_setup(setup)
    motion = storage.read_mot(motion_path, model)
    clean = _in_range(synthetic_motion.observe(model, motion), tasks)
    noisy = synthetic_motion.repeat_with_noise(clean, len(clean.points), noise_m, seed)
    trial = Trial("lstm", model, model_path, None, noisy, tasks)
    return Case(trial, clean, (model_path, setup, motion_path))


def _flex(folder: Path, noise_m: float, seed: int) -> Case:
    package = fetch.fetch("pose2sim-0.10.49")
    model_path = package / _SETUP / "Model_Pose2Sim_muscles_flex.osim"
    markers_path = folder / "simspine_markers.xml"
    marker_set.write_marker_set(markers_path, simspine_markers.MARKERS)
    model = with_markers(load.load_model(model_path), simspine_markers.MARKERS)
    motion = synthetic_motion.swing_motion(
        model, synthetic_motion.draw_swing(model, seed), _FLEX_FRAMES, _FLEX_RATE_HZ
    )
    clean = synthetic_motion.observe(model, motion)
    noisy = synthetic_motion.repeat_with_noise(clean, _FLEX_FRAMES, noise_m, seed)
    tasks = simspine_tasks.published_tasks()
    trial = Trial("flex", model, model_path, markers_path, noisy, tasks)
    return Case(trial, clean, (model_path,))


def true_motion(
    name: str, folder: Path, frames: int, seed: int
) -> tuple[Model, Motion, tuple[Path, ...]]:
    """Returns a model and a motion to be taken for the truth, and the files read.

    body25b and flex: a made-up swing. lstm: a published motion.
    """
    if name == "lstm":
        package = fetch.fetch("pose2sim-0.8.4")
        path = package / _DEMO / "Model_Pose2Sim_LSTM_scaled.osim"
        motion_path = package / _DEMO / _LSTM_MOTION
        model = load.load_model(path)
        motion = storage.read_mot(motion_path, model)
        q = np.asarray(motion.q)[:frames]
        return model, replace(motion, q=q), (path, motion_path)
    if name == "flex":
        case = _flex(folder, 0.0, seed)
        model, inputs = case.trial.model, case.inputs
    elif name == "body25b":
        package = fetch.fetch("pose2sim-0.8.4")
        inputs = (package / _SETUP / "Model_Pose2Sim_Body25b.osim",)
        model = load.load_model(inputs[0])
    else:
        raise ValueError(f"there is no model {name!r}; choose from {', '.join(NAMES)}")
    swing = synthetic_motion.draw_swing(model, seed)
    return model, synthetic_motion.swing_motion(model, swing, frames, 60.0), inputs


_MAKERS = {"body25b": _body25b, "lstm": _lstm, "flex": _flex}
NAMES = tuple(_MAKERS)


def _in_range(trajectory: MarkerTrajectory, tasks: IkTasks) -> MarkerTrajectory:
    """Cuts to the set-up's time range, whose ends are rounded."""
    if tasks.time_range_s is None:
        return trajectory
    slack = 0.5 / trajectory.rate_hz
    first, last = tasks.time_range_s
    times = trajectory.times_s
    inside = np.flatnonzero((times > first - slack) & (times < last + slack))
    if not len(inside):
        raise ValueError(
            f"the set-up's time range {first} to {last} s has no frame of the trial, "
            f"which is from {times[0]} to {times[-1]} s"
        )
    return trajectory.cut(slice(inside[0], inside[-1] + 1))
