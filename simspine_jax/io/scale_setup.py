"""Set-up files of OpenSim's ScaleTool: what is measured, what scales by it."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from simspine_jax.io import ik_setup, osim_xml, storage
from simspine_jax.io.osim_xml import Document, Element
from simspine_jax.types import IkTasks

MEASUREMENTS, MANUAL = "measurements", "manualScale"
_AXES = "XYZ"
_METRES_PER_MM = 1e-3
# OpenSim's default; no trial begins before it, so it means the first frame.
_NO_TIME = (-1.0, -1.0)


@dataclass(frozen=True)
class BodyScale:
    """A body that a measurement scales, and whether along its x, y and z."""

    body: str
    axes: tuple[bool, bool, bool]


@dataclass(frozen=True)
class Measurement:
    """Distances between markers, in the trial and on the model.

    Attributes:
        name: Its name.
        apply: Whether it counts.
        pairs: Names of the two markers of each distance.
        bodies: What it scales.
    """

    name: str
    apply: bool
    pairs: tuple[tuple[str, str], ...]
    bodies: tuple[BodyScale, ...]


@dataclass(frozen=True)
class ManualScale:
    """A body's factors along x, y and z, given by hand."""

    body: str
    factors: tuple[float, float, float]
    apply: bool


@dataclass(frozen=True)
class ModelScaler:
    """How to scale.

    Attributes:
        apply: Whether to scale at all; false where the set-up has no ModelScaler.
        scaling_order: "measurements" and "manualScale" in the order in which they
            count; none of them means that nothing scales.
        measurements: In file order.
        manual_scales: In file order.
        marker_file: Static trial; None where not given.
        time_range_s: First and last time of the trial to measure, s.
        preserve_mass_distribution: Whether bodies keep their share of the mass.
        output_model_file: Where OpenSim writes the scaled model.
        output_scale_file: Where OpenSim writes the factors.
    """

    apply: bool = False
    scaling_order: tuple[str, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    manual_scales: tuple[ManualScale, ...] = ()
    marker_file: Path | None = None
    time_range_s: tuple[float, float] = _NO_TIME
    preserve_mass_distribution: bool = False
    output_model_file: Path | None = None
    output_scale_file: Path | None = None


@dataclass(frozen=True)
class MarkerPlacer:
    """How to place the markers on the scaled model.

    Attributes:
        apply: Whether to place them; false where the set-up has no MarkerPlacer.
        tasks: What the static pose follows.
        marker_file: Static trial; None where not given.
        coordinate_file: Coordinates of tasks that take their value from a file.
        time_range_s: First and last time of the trial to average, s.
        output_model_file: Where OpenSim writes the model.
        output_motion_file: Where OpenSim writes the static pose.
        output_marker_file: Where OpenSim writes the markers.
        max_marker_movement_m: Movement in the trial above which there is a
            warning, m; None for no limit.
    """

    apply: bool = False
    tasks: IkTasks = field(default_factory=lambda: IkTasks({}))
    marker_file: Path | None = None
    coordinate_file: Path | None = None
    time_range_s: tuple[float, float] = _NO_TIME
    output_model_file: Path | None = None
    output_motion_file: Path | None = None
    output_marker_file: Path | None = None
    max_marker_movement_m: float | None = None


@dataclass(frozen=True)
class ScaleSetup:
    """A ScaleTool's set-up; paths are absolute.

    Attributes:
        name: Name of the subject.
        mass_kg: Mass of the subject; None where not given.
        height_m: Height, which scales nothing; None where not given.
        age_years: Age, which scales nothing; None where not given.
        model_file: Model to scale; None where not given.
        marker_set_file: Its markers; None where not given.
        scaler: How to scale it.
        placer: How to place its markers.
    """

    name: str
    mass_kg: float | None
    height_m: float | None
    age_years: float | None
    model_file: Path | None
    marker_set_file: Path | None
    scaler: ModelScaler
    placer: MarkerPlacer


def read_scale_setup(
    path: str | os.PathLike[str], model: storage.HasCoordinates | None = None
) -> ScaleSetup:
    """Reads a set-up of OpenSim's ScaleTool.

    What is absent takes OpenSim's default: ``apply`` is true, ``scaling_order`` is
    empty (nothing scales), and ``time_range`` is -1 -1, the first frame.

    Args:
        path: Set-up XML; paths in it are relative to its folder.
        model: As in ``ik_setup.read_ik_setup``, for tasks with values from a file.

    Warns:
        UserWarning: As ``ik_setup.read_ik_setup`` of the marker placer's tasks.

    Raises:
        FileNotFoundError: If the file, or one of tasks or coordinates that it needs,
            is not there.
        ValueError: If it is no set-up of a ScaleTool of version 40000 or later, or a
            value cannot be understood; one sentence says which.

    Source: `ScaleTool`, `ModelScaler` and `MarkerPlacer` of OpenSim 4.6, each rule
    found by running it. It takes the first two of several markers of a pair, crashes
    on a single one, and ignores axes that it does not know (``XY`` for ``X Y``); all
    these are refused here.
    """
    document = osim_xml.open_document(path, "ScaleTool")
    tool = document.content
    maker = tool.find("GenericModelMaker")
    maker = osim_xml.Element("GenericModelMaker") if maker is None else maker
    height = osim_xml.number(document, tool, "height", -1.0)
    return ScaleSetup(
        name=osim_xml.name_of(tool),
        mass_kg=_positive(osim_xml.number(document, tool, "mass", -1.0)),
        height_m=_positive(height * _METRES_PER_MM),
        age_years=_positive(osim_xml.number(document, tool, "age", -1.0)),
        model_file=_file(document, maker, "model_file"),
        marker_set_file=_file(document, maker, "marker_set_file"),
        scaler=_scaler(document, tool.find("ModelScaler")),
        placer=_placer(document, tool.find("MarkerPlacer"), model),
    )


def _scaler(document: Document, element: Element | None) -> ModelScaler:
    if element is None:
        return ModelScaler()
    order = tuple(osim_xml.text(document, element, "scaling_order").split())
    for word in order:
        if word not in (MEASUREMENTS, MANUAL):
            raise document.error(
                f"<scaling_order> of {osim_xml.label(element)} has '{word}', where "
                f"{MEASUREMENTS} and {MANUAL} are allowed."
            )
    measurements = osim_xml.objects(document, element, "MeasurementSet")
    named = map(osim_xml.name_of, measurements)
    osim_xml.require_unique(document, "measurements", named)
    scales = osim_xml.objects(document, element, "ScaleSet")
    flag = "preserve_mass_distribution"
    return ModelScaler(
        apply=osim_xml.flag(document, element, "apply", True),
        scaling_order=order,
        measurements=tuple(_measurement(document, item) for item in measurements),
        manual_scales=tuple(_manual_scale(document, item) for item in scales),
        marker_file=_file(document, element, "marker_file"),
        time_range_s=_time_range(document, element),
        preserve_mass_distribution=osim_xml.flag(document, element, flag, False),
        output_model_file=_file(document, element, "output_model_file"),
        output_scale_file=_file(document, element, "output_scale_file"),
    )


def _measurement(document: Document, element: Element) -> Measurement:
    pairs = osim_xml.objects(document, element, "MarkerPairSet")
    bodies = osim_xml.objects(document, element, "BodyScaleSet")
    return Measurement(
        name=osim_xml.name_of(element),
        apply=osim_xml.flag(document, element, "apply", True),
        pairs=tuple(_pair(document, element, item) for item in pairs),
        bodies=tuple(_body_scale(document, element, item) for item in bodies),
    )


def _pair(document: Document, owner: Element, element: Element) -> tuple[str, str]:
    words = osim_xml.text(document, element, "markers").split()
    if len(words) != 2:
        raise document.error(
            f"<markers> of a MarkerPair of {osim_xml.label(owner)} is "
            f"'{' '.join(words)}', where the names of two markers are needed."
        )
    return words[0], words[1]


def _body_scale(document: Document, owner: Element, element: Element) -> BodyScale:
    words = osim_xml.text(document, element, "axes").split()
    for word in words:
        if len(word) != 1 or word.upper() not in _AXES:
            raise document.error(
                f"<axes> of {osim_xml.label(element)} of {osim_xml.label(owner)} has "
                f"'{word}', where X, Y and Z are allowed, with blanks between them."
            )
    x, y, z = (axis in {word.upper() for word in words} for axis in _AXES)
    return BodyScale(osim_xml.name_of(element), (x, y, z))


def _manual_scale(document: Document, element: Element) -> ManualScale:
    x, y, z = osim_xml.numbers(document, element, "scales", (1.0, 1.0, 1.0), count=3)
    body = osim_xml.text(document, element, "segment")
    if not body or min(x, y, z) <= 0:
        raise document.error(
            f"a Scale has segment '{body}' and scales {x:g} {y:g} {z:g}, where the "
            "name of a body and three positive numbers are needed."
        )
    return ManualScale(body, (x, y, z), osim_xml.flag(document, element, "apply", True))


def _placer(
    document: Document,
    element: Element | None,
    model: storage.HasCoordinates | None,
) -> MarkerPlacer:
    if element is None:
        return MarkerPlacer()
    task_set = element.find("IKTaskSet")
    tasks = IkTasks({})
    if task_set is not None:
        tasks = ik_setup.tasks_of(element, task_set, document.path, model)
    movement = osim_xml.number(document, element, "max_marker_movement", -1.0)
    return MarkerPlacer(
        apply=osim_xml.flag(document, element, "apply", True),
        tasks=tasks,
        marker_file=_file(document, element, "marker_file"),
        coordinate_file=_file(document, element, "coordinate_file"),
        time_range_s=_time_range(document, element),
        output_model_file=_file(document, element, "output_model_file"),
        output_motion_file=_file(document, element, "output_motion_file"),
        output_marker_file=_file(document, element, "output_marker_file"),
        max_marker_movement_m=_positive(movement),
    )


def _time_range(document: Document, element: Element) -> tuple[float, float]:
    first, last = osim_xml.numbers(document, element, "time_range", _NO_TIME, count=2)
    if first > last:
        raise document.error(
            f"<time_range> of {osim_xml.label(element)} is '{first:g} {last:g}', where "
            "a first and a last time are needed."
        )
    return first, last


def _file(document: Document, element: Element, tag: str) -> Path | None:
    """Returns an absolute path; Windows separators name no folder elsewhere."""
    text = osim_xml.text(document, element, tag)
    if text in {"", "Unassigned"}:
        return None
    return (document.path.parent / text.replace("\\", "/")).resolve()


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None
