"""OpenSim's markers: those of a model, and MarkerSet files that replace them."""

import os
from dataclasses import dataclass

import numpy as np

from simspine_jax.body.spec import MarkerSpec
from simspine_jax.io import osim_frames, osim_xml
from simspine_jax.io.osim_frames import FrameTree
from simspine_jax.io.osim_xml import Document, Element


@dataclass(frozen=True)
class MarkerEntry:
    """A marker as a file gives it, before it is placed on a model.

    Attributes:
        name: Its name.
        frame: Path of the frame it is attached to, as written.
        location: Its place in that frame, m.
    """

    name: str
    frame: str
    location: tuple[float, float, float]


def read_marker_set(path: str | os.PathLike[str]) -> tuple[MarkerEntry, ...]:
    """Reads an OpenSim MarkerSet file.

    Args:
        path: The file, an OpenSimDocument that holds a MarkerSet.

    Returns:
        Its markers in file order; locations in m.

    Raises:
        FileNotFoundError: There is no such file.
        OsimError: It is not such a document, or two markers have one name.
    """
    document = osim_xml.open_document(path, "MarkerSet")
    return _entries(document, document.content.findall("objects/Marker"))


def _entries(document: Document, markers: list[Element]) -> tuple[MarkerEntry, ...]:
    osim_xml.require_unique(document, "markers", map(osim_xml.name_of, markers))
    return tuple(_entry(document, marker) for marker in markers)


def _entry(document: Document, marker: Element) -> MarkerEntry:
    frame = (marker.findtext("socket_parent_frame") or "").strip()
    if not frame:
        raise document.error(f"{osim_xml.label(marker)} has no <socket_parent_frame>.")
    x, y, z = osim_xml.numbers(document, marker, "location", (0.0, 0.0, 0.0), count=3)
    return MarkerEntry(osim_xml.name_of(marker), frame, (x, y, z))


def read_markers(
    document: Document,
    tree: FrameTree,
    replacement: str | os.PathLike[str] | None = None,
) -> tuple[MarkerSpec, ...]:
    """Reads a model's markers and places them on its bodies.

    Args:
        document: A Model document.
        tree: Its frames.
        replacement: A MarkerSet file whose markers replace the model's own.

    Returns:
        The markers in file order, each relative to a body (or the ground)
        whatever offset frame it is attached to, m.

    Raises:
        FileNotFoundError: A MarkerSet file is not there.
        OsimError: A marker is attached to something the model does not have.
    """
    source = document.path
    kept = document.content.find("MarkerSet")
    if replacement is None and kept is not None and kept.get("file"):
        replacement = document.path.parent / kept.get("file", "")
    if replacement is not None:
        source = replacement
        entries = read_marker_set(replacement)
    else:
        entries = _entries(
            document, document.content.findall("MarkerSet/objects/Marker")
        )
    return tuple(_place(document, tree, entry, source) for entry in entries)


def _place(
    document: Document,
    tree: FrameTree,
    entry: MarkerEntry,
    source: str | os.PathLike[str],
) -> MarkerSpec:
    owner = f"/markerset/{entry.name}"
    path = osim_frames.resolve(tree, owner, entry.frame)
    if path is None:
        model = "the model" if source is document.path else str(document.path)
        raise osim_xml.OsimError(
            f"{source}: marker '{entry.name}' is attached to '{entry.frame}', which is "
            f"not a body or PhysicalOffsetFrame of {model}."
        )
    body, frame = osim_frames.place(document, tree, path)
    x, y, z = frame.rotation @ np.array(entry.location) + frame.translation
    return MarkerSpec(entry.name, body, (float(x), float(y), float(z)))
