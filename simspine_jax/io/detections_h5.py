"""Our own HDF5 files of detections.

Data sets ``points`` [T, C, P, K, 2] (px) and ``confidence`` [T, C, P, K], float64,
compressed. Attributes of the file: ``format``, ``version``, ``rate_hz``,
``frame_numbers`` [T], ``camera_names`` [C] and ``keypoint_names`` [K]. Conventions are
those of `People2D`; detections of one person have P = 1.
"""

import os
from collections.abc import Sequence

import h5py
import numpy as np

from simspine_jax.io.own_h5 import created, opened
from simspine_jax.io.people import People2D
from simspine_jax.types import Detections2D

_FORMAT = "simspine_jax detections"
_VERSION = 1
_ATTRIBUTES = ("rate_hz", "frame_numbers", "camera_names", "keypoint_names")


def write_people(path: str | os.PathLike[str], people: People2D) -> None:
    """Writes people, whole or not at all.

    Args:
        path: Final path; a file already there is replaced.
        people: At least one camera and one keypoint.

    Raises:
        ValueError: Shapes and names contradict each other, a number is not finite, a
            confidence is negative, or the rate is not positive.
        FileNotFoundError: The folder does not exist.
    """
    points, confidence = np.asarray(people.points), np.asarray(people.confidence)
    _check(points, confidence, people, str(path))
    with created(path) as file:
        for name, values in (("points", points), ("confidence", confidence)):
            # HDF5 has no compressed data set without elements.
            packing = {"compression": "gzip", "shuffle": True} if values.size else {}
            file.create_dataset(name, data=values.astype(np.float64), **packing)
        file.attrs["format"] = _FORMAT
        file.attrs["version"] = _VERSION
        file.attrs["rate_hz"] = float(people.rate_hz)
        file.attrs["frame_numbers"] = np.array(people.frame_numbers, dtype=np.int64)
        for field in ("camera_names", "keypoint_names"):
            file.attrs[field] = np.array(
                getattr(people, field), dtype=h5py.string_dtype()
            )


def write_detections(
    path: str | os.PathLike[str],
    detections: Detections2D,
    *,
    camera_names: Sequence[str],
    frame_numbers: Sequence[int] | None = None,
) -> None:
    """Writes the detections of one person, whole or not at all.

    Args:
        path: Final path; a file already there is replaced.
        detections: At least one camera and one keypoint.
        camera_names: C names.
        frame_numbers: Numbers of the T frames; from 0 without them.

    Raises:
        ValueError: As `write_people`.
        FileNotFoundError: The folder does not exist.
    """
    points = np.asarray(detections.points)
    numbers = range(len(points)) if frame_numbers is None else frame_numbers
    people = People2D(
        points=points[:, :, None],
        confidence=np.asarray(detections.confidence)[:, :, None],
        keypoint_names=detections.keypoint_names,
        rate_hz=detections.rate_hz,
        frame_numbers=tuple(int(number) for number in numbers),
        camera_names=tuple(camera_names),
    )
    write_people(path, people)


def read_people(path: str | os.PathLike[str]) -> People2D:
    """Reads people, or the one person of a file that `write_detections` wrote.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not HDF5 or not such a file, a newer version of it, or one whose
            fields are missing or contradict each other.
    """
    source = str(path)
    fields = ("points", "confidence", *_ATTRIBUTES)
    with opened(path, _FORMAT, _VERSION, fields) as file:
        points, confidence = (np.asarray(file[name]) for name in fields[:2])
        attributes = {
            field: np.asarray(file.attrs[field]).tolist() for field in _ATTRIBUTES
        }
    people = People2D(
        points=points,
        confidence=confidence,
        keypoint_names=tuple(map(str, attributes["keypoint_names"])),
        rate_hz=float(attributes["rate_hz"]),
        frame_numbers=tuple(map(int, attributes["frame_numbers"])),
        camera_names=tuple(map(str, attributes["camera_names"])),
    )
    _check(points, confidence, people, source)
    return people


def read_detections(path: str | os.PathLike[str]) -> Detections2D:
    """Reads the detections of one person.

    Args:
        path: A file of `write_detections`, or of `write_people` with P = 1.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As `read_people`, or there are several people.
    """
    try:
        return read_people(path).only()
    except ValueError as error:
        prefix = "" if str(error).startswith(str(path)) else f"{path}: "
        raise ValueError(f"{prefix}{error}") from None


def _check(
    points: np.ndarray, confidence: np.ndarray, people: People2D, source: str
) -> None:
    frames, cameras, keypoints = (
        len(names)
        for names in (people.frame_numbers, people.camera_names, people.keypoint_names)
    )
    shape = confidence.shape
    if (
        confidence.ndim != 4
        or points.shape != (*shape, 2)
        or (shape[0], shape[1], shape[3]) != (frames, cameras, keypoints)
    ):
        raise ValueError(
            f"{source}: points {points.shape} and confidence {shape} do not belong to "
            f"{frames} frames, {cameras} cameras and {keypoints} keypoints; "
            "(T, C, P, K, 2) and (T, C, P, K) are needed"
        )
    if not (np.isfinite(points).all() and np.isfinite(confidence).all()):
        raise ValueError(f"{source}: a point or a confidence is not finite")
    if (confidence < 0).any():
        raise ValueError(f"{source}: a confidence is negative")
    if not (np.isfinite(people.rate_hz) and people.rate_hz > 0):
        raise ValueError(
            f"{source}: the rate is {people.rate_hz} Hz, and it must be positive"
        )
    for field in ("camera_names", "keypoint_names"):
        names = getattr(people, field)
        if len(set(names)) < len(names) or "" in names:
            raise ValueError(f"{source}: {field} has a name that is empty or repeated")
