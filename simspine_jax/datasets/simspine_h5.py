"""SIMSPINE's HDF5 file: all keypoints, coordinates and cameras of a data set.

    /metadata/markers_names, kinematic_axes     bytes
    /<S>/calibration/names, K, dist, R, t, size [C, ...], x_cam = R x_world + t
    /<S>/<action>/markers                       [T, K, 3] m, ground, NaN where missing
    /<S>/<action>/kinematics                    [T, N] degrees and m, as a .mot has them
    /<S>/<action>/timestamps                    [T] s

The published writer stores 37 keypoints and the published reader takes 15 only; here
both are one schema, and columns are found by name. Which coordinates are in degrees
is the attribute ``rotational`` of ``kinematic_axes``; without it, their names say.

Source: the serialiser and the preprocessing that SIMSPINE (arXiv 2602.20792) released.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from simspine_jax.datasets.licences import refuse_licensed
from simspine_jax.datasets.simspine_h5_fields import (
    CALIBRATION,
    LABELS,
    METADATA,
    check_sequence,
    read_names,
    read_subject,
    require_group_name,
    write_names,
    write_subject,
)
from simspine_jax.datasets.simspine_keypoints import (
    by_number,
    keypoint_set,
    require_keypoints,
    with_keypoints,
)
from simspine_jax.datasets.spine_sequence import SpineSequence, Subject
from simspine_jax.io import own_h5, storage
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory, Motion

_SAME_TIME_S = 1e-6


@dataclass(frozen=True)
class SimspineFile:
    """A data set on disk; sequences are read when asked for.

    Attributes:
        path: The file.
        subjects: People by name, S9 before S11.
        actions: Their actions, each with its take, sorted.
        names: K keypoints, in the published order of their number.
        coordinate_names: N coordinates.
        rotational: Which coordinates are angles.
    """

    path: Path
    subjects: Mapping[str, Subject]
    actions: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    coordinate_names: tuple[str, ...]
    rotational: tuple[bool, ...]

    def read(self, subject: str, action: str) -> SpineSequence:
        """Reads one sequence, float64; a sequence of one frame has 1 Hz.

        Raises:
            ValueError: There is no such sequence, a coordinate or time is not finite,
                or the times are not evenly spaced.
        """
        where = f"{self.path}: /{subject}/{action}"
        if action not in self.actions.get(subject, ()):
            have = ", ".join(self.actions.get(subject, self.subjects))
            raise ValueError(f"{where} is not there; there are {have}")
        with h5py.File(self.path, "r") as file:
            stored = read_names(file, "markers_names", str(self.path))
            columns = [stored.index(name) for name in self.names]
            group: Any = file[f"{subject}/{action}"]
            points, values, times = (
                np.asarray(group[field], np.float64) for field in LABELS
            )
        points = points[:, columns]
        for field, numbers in (("kinematics", values), ("timestamps", times)):
            if not np.isfinite(numbers).all():
                frame = int(np.argwhere(~np.isfinite(numbers))[0, 0])
                raise ValueError(
                    f"{where}/{field} has a number that is not finite in frame {frame}"
                )
        rate_hz = storage.even_rate(times, f"{where}/timestamps")
        start_s = float(times[0])
        valid = np.asarray(np.isfinite(points).all(axis=-1))
        points = np.where(valid[..., None], points, 0.0)
        q = np.where(self.rotational, np.radians(values), values)
        return SpineSequence(
            subject,
            action,
            MarkerTrajectory(points, valid, self.names, rate_hz, start_s),
            Motion(q, self.coordinate_names, rate_hz, start_s),
            self.rotational,
        )

    def __iter__(self) -> Iterator[SpineSequence]:
        """Reads the sequences one after the other."""
        for subject, actions in self.actions.items():
            for action in actions:
                yield self.read(subject, action)


def open_simspine(
    path: str | os.PathLike[str], *, names: Sequence[str] | None = None
) -> SimspineFile:
    """Opens a data set and checks all of its fields but the numbers of sequences.

    Args:
        path: A file of `write_simspine`, or of the published serialiser.
        names: Keypoints to read, ``simspine.NAMES`` or ``simspine.SPINE_NAMES``; None
            for all 37 where the file has them, else the 15.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not HDF5; or a field is missing, has the wrong shape or no frame, a
            name is repeated, a keypoint is missing or is none of SIMSPINE's, or a
            camera is not one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not an HDF5 file")
    source = str(path)
    with h5py.File(path, "r") as file:
        stored = read_names(file, "markers_names", source)
        axes = read_names(file, "kinematic_axes", source)
        where = f"{source}: /{METADATA}/markers_names"
        for name in stored:
            if name not in simspine.NAMES:
                raise ValueError(f"{where} has {name!r}, which is none of SIMSPINE's")
        chosen = keypoint_set(stored, where) if names is None else tuple(names)
        require_keypoints(stored, chosen, where)
        people, actions = {}, {}
        for name in sorted(file, key=by_number):
            if name == METADATA:
                continue
            group: Any = file[name]
            people[name] = read_subject(group, name, source)
            takes = sorted(set(group) - {CALIBRATION}, key=by_number)
            for action in takes:
                check_sequence(group[action], len(stored), len(axes), source)
            actions[name] = tuple(takes)
        flags: Any = file[f"{METADATA}/kinematic_axes"].attrs.get("rotational")
        if flags is None:
            flags = storage.rotational_flags(axes, None)
        if len(flags) != len(axes):
            raise ValueError(
                f"{source}: /{METADATA}/kinematic_axes has {len(axes)} names but "
                f"{len(flags)} flags in its attribute rotational"
            )
    rotational = tuple(bool(flag) for flag in flags)
    return SimspineFile(path, people, actions, chosen, axes, rotational)


