"""Our own HDF5 files of triangulated points.

Data sets ``points`` [T, K, 3] (m), ``valid`` [T, K], ``covariance`` [T, K, 3, 3] (m^2),
``reprojection_error`` [T, C, K] (px) and ``used_views`` [T, C, K], compressed.
Attributes of the file: ``format``, ``version``, ``rate_hz``, ``noise_px``,
``camera_names`` [C] and ``keypoint_names`` [K]. The frame is the rig's world.
"""

import os
from typing import Any

import h5py
import numpy as np

from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.io.own_h5 import created, opened

_FORMAT, _VERSION = "simspine_jax triangulation", 1
_FIELDS = ("points", "valid", "reprojection_error", "covariance", "used_views")
_ATTRIBUTES = ("rate_hz", "noise_px", "camera_names", "keypoint_names")


def write_triangulation(
    path: str | os.PathLike[str],
    found: Triangulation,
    *,
    keypoint_names: tuple[str, ...],
    camera_names: tuple[str, ...],
    rate_hz: float,
) -> None:
    """Writes points with their covariances, whole or not at all.

    Args:
        path: Final path; a file already there is replaced.
        found: Points of T frames.
        keypoint_names: K names.
        camera_names: C names.
        rate_hz: Frames per second.

    Raises:
        ValueError: The names do not fit the arrays.
        FileNotFoundError: The folder does not exist.
    """
    shape = np.shape(found.used_views)[1:]
    if shape != (len(camera_names), len(keypoint_names)):
        raise ValueError(
            f"{path}: the points are of {shape[0]} cameras and {shape[1]} keypoints, "
            f"but {len(camera_names)} and {len(keypoint_names)} names are given"
        )
    with created(path) as file:
        for name in _FIELDS:
            values = np.asarray(getattr(found, name))
            packing = {"compression": "gzip", "shuffle": True} if values.size else {}
            file.create_dataset(name, data=values, **packing)
        file.attrs["format"], file.attrs["version"] = _FORMAT, _VERSION
        file.attrs["rate_hz"] = float(rate_hz)
        file.attrs["noise_px"] = float(found.noise_px)
        text = h5py.string_dtype()
        file.attrs["camera_names"] = np.array(camera_names, dtype=text)
        file.attrs["keypoint_names"] = np.array(keypoint_names, dtype=text)


def read_triangulation(
    path: str | os.PathLike[str],
) -> tuple[Triangulation, tuple[str, ...], tuple[str, ...], float]:
    """Reads points, keypoint names, camera names and rate.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a file, or a field is missing.
    """
    with opened(path, _FORMAT, _VERSION, (*_FIELDS, *_ATTRIBUTES)) as file:
        arrays = {name: np.asarray(file[name]) for name in _FIELDS}
        attribute: Any = file.attrs.__getitem__
        noise, rate = float(attribute("noise_px")), float(attribute("rate_hz"))
        keypoints = tuple(str(n) for n in attribute("keypoint_names"))
        cameras = tuple(str(n) for n in attribute("camera_names"))
    return Triangulation(**arrays, noise_px=noise), keypoints, cameras, rate
