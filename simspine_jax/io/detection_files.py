"""Detections in whatever format a path has.

A folder is OpenPose's, ``.json`` is COCO's keypoints, ``.npz`` MMPose's as SIMSPINE has
them, ``.h5`` our own.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simspine_jax.io import (
    coco_keypoints,
    detections_h5,
    openpose,
    spinepose_npz,
)
from simspine_jax.io.people import People2D
from simspine_jax.skeletons import spinetrack37
from simspine_jax.types import CameraRig, Detections2D


def read_detections_of(
    path: str | os.PathLike[str],
    rig: CameraRig,
    *,
    keypoint_names: Sequence[str],
    rate_hz: float,
    sequence: str | None = None,
) -> People2D:
    """Reads the people that several views saw.

    Args:
        path: Folder or file.
        rig: The cameras; views come in their order.
        keypoint_names: The detector's order, for OpenPose, whose files have no names.
        rate_hz: Frames per second; our own files know theirs.
        sequence: Which of an npz file, where it has several.

    Returns:
        People. COCO's and SpineTrack's names (``left_hip``) become SIMSPINE's
        (``LHip``), so that detections and markers are matched by name.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: Another suffix, a camera of the rig that our own file lacks, or
            what the format's reader refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir() or not path.exists():
        return openpose.read_openpose(
            path, rig, keypoint_names=keypoint_names, rate_hz=rate_hz
        )
    if suffix == ".h5":
        return _in_order(detections_h5.read_people(path), rig, path)
    if suffix == ".npz":
        return _of_npz(path, sequence, rig, rate_hz)
    if suffix == ".json":
        return _renamed(coco_keypoints.read_coco_keypoints(path, rig, rate_hz=rate_hz))
    raise ValueError(
        f"{path}: detections are a folder of OpenPose's files, COCO's .json, MMPose's "
        f".npz or our own .h5; this ends in {suffix!r}"
    )


def _in_order(people: People2D, rig: CameraRig, path: Path) -> People2D:
    """Returns the views of the rig's cameras, in their order."""
    for name in rig.names:
        if name not in people.camera_names:
            raise ValueError(
                f"{path}: there is no camera {name!r}, which the calibration has; "
                f"there are {', '.join(people.camera_names)}"
            )
    for name in people.camera_names:
        if name not in rig.names:
            raise ValueError(
                f"{path}: camera {name!r} has detections, but the calibration has only "
                f"{', '.join(rig.names)}"
            )
    views = [people.camera_names.index(name) for name in rig.names]
    return people.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=people.points[:, views],
        confidence=people.confidence[:, views],
        camera_names=rig.names,
    )


def _of_npz(
    path: Path, sequence: str | None, rig: CameraRig, rate_hz: float
) -> People2D:
    there = spinepose_npz.npz_sequences(path)
    if sequence is None and len(there) == 1:
        sequence = there[0]
    if sequence is None or sequence not in there:
        raise ValueError(
            f"{path}: one of its {len(there)} sequences must be named, such as "
            f"{there[0]!r}; found {sequence!r}"
        )
    one: Detections2D = spinepose_npz.read_spinepose_npz(
        path, sequence, rig, rate_hz=rate_hz
    )
    return People2D(
        np.asarray(one.points)[:, :, None],
        np.asarray(one.confidence)[:, :, None],
        one.keypoint_names,
        one.rate_hz,
        tuple(range(len(one.points))),
        rig.names,
    )


def _renamed(people: People2D) -> People2D:
    if not set(people.keypoint_names) <= set(spinetrack37.NAMES):
        return people
    names = tuple(spinetrack37.simspine_name(name) for name in people.keypoint_names)
    return people.replace(  # pyright: ignore[reportAttributeAccessIssue]
        keypoint_names=names
    )
