"""Set-up files of OpenSim's InverseKinematicsTool: what to follow, how strongly."""

import math
import os
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from simspine_jax.io import storage
from simspine_jax.types import CoordinateTask, IkTasks

_TOOL, _TASKS = "InverseKinematicsTool", "IKTaskSet"
_VALUE_TYPES = ("default_value", "manual_value", "from_file")


def read_ik_setup(
    path: str | os.PathLike[str], model: storage.HasCoordinates | None = None
) -> IkTasks:
    """Reads the tasks and settings of an inverse-kinematics set-up.

    The root may be an OpenSimDocument with an InverseKinematicsTool or an IKTaskSet
    in it, or one of these two themselves. Tasks with ``apply`` false are left out,
    and so are coordinate tasks of weight 0; marker tasks of weight 0 are kept with
    that weight. Of several tasks for one marker the first counts; several tasks
    for one coordinate all count. Where ``weight`` is absent it is 0, ``apply`` true
    and ``value_type`` default_value.

    A ``manual_value`` is taken in rad or m. The ``coordinate_file`` of ``from_file``
    tasks is read as degrees whatever its header says.

    Args:
        path: Set-up XML; paths in it are relative to its folder.
        model: Says which coordinates of ``coordinate_file`` are rotations; None
            means that their names do (`storage.is_rotational_by_name`).

    Warns:
        UserWarning: If a marker has several tasks, or ``coordinate_file`` says that
            it is in radians.

    Raises:
        FileNotFoundError: If the file, or a file of tasks or coordinates that it
            needs, is not there.
        IsADirectoryError: If ``path`` is a folder.
        ValueError: If the XML is malformed, has another root, a weight that is
            negative or not a number, another kind of task (orientations), or a
            value that cannot be understood.

    Source: `InverseKinematicsTool`, `IKTaskSet` and `MarkersReference` of OpenSim
    4.6, each rule above found by running it. It interpolates ``coordinate_file`` by a
    natural quintic spline and refuses fewer than six rows; how ``series`` is
    interpolated is for its user to choose.
    """
    return tasks_of(*_tool_and_tasks(path), path, model)


def tasks_of(
    tool: ElementTree.Element,
    task_set: ElementTree.Element,
    path: str | os.PathLike[str],
    model: storage.HasCoordinates | None = None,
) -> IkTasks:
    """Reads the tasks of a tool that has an IKTaskSet, such as a MarkerPlacer.

    Args:
        tool: Element with the settings.
        task_set: Its IKTaskSet.
        path: The file that they are in, for messages and relative paths.
        model: As in ``read_ik_setup``, as are warnings and errors.
    """
    source, folder = str(path), Path(path).parent.resolve()
    external = task_set.get("file")
    if external:
        task_set = _tool_and_tasks(folder / _portable(external))[1]
    files = {
        element.tag: folder / _portable(text)
        for element in tool
        if element.tag.endswith("_file")
        and (text := (element.text or "").strip()) not in {"", "Unassigned"}
    }
    objects = task_set.find("objects")
    elements = [] if objects is None else [e for e in objects if _applies(e, source)]
    for element in elements:
        if element.tag not in {"IKMarkerTask", "IKCoordinateTask"}:
            raise ValueError(
                f"{source}: a task is of type {element.tag}, and only IKMarkerTask and "
                "IKCoordinateTask can be followed (orientations cannot)"
            )
    coordinate_tasks = [
        _coordinate_task(element, files.get("coordinate_file"), model, source)
        for element in elements
        if element.tag == "IKCoordinateTask" and _weight(element, source) > 0
    ]
    return IkTasks(
        _marker_weights(
            [element for element in elements if element.tag == "IKMarkerTask"], source
        ),
        tuple(coordinate_tasks),
        _setting(tool, "accuracy", "1e-5", source),
        _setting(tool, "constraint_weight", "inf", source),
        _time_range(tool, source),
        files,
    )


