"""Calibrations in TOML: Pose2Sim, Anipose and SIMSPINE share one layout.

A table for each camera has ``matrix`` (3 x 3, px), ``distortions`` (OpenCV's order),
``rotation`` (Rodrigues vector, rad, world to camera), ``translation`` (world origin
in the camera frame) and ``size`` (width, height, px); ``name`` and ``fisheye`` may
follow. So ``x_cam = R x_world + t`` as in OpenCV, and whole pixels are centres of
pixels. Translations are metres in Pose2Sim and SIMSPINE. Anipose's are in the unit of
its calibration board, which the file does not say.
"""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simspine_jax.io import atomic
from simspine_jax.io.camera_entry import CameraEntry, make_entry, to_rig
from simspine_jax.types import CameraRig

_NEEDED = ("matrix", "distortions", "rotation", "translation", "size")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def read_toml(path: Path, metres_per_unit: float = 1.0) -> CameraRig:
    """Reads a calibration in TOML.

    Tables that have neither ``matrix`` nor ``rotation``, such as ``metadata``, are
    not cameras. Cameras keep the order of the file.

    Args:
        path: The file.
        metres_per_unit: Size of the unit of the translations, m.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not TOML, a table lacks a field, or a field is no camera's, such
            as the tables per frame of a moving camera.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML ({error})") from None
    entries = [
        _entry(str(table.get("name", key)), table, path, metres_per_unit)
        for key, table in tables.items()
        if isinstance(table, dict) and ("matrix" in table or "rotation" in table)
    ]
    return to_rig(entries, path)


def _entry(
    name: str, table: dict[str, Any], path: Path, metres_per_unit: float
) -> CameraEntry:
    where = f"{path}: camera {name!r}"
    if table.get("moving"):
        raise ValueError(f"{where} moves, and only cameras that stand still are read")
    for field in _NEEDED:
        if field not in table:
            raise ValueError(
                f"{where} has no {field}; it must have {', '.join(_NEEDED)}"
            )
    entry = make_entry(
        path,
        name,
        matrix=table["matrix"],
        distortion=table["distortions"],
        rotation=table["rotation"],
        translation=table["translation"],
        image_size=table["size"],
        fisheye=bool(table.get("fisheye", False)),
    )
    return CameraEntry(
        **{**vars(entry), "translation": entry.translation * metres_per_unit}
    )


def write_toml(path: str | os.PathLike[str], rig: CameraRig) -> None:
    """Writes a rig in Pose2Sim's TOML, in metres, whole or not at all.

    Numbers are written with all their digits.

    Args:
        path: Final path; a file already there is replaced.
        rig: Cameras.

    Raises:
        ValueError: The rig's fields do not belong together or are not a camera's.
        FileNotFoundError: The folder does not exist.
    """
    fisheye = rig.fisheye or (False,) * len(rig.names)
    tables = []
    for camera, name in enumerate(rig.names):
        distortion = np.asarray(rig.distortion[camera], dtype=np.float64)
        entry = make_entry(
            path,
            name,
            matrix=rig.matrix[camera],
            distortion=distortion[:4] if fisheye[camera] else distortion,
            rotation=rig.rotation[camera],
            translation=rig.translation[camera],
            image_size=rig.image_size[camera],
            fisheye=fisheye[camera],
        )
        tables.append((entry, cv2.Rodrigues(entry.rotation)[0].ravel()))
    to_rig([entry for entry, _ in tables], path)
    text = "".join(
        f"[{_key(entry.name)}]\n"
        f"name = {_quoted(entry.name)}\n"
        f"size = {entry.image_size.tolist()}\n"
        f"matrix = {entry.matrix.tolist()}\n"
        f"distortions = {entry.distortion.tolist()}\n"
        f"rotation = {turn.tolist()}\n"
        f"translation = {entry.translation.tolist()}\n"
        f"fisheye = {str(entry.fisheye).lower()}\n\n"
        for entry, turn in tables
    )
    atomic.write_text(path, f"{text}[metadata]\nadjusted = false\nerror = 0.0\n")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _quoted(name)


def _quoted(name: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(name).replace("\x7f", "\\u007f")
