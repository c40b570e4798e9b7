"""Detections in COCO's keypoint JSON, of several views.

Two layouts. A data set has ``images`` (``id``, ``file_name``), ``annotations``
(``image_id``, ``keypoints``) and ``categories`` (with the keypoints' names). A list of
results has only ``image_id``, ``keypoints`` and ``score`` for each person.

``keypoints`` is x, y (px) and a third number in a row. The third is a visibility in a
data set of labels (0 not labelled, 1 hidden, 2 visible), read as confidence 0, 1
and 1; in results it is the confidence. COCO's pixels are indices: whole numbers are
centres of pixels.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from simspine_jax.io import keypoint_rows, view_names
from simspine_jax.io.people import People2D, stack_people
from simspine_jax.types import CameraRig

PathLike = str | os.PathLike[str]


def read_coco_keypoints(
    source: PathLike | Mapping[str, PathLike],
    cameras: CameraRig | Sequence[str],
    *,
    rate_hz: float,
    keypoint_names: Sequence[str] | None = None,
) -> People2D:
    """Reads people from COCO keypoint files.

    The frame is the last number of the image's file name, or of its ``image_id`` where
    there is no file name. Frames are aligned by these numbers; a frame that a view
    lacks has confidence 0 there.

    Args:
        source: One file, whose images' names (or ``image_id``) contain the camera's
            name and end in the frame's number; or a file for each camera, by its
            name, whose images need only end in the frame's number.
        cameras: The calibration, or the names of the cameras.
        rate_hz: Frames per second of the video.
        keypoint_names: K names in the detector's order; needed where the file has
            no ``categories`` with them, and used instead of those if given.

    Returns:
        People, in the cameras' order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A camera has no image, an image is of a camera that is not
            among ``cameras`` or has no number, frames cannot be aligned or are there
            twice, or a file is not COCO's, has another number of keypoints, or a
            confidence that is negative or not a number.
    """
    names = cameras.names if isinstance(cameras, CameraRig) else tuple(cameras)
    if isinstance(source, Mapping):
        for camera in {*source} ^ {*names}:
            raise ValueError(
                f"camera {camera!r} is in only one of the two: files of "
                f"{', '.join(source)}; calibration of {', '.join(names)}"
            )
        files = {camera: Path(source[camera]) for camera in names}
    else:
        files = {None: Path(source)}
    seen: dict[str, dict[int, list[np.ndarray]]] = {name: {} for name in names}
    chosen: tuple[str, ...] = ()
    for camera, file in files.items():
        content = _json(file)
        found = _keypoint_names(content, keypoint_names, file)
        if chosen and found != chosen:
            raise ValueError(
                f"{file}: its keypoints are {', '.join(found)}, and those of the file "
                f"before {', '.join(chosen)}"
            )
        chosen = found
        _add_people(seen, content, chosen, _Views(file, camera, names))
    where = ", ".join(map(str, files.values()))
    for camera, frames in seen.items():
        if not frames:
            raise ValueError(f"{where}: camera {camera!r} has no detections")
    numbers = view_names.align_frames(seen, where)
    return stack_people(
        {
            camera: {
                number: np.array(people).reshape(-1, len(chosen), 3)
                for number, people in frames.items()
            }
            for camera, frames in seen.items()
        },
        keypoint_names=chosen,
        rate_hz=rate_hz,
        frame_numbers=numbers,
    )


@dataclass(frozen=True)
class _Views:
    """What tells the camera and frame of a file's images.

    Attributes:
        file: The file.
        camera: The camera of all its images; None if their names say it.
        cameras: All cameras.
    """

    file: Path
    camera: str | None
    cameras: tuple[str, ...]

    def place(self, name: str) -> tuple[str, int]:
        """Returns the camera and the frame's number of an image."""
        path = PurePosixPath(name.replace("\\", "/"))
        # The folders may name the camera.
        whole = str(path.with_suffix("")) if path.name else name
        camera = self.camera or view_names.camera_of(whole, self.cameras)
        if camera is None:
            raise ValueError(
                f"{self.file}: the image {name!r} is of a camera that the calibration "
                f"lacks; it has {', '.join(self.cameras)}"
            )
        parts = view_names.tokens(whole)
        number = parts[-1] if parts else ""
        if not self.camera:
            number = view_names.frame_number(whole, [camera])
        if not isinstance(number, int):
            raise ValueError(
                f"{self.file}: the image {name!r} has no frame number at its end"
            )
        return camera, number