def _tool_and_tasks(
    path: str | os.PathLike[str],
) -> tuple[ElementTree.Element, ElementTree.Element]:
    """Finds the tool (empty if there is none) and its set of tasks."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, and a file was expected")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        line, column = error.position
        reason = str(error).split(":", maxsplit=1)[0]
        raise ValueError(
            f"{path}: the XML is malformed at line {line}, column {column + 1} "
            f"({reason})"
        ) from None
    candidates = list(root) if root.tag == "OpenSimDocument" else [root]
    for element in candidates:
        if element.tag == _TASKS:
            return ElementTree.Element(_TOOL), element
        if element.tag == _TOOL:
            tasks = element.find(_TASKS)
            if tasks is None:
                raise ValueError(f"{path}: the {_TOOL} has no {_TASKS}")
            return element, tasks
    found = ", ".join(element.tag for element in candidates) or "nothing"
    raise ValueError(
        f"{path}: found {found}, where an {_TOOL} or an {_TASKS} was expected"
    )


def _marker_weights(
    elements: list[ElementTree.Element], source: str
) -> dict[str, float]:
    weights: dict[str, float] = {}
    for element in elements:
        name = _name(element, source)
        weight = _weight(element, source)
        if name in weights:
            warnings.warn(
                f"{source}: marker {name!r} has several tasks; the first (weight "
                f"{weights[name]:g}) counts and this one (weight {weight:g}) does not",
                stacklevel=4,
            )
        else:
            weights[name] = weight
    if weights and not any(weights.values()):
        raise ValueError(
            f"{source}: all {len(weights)} marker tasks have weight 0, and at least "
            "one must be positive"
        )
    return weights


def _coordinate_task(
    element: ElementTree.Element,
    file: Path | None,
    model: storage.HasCoordinates | None,
    source: str,
) -> CoordinateTask:
    name, weight = _name(element, source), _weight(element, source)
    kind = _text(element, "value_type", "default_value")
    if kind == "default_value":
        return CoordinateTask(name, weight)
    if kind == "manual_value":
        text = _text(element, "value", "0")
        value = _to_float(text)
        if not math.isfinite(value):
            raise ValueError(
                f"{source}: the value of task {name!r} is {text!r}, and it must be a "
                "number (rad or m)"
            )
        return CoordinateTask(name, weight, value)
    if kind == "from_file":
        return CoordinateTask(name, weight, None, _series(name, file, model, source))
    raise ValueError(
        f"{source}: value_type of task {name!r} is {kind!r}, and it must be one of "
        f"{', '.join(_VALUE_TYPES)}"
    )


def _series(
    name: str,
    file: Path | None,
    model: storage.HasCoordinates | None,
    source: str,
) -> tuple[np.ndarray, np.ndarray]:
    if file is None:
        raise ValueError(
            f"{source}: task {name!r} takes its value from_file, but coordinate_file "
            "names no file"
        )
    table = storage.read_storage(file)
    if name not in table.columns:
        raise ValueError(
            f"{source}: task {name!r} takes its value from_file, but {file} has no "
            "such column"
        )
    values = table.values[:, table.columns.index(name)]
    if not np.isfinite(values).all() or (np.diff(table.times_s) <= 0).any():
        raise ValueError(
            f"{file}: column {name!r} must have finite values at increasing times to "
            "serve as a target"
        )
    if storage.rotational_flags((name,), model)[0]:
        if not table.in_degrees:
            warnings.warn(
                f"{file}: inDegrees is not yes, but {name!r} is read as degrees, as "
                "OpenSim's InverseKinematicsTool does",
                stacklevel=5,
            )
        values = np.radians(values)
    return table.times_s, values


def _applies(element: ElementTree.Element, source: str) -> bool:
    text = _text(element, "apply", "true")
    if text.lower() in {"true", "1"}:
        return True
    if text.lower() in {"false", "0"}:
        return False
    raise ValueError(
        f"{source}: apply of task {element.get('name')!r} is {text!r}, and it must be "
        "true or false"
    )


def _name(element: ElementTree.Element, source: str) -> str:
    name = element.get("name", "")
    if not name:
        raise ValueError(f"{source}: an {element.tag} has no name")
    return name


def _weight(element: ElementTree.Element, source: str) -> float:
    text = _text(element, "weight", "0")
    weight = _to_float(text)
    if not math.isfinite(weight) or weight < 0:
        raise ValueError(
            f"{source}: the weight of task {element.get('name')!r} is {text!r}, and it "
            "must be a finite number that is not negative"
        )
    return weight


def _setting(tool: ElementTree.Element, tag: str, default: str, source: str) -> float:
    text = _text(tool, tag, default)
    value = _to_float(text)
    if not value >= 0:
        raise ValueError(
            f"{source}: {tag} is {text!r}, and it must be a number that is not negative"
        )
    return value


def _time_range(tool: ElementTree.Element, source: str) -> tuple[float, float] | None:
    text = _text(tool, "time_range", "-inf inf")
    times = [_to_float(word) for word in text.split()]
    if len(times) != 2 or not times[0] <= times[1]:
        raise ValueError(
            f"{source}: time_range is {text!r}, and it must be a first and a last time"
        )
    return None if times == [-math.inf, math.inf] else (times[0], times[1])


def _text(element: ElementTree.Element, tag: str, default: str) -> str:
    return (element.findtext(tag) or "").strip() or default


def _to_float(text: str) -> float:
    """Gives NaN where the text is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _portable(text: str) -> str:
    """Windows separators name no folder elsewhere."""
    return text.replace("\\", "/")
