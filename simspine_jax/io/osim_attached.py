"""What is fixed to the bodies of an OpenSim model, moved as the bodies grow.

A point of a body scales along the body's axes, whatever offset frame it is given in.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from simspine_jax.io import osim_edit, osim_frames, osim_xml
from simspine_jax.io.osim_frames import FrameTree
from simspine_jax.io.osim_xml import Document, Element

_ONE = (1.0, 1.0, 1.0)
_ZERO = (0.0, 0.0, 0.0)


def scale_attached(
    document: Document,
    tree: FrameTree,
    factors: Mapping[str, Float[np.ndarray, "3"]],
) -> None:
    """Scales what is fixed to bodies: frames, pictures, points, mass centres.

    Offset frames, mass centres, path points, contact geometry and other stations, and
    wrap objects move; the scale factors of pictures grow. Sizes of wrap and contact
    objects, moving path points, masses, inertias and muscle parameters stay.

    Args:
        document: A Model document; edited.
        tree: Its frames.
        factors: Factors along its axes of each body to scale.
    """
    # As they are before anything moves.
    placed = {path: osim_frames.place(document, tree, path) for path in tree.offsets}
    turns = {path: (body, frame.rotation) for path, (body, frame) in placed.items()}
    turns |= {path: (name, np.eye(3)) for path, name in tree.bodies.items()}

    def move(element: Element, tag: str, path: str) -> None:
        """Scales a place given in the frame at a path, if the body there grows."""
        body, rotation = turns[path]
        if body not in factors or osim_xml.find(document, element, tag) is None:
            return
        x = np.array(osim_xml.numbers(document, element, tag, _ZERO, count=3))
        scaled = rotation.T @ (factors[body] * (rotation @ x))
        osim_edit.set_numbers(element, tag, scaled)

    for path, element in tree.offsets.items():
        parent = (element.findtext("socket_parent") or "").strip()
        base = osim_frames.resolve(tree, path, parent)
        assert base is not None  # ``place`` has followed it
        move(element, "translation", base)
    bodies = osim_frames.components(document, "Body", "BodySet")
    for path, body in bodies:
        move(body, "mass_center", path)
    for path, element in [*bodies, *tree.offsets.items()]:
        name = turns[path][0]
        for wrap in element.findall("WrapObjectSet/objects/*"):
            move(wrap, "translation", path)
        for picture in element.findall("attached_geometry/*"):
            if name in factors:
                size = osim_xml.numbers(document, picture, "scale_factors", _ONE)
                grown = factors[name] * np.array(size)
                osim_edit.set_numbers(picture, "scale_factors", grown)
    for element in document.content.iter():
        frame = element.findtext("socket_parent_frame")
        frame = frame or element.findtext("socket_frame") or ""
        path = osim_frames.resolve(tree, "/", frame.strip()) if frame else None
        if path is not None and element.tag != "Marker":
            move(element, "location", path)