def _add_people(
    seen: dict[str, dict[int, list[np.ndarray]]],
    content: dict[str, Any] | list[dict[str, Any]],
    keypoint_names: tuple[str, ...],
    views: _Views,
) -> None:
    """Adds a file's people to ``seen``."""
    file = views.file
    places: dict[Any, tuple[str, int]] | None = None
    if isinstance(content, list):
        people = content
    else:
        places = _image_places(content, views)
        people = _objects(content, "annotations", (), file)
        # A data set names the frames in which nobody was seen, too.
        for camera, number in places.values():
            seen[camera].setdefault(number, [])
    for person in people:
        if "image_id" not in person:
            raise ValueError(f"{file}: a person has no image_id")
        key = person["image_id"]
        if places is not None and key not in places:
            raise ValueError(f"{file}: image_id {key!r} is not among the images")
        camera, number = places[key] if places is not None else views.place(str(key))
        row = keypoint_rows.parse_row(
            person.get("keypoints", ()), f"{file}: image {key!r}", keypoint_names
        )
        if row is None:
            continue
        if places is not None and np.isin(row[:, 2], (0, 1, 2)).all():
            row[:, 2] = np.minimum(row[:, 2], 1.0)
        seen[camera].setdefault(number, []).append(row)


def _image_places(content: dict[str, Any], views: _Views) -> dict[Any, tuple[str, int]]:
    """Returns the camera and frame number of each image, by its id."""
    places: dict[Any, tuple[str, int]] = {}
    for image in _objects(content, "images", ("id",), views.file):
        place = views.place(str(image.get("file_name", image["id"])))
        if place in places.values():
            raise ValueError(
                f"{views.file}: frame {place[1]} of camera {place[0]!r} is there twice"
            )
        places[image["id"]] = place
    return places


def _keypoint_names(
    content: dict[str, Any] | list[dict[str, Any]],
    given: Sequence[str] | None,
    file: Path,
) -> tuple[str, ...]:
    if given is not None:
        return tuple(given)
    if isinstance(content, list):
        raise ValueError(
            f"{file}: a list of results does not name its keypoints, so "
            "keypoint_names must be given"
        )
    found = {
        tuple(category["keypoints"])
        for category in content.get("categories", [])
        if category.get("keypoints")
    }
    if len(found) != 1:
        raise ValueError(
            f"{file}: the categories have {len(found)} sets of keypoints where one is "
            "needed; keypoint_names can be given instead"
        )
    return next(iter(found))


def _objects(
    content: dict[str, Any], field: str, needed: tuple[str, ...], file: Path
) -> list[dict[str, Any]]:
    found = content.get(field)
    if not isinstance(found, list) or not all(isinstance(x, dict) for x in found):
        raise ValueError(
            f"{file}: there is no list of objects {field!r}, so this is not a COCO "
            "data set"
        )
    for key in needed:
        if not all(key in x for x in found):
            raise ValueError(f"{file}: one of the {field} has no {key}")
    return found


def _json(file: Path) -> dict[str, Any] | list[dict[str, Any]]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not JSON ({error})") from None
    if isinstance(content, dict):
        return content
    if isinstance(content, list) and all(isinstance(x, dict) for x in content):
        return content
    raise ValueError(f"{file}: the JSON is neither an object nor a list of objects")
