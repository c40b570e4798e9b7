"""Detections in the npz files that SIMSPINE offers for training with MMPose.

A file holds many sequences at once, N rows. ``imgname`` [N] is
``<S>/<S>_<action>.<camera>/<S>_<action>.<camera>_<frame>.jpg`` with the frame counted
from 0, and ``part`` [N, 15, 3] has x, y (px, whole numbers are centres of pixels) and
the visibility of the 15 spine keypoints. The other arrays are not read; in
particular not ``metadata``, a pickle, which could run code.

Source: the layout that SIMSPINE's preprocessing writes (arXiv 2602.20792).
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from simspine_jax.io import keypoint_rows, npz, view_names
from simspine_jax.io.people import stack_people
from simspine_jax.skeletons import simspine
from simspine_jax.types import CameraRig, Detections2D

RATE_HZ = 50.0


def npz_sequences(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Returns the names of a file's sequences, such as ``S1_Directions 1``.

    Args:
        path: The npz file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As `read_spinepose_npz` about the file and its image names.
    """
    images = _array(Path(path), "imgname")
    return tuple(dict.fromkeys(image_place(str(name), path)[0] for name in images))


def read_spinepose_npz(
    path: str | os.PathLike[str],
    sequence: str,
    cameras: CameraRig | Sequence[str],
    *,
    keypoint_names: Sequence[str] = simspine.SPINE_NAMES,
    rate_hz: float = RATE_HZ,
) -> Detections2D:
    """Reads one sequence, seen by several cameras.

    Frames are aligned by their numbers; a frame that a view lacks has confidence 0
    there, and so has a keypoint that is not visible.

    Args:
        path: The npz file.
        sequence: One of `npz_sequences`.
        cameras: The calibration, or the names of the cameras.
        keypoint_names: The K keypoints of ``part``.
        rate_hz: Frames per second.

    Returns:
        The person, in the cameras' order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not an npz file, an array is missing or is a pickle, shapes
            contradict each other, there is no such sequence, a camera has no frame of
            it, a frame is there twice, or a visibility is negative or not a number.
    """
    path = Path(path)
    names = cameras.names if isinstance(cameras, CameraRig) else tuple(cameras)
    images, part = _array(path, "imgname"), _array(path, "part")
    if part.shape != (len(images), len(keypoint_names), 3):
        raise ValueError(
            f"{path}: part has shape {part.shape}, and with {len(images)} images and "
            f"{len(keypoint_names)} keypoints it must have "
            f"{(len(images), len(keypoint_names), 3)}"
        )
    seen: dict[str, dict[int, np.ndarray]] = {name: {} for name in names}
    found_sequences = set()
    empty = np.zeros((0, len(keypoint_names), 3))
    for image, row in zip(images, part, strict=True):
        found, camera, number = image_place(str(image), path)
        found_sequences.add(found)
        if found != sequence or camera not in seen:
            continue
        if number in seen[camera]:
            raise ValueError(f"{path}: the image {str(image)!r} is there twice")
        values = keypoint_rows.parse_row(row, f"{path}: {image}", keypoint_names)
        seen[camera][number] = empty if values is None else values[None]
    if sequence not in found_sequences:
        raise ValueError(
            f"{path}: there is no sequence {sequence!r}; it has "
            f"{', '.join(sorted(found_sequences))}"
        )
    for camera, frames in seen.items():
        if not frames:
            raise ValueError(
                f"{path}: camera {camera!r} has no frame of the sequence {sequence!r}"
            )
    people = stack_people(
        seen,
        keypoint_names=keypoint_names,
        rate_hz=rate_hz,
        frame_numbers=view_names.align_frames(seen, path),
    )
    return people.only()


def image_place(image: str, path: str | os.PathLike[str]) -> tuple[str, str, int]:
    """Returns sequence, camera and frame number of an image's name.

    Args:
        image: The image's path or its name.
        path: The file that has it, for messages.

    Raises:
        ValueError: The image is not named so.
    """
    view, _, number = PurePosixPath(image).stem.rpartition("_")
    sequence, dot, camera = view.rpartition(".")
    if not (sequence and dot and camera and number.isdecimal()):
        raise ValueError(
            f"{path}: the image {image!r} is not named "
            "<subject>_<action>.<camera>_<frame>"
        )
    return sequence, camera, int(number)


def _array(path: Path, name: str) -> np.ndarray:
    found = npz.open_npz(path, (name,))[name]
    return np.char.decode(found, "utf-8") if found.dtype.kind == "S" else found
