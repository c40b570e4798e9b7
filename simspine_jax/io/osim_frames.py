"""Where the frames of an OpenSim model sit: bodies, and frames offset from them.

Components form a tree, and a socket names the frame it connects to by a path in
it: absolute (``/bodyset/femur_r``), or relative to the component that owns the
socket (``../../bodyset/femur_r``, or ``femur_r_offset`` for a frame it owns
itself). OpenSim 4.6 takes nothing else; here the bare name of a body is read too.
"""

import posixpath
from dataclasses import dataclass

import numpy as np

from simspine_jax.body.spec import GROUND, Frame
from simspine_jax.io import osim_xml
from simspine_jax.io.osim_xml import Document, Element

GROUND_PATH = "/ground"

# Component types that move bodies, and are read only directly below the model.
_MOVING = ("Joint", "Constraint", "Body", "Model")


@dataclass(frozen=True)
class FrameTree:
    """The frames of a model by their absolute paths.

    Attributes:
        bodies: Body names, ground among them.
        offsets: Elements of the frames that are offset from another.
    """

    bodies: dict[str, str]
    offsets: dict[str, Element]


def components(
    document: Document, ending: str, set_tag: str | None = None
) -> list[tuple[str, Element]]:
    """Lists the model's components of one family with their absolute paths.

    Args:
        document: A Model document.
        ending: How their types end, such as ``"Joint"``.
        set_tag: The set that is their home, such as ``"JointSet"``, if any;
            everything in it is listed, so that strange types can be refused.

    Returns:
        Path and element of each, in OpenSim's order: those among the model's
        own ``<components>``, those in their set, those in the ComponentSet.
    """
    model = document.content
    loose = [("", item) for item in model.findall("components/*")]
    extra = osim_xml.objects(document, model, "ComponentSet")
    extra = [("/componentset", item) for item in extra]
    home = osim_xml.objects(document, model, set_tag) if set_tag else []
    home = [(f"/{set_tag}".lower(), item) for item in home]
    ours = [pair for pair in loose if pair[1].tag.endswith(ending)]
    more = [pair for pair in extra if pair[1].tag.endswith(ending)]
    return [
        (f"{folder}/{osim_xml.name_of(item)}", item)
        for folder, item in ours + home + more
    ]


def read_frames(document: Document) -> FrameTree:
    """Finds every body and offset frame of a model.

    Raises:
        OsimError: Two frames with one path, or a component that moves bodies
            and hides inside another one.
    """
    tree = FrameTree({GROUND_PATH: GROUND}, {})
    for ground in document.content.findall("Ground"):
        _add_owned(document, tree, ground, GROUND_PATH)
    for path, body in components(document, "Body", "BodySet"):
        if body.tag != "Body":
            raise document.error(
                f"{osim_xml.label(body)} is not supported as a body (supported: Body)."
            )
        tree.bodies[path] = osim_xml.name_of(body)
        _add_owned(document, tree, body, path)
    for path, joint in components(document, "Joint", "JointSet"):
        _add_owned(document, tree, joint, path)
    for path, item in components(document, ""):
        if item.tag == "Model":
            raise document.error(
                f"{osim_xml.label(item)} is a model inside the model, which is not "
                "supported."
            )
        if item.tag == "PhysicalOffsetFrame":
            _add_frame(document, tree, item, path)
        elif not item.tag.endswith(("Body", "Joint")):
            _add_owned(document, tree, item, path)
    return tree


def _add_owned(document: Document, tree: FrameTree, owner: Element, path: str) -> None:
    for part in owner.findall("frames/*") + owner.findall("components/*"):
        if part.tag.endswith(_MOVING):
            raise document.error(
                f"{osim_xml.label(part)} is a component of {osim_xml.label(owner)}, "
                "which is not supported; it must belong to the model itself."
            )
        if part.tag == "PhysicalOffsetFrame":
            _add_frame(document, tree, part, f"{path}/{osim_xml.name_of(part)}")


def _add_frame(document: Document, tree: FrameTree, frame: Element, path: str) -> None:
    if path in tree.offsets:
        raise document.error(f"two frames have the same path, '{path}'.")
    tree.offsets[path] = frame
    _add_owned(document, tree, frame, path)


def resolve(tree: FrameTree, owner: str, connectee: str) -> str | None:
    """Returns the absolute path of the frame that a socket names.

    Args:
        tree: The model's frames.
        owner: Absolute path of the component that owns the socket.
        connectee: What the socket says.

    Returns:
        The path, or None if there is no such frame.
    """
    path = posixpath.normpath(posixpath.join(owner, connectee))
    if path in tree.bodies or path in tree.offsets:
        return path
    by_name = {name: path for path, name in tree.bodies.items()}
    return by_name.get(connectee)


def locate(
    document: Document, tree: FrameTree, owner: str, element: Element, socket: str
) -> tuple[str, Frame]:
    """Follows a component's socket to a frame and down to the body it sits on.

    Args:
        document: The document, for messages.
        tree: The model's frames.
        owner: Absolute path of the component that owns the socket.
        element: That component.
        socket: The socket's tag.

    Returns:
        The body's name, and the frame's pose in the body frame, m.

    Raises:
        OsimError: The socket is empty or names no frame that is supported, or
            as for ``place``.
    """
    return place(document, tree, _connectee(document, tree, owner, element, socket))


def place(document: Document, tree: FrameTree, path: str) -> tuple[str, Frame]:
    """Follows a frame, through any chain of offsets, down to its body.

    Args:
        document: The document, for messages.
        tree: The model's frames.
        path: Absolute path of a frame in the tree.

    Returns:
        The body's name, and the frame's pose in the body frame, m.

    Raises:
        OsimError: A frame in the chain hangs from nothing that is supported, or
            the chain goes round in a circle.

    Source: OpenSim 4.6 ``PhysicalOffsetFrame``; its orientation is three angles
    about the body-fixed axes X, Y, Z.
    """
    rotation, translation = np.eye(3), np.zeros(3)
    visited: set[str] = set()
    while path not in tree.bodies:
        if path in visited:
            raise document.error(
                f"PhysicalOffsetFrame '{path}' is offset from itself, directly or "
                "through others."
            )
        visited.add(path)
        element = tree.offsets[path]
        offset = _offset(document, element)
        translation = offset.rotation @ translation + offset.translation
        rotation = offset.rotation @ rotation
        path = _connectee(document, tree, path, element, "socket_parent")
    return tree.bodies[path], Frame(rotation, translation)


def _connectee(
    document: Document, tree: FrameTree, owner: str, element: Element, socket: str
) -> str:
    # Sockets are the one thing that <defaults> do not pass on.
    connectee = (element.findtext(socket) or "").strip()
    if not connectee:
        raise document.error(f"{osim_xml.label(element)} has no <{socket}>.")
    path = resolve(tree, owner, connectee)
    if path is None:
        raise document.error(
            f"<{socket}> of {osim_xml.label(element)} is '{connectee}', and the model "
            "has no body or PhysicalOffsetFrame there."
        )
    return path


def _offset(document: Document, element: Element) -> Frame:
    zero = (0.0, 0.0, 0.0)
    angles = osim_xml.numbers(document, element, "orientation", zero, count=3)
    place = osim_xml.numbers(document, element, "translation", zero, count=3)
    return Frame(body_xyz_to_matrix(angles), np.array(place))


def body_xyz_to_matrix(angles: tuple[float, ...]) -> np.ndarray:
    """Returns ``Rx Ry Rz`` for three body-fixed angles, rad. Shape [3, 3]."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_z = np.array([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
    return about_x @ about_y @ about_z
