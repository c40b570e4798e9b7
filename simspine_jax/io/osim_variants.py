"""Pose2Sim's full-body models with joints that the originals tie together or lack."""

import copy
import os
from xml.etree import ElementTree

import numpy as np

from simspine_jax.body import spine_markers
from simspine_jax.body.model import Model
from simspine_jax.body.spine_markers import CERVICAL
from simspine_jax.io import load, osim_couplers, osim_edit, osim_frames, osim_xml
from simspine_jax.io.osim_xml import Document, Element

# The turns of the lumbar spine; the files tie all levels to L5-S1.
_LUMBAR = {
    f"{level}_{turn}"
    for level in ("L5_S1", "L4_L5", "L3_L4", "L2_L3", "L1_L2", "L1_T12")
    for turn in ("Flex_Ext", "Lat_Bending", "axial_rotation")
}
_NECK = ("neck_flexion", "neck_bending", "neck_rotation")

# Too light to matter; OpenSim wants more than nothing.
_MASS_KG, _INERTIA_KG_M2 = 1e-3, 1e-6


def write_variant(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    *,
    free_lumbar: bool = False,
    cervical_share: float | None = None,
) -> None:
    """Writes a model whose lumbar levels move freely, or whose neck has two joints.

    ``free_lumbar`` removes the couplers that make the levels L4-L5 to L1-T12 turn in
    fixed proportion to L5-S1; all 18 lumbar coordinates are then free, over the ranges
    of the file but not clamped to them. The body ``Abdomen`` followed L5-S1 by a factor
    that stood for the whole lumbar spine; that would no longer be true, and a coupler
    to all levels is more than ``load_model`` reads, so its couplers go too and its
    rotations are locked at their defaults. No marker depends on it; the abdominal
    muscles do, and are not to be used.

    ``cervical_share`` gives C7 to C1, fixed to the torso in the originals, a body
    ``cervical`` between torso and head. It turns about a centre at C7-T1
    (``spine_markers.cervical_centre``: as high as the keypoint of C7, in front of it on
    the line through those of C4 and C1) by ``cervical_flexion``, ``_bending`` and
    ``_rotation``, coupled to ``neck_*`` at ``share / (1 - share)``; the head turns on
    it by ``neck_*``, about the old centre. So ``neck_*`` are now the upper part: in a
    rotation about one axis the head turns by ``neck_* / (1 - share)`` against the
    torso. Their ranges and defaults shrink by ``1 - share``, so that the head's stay.
    With all coordinates zero nothing moves: the frame of the new body is then the
    torso's, and what is fixed to it has the same place there. Markers Neck_02 and
    Neck_03 of the file and the pictures of C1 to C6 move to it, muscles stay on the
    torso. A MarkerSet given to ``load_model`` has to name the new body;
    ``spine_markers.with_keypoints`` does.

    In flexion and extension about two thirds of the range between occiput and T1 lie at
    C2-C3 and below, in axial rotation less than half (representative values of White
    and Panjabi, Clinical Biomechanics of the Spine, 2nd ed., 1990). One share serves
    all three turns here.

    Args:
        path: File to write, UTF-8; appears whole or not at all.
        source: A full-body model of Pose2Sim, scaled or not.
        free_lumbar: Whether to free the lumbar levels.
        cervical_share: Part of the neck's rotation below the head's joint, between 0
            and 1; None leaves the neck as it is.

    Raises:
        FileNotFoundError: The source or the folder of ``path`` is not there.
        ValueError: Nothing is asked for, the share is out of range, or the model lacks
            what is to be changed.
    """
    if not free_lumbar and cervical_share is None:
        raise ValueError(
            "nothing is asked for: set free_lumbar, cervical_share, or both"
        )
    if cervical_share is not None and not 0.0 < cervical_share < 1.0:
        raise ValueError(
            f"cervical_share must lie between 0 and 1; found {cervical_share}"
        )
    document = osim_xml.open_document(source, "Model")
    model = load.load_model(source)
    if free_lumbar:
        _free_lumbar(document)
    if cervical_share is not None:
        _split_neck(document, model, cervical_share)
    osim_edit.write_document(path, document)


