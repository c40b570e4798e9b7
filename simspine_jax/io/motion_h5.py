"""Our own HDF5 files of fitted motions.

Data sets ``q`` [T, N] (rad and m), ``marker_rms`` [T] (m) and ``status`` [T],
compressed. Attributes of the file: ``format``, ``version``, ``rate_hz``, ``start_s``
and ``coordinate_names`` [N]. For OpenSim there is ``io.storage.write_mot``.
"""

import os
from typing import Any

import h5py
import numpy as np

from simspine_jax.io.own_h5 import created, opened
from simspine_jax.types import Motion

_FORMAT, _VERSION = "simspine_jax motion", 1
_FIELDS = ("q", "marker_rms", "status")
_ATTRIBUTES = ("rate_hz", "start_s", "coordinate_names")


def write_motion(
    path: str | os.PathLike[str],
    motion: Motion,
    *,
    marker_rms: np.ndarray,
    status: np.ndarray,
) -> None:
    """Writes a motion and how well it fits, whole or not at all.

    Args:
        path: Final path; a file already there is replaced.
        motion: The coordinates.
        marker_rms: Root mean square of each frame's marker distances, m. Shape [T].
        status: How the fit of each frame ended. Shape [T].

    Raises:
        ValueError: The lengths differ.
        FileNotFoundError: The folder does not exist.
    """
    frames = len(motion.q)
    if not len(marker_rms) == len(status) == frames:
        raise ValueError(
            f"{path}: the motion has {frames} frames, but marker_rms {len(marker_rms)} "
            f"and status {len(status)}"
        )
    with created(path) as file:
        arrays = zip(_FIELDS, (motion.q, marker_rms, status), strict=True)
        for name, values in arrays:
            packing = {"compression": "gzip", "shuffle": True} if frames else {}
            file.create_dataset(name, data=np.asarray(values), **packing)
        file.attrs["format"], file.attrs["version"] = _FORMAT, _VERSION
        file.attrs["rate_hz"] = float(motion.rate_hz)
        file.attrs["start_s"] = float(motion.start_s)
        text = h5py.string_dtype()
        file.attrs["coordinate_names"] = np.array(motion.coordinate_names, dtype=text)


def read_motion(
    path: str | os.PathLike[str],
) -> tuple[Motion, np.ndarray, np.ndarray]:
    """Reads a motion, its marker distances (m) and the status of its frames.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a file, or a field is missing.
    """
    with opened(path, _FORMAT, _VERSION, (*_FIELDS, *_ATTRIBUTES)) as file:
        q, marker_rms, status = (np.asarray(file[name]) for name in _FIELDS)
        attribute: Any = file.attrs.__getitem__
        names = tuple(str(n) for n in attribute("coordinate_names"))
        motion = Motion(
            q, names, float(attribute("rate_hz")), float(attribute("start_s"))
        )
    return motion, marker_rms, status
