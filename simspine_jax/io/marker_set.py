"""OpenSim MarkerSet files."""

import os
from collections.abc import Mapping
from xml.etree import ElementTree

from simspine_jax.body.spec import GROUND
from simspine_jax.io import atomic

_VERSION = "40000"


def write_marker_set(
    path: str | os.PathLike[str],
    markers: Mapping[str, tuple[str, tuple[float, float, float]]],
) -> None:
    """Writes markers fixed to bodies as an OpenSim MarkerSet.

    Args:
        path: File to write; appears whole or not at all.
        markers: Body and offset in its frame (m) by marker name.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    root = ElementTree.Element("OpenSimDocument", Version=_VERSION)
    marker_set = ElementTree.SubElement(root, "MarkerSet", name="markerset")
    objects = ElementTree.SubElement(marker_set, "objects")
    for name, (body, offset) in markers.items():
        marker = ElementTree.SubElement(objects, "Marker", name=name)
        frame = "/ground" if body == GROUND else f"/bodyset/{body}"
        ElementTree.SubElement(marker, "socket_parent_frame").text = frame
        place = " ".join(repr(float(x)) for x in offset)
        ElementTree.SubElement(marker, "location").text = place
        ElementTree.SubElement(marker, "fixed").text = "true"
    ElementTree.indent(root, "\t")
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    atomic.write_text(path, f'<?xml version="1.0" encoding="UTF-8" ?>\n{text}\n')
