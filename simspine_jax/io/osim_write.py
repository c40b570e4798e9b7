"""Scaled and calibrated models written back as OpenSim files."""

import os
import warnings
from pathlib import Path
from xml.etree import ElementTree

import jax
import numpy as np
from jaxtyping import Float

from simspine_jax.body.model import Model
from simspine_jax.body.spec import GROUND, ModelError
from simspine_jax.io import (
    atomic,
    load,
    osim_attached,
    osim_couplers,
    osim_edit,
    osim_frames,
    osim_xml,
)
from simspine_jax.io.osim_frames import FrameTree
from simspine_jax.io.osim_xml import Document, Element

# What must be the source's own, by the name a message gives it.
_WIRING = {
    "bodies": ("body_names",),
    "coordinates": ("coordinate_names",),
    "joints": ("parents", "axis_sources", "curve_coordinates", "sum_coordinates"),
    "couplers": ("couplers",),
}
_AXES = ("rotation1", "rotation2", "rotation3")
_AXES += ("translation1", "translation2", "translation3")

# Largest difference between a model and its file, absolute and relative, by precision.
_SLACK = {"float64": 1e-12, "float32": 1e-6}
# Not compared: a property of the functions as written, which a factor can change; and
# what a file can only say of bodies with a picture.
_NOT_COMPARED = ("axis_is_coordinate", "scale_factors")


def write_osim(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    model: Model,
    *,
    name: str | None = None,
) -> None:
    """Writes a scaled or calibrated model as an edited copy of its source file.

    The kinematics of the file are the model's: OpenSim places its bodies and markers
    where ``forward_kinematics`` and ``marker_positions`` do, and ``load_model`` reads
    the same model back (to 1e-12; this is checked before the file appears), except
    that the scale factors of bodies without a mesh come back as one.

    Besides, everything that sits at a point of a body moves with the body as it was
    scaled: offset frames, path points of muscles, mass centres, contact geometry, wrap
    objects; meshes grow. Left as they were, so that muscle forces and dynamics are
    **not** those of the scaled person: masses and inertias, fibre and tendon lengths,
    radii and sizes of wrap and contact objects, moving path points. Groups of markers
    and comments of the file are dropped.

    Args:
        path: File to write, UTF-8; appears whole or not at all. May be ``source``.
        source: The ``.osim`` file that the model was loaded from.
        model: The model: any scale factors, joint places, defaults, ranges, locks and
            markers, on the bodies, joints and couplers of ``source``.
        name: Name of the written model; the source's own if absent.

    Raises:
        FileNotFoundError: The source or the folder of ``path`` is not there.
        ValueError: The model's bodies, coordinates, joints or couplers are not those
            of ``source``, or differ from it in something that cannot be written, such
            as the shape of a spline.

    Source: OpenSim 4.6 ``Model::scale`` for what moves with a body.
    """
    document = osim_xml.open_document(source, "Model")
    before = load.load_model(source)
    model = jax.tree.map(np.asarray, model)
    _require_same_wiring(source, before, model)
    slack = _SLACK.get(str(model.parent_translation.dtype), _SLACK["float32"])
    tree = osim_frames.read_frames(document)
    grown = _growth(source, before, model, slack)
    osim_attached.scale_attached(document, tree, grown)
    for owner, joint in osim_frames.components(document, "Joint", "JointSet"):
        _write_joint(document, tree, owner, joint, before, model, slack)
    _write_couplers(document, before, model, slack)
    _write_markers(document, tree, model)
    if name is not None:
        document.content.set("name", name)
    with atomic.atomic_path(path) as temporary:
        osim_edit.write_document(temporary, document)
        _require_same_model(temporary, Path(path), model, slack)


def _require_same_wiring(
    source: str | os.PathLike[str], before: Model, model: Model
) -> None:
    for what, fields in _WIRING.items():
        for field in fields:
            ours, theirs = (
                getattr(model.topology, field),
                getattr(before.topology, field),
            )
            if ours == theirs:
                continue
            odd = [str(n) for n in (*ours, *theirs) if (n in ours) != (n in theirs)]
            example = f", such as {odd[0]}" if field.endswith("names") and odd else ""
            raise ValueError(
                f"the {what} of the model are not those of {source}{example}; the "
                "source must be the file that the model was loaded from"
            )


def _growth(
    source: str | os.PathLike[str], before: Model, model: Model, slack: float
) -> dict[str, Float[np.ndarray, "3"]]:
    """Returns by how much bodies were scaled since the file, those that were."""
    if not np.all(before.scale_factors):
        raise ValueError(f"{source}: the scale factors of a body's mesh are zero")
    ratio = np.asarray(model.scale_factors, np.float64) / before.scale_factors
    return {
        body: row
        for body, row in zip(model.body_names, ratio, strict=True)
        if np.abs(row - 1.0).max() > slack
    }


