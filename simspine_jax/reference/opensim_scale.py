"""Runs OpenSim's ScaleTool on this package's inputs."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import opensim

from simspine_jax.reference import opensim_load, opensim_tasks
from simspine_jax.types import MarkerTrajectory

Element = ElementTree.Element

_SETUP, _MODEL, _TRIAL = "setup.xml", "generic.osim", "static.trc"
_SCALED, _PLACED = "scaled.osim", "placed.osim"
_PROBE = "scale_of_"
_PROBE_ELEMENT = re.compile(
    rb'\s*<Marker name="' + _PROBE.encode() + rb'[^"]*">.*?</Marker>', re.DOTALL
)
_VALUE = "value"


@dataclass(frozen=True)
class ReferenceScale:
    """What OpenSim's scaling answered.

    Attributes:
        factors: Scale of each body along its axes, by name. Each of shape [3].
        scaled: The scaled model's file, its markers not yet placed.
        placed: The same with its markers placed; None where the set-up does not.
        markers: Parent frame and location in it (m) of each marker of the last of
            these models, by name.
        static_pose: Coordinates (rad, m) in which the markers were placed, in
            ``coordinate_names`` order. Shape [N]; None where they were not.
        coordinate_names: N names, in the model's order; none where not placed.
    """

    factors: dict[str, np.ndarray]
    scaled: Path
    placed: Path | None
    markers: dict[str, tuple[str, np.ndarray]]
    static_pose: np.ndarray | None
    coordinate_names: tuple[str, ...]


def run_scale_tool(
    setup_xml: str | Path,
    model_path: str | Path,
    static: MarkerTrajectory | str | Path,
    folder: str | Path,
    *,
    markers: str | Path | None = None,
) -> ReferenceScale:
    """Scales a model and places its markers with OpenSim's own tool.

    The set-up's measurements, scales, tasks and settings are used, its file names
    (but that of ``coordinate_file``) not.

    Args:
        setup_xml: ScaleTool XML.
        model_path: Model to scale.
        static: Markers in ground, m; or a TRC file, given to OpenSim as it is.
        folder: Existing folder, for the tool's inputs and outputs.
        markers: Optional MarkerSet XML for the model.

    Returns:
        The factors with all their digits, and the models as OpenSim wrote them.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: OpenSim refuses an input, or the set-up's ModelScaler is off.

    Source: OpenSim 4.6 ``ScaleTool::run``. Its own file of factors has six digits;
    a marker put at (1, 1, 1) of each body comes back with all of them.
    """
    opensim_load.quiet()
    folder = Path(folder).resolve()
    opensim_load.require_file(setup_xml)
    bodies = _write_model(model_path, folder / _MODEL)
    if isinstance(static, MarkerTrajectory):
        opensim_tasks.write_trc(folder / _TRIAL, static)
    else:
        shutil.copyfile(opensim_load.require_file(static), folder / _TRIAL)
    places = _write_setup(Path(setup_xml), folder, markers)
    outputs = [folder / _SCALED, *([folder / _PLACED] if places else [])]
    tool = _run(folder / _SETUP, outputs)
    factors = _take_probes(folder / _SCALED, bodies)
    if places:
        _take_probes(folder / _PLACED, bodies)
    last = folder / (_PLACED if places else _SCALED)
    names, pose = _static_pose(tool, last) if places else ((), None)
    return ReferenceScale(
        factors=factors,
        scaled=folder / _SCALED,
        placed=last if places else None,
        markers=_markers(last),
        static_pose=pose,
        coordinate_names=names,
    )


def _write_model(path: str | Path, copy: Path) -> tuple[str, ...]:
    """Copies a model with a marker at (1, 1, 1) of each body; returns the bodies."""
    model = opensim_load.load(path)
    bodies = [model.getBodySet().get(i) for i in range(model.getNumBodies())]
    for body in bodies:
        probe = opensim.Marker(_PROBE + body.getName(), body, opensim.Vec3(1.0))
        probe.set_fixed(True)
        model.addMarker(probe)
    model.finalizeConnections()
    model.printToXML(str(copy))
    return tuple(body.getName() for body in bodies)


def _write_setup(source: Path, folder: Path, markers: str | Path | None) -> bool:
    """Writes the set-up with the names of our files; returns whether it places."""
    document = ElementTree.parse(source)
    tool = document.getroot()
    if tool.tag != "ScaleTool":
        tool = _part(tool, "ScaleTool")
    maker, scaler = _part(tool, "GenericModelMaker"), _part(tool, "ModelScaler")
    _set(maker, "model_file", _MODEL)
    _set(maker, "marker_set_file", "Unassigned")
    if markers is not None:
        shutil.copyfile(opensim_load.require_file(markers), folder / "markers.xml")
        _set(maker, "marker_set_file", "markers.xml")
    _set(scaler, "marker_file", _TRIAL)
    _set(scaler, "output_model_file", _SCALED)
    _set(scaler, "output_scale_file", "Unassigned")
    placer = tool.find("MarkerPlacer")
    if placer is not None:
        _set(placer, "marker_file", _TRIAL)
        _set(placer, "output_model_file", _PLACED)
        _set(placer, "output_motion_file", "static.mot")
        _set(placer, "output_marker_file", "Unassigned")
        named = (placer.findtext("coordinate_file") or "").strip()
        if named not in {"", "Unassigned"}:
            given = opensim_load.require_file(source.parent / named)
            shutil.copyfile(given, folder / "coordinates.mot")
            _set(placer, "coordinate_file", "coordinates.mot")
    document.write(folder / _SETUP)
    if placer is None:
        return False
    return (placer.findtext("apply") or "true").strip().lower() == "true"


def _part(owner: Element, tag: str) -> Element:
    found = owner.find(tag)
    if found is None:
        raise ValueError(f"{_SETUP}: {owner.tag} has no {tag}.")
    return found


def _set(element: Element, tag: str, text: str) -> None:
    found = element.find(tag)
    if found is None:
        found = ElementTree.SubElement(element, tag)
    found.text = text


def _run(setup: Path, outputs: list[Path]) -> opensim.ScaleTool:
    """Runs the tool; it answers False too where markers are not to be placed."""
    for path in outputs:
        path.unlink(missing_ok=True)
    try:
        with opensim_load.silent_stdout():
            tool = opensim.ScaleTool(str(setup))
            tool.run()
    except RuntimeError as error:
        why = opensim_load.one_line(error)
        raise ValueError(f"{setup}: OpenSim's tool failed: {why}") from error
    for path in outputs:
        if not path.is_file():
            raise ValueError(f"{setup}: OpenSim's ScaleTool wrote no {path.name}.")
    return tool


def _take_probes(path: Path, bodies: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Takes our markers out of a model file; returns where they were, m."""
    found = _markers(path)
    # OpenSim writes bytes that no XML parser takes, so the text is cut as it is.
    path.write_bytes(_PROBE_ELEMENT.sub(b"", path.read_bytes()))
    # Marker placement removes the markers that the trial lacks.
    probes = {body: _PROBE + body for body in bodies}
    return {body: found[name][1] for body, name in probes.items() if name in found}


def _markers(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    model = opensim_load.load(path)
    found = [model.getMarkerSet().get(i) for i in range(model.getNumMarkers())]
    return {
        m.getName(): (m.getParentFrameName(), m.get_location().to_numpy())
        for m in found
    }


def _static_pose(
    tool: opensim.ScaleTool, placed: Path
) -> tuple[tuple[str, ...], np.ndarray]:
    """The pose in which markers were placed; its file has eight decimals only."""
    model = opensim_load.load(placed)
    names = opensim_load.set_names(model.getCoordinateSet())
    storage = tool.getMarkerPlacer().getOutputStorage()
    labels = storage.getColumnLabels()
    row = storage.getStateVector(0).getData()
    pose = {}
    for column in range(1, labels.getSize()):
        path = labels.get(column).split("/")
        if path[-1] == _VALUE:
            pose[path[-2]] = row.get(column - 1)
    return names, np.array([pose[name] for name in names])
