"""Which markers of an OpenSim model must not move when markers are placed."""

import os
import pathlib

from simspine_jax.io import osim_xml
from simspine_jax.io.osim_xml import Document


def read_fixed_markers(
    osim_path: str | os.PathLike[str],
    markers: str | os.PathLike[str] | None = None,
) -> frozenset[str]:
    """Reads which markers are marked as ``fixed``.

    Args:
        osim_path: The ``.osim`` file.
        markers: A MarkerSet file whose markers replace the model's own.

    Returns:
        Names of the markers with ``fixed`` true; where absent it is false.

    Raises:
        FileNotFoundError: A file is not there.
        OsimError: A file cannot be used; one sentence says why.
    """
    document = osim_xml.open_document(osim_path, "Model")
    kept = document.content.find("MarkerSet")
    if markers is None and kept is not None and kept.get("file"):
        markers = pathlib.Path(osim_path).parent / kept.get("file", "")
    if markers is None:
        return _fixed(document, "MarkerSet/objects/Marker")
    return _fixed(osim_xml.open_document(markers, "MarkerSet"), "objects/Marker")


def _fixed(document: Document, path: str) -> frozenset[str]:
    return frozenset(
        osim_xml.name_of(marker)
        for marker in document.content.findall(path)
        if osim_xml.flag(document, marker, "fixed", False)
    )