def _write_joint(
    document: Document,
    tree: FrameTree,
    owner: str,
    joint: Element,
    before: Model,
    model: Model,
    slack: float,
) -> None:
    child, _ = osim_frames.locate(document, tree, owner, joint, "socket_child_frame")
    b = model.body_names.index(child)
    for side in ("parent", "child"):
        socket = f"socket_{side}_frame"
        body, frame = osim_frames.locate(document, tree, owner, joint, socket)
        place = np.asarray(getattr(model, f"{side}_translation")[b], np.float64)
        # Scaling has moved it already; a centre moved by hand gets a frame of its own,
        # as others may use the old one.
        if np.abs(frame.translation - place).max() > slack:
            base = osim_edit.body_path(tree, body)
            osim_edit.give_frame(joint, socket, base, frame.rotation, place)
    axes: dict[str, Element] = {}
    for axis in joint.findall("SpatialTransform/TransformAxis"):
        axes.setdefault(axis.get("name", ""), axis)
    for slot, label in enumerate(_AXES):
        old = np.array([before.axis_slope[b, slot], before.axis_offset[b, slot]])
        new = np.array([model.axis_slope[b, slot], model.axis_offset[b, slot]])
        factor = _factor(old, new)
        if label in axes and abs(factor - 1.0) > slack:
            osim_edit.multiply(document, axes[label], "function", factor)
    for coordinate in joint.findall("coordinates/Coordinate"):
        _write_coordinate(coordinate, before, model, slack)


def _write_coordinate(
    element: Element, before: Model, model: Model, slack: float
) -> None:
    name = osim_xml.name_of(element)
    i = model.coordinate_names.index(name)
    if abs(model.default_q[i] - before.default_q[i]) > slack:
        osim_edit.set_numbers(element, "default_value", np.asarray(model.default_q[i]))
    limits = [np.array([m.lower[i], m.upper[i], *m.range[i]]) for m in (before, model)]
    if not np.allclose(limits[0], limits[1], rtol=slack, atol=slack):
        osim_edit.set_numbers(element, "range", np.asarray(model.range[i]))
        clamped = np.isfinite([model.lower[i], model.upper[i]]).any()
        osim_edit.set_text(element, "clamped", "true" if clamped else "false")
    free = i in model.topology.free
    if free != (i in before.topology.free):
        osim_edit.set_text(element, "locked", "false" if free else "true")


def _write_couplers(
    document: Document, before: Model, model: Model, slack: float
) -> None:
    names = model.coordinate_names
    rows = {names[d]: row for row, (d, _) in enumerate(model.topology.couplers)}
    for _, element in osim_frames.components(document, "Constraint", "ConstraintSet"):
        dependent = osim_xml.text(document, element, "dependent_coordinate_name")
        enforced = osim_xml.flag(document, element, "isEnforced", True)
        if element.tag != osim_couplers.KIND or dependent not in rows or not enforced:
            continue
        old, new = (m.coupler_curves.coefficients for m in (before, model))
        row = rows[dependent]
        factor = _factor(np.ravel(old[row]), np.ravel(new[row]))
        if abs(factor - 1.0) > slack:
            scale = osim_xml.number(document, element, "scale_factor", 1.0)
            osim_edit.set_numbers(element, "scale_factor", (scale * factor,))


def _factor(before: np.ndarray, after: np.ndarray) -> float:
    """Returns the ratio of two rows of numbers, 1 where all are zero."""
    largest = int(np.argmax(np.abs(before)))
    return float(after[largest] / before[largest]) if before[largest] else 1.0


def _write_markers(document: Document, tree: FrameTree, model: Model) -> None:
    """Replaces the MarkerSet, even one that is kept in another file."""
    old = document.content.find("MarkerSet")
    known = {} if old is None else {m.get("name"): m for m in old.iter("Marker")}
    marker_set = Element("MarkerSet", name="markerset")
    objects = ElementTree.SubElement(marker_set, "objects")
    names = (*model.body_names, GROUND)  # -1 is the ground
    for i, name in enumerate(model.marker_names):
        # One that was there keeps its colour and whether it is fixed.
        marker = known.get(name, Element("Marker", name=name))
        body = names[model.topology.marker_bodies[i]]
        path = osim_edit.body_path(tree, body)
        osim_edit.set_text(marker, "socket_parent_frame", path)
        osim_edit.set_numbers(marker, "location", np.asarray(model.marker_offset[i]))
        objects.append(marker)
    if old is None:
        document.content.append(marker_set)
    else:
        document.content[list(document.content).index(old)] = marker_set


def _require_same_model(written: Path, final: Path, model: Model, slack: float) -> None:
    """Refuses to leave a file that does not say what the model says."""
    try:
        with warnings.catch_warnings():  # the source has said it already
            warnings.simplefilter("ignore")
            found = load.load_model(written)
    except ModelError as error:
        raise ValueError(str(error).replace(str(written), str(final))) from error
    if found.topology != model.topology:
        raise ValueError(f"{final}: the model's wiring cannot be written")
    for field, value in vars(model).items():
        if field == "topology" or field in _NOT_COMPARED:
            continue
        leaves = [jax.tree.leaves(v) for v in (value, getattr(found, field))]
        for ours, theirs in zip(*leaves, strict=True):
            if not np.allclose(theirs, ours, rtol=slack, atol=slack):
                raise ValueError(
                    f"{final}: the model's {field} differs from that of the source in "
                    "a way that cannot be written"
                )
