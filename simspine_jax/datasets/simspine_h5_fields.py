"""Names, cameras and shapes in SIMSPINE's HDF5 file; see ``simspine_h5``."""

from collections.abc import Sequence
from pathlib import PureWindowsPath
from typing import Any

import h5py
import numpy as np

from simspine_jax.datasets.spine_sequence import Subject
from simspine_jax.io.camera_entry import make_entry, to_rig

METADATA, CALIBRATION = "metadata", "calibration"
LABELS = ("markers", "kinematics", "timestamps")
# What the data set of a camera field is called, and what the reader of cameras says.
_CAMERA = {
    "K": "matrix",
    "dist": "distortion",
    "R": "rotation",
    "t": "translation",
    "size": "image_size",
}


def read_names(file: h5py.File, field: str, source: str) -> tuple[str, ...]:
    """Reads a list of names of the metadata.

    Raises:
        ValueError: It is missing, or a name is there twice.
    """
    where = f"{source}: /{METADATA}/{field}"
    found: Any = file.get(f"{METADATA}/{field}")
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{where} is missing")
    names = _texts(found)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{where} has {name!r} more than once")
    return names


def read_subject(group: Any, name: str, source: str) -> Subject:
    """Reads a person's cameras.

    Raises:
        ValueError: A field is missing or is no camera's.
    """
    where = f"{source}: /{name}/{CALIBRATION}"
    stored: Any = group.get(CALIBRATION) if isinstance(group, h5py.Group) else None
    if not isinstance(stored, h5py.Group):
        raise ValueError(f"{where} is missing")
    for field in ("names", *_CAMERA):
        if not isinstance(stored.get(field), h5py.Dataset):
            raise ValueError(f"{where}/{field} is missing")
    cameras = _texts(stored["names"])
    arrays = {field: np.asarray(stored[field]) for field in _CAMERA}
    for field, array in arrays.items():
        if array.shape[:1] != (len(cameras),):
            raise ValueError(
                f"{where}/{field} has shape {array.shape}, and its first axis must be "
                f"the {len(cameras)} cameras of names"
            )
    entries = [
        make_entry(
            where, camera, **{_CAMERA[field]: a[index] for field, a in arrays.items()}
        )
        for index, camera in enumerate(cameras)
    ]
    model_file = group.attrs.get("model_file", "")
    if isinstance(model_file, bytes):
        model_file = model_file.decode()
    # The published serialiser stores the whole path on the machine that it ran on.
    model = PureWindowsPath(str(model_file)).name
    return Subject(name, to_rig(entries, where), model)


def check_sequence(group: Any, keypoints: int, axes: int, source: str) -> None:
    """Checks the shapes of a sequence in the file.

    Raises:
        ValueError: A field is missing, there is no frame, or shapes contradict each
            other or the numbers of keypoints and coordinates.
    """
    where = f"{source}: {group.name}"
    shapes = {}
    for field in LABELS:
        here = group.get(field) if isinstance(group, h5py.Group) else None
        if not isinstance(here, h5py.Dataset):
            raise ValueError(f"{where}/{field} is missing")
        shapes[field] = here.shape
    frames = shapes["timestamps"][:1]
    if frames == (0,):
        raise ValueError(f"{where} is empty; a sequence has at least one frame")
    wanted = ((*frames, keypoints, 3), (*frames, axes), frames)
    for field, shape in zip(LABELS, wanted, strict=True):
        if shapes[field] != shape:
            raise ValueError(
                f"{where}/{field} has shape {shapes[field]}, and {shape} is needed"
                f" for {frames[0] if frames else 'no'} timestamps, {keypoints} "
                f"keypoints and {axes} coordinates"
            )


def write_subject(file: h5py.File, subject: Subject, dtype: Any, source: str) -> None:
    """Writes a person's cameras and the name of the model.

    Raises:
        ValueError: A lens is a fisheye.
    """
    rig = subject.rig
    if any(rig.fisheye):
        raise ValueError(
            f"{source}: a camera of {subject.name} has a fisheye lens, and SIMSPINE's "
            "HDF5 has no field that says so"
        )
    file.create_group(subject.name).attrs["model_file"] = subject.model_file
    group = file.create_group(f"{subject.name}/{CALIBRATION}")
    names = np.array([name.encode() for name in rig.names])
    group.create_dataset("names", data=names, compression="gzip")
    for field, ours in _CAMERA.items():
        numbers = np.asarray(getattr(rig, ours))
        numbers = numbers.astype(np.int32 if field == "size" else dtype)
        group.create_dataset(field, data=numbers, compression="gzip")


def write_names(
    file: h5py.File,
    names: Sequence[str],
    coordinate_names: Sequence[str],
    rotational: Sequence[bool],
) -> None:
    """Writes the metadata: names of keypoints and coordinates, and which are angles."""
    metadata = file.create_group(METADATA)
    axes = [name.encode() for name in coordinate_names]
    metadata["markers_names"] = np.array([name.encode() for name in names])
    metadata["kinematic_axes"] = np.array(axes)
    metadata["kinematic_axes"].attrs["rotational"] = np.array(rotational, bool)


def require_group_name(name: str, reserved: str, parent: Any, source: str) -> None:
    """Refuses names that HDF5 or the format has another meaning for, and second ones.

    Raises:
        ValueError: The name is one of these.
    """
    if not name or name != name.strip("/. ") or "/" in name or name == reserved:
        raise ValueError(f"{source}: {name!r} cannot be the name of a group")
    if name in parent:
        raise ValueError(f"{source}: {parent.name} has {name!r} twice")


def _texts(stored: Any) -> tuple[str, ...]:
    found = np.atleast_1d(stored[()]).tolist()
    return tuple(n.decode() if isinstance(n, bytes) else str(n) for n in found)