def _free_lumbar(document: Document) -> None:
    coordinates = {
        osim_xml.name_of(item): item
        for _, joint in osim_frames.components(document, "Joint", "JointSet")
        for item in joint.findall("coordinates/Coordinate")
    }
    for name in sorted(_LUMBAR - coordinates.keys()):
        raise document.error(
            f"the model has no coordinate '{name}', so that its lumbar levels cannot "
            "be freed."
        )
    found = osim_frames.components(document, "Constraint", "ConstraintSet")
    holder = {item: owner for owner in document.content.iter() for item in owner}
    freed = []
    for _, element in found:
        if not osim_xml.flag(document, element, "isEnforced", True):
            continue
        dependent = osim_xml.text(document, element, "dependent_coordinate_name")
        drivers = osim_xml.text(document, element, "independent_coordinate_names")
        if dependent in _LUMBAR:
            freed.append(dependent)
        elif _LUMBAR.intersection(drivers.split()):
            osim_edit.set_text(coordinates[dependent], "locked", "true")
        else:
            continue
        holder[element].remove(element)
    if not freed:
        raise document.error("no coupler ties a lumbar level, so that all are free.")
    for name in freed:
        osim_edit.set_text(coordinates[name], "clamped", "false")
        osim_edit.set_text(coordinates[name], "locked", "false")


def _split_neck(document: Document, model: Model, share: float) -> None:
    spine_markers.require_bodies(model)
    if CERVICAL in model.body_names:
        raise document.error(f"the model has a body '{CERVICAL}' already.")
    tree = osim_frames.read_frames(document)
    holder = {item: owner for owner in document.content.iter() for item in owner}
    owner, neck = _neck_joint(document, model)
    head = model.body_names.index("head")
    rotation = np.asarray(model.parent_rotation[head])
    bodies = osim_frames.components(document, "Body", "BodySet")
    torso_path, torso = next(b for b in bodies if osim_xml.name_of(b[1]) == "torso")
    path = torso_path.removesuffix("torso") + CERVICAL
    centre = np.asarray(spine_markers.cervical_centre(model), np.float64)

    _insert_after(holder, torso, _body(document, torso, centre))
    lower = _lower_joint(document, neck, share)
    osim_edit.give_frame(lower, "socket_parent_frame", torso_path, rotation, centre)
    osim_edit.give_frame(lower, "socket_child_frame", path, rotation, centre)
    old = neck.findtext("socket_parent_frame", "").strip()
    old = tree.offsets.get(osim_frames.resolve(tree, owner, old) or "")
    if old is not None and holder[old] is neck.find("frames"):
        holder[old].remove(old)
    place = np.asarray(model.parent_translation[head])
    osim_edit.give_frame(neck, "socket_parent_frame", path, rotation, place)
    _insert_after(holder, neck, lower)
    for coordinate in neck.findall("coordinates/Coordinate"):
        _shrink(document, coordinate, 1.0 - share)
    constraints = document.content.find("ConstraintSet/objects")
    if constraints is None:
        raise document.error(
            "the model has no <ConstraintSet> for the neck's couplers."
        )
    constraints.extend(_coupler(name, share) for name in _NECK)
    for marker in document.content.findall("MarkerSet/objects/Marker"):
        i = model.marker_names.index(osim_xml.name_of(marker))
        body = model.topology.marker_bodies[i]
        on_torso = body >= 0 and model.body_names[body] == "torso"
        if on_torso and model.marker_names[i] in spine_markers.ON_CERVICAL:
            osim_edit.set_text(marker, "socket_parent_frame", path)
            osim_edit.set_numbers(
                marker, "location", np.asarray(model.marker_offset[i])
            )


