"""OpenSim models (``.osim``, document version 40000 and up), without OpenSim.

Read: bodies, ground and offset frames, the joints of ``osim_joints``, the
functions of ``osim_functions``, coordinate couplers, markers, mesh scale factors.
Skipped: what does not move a body (muscles and other forces, wraps, contacts,
controllers, probes, geometry). Everything else stops with one sentence.
"""

import os

from simspine_jax.body.spec import GROUND, ModelSpec
from simspine_jax.io import (
    osim_couplers,
    osim_frames,
    osim_joints,
    osim_markers,
    osim_tree,
    osim_xml,
)
from simspine_jax.io.osim_markers import MarkerEntry, read_marker_set
from simspine_jax.io.osim_xml import Document, Element, OsimError

__all__ = ["MarkerEntry", "OsimError", "read_marker_set", "read_osim"]


def read_osim(
    path: str | os.PathLike[str], markers: str | os.PathLike[str] | None = None
) -> ModelSpec:
    """Reads an OpenSim model.

    Args:
        path: The ``.osim`` file.
        markers: An OpenSim MarkerSet file whose markers replace the model's own.

    Returns:
        The model: bodies in file order, joints (and so coordinates) in the
        order of OpenSim's CoordinateSet, frames relative to bodies, m and rad.
        ``scale_factors`` holds, for every body, those of its first mesh (one
        where it has none).

    Raises:
        FileNotFoundError: A file is not there.
        OsimError: The file cannot be used; the message is one sentence that
            names the file, the element and its type.

    Source: OpenSim 4.6 ``Model``, which this matches except that it refuses
    what OpenSim mends by itself: duplicate names (OpenSim renames), bodies
    without a joint (OpenSim adds a free one), loops and reversed joints, and
    numbers it cannot read (OpenSim takes the default).
    """
    document = osim_xml.open_document(path, "Model")
    found = [item for _, item in osim_frames.components(document, "Body", "BodySet")]
    bodies = tuple(osim_xml.name_of(body) for body in found)
    osim_xml.require_unique(document, "bodies", (GROUND, *bodies))
    tree = osim_frames.read_frames(document)
    joints = osim_joints.read_joints(document, tree)
    osim_xml.require_unique(document, "joints", (joint.name for joint in joints))
    coordinates = tuple(q.name for joint in joints for q in joint.coordinates)
    osim_xml.require_unique(document, "coordinates", coordinates)
    osim_tree.check_tree(document, bodies, joints)
    return ModelSpec(
        name=document.content.get("name", ""),
        source=str(document.path),
        bodies=bodies,
        joints=joints,
        couplers=osim_couplers.read_couplers(document, coordinates),
        markers=osim_markers.read_markers(document, tree, markers),
        scale_factors={
            osim_xml.name_of(body): _scale_factors(document, body) for body in found
        },
    )


def _scale_factors(document: Document, body: Element) -> tuple[float, float, float]:
    """Returns the scale of a body's first mesh, its own before its frames'."""
    one = (1.0, 1.0, 1.0)
    mesh = body.find("attached_geometry/Mesh")
    if mesh is None:
        mesh = body.find("components//attached_geometry/Mesh")
    if mesh is None:
        return one
    x, y, z = osim_xml.numbers(document, mesh, "scale_factors", one, count=3)
    return x, y, z