def write_simspine(
    path: str | os.PathLike[str],
    subjects: Iterable[Subject],
    sequences: Iterable[SpineSequence],
    *,
    names: Sequence[str] = simspine.NAMES,
    dtype: type[np.floating] = np.float64,
) -> None:
    """Writes a data set, whole or not at all; the same input gives the same bytes.

    One sequence is in memory at a time. Weights of markers are not written.

    Args:
        path: Final path; a file already there is replaced.
        subjects: The people, at least those of the sequences.
        sequences: At least one; all with the same coordinates.
        names: Keypoints to write, ``simspine.NAMES`` or ``simspine.SPINE_NAMES``.
        dtype: Of all numbers but the times. The published file has float32 cameras.

    Raises:
        ValueError: There is no sequence; or one is of an unknown subject, is there
            twice, has no frame, lacks a keypoint, has other coordinates than the
            first, is not finite, or starts at one time in its markers and at another
            in its motion; or may not be written out (`licences.Licensed`); or a rig has
            a fisheye lens, which the format has no field for.
        FileNotFoundError: The folder does not exist.
    """
    source, names = str(path), tuple(names)
    coordinates = None
    with own_h5.created(path) as file:
        for subject in subjects:
            require_group_name(subject.name, METADATA, file, source)
            write_subject(file, subject, dtype, source)
        for sequence in sequences:
            if coordinates is None:
                coordinates = (sequence.motion.coordinate_names, sequence.rotational)
                write_names(file, names, *coordinates)
            refuse_licensed(sequence, path=path)
            _require_writable(sequence, coordinates, source)
            if sequence.subject not in file or sequence.subject == METADATA:
                raise ValueError(
                    f"{source}: sequence {sequence.name!r} is of no subject given"
                )
            parent: Any = file[sequence.subject]
            require_group_name(sequence.action, CALIBRATION, parent, source)
            group = parent.create_group(sequence.action)
            markers = with_keypoints(sequence.markers, names, sequence.name)
            points = np.where(markers.valid[..., None], markers.points, np.nan)
            values = storage.file_values(
                np.asarray(sequence.motion.q), sequence.rotational, True, source
            )
            packing = {"compression": "gzip", "shuffle": True}
            group.create_dataset("markers", data=points.astype(dtype), **packing)
            group.create_dataset("kinematics", data=values.astype(dtype), **packing)
            group.create_dataset("timestamps", data=sequence.motion.times_s)
        if coordinates is None:
            raise ValueError(f"{source}: there is no sequence to write")


def _require_writable(
    sequence: SpineSequence,
    coordinates: tuple[tuple[str, ...], tuple[bool, ...]],
    source: str,
) -> None:
    where = f"{source}: sequence {sequence.name!r}"
    motion, markers = sequence.motion, sequence.markers
    if not len(motion.q):
        raise ValueError(f"{where} is empty; a sequence has at least one frame")
    if (motion.coordinate_names, sequence.rotational) != coordinates:
        raise ValueError(
            f"{where} has other coordinates than the sequence before it, and one file "
            "has one set of them"
        )
    if abs(motion.start_s - markers.start_s) > _SAME_TIME_S:
        raise ValueError(
            f"{where} starts at {markers.start_s:g} s in its markers and at "
            f"{motion.start_s:g} s in its motion"
        )
    seen = np.asarray(markers.points)[np.asarray(markers.valid)]
    if not (np.isfinite(seen).all() and np.isfinite(np.asarray(motion.q)).all()):
        raise ValueError(f"{where} has a marker or a coordinate that is not finite")
