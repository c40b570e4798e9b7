"""Calibrations in OpenCV's YAML and XML, and in JSON with the same fields.

OpenCV fixes how a matrix is written, but not what it is called, so the usual names
are taken (`_FIELDS`). All mean OpenCV's own model: ``x_cam = R x_world + t``, x right
and y down, whole pixels are centres of pixels.

Three layouts: a file of one camera (its name is the file's), a folder of such files,
and a file with a map for each camera, at the top or below ``cameras``.

OpenCap's cameras as JSON are the one exception to units and order: its translation is
in millimetres and its ``imageSize`` is height, then width. A JSON file with OpenCap's
field ``intrinsicMat`` is read so.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2

from simspine_jax.io.camera_entry import CameraEntry, make_entry, to_rig
from simspine_jax.types import CameraRig

SUFFIXES = (".yml", ".yaml", ".xml", ".json")
_OPENCAP = "intrinsicMat"
_FIELDS = {
    "matrix": ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", _OPENCAP),
    "distortion": (
        *("distortion_coefficients", "distortion", "dist_coeffs", "distCoeffs"),
        *("Distortion_Coefficients", "dist", "D"),
    ),
    "rotation": ("R", "rotation", "rotation_matrix", "rvec", "rotation_vector"),
    "translation": ("T", "tvec", "t", "translation", "translation_vector"),
    "image_size": ("image_size", "imageSize", "size"),
}
_WIDTH = ("image_width", "image_Width", "width")
_HEIGHT = ("image_height", "image_Height", "height")


def read_opencv(path: Path, metres_per_unit: float | None = None) -> CameraRig:
    """Reads cameras from OpenCV's YAML or XML, or from JSON.

    Args:
        path: A file, or a folder of files of one camera each, which are read by name;
            a leading ``.`` hides a file.
        metres_per_unit: Size of the unit of the translations, m. Without it, 0.001
            for OpenCap's JSON and 1 for all else.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: A file cannot be parsed or holds no camera, a field is missing
            or is there under two names, or the numbers are not those of a camera.
    """
    if path.is_dir():
        files = sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not files:
            raise ValueError(
                f"{path}: no file in this folder ends in {', '.join(SUFFIXES)}"
            )
    elif path.is_file():
        files = [path]
    else:
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    entries = [
        _entry(name, fields, file, metres_per_unit)
        for file in files
        for name, fields in _cameras(file)
    ]
    return to_rig(entries, path)


def _cameras(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    content = _json(file) if file.suffix.lower() == ".json" else _file_storage(file)
    if _is_camera(content):
        yield str(content.get("name", content.get("camera_name", file.stem))), content
        return
    inner = content.get("cameras", content)
    named = inner.items() if isinstance(inner, dict) else enumerate(inner)
    found = [(key, value) for key, value in named if _is_camera(value)]
    if not found:
        raise ValueError(
            f"{file}: there is no camera in it; a camera has one of the fields "
            f"{', '.join(_FIELDS['matrix'])}"
        )
    for key, fields in found:
        yield str(fields.get("name", key)), fields


def _is_camera(value: Any) -> bool:
    return isinstance(value, dict) and any(key in value for key in _FIELDS["matrix"])


def _entry(
    name: str, fields: dict[str, Any], file: Path, metres_per_unit: float | None
) -> CameraEntry:
    where = f"{file}: camera {name!r}"
    opencap = _OPENCAP in fields
    values = {
        field: _one_of(fields, keys, field, where)
        for field, keys in _FIELDS.items()
        if field != "image_size"
    }
    unit = metres_per_unit or (0.001 if opencap else 1.0)
    entry = make_entry(
        file,
        name,
        **values,
        image_size=_image_size(fields, where, height_first=opencap),
        fisheye=bool(fields.get("fisheye", False)),
    )
    centre = entry.matrix[:2, 2]
    if not ((centre > 0) & (centre < entry.image_size)).all():
        raise ValueError(
            f"{where}: the principal point {centre.round(1).tolist()} lies outside "
            f"the image of {entry.image_size.astype(int).tolist()} (width, height) "
            "pixels; the order of the image size is probably wrong"
        )
    return CameraEntry(**{**vars(entry), "translation": entry.translation * unit})


def _image_size(fields: dict[str, Any], where: str, *, height_first: bool) -> Any:
    if any(key in fields for key in _FIELDS["image_size"]):
        found = _one_of(fields, _FIELDS["image_size"], "image size", where)
        flat = [x[0] if isinstance(x, list) else x for x in _as_list(found)]
        return flat[::-1] if height_first else flat
    return [
        _one_of(fields, _WIDTH, "image width", where),
        _one_of(fields, _HEIGHT, "image height", where),
    ]


def _as_list(value: Any) -> list:
    return list(value) if hasattr(value, "__len__") else [value]


def _one_of(
    fields: Mapping[str, Any], keys: tuple[str, ...], field: str, where: str
) -> Any:
    found = [key for key in keys if key in fields]
    if not found:
        raise ValueError(
            f"{where} has no {field}; it must have one of {', '.join(keys)}"
        )
    if len(found) > 1:
        raise ValueError(
            f"{where} has its {field} more than once, as {' and '.join(found)}"
        )
    return fields[found[0]]


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not JSON ({error})") from None
    if isinstance(content, list):
        return {"cameras": content}
    if not isinstance(content, dict):
        raise ValueError(f"{file}: the JSON is neither an object nor a list")
    return content


def _file_storage(file: Path) -> dict[str, Any]:
    try:
        storage = cv2.FileStorage(str(file), cv2.FILE_STORAGE_READ)
        content = _plain(storage.root()) if storage.isOpened() else None
    except (cv2.error, SystemError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{file}: OpenCV cannot read it ({reason})") from None
    storage.release()
    if not isinstance(content, dict):
        raise ValueError(f"{file}: OpenCV finds no fields in it")
    return content


def _plain(node: cv2.FileNode) -> Any:
    if node.isInt() or node.isReal():
        return node.real()
    if node.isString():
        return node.string()
    if node.isSeq():
        return [_plain(node.at(i)) for i in range(node.size())]
    if node.isMap():
        keys = node.keys()
        # A matrix is a map too, and OpenCV knows which.
        if {"dt", "data"} <= set(keys):
            return node.mat()
        return {key: _plain(node.getNode(key)) for key in keys}
    return None
