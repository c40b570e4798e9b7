"""Detections in OpenPose's folders: one JSON file for each view and frame.

A file has ``people``, each with ``pose_keypoints_2d``: x, y (px) and confidence of each
keypoint in a row, all 0 where it was not seen. Pixels are taken as they are: x right,
y down, whole numbers are centres of pixels. The flag ``keypoint_scale`` must have
been left at its default, so that they are pixels of the video.
"""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simspine_jax.io import keypoint_rows, view_names
from simspine_jax.io.people import People2D, stack_people
from simspine_jax.types import CameraRig

_MANY = 3

PathLike = str | os.PathLike[str]


def read_openpose(
    source: PathLike | Mapping[str, PathLike],
    cameras: CameraRig | Sequence[str],
    *,
    keypoint_names: Sequence[str],
    rate_hz: float,
) -> People2D:
    """Reads the people that OpenPose saw in several views.

    A file counts if its name is ``<camera>...<number>.json`` or
    ``<camera>...<number>_keypoints.json``, where the camera's name (or that of the
    folder, without ``_json``) may follow other words: ``Static_cam_01.00007.json``
    is frame 7 of ``cam_01``. Frames are aligned by their numbers; a frame that a view
    lacks has confidence 0 there.

    Args:
        source: A folder with one folder for each camera, whose name contains the
            camera's, as ``cam01_json`` contains ``cam_01``; or the folder of each
            camera, by its name.
        cameras: The calibration, or the names of the cameras.
        keypoint_names: The detector's K keypoints in its order, such as
            ``body_25b.NAMES``.
        rate_hz: Frames per second of the video.

    Returns:
        People, in the cameras' order.

    Warns:
        UserWarning: There are files that do not count, of which a few are named;
            hidden files are passed over.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A camera has no detections, there are detections of a camera
            that is not among ``cameras``, frames cannot be aligned or are there
            twice, or a file is not OpenPose's, has another number of keypoints, or a
            confidence that is negative or not a number.
    """
    names = cameras.names if isinstance(cameras, CameraRig) else tuple(cameras)
    if isinstance(source, Mapping):
        where = ", ".join(map(str, source.values()))
        folders = _given(source, names)
    else:
        where = str(source)
        folders = _found(Path(source), names)
    seen, ignored = {}, []
    for camera in names:
        files, others = _frame_files(folders[camera], camera)
        ignored += others
        if not files:
            raise ValueError(
                f"{folders[camera]}: camera {camera!r} has no detections; no file is "
                "named <camera>...<number>.json"
            )
        seen[camera] = {
            number: _read_frame(file, keypoint_names) for number, file in files.items()
        }
    if ignored:
        warnings.warn(_ignored_sentence(ignored, where), stacklevel=2)
    return stack_people(
        seen,
        keypoint_names=keypoint_names,
        rate_hz=rate_hz,
        frame_numbers=view_names.align_frames(seen, where),
    )


def _given(source: Mapping[str, PathLike], names: Sequence[str]) -> dict[str, Path]:
    for camera in source:
        if camera not in names:
            raise ValueError(
                f"{source[camera]}: there are detections of camera {camera!r}, which "
                f"the calibration lacks; it has {', '.join(names)}"
            )
    for camera in names:
        if camera not in source:
            raise ValueError(
                f"camera {camera!r} of the calibration has no folder of detections; "
                f"there are folders of {', '.join(source)}"
            )
    folders = {camera: Path(folder) for camera, folder in source.items()}
    for folder in folders.values():
        _require_folder(folder)
    return folders


def _found(parent: Path, names: Sequence[str]) -> dict[str, Path]:
    _require_folder(parent)
    folders: dict[str, Path] = {}
    for folder in sorted(child for child in parent.iterdir() if child.is_dir()):
        camera = view_names.camera_of(folder.name, names)
        if camera is None:
            if any(folder.glob("*.json")):
                raise ValueError(
                    f"{folder}: there are detections of a camera that the calibration "
                    f"lacks; it has {', '.join(names)}"
                )
        elif camera in folders:
            raise ValueError(
                f"{parent}: camera {camera!r} has two folders, "
                f"{folders[camera].name} and {folder.name}"
            )
        else:
            folders[camera] = folder
    for camera in names:
        if camera not in folders:
            raise ValueError(
                f"{parent}: camera {camera!r} of the calibration has no detections; "
                "no folder here contains its name"
            )
    return folders


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")


def _frame_files(folder: Path, camera: str) -> tuple[dict[int, Path], list[Path]]:
    """Returns the files that count, by frame number in order, and the others."""
    files: dict[int, Path] = {}
    ignored = []
    prefixes = (camera, folder.name.removesuffix("_json"))
    for file in sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue
        number = None
        if file.suffix == ".json" and file.is_file():
            number = view_names.frame_number(file.stem, prefixes)
        if number is None:
            ignored.append(file)
        elif number in files:
            raise ValueError(
                f"{folder}: frame {number} is there twice, as {files[number].name} and "
                f"{file.name}"
            )
        else:
            files[number] = file
    return dict(sorted(files.items())), ignored


def _ignored_sentence(ignored: list[Path], where: str) -> str:
    few = ", ".join(f"{file.parent.name}/{file.name}" for file in ignored[:_MANY])
    more = f" and {len(ignored) - _MANY} more" if len(ignored) > _MANY else ""
    return (
        f"{where}: these are not read, because they are not named "
        f"<camera>...<number>.json: {few}{more}"
    )


def _read_frame(file: Path, keypoint_names: Sequence[str]) -> np.ndarray:
    """Returns x, y (px) and confidence of each person. Shape [p, K, 3]."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not JSON ({error})") from None
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise ValueError(
            f"{file}: there is no list 'people', so this is not OpenPose's output"
        )
    found = [_person(person, file, keypoint_names) for person in people]
    found = [person for person in found if person is not None]
    return np.stack(found) if found else np.zeros((0, len(keypoint_names), 3))


def _person(
    person: Any, file: Path, keypoint_names: Sequence[str]
) -> np.ndarray | None:
    row = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
    if row is None:
        raise ValueError(f"{file}: a person has no pose_keypoints_2d")
    return keypoint_rows.parse_row(row, file, keypoint_names)
