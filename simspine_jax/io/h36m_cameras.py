"""The four cameras of Human3.6M, for each of its 11 subjects.

Human3.6M does not move its cameras within a subject's session, and their lenses stay
the same in all. The table beside this module has rotation vectors (world to camera,
rad), translations (world origin in the camera frame, m), focal lengths and principal
points (px) and OpenCV's coefficients k1 k2 p1 p2 k3. The world is the data set's own:
Z up, floor at 0.

Source: the constants of Human3.6M's metadata (Ionescu et al. 2014). The images of two
cameras are 1000 x 1002 pixels, those of the other two 1000 x 1000.
"""

import json
from functools import cache
from importlib import resources
from typing import Any

from simspine_jax.io.camera_entry import make_entry, to_rig
from simspine_jax.types import CameraRig

NAMES = ("54138969", "55011271", "58860488", "60457274")
SUBJECTS = tuple(f"S{number}" for number in range(1, 12))
_TABLE = "h36m_cameras.json"


def h36m_rig(subject: str) -> CameraRig:
    """Returns the rig of a Human3.6M subject.

    Args:
        subject: ``"S1"`` to ``"S11"``.

    Returns:
        The cameras ``NAMES``, m; ``x_cam = R x_world + t``.

    Raises:
        ValueError: There is no such subject.
    """
    if subject not in SUBJECTS:
        raise ValueError(
            f"Human3.6M has no subject {subject!r}; it has {', '.join(SUBJECTS)}"
        )
    table = _table()
    entries = []
    for name in NAMES:
        lens, place = table["cameras"][name], table["subjects"][subject][name]
        (fx, fy), (cx, cy) = lens["focal_length_px"], lens["principal_point_px"]
        entries.append(
            make_entry(
                _TABLE,
                name,
                matrix=[[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]],
                distortion=lens["distortion_k1_k2_p1_p2_k3"],
                rotation=place["rotation_vector_rad"],
                translation=place["translation_m"],
                image_size=lens["image_size_px"],
            )
        )
    return to_rig(entries, _TABLE)


@cache
def _table() -> dict[str, Any]:
    file = resources.files("simspine_jax.io") / _TABLE
    return json.loads(file.read_text(encoding="utf-8"))
