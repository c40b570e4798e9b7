"""Runs OpenSim's InverseKinematicsTool on this package's inputs."""

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import opensim

from simspine_jax.reference import opensim_load, opensim_tasks
from simspine_jax.types import IkTasks, MarkerTrajectory

_MOTION, _ERRORS = "reference.mot", "_ik_marker_errors.sto"


@dataclass(frozen=True)
class ReferenceMotion:
    """What OpenSim's inverse kinematics answered.

    Attributes:
        q: Coordinates, rad and m, in ``coordinate_names`` order. Shape [T, N].
        coordinate_names: N names, in the model's order.
        times_s: Time of each solved frame, s. Shape [T].
        seconds: Wall time of the tool's ``run``, model loading left out.
        frames: Number of solved frames, T.
        marker_errors: The tool's own report by column: ``total_squared_error``
            (m^2, weights not applied), ``marker_error_RMS`` and
            ``marker_error_max`` (m), rounded to the digits of its file. Each [T].
    """

    q: np.ndarray
    coordinate_names: tuple[str, ...]
    times_s: np.ndarray
    seconds: float
    frames: int
    marker_errors: dict[str, np.ndarray]


def run_inverse_kinematics(
    model_path: str | Path,
    trajectory_or_trc: MarkerTrajectory | str | Path,
    tasks_or_setup: IkTasks | str | Path | None = None,
    *,
    markers: str | Path | None = None,
    accuracy: float | None = None,
    constraint_weight: float | None = None,
) -> ReferenceMotion:
    """Solves a marker trial with OpenSim's own tool.

    Tasks whose marker is not in the model or not in the trial do nothing, as in
    OpenSim. The model goes without forces, which take no part. All files are
    written to a temporary folder.

    Args:
        model_path: Model file.
        trajectory_or_trc: Markers in ground, m; or a TRC file, given to OpenSim
            as it is.
        tasks_or_setup: Tasks, or an InverseKinematicsTool XML whose tasks, accuracy,
            constraint weight and time range are used, its file names not; None
            means every shared marker with weight 1 (not with a TRC file).
        markers: Optional MarkerSet XML for the model.
        accuracy: Replaces the tasks' solver accuracy.
        constraint_weight: Replaces the tasks' constraint weight.

    Returns:
        The motion, with the tool's wall time and its own error report.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: OpenSim refuses an input, or cannot solve; or the trajectory has
            weights of single observations, which OpenSim does not know.

    Source: OpenSim 4.6 ``InverseKinematicsTool::run``.
    """
    model = opensim_load.load(model_path, markers)
    names = opensim_load.set_names(model.getCoordinateSet())
    tasks = _tasks(model, trajectory_or_trc, tasks_or_setup)
    _check_coordinates(tasks, names)
    _check_markers(tasks, model, trajectory_or_trc)
    tool = opensim.InverseKinematicsTool()
    opensim_tasks.build_task_set(tool, tasks)
    tool.set_accuracy(tasks.accuracy if accuracy is None else accuracy)
    tool.set_constraint_weight(
        tasks.constraint_weight if constraint_weight is None else constraint_weight
    )
    if tasks.time_range_s is not None:
        first, last = tasks.time_range_s
        tool.setStartTime(float(first))
        tool.setEndTime(float(last))
    tool.set_report_errors(True)
    with tempfile.TemporaryDirectory(prefix="opensim_ik_") as name:
        folder = Path(name).resolve()
        tool.setMarkerDataFileName(str(_marker_file(folder, trajectory_or_trc)))
        series = [t for t in tasks.coordinate_tasks if t.series is not None]
        if series:
            opensim_tasks.write_series(folder / "series.sto", series)
            tool.setCoordinateFileName(str(folder / "series.sto"))
        tool.setResultsDir(str(folder))
        tool.setOutputMotionFileName(str(folder / _MOTION))
        tool.setModel(model)
        seconds = _run(tool, f"{model_path}")
        times, q = _read_motion(folder / _MOTION, names, model)
        errors = _read_errors(next(folder.glob("*" + _ERRORS)))
    return ReferenceMotion(q, names, times, seconds, len(times), errors)


def _tasks(
    model: opensim.Model,
    trial: MarkerTrajectory | str | Path,
    given: IkTasks | str | Path | None,
) -> IkTasks:
    if isinstance(given, IkTasks):
        return given
    if given is not None:
        return opensim_tasks.read_tasks(given)
    if not isinstance(trial, MarkerTrajectory):
        raise ValueError(f"{trial}: a TRC file needs tasks; found None.")
    marker_names = opensim_load.set_names(model.getMarkerSet())
    return opensim_tasks.default_tasks(marker_names, trial)


