"""Inverse kinematics tasks between OpenSim's objects and this package's types."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import opensim

from simspine_jax.reference import opensim_load
from simspine_jax.types import CoordinateTask, IkTasks, MarkerTrajectory

# Digits of the files handed to OpenSim; enough for a float64 to survive.
_DIGITS = 17
# Degree of the spline through a coordinate's target series, as the tool has it.
_SERIES_DEGREE = 5


def read_tasks(setup_xml: str | Path) -> IkTasks:
    """Reads an inverse kinematics set-up file with OpenSim itself.

    Args:
        setup_xml: InverseKinematicsTool XML. Manual values are taken as they stand,
            in rad and m; no degrees are known there.

    Returns:
        The tasks that apply; names of files are left out.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: OpenSim refuses it, or a task takes its value from a file.

    Source: OpenSim 4.6 ``InverseKinematicsTool::populateReferences``.
    """
    opensim_load.quiet()
    path = opensim_load.require_file(setup_xml)
    try:
        tool = opensim.InverseKinematicsTool(path, False)
    except RuntimeError as error:
        why = opensim_load.one_line(error)
        raise ValueError(f"{setup_xml}: OpenSim cannot read it: {why}") from error
    weights, held = {}, []
    task_set = tool.getIKTaskSet()
    for task in (task_set.get(i) for i in range(task_set.getSize())):
        if not task.getApply():
            continue
        coordinate = opensim.IKCoordinateTask.safeDownCast(task)
        if coordinate is None:
            weights[task.getName()] = task.getWeight()
            continue
        kind = coordinate.getValueType()
        if kind == opensim.IKCoordinateTask.FromFile:
            raise ValueError(
                f"{setup_xml}: task {task.getName()} takes its value from a file; "
                "allowed are default_value and manual_value."
            )
        manual = kind == opensim.IKCoordinateTask.ManualValue
        value = coordinate.getValue() if manual else None
        held.append(CoordinateTask(task.getName(), task.getWeight(), value))
    first, last = tool.getStartTime(), tool.getEndTime()
    unlimited = not (np.isfinite(first) or np.isfinite(last))
    return IkTasks(
        weights,
        tuple(held),
        tool.get_accuracy(),
        tool.get_constraint_weight(),
        None if unlimited else (first, last),
    )


def default_tasks(marker_names: Sequence[str], trajectory: MarkerTrajectory) -> IkTasks:
    """Every marker that model and trajectory share with weight 1."""
    names = [name for name in marker_names if name in trajectory.names]
    return IkTasks(dict.fromkeys(names, 1.0))


def build_task_set(tool: opensim.InverseKinematicsTool, tasks: IkTasks) -> None:
    """Replaces a tool's tasks by ``tasks``."""
    task_set = tool.upd_IKTaskSet()
    task_set.clearAndDestroy()
    for name, weight in tasks.marker_weights.items():
        task = opensim.IKMarkerTask()
        task.setName(name)
        task.setApply(True)
        task.setWeight(float(weight))
        task_set.cloneAndAppend(task)
    kinds = opensim.IKCoordinateTask
    for held in tasks.coordinate_tasks:
        task = opensim.IKCoordinateTask()
        task.setName(held.name)
        task.setApply(True)
        task.setWeight(float(held.weight))
        if held.series is not None:
            task.setValueType(kinds.FromFile)
        elif held.value is not None:
            task.setValueType(kinds.ManualValue)
            task.setValue(float(held.value))
        else:
            task.setValueType(kinds.DefaultValue)
        task_set.cloneAndAppend(task)


def write_trc(path: Path, trajectory: MarkerTrajectory) -> None:
    """Writes markers (m) for OpenSim; a missing one is NaN, which it leaves out."""
    times = trajectory.times_s
    count, rate = len(trajectory.names), repr(float(trajectory.rate_hz))
    points = np.where(
        np.asarray(trajectory.valid)[..., None], np.asarray(trajectory.points), np.nan
    )
    header = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\t"
        "OrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{len(times)}\t{count}\tm\t{rate}\t1\t{len(times)}",
        "Frame#\tTime\t" + "".join(f"{name}\t\t\t" for name in trajectory.names),
        "\t\t" + "\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, count + 1)),
        "",
    ]
    rows = [
        "\t".join([str(t + 1), _number(times[t]), *map(_number, frame.ravel())])
        for t, frame in enumerate(points)
    ]
    path.write_text("\n".join([*header, *rows]) + "\n")


def write_series(path: Path, held: Sequence[CoordinateTask]) -> None:
    """Writes the target series of coordinates (rad, m) as one OpenSim storage."""
    times, columns = _series_table(held)
    lines = [
        path.name,
        "version=1",
        f"nRows={len(times)}",
        f"nColumns={1 + columns.shape[1]}",
        "inDegrees=no",
        "endheader",
        "\t".join(["time", *(task.name for task in held)]),
    ]
    rows = np.column_stack([times, columns])
    lines += ["\t".join(map(_number, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def coordinate_targets(
    held: CoordinateTask, default: float, times_s: np.ndarray
) -> np.ndarray:
    """Value that a task holds its coordinate to at each time, rad or m. Shape [T].

    Source: OpenSim 4.6 ``InverseKinematicsTool::populateReferences``, a spline of
    degree 5 through a series.
    """
    if held.series is None:
        value = default if held.value is None else held.value
        return np.full(len(times_s), float(value))
    spline = opensim.GCVSpline()
    spline.setDegree(_SERIES_DEGREE)
    for x, y in zip(*held.series, strict=True):
        spline.addPoint(float(x), float(y))
    return np.array([spline.calcValue(opensim.Vector(1, t)) for t in times_s])


def _series_table(held: Sequence[CoordinateTask]) -> tuple[np.ndarray, np.ndarray]:
    series = [task.series for task in held if task.series is not None]
    times = np.asarray(series[0][0], np.float64)
    for task, (other, _) in zip(held, series, strict=True):
        if not np.array_equal(times, other):
            raise ValueError(
                f"coordinate task {task.name}: its times differ from those of "
                f"{held[0].name}; OpenSim takes all series from one table."
            )
    return times, np.column_stack([np.asarray(values) for _, values in series])


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}g}"