def _neck_joint(document: Document, model: Model) -> tuple[str, Element]:
    """Finds the joint of head and torso; it must be three plain rotations."""
    head, torso = (model.body_names.index(name) for name in ("head", "torso"))
    names = {
        model.coordinate_names[source]
        for source in model.topology.axis_sources[6 * head : 6 * head + 3]
        if 0 <= source < len(model.coordinate_names)
    }
    plain = np.asarray(model.axis_is_coordinate[head, :3]).all()
    still = not np.any([model.axis_slope[head, 3:], model.axis_offset[head, 3:]])
    if (
        model.topology.parents[head] != torso
        or names != set(_NECK)
        or not plain * still
    ):
        raise document.error(
            f"the head does not hang on the torso by a joint of {', '.join(_NECK)} "
            "alone, so that the neck cannot be split."
        )
    return next(
        (path, joint)
        for path, joint in osim_frames.components(document, "Joint", "JointSet")
        if joint.find(f"coordinates/Coordinate[@name='{_NECK[0]}']") is not None
    )


def _insert_after(holder: dict[Element, Element], place: Element, new: Element) -> None:
    siblings = holder[place]
    siblings.insert(list(siblings).index(place) + 1, new)


def _body(document: Document, torso: Element, centre: np.ndarray) -> Element:
    """Makes the new body, which takes the torso's pictures of C1 to C6.

    They also keep its scale factors, as those of any body.
    """
    body = Element("Body", name=CERVICAL)
    components = ElementTree.SubElement(body, "components")
    kept = torso.find("components")
    for frame in [] if kept is None else list(kept):
        pictured = (frame.findtext("attached_geometry/Mesh/mesh_file") or "").strip()
        if pictured.startswith("cerv") and not pictured.startswith("cerv7"):
            assert kept is not None
            kept.remove(frame)
            components.append(frame)
    if not len(components):
        raise document.error(
            "the torso has no mesh of a cervical vertebra (cerv1 to cerv6), which the "
            f"body '{CERVICAL}' needs to record its scale."
        )
    osim_edit.set_numbers(body, "mass", (_MASS_KG,))
    osim_edit.set_numbers(body, "mass_center", centre)
    osim_edit.set_numbers(body, "inertia", (_INERTIA_KG_M2,) * 3 + (0.0,) * 3)
    return body


def _lower_joint(document: Document, neck: Element, share: float) -> Element:
    """Makes the joint of the new body: the head's again, without its frames."""
    joint = copy.deepcopy(neck)
    joint.set("name", "cervical_torso")
    for frames in joint.findall("frames"):
        joint.remove(frames)
    for coordinate in joint.findall("coordinates/Coordinate"):
        coordinate.set("name", _lower(osim_xml.name_of(coordinate)))
        _shrink(document, coordinate, share)
        # The coupler keeps it in its range, and still where the neck is locked.
        osim_edit.set_text(coordinate, "clamped", "false")
        osim_edit.set_text(coordinate, "locked", "false")
    for driver in joint.findall("SpatialTransform/TransformAxis/coordinates"):
        driver.text = " ".join(_lower(name) for name in (driver.text or "").split())
    return joint


def _lower(name: str) -> str:
    return name.replace("neck", CERVICAL)


def _shrink(document: Document, coordinate: Element, factor: float) -> None:
    """Leaves a coordinate a part of its range and default."""
    value = osim_xml.number(document, coordinate, "default_value", 0.0)
    osim_edit.set_numbers(coordinate, "default_value", (factor * value,))
    ends = osim_xml.numbers(document, coordinate, "range", (-10.0, 10.0), infinite=True)
    osim_edit.set_numbers(coordinate, "range", tuple(factor * end for end in ends))


def _coupler(name: str, share: float) -> Element:
    coupler = Element(osim_couplers.KIND, name=f"{_lower(name)}_con")
    osim_edit.set_text(coupler, "isEnforced", "true")
    holder = ElementTree.SubElement(coupler, "coupled_coordinates_function")
    function = ElementTree.SubElement(holder, "LinearFunction")
    osim_edit.set_numbers(function, "coefficients", (share / (1.0 - share), 0.0))
    osim_edit.set_text(coupler, "independent_coordinate_names", name)
    osim_edit.set_text(coupler, "dependent_coordinate_name", _lower(name))
    return coupler
