"""OpenSim's joints, each read as three rotations followed by a translation.

What OpenSim 4.6 does, found by running it: the axes of a CustomJoint are scaled
to unit length, those of translations too; an axis that is not given is X, Y or
Z in turn; an axis without a function stands still at zero. Ball, gimbal and free
joints all have body-fixed X, Y, Z angles as their coordinates.
"""

import math

from simspine_jax.body.spec import (
    AxisSpec,
    CoordinateSpec,
    Function,
    JointSpec,
    Linear,
)
from simspine_jax.io import osim_frames, osim_functions, osim_xml
from simspine_jax.io.osim_frames import FrameTree
from simspine_jax.io.osim_xml import Document, Element

Vector = tuple[float, float, float]

_AXES: tuple[Vector, ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

# Which coordinate turns about X, Y, Z (body-fixed, in turn) and moves along them.
_SLOTS: dict[str, tuple[int | None, ...]] = {
    "WeldJoint": (None, None, None, None, None, None),
    "PinJoint": (None, None, 0, None, None, None),
    "SliderJoint": (None, None, None, 0, None, None),
    "PlanarJoint": (None, None, 0, 1, 2, None),
    "UniversalJoint": (0, 1, None, None, None, None),
    "GimbalJoint": (0, 1, 2, None, None, None),
    "BallJoint": (0, 1, 2, None, None, None),
    "FreeJoint": (0, 1, 2, 3, 4, 5),
}
_TRANSFORM_AXES = (
    "rotation1",
    "rotation2",
    "rotation3",
    "translation1",
    "translation2",
    "translation3",
)
SUPPORTED = (*_SLOTS, "CustomJoint")

# How far OpenSim lets the default of a clamped coordinate be out of its range.
_CLAMP_TOLERANCE = math.sqrt(2.0**-52)


def read_joints(document: Document, tree: FrameTree) -> tuple[JointSpec, ...]:
    """Reads every joint of a model in the order of OpenSim's CoordinateSet.

    Args:
        document: A Model document.
        tree: Its frames.

    Returns:
        The joints in file order (OpenSim does not sort them); a CustomJoint's
        coordinates as its axes first name them, any others last. m and rad.

    Raises:
        OsimError: A joint that is not supported or contradicts itself.

    Source: OpenSim 4.6 ``Joint`` and its subclasses, ``SpatialTransform``.
    """
    found = osim_frames.components(document, "Joint", "JointSet")
    return tuple(_joint(document, tree, path, item) for path, item in found)


def _joint(
    document: Document, tree: FrameTree, path: str, element: Element
) -> JointSpec:
    if element.tag not in SUPPORTED:
        raise document.error(
            f"joint '{osim_xml.name_of(element)}' is of type {element.tag}, which is "
            f"not supported (supported: {', '.join(SUPPORTED)})."
        )
    coordinates = _coordinates(document, element)
    names = tuple(coordinate.name for coordinate in coordinates)
    osim_xml.require_unique(
        document, f"coordinates of {osim_xml.label(element)}", names
    )
    if element.tag == "CustomJoint":
        elements = _transform_axes(document, element)
        axes = _custom_axes(document, element, elements, names)
        coordinates = _by_first_mention(document, elements, coordinates)
    else:
        axes = _fixed_axes(element.tag, names)
    parent, parent_frame = osim_frames.locate(
        document, tree, path, element, "socket_parent_frame"
    )
    child, child_frame = osim_frames.locate(
        document, tree, path, element, "socket_child_frame"
    )
    return JointSpec(
        name=osim_xml.name_of(element),
        kind=element.tag,
        parent=parent,
        child=child,
        parent_frame=parent_frame,
        child_frame=child_frame,
        coordinates=coordinates,
        rotations=(axes[0], axes[1], axes[2]),
        translations=(axes[3], axes[4], axes[5]),
    )


def _fixed_axes(kind: str, names: tuple[str, ...]) -> list[AxisSpec]:
    still = Linear((0.0,))
    return [
        AxisSpec(axis, still, ())
        if slot is None
        else AxisSpec(axis, Linear((1.0, 0.0)), (names[slot],))
        for axis, slot in zip(_AXES + _AXES, _SLOTS[kind], strict=True)
    ]


def _transform_axes(document: Document, joint: Element) -> list[Element]:
    """Lists the six axes of a CustomJoint, empty elements where none is given."""
    owner = osim_xml.label(joint)
    transform = osim_xml.find(document, joint, "SpatialTransform")
    if transform is None:
        raise document.error(f"{owner} has no <SpatialTransform>.")
    found: dict[str, Element] = {}
    for axis in transform.findall("TransformAxis"):
        if axis.get("name") not in _TRANSFORM_AXES:
            raise document.error(
                f"{osim_xml.label(axis)} of {owner} is not one of "
                f"{', '.join(_TRANSFORM_AXES)}."
            )
        found.setdefault(axis.get("name", ""), axis)
    return [found.get(name, Element("TransformAxis")) for name in _TRANSFORM_AXES]


def _custom_axes(
    document: Document, joint: Element, elements: list[Element], names: tuple[str, ...]
) -> list[AxisSpec]:
    owner = osim_xml.label(joint)
    slots = zip(elements, _TRANSFORM_AXES, _AXES + _AXES, strict=True)
    return [
        _axis(document, element, f"{slot} of {owner}", names, default)
        for element, slot, default in slots
    ]


def _by_first_mention(
    document: Document, axes: list[Element], coordinates: tuple[CoordinateSpec, ...]
) -> tuple[CoordinateSpec, ...]:
    """Sorts a CustomJoint's coordinates as OpenSim does: as its axes name them."""
    named = " ".join(osim_xml.text(document, axis, "coordinates") for axis in axes)
    rank = {name: i for i, name in enumerate(dict.fromkeys(named.split()))}
    return tuple(sorted(coordinates, key=lambda c: rank.get(c.name, len(rank))))


def _axis(
    document: Document,
    element: Element,
    owner: str,
    names: tuple[str, ...],
    default: Vector,
) -> AxisSpec:
    x, y, z = osim_xml.numbers(document, element, "axis", default, count=3)
    length = math.hypot(x, y, z)
    if length == 0.0:
        raise document.error(f"the axis of {owner} is zero, where a direction is due.")
    arguments = tuple(osim_xml.text(document, element, "coordinates").split())
    for name in arguments:
        if name not in names:
            raise document.error(
                f"{owner} is driven by '{name}', which is not a coordinate of that "
                "joint."
            )
    if len(set(arguments)) != len(arguments):
        raise document.error(
            f"{owner} names the same coordinate twice: {' '.join(arguments)}."
        )
    function = _axis_function(document, element, len(arguments), owner)
    used = arguments[: osim_functions.argument_count(function)]
    return AxisSpec((x / length, y / length, z / length), function, used)


def _axis_function(
    document: Document, element: Element, arguments: int, owner: str
) -> Function:
    found = osim_functions.find_function(document, element, "function")
    if found is None:
        return Linear((0.0,))
    if found.tag == "function":
        raise document.error(f"the function of {owner} is empty.")
    return osim_functions.read_function(document, found, arguments, owner)


def _coordinates(document: Document, joint: Element) -> tuple[CoordinateSpec, ...]:
    holder = osim_xml.find(document, joint, "coordinates")
    slots = _SLOTS.get(joint.tag)
    needed = None if slots is None else 6 - slots.count(None)
    if holder is None:
        # OpenSim then makes them up, under these very names.
        blank = range(needed or 0)
        elements = [Element("Coordinate", {"name": f"_coord_{i}"}) for i in blank]
    else:
        elements = holder.findall("Coordinate")
    if needed is not None and len(elements) != needed:
        raise document.error(
            f"{osim_xml.label(joint)} has {len(elements)} coordinates, where a "
            f"{joint.tag} has {needed}."
        )
    return tuple(_coordinate(document, element) for element in elements)


def _coordinate(document: Document, element: Element) -> CoordinateSpec:
    name = osim_xml.name_of(element)
    if osim_xml.flag(document, element, "prescribed", False):
        raise document.error(
            f"coordinate '{name}' is prescribed as a function of time, which is not "
            "supported; set <prescribed> to false."
        )
    value = osim_xml.number(document, element, "default_value", 0.0)
    lower, upper = osim_xml.numbers(
        document, element, "range", (-10.0, 10.0), count=2, infinite=True
    )
    clamped = osim_xml.flag(document, element, "clamped", False)
    slack = _CLAMP_TOLERANCE
    if clamped and not lower - slack <= value <= upper + slack:
        raise document.error(
            f"coordinate '{name}' is clamped to the range {lower:g} to {upper:g}, and "
            f"its default value {value:g} is outside of it."
        )
    locked = osim_xml.flag(document, element, "locked", False)
    return CoordinateSpec(name, value, lower, upper, clamped, locked)