def _check_coordinates(tasks: IkTasks, names: tuple[str, ...]) -> None:
    for held in tasks.coordinate_tasks:
        if held.name not in names:
            raise ValueError(
                f"coordinate task {held.name}: the model has no such coordinate; it "
                f"has {', '.join(names)}."
            )


def _check_markers(
    tasks: IkTasks, model: opensim.Model, trial: MarkerTrajectory | str | Path
) -> None:
    """Refuses what makes the tool crash: nothing to track, at all or in a frame."""
    in_model = opensim_load.set_names(model.getMarkerSet())
    if isinstance(trial, MarkerTrajectory):
        in_trial = trial.names
    else:
        path = opensim_load.require_file(trial)
        in_trial = tuple(opensim.TimeSeriesTableVec3(path).getColumnLabels())
    weights = tasks.marker_weights
    tracked = [n for n in weights if n in in_model and n in in_trial]
    if not tracked:
        raise ValueError(
            f"no marker is in the model ({', '.join(in_model)}), the trial "
            f"({', '.join(in_trial)}) and the tasks ({', '.join(weights)}) at once."
        )
    if isinstance(trial, MarkerTrajectory):
        columns = [trial.names.index(name) for name in tracked]
        empty = ~np.asarray(trial.valid, bool)[:, columns].any(axis=1)
        if empty.any():
            frames = ", ".join(map(str, np.flatnonzero(empty)[:10]))
            raise ValueError(
                f"no tracked marker is seen in {empty.sum()} frames ({frames}); "
                "OpenSim allows none such, leave them out."
            )


def _marker_file(folder: Path, trial: MarkerTrajectory | str | Path) -> Path:
    """The TRC file that OpenSim is to read, absolute."""
    if not isinstance(trial, MarkerTrajectory):
        return Path(opensim_load.require_file(trial))
    if trial.weight is not None and not np.all(np.asarray(trial.weight) == 1.0):
        raise ValueError(
            "the trajectory's weight is not one everywhere; OpenSim allows one weight "
            "a marker, given by the tasks."
        )
    path = folder / "markers.trc"
    opensim_tasks.write_trc(path, trial)
    return path


def _run(tool: opensim.InverseKinematicsTool, what: str) -> float:
    """Runs the tool and returns its wall time, s."""
    start = time.perf_counter()
    try:
        with opensim_load.silent_stdout():
            solved = tool.run()
            seconds = time.perf_counter() - start
    except RuntimeError as error:
        why = opensim_load.one_line(error)
        raise ValueError(f"{what}: OpenSim's tool failed: {why}") from error
    if not solved:
        raise ValueError(
            f"{what}: OpenSim's InverseKinematicsTool gave up; allowed are trials in "
            "which each frame has a tracked marker and can be assembled."
        )
    return seconds


def _read_motion(
    path: Path, names: tuple[str, ...], model: opensim.Model
) -> tuple[np.ndarray, np.ndarray]:
    """Times [T] (s) and coordinates [T, N] (rad, m) of the tool's motion file."""
    table = opensim.TimeSeriesTable(str(path))
    labels = [label.split("/")[-1] for label in table.getColumnLabels()]
    if "value" in labels:  # a path such as /jointset/knee/knee_angle/value
        labels = [label.split("/")[-2] for label in table.getColumnLabels()]
    missing = sorted(set(names) - set(labels))
    if missing or len(labels) != len(names):
        raise ValueError(
            f"{path.name}: found {len(labels)} columns; allowed are the model's "
            f"{len(names)} coordinates (missing: {', '.join(missing) or 'none'})."
        )
    values = table.getMatrix().to_numpy()[:, [labels.index(name) for name in names]]
    in_degrees = table.getTableMetaDataString("inDegrees") == "yes"
    if in_degrees:
        coordinates = model.getCoordinateSet()
        kinds = [coordinates.get(i).getMotionType() for i in range(len(names))]
        angular = [kind == opensim.Coordinate.Rotational for kind in kinds]
        values = values * np.where(angular, math.pi / 180.0, 1.0)
    return np.array(table.getIndependentColumn()), values


def _read_errors(path: Path) -> dict[str, np.ndarray]:
    table = opensim.TimeSeriesTable(str(path))
    values = table.getMatrix().to_numpy()
    return {
        label: values[:, i].copy() for i, label in enumerate(table.getColumnLabels())
    }
