"""Edits of OpenSim XML documents, and writing them back.

Numbers are written by ``repr``, so that they come back bit for bit. Comments of a
file do not survive; whatever else is not edited does.
"""

import copy
import os
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from simspine_jax.io import atomic, osim_functions, osim_xml
from simspine_jax.io.osim_frames import FrameTree
from simspine_jax.io.osim_xml import Document, Element


def write_document(path: str | os.PathLike[str], document: Document) -> None:
    """Writes a document as UTF-8, whole or not at all.

    Args:
        path: File to write.
        document: Its content is written, indented by tabs.

    Raises:
        FileNotFoundError: The folder does not exist.
        IsADirectoryError: ``path`` is a folder.
    """
    root = Element("OpenSimDocument", Version=str(document.version))
    root.append(document.content)
    ElementTree.indent(root, "\t")
    text = ElementTree.tostring(root, encoding="unicode")
    atomic.write_text(path, f'<?xml version="1.0" encoding="UTF-8" ?>\n{text}\n')


def set_text(owner: Element, tag: str, value: str) -> None:
    """Sets a property, made if it is not there."""
    found = owner.find(tag)
    if found is None:
        found = ElementTree.SubElement(owner, tag)
    found.text = value


def set_numbers(
    owner: Element, tag: str, values: Float[np.ndarray, "*n"] | tuple[float, ...]
) -> None:
    """Sets a property of numbers, made if it is not there."""
    set_text(owner, tag, " ".join(repr(float(v)) for v in np.ravel(values)))


def multiply(document: Document, owner: Element, prop: str, factor: float) -> None:
    """Multiplies a function that is an object's property, as OpenSim's scaling does.

    Args:
        document: The document.
        owner: The object.
        prop: The property; it must be there.
        factor: What to multiply by.

    Source: OpenSim 4.6 ``TransformAxis``: a MultiplierFunction around the function,
    whose factor grows when it is scaled again.
    """
    found = osim_functions.find_function(document, owner, prop)
    assert found is not None
    holders = [h for h in (owner.find(prop), owner) if h is not None]
    place = next(
        ((h, i) for h in holders for i, item in enumerate(h) if item is found), None
    )
    if place is not None and found.tag == "MultiplierFunction":
        scale = osim_xml.number(document, found, "scale", 1.0)
        set_numbers(found, "scale", (scale * factor,))
        return
    wrapped = Element("MultiplierFunction", name=prop)
    ElementTree.SubElement(wrapped, "function").append(copy.deepcopy(found))
    set_numbers(wrapped, "scale", (factor,))
    if place is None:  # the function was the document's default
        owner.append(wrapped)
    else:
        holder, index = place
        holder[index] = wrapped


def body_path(tree: FrameTree, body: str) -> str:
    """Returns the absolute path of a body or of the ground."""
    return next(path for path, name in tree.bodies.items() if name == body)


def give_frame(
    joint: Element,
    socket: str,
    body_path: str,
    rotation: Float[np.ndarray, "3 3"],
    translation: Float[np.ndarray, "3"],
) -> None:
    """Connects a joint's socket to a new offset frame of its own.

    Args:
        joint: The joint.
        socket: ``socket_parent_frame`` or ``socket_child_frame``.
        body_path: Absolute path of the body the frame sits on.
        rotation: The frame's axes in the body.
        translation: Its origin in the body, m.
    """
    frames = joint.find("frames")
    if frames is None:
        frames = ElementTree.SubElement(joint, "frames")
    taken = {osim_xml.name_of(frame) for frame in frames}
    name = body_path.rpartition("/")[2] + "_centre"
    while name in taken:
        name += "_"
    frame = ElementTree.SubElement(frames, "PhysicalOffsetFrame", name=name)
    set_text(frame, "socket_parent", body_path)
    set_numbers(frame, "translation", translation)
    # Body-fixed X, Y, Z angles, as the reader takes them.
    set_numbers(frame, "orientation", Rotation.from_matrix(rotation).as_euler("XYZ"))
    set_text(joint, socket, name)
