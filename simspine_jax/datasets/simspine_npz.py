"""SIMSPINE as MMPose reads it: one npz of N rows, a frame seen by a camera each.

    imgname [N]         <S>/<S>_<act>.<cam>/<S>_<act>.<cam>_<frame>.jpg, from frame 0
    center [N, 2], scale [N]    box of all keypoints of the person, px and 200 px
    part [N, K, 3]      px, and whether the keypoint is in the image
    S [N, K, 4]         R X + t of the camera, m, and whether the keypoint is known
    S_world [N, K, 4]   X in the world of the cameras (Z up), and the same
    angles [N, A]       coordinates as a .mot has them: degrees and m
    metadata            a pickled dict: names, parents, and what is needed to read back

Every camera of a sequence has all its frames, one camera after the other. K is 15 or
37. The published files are float64, with ``S`` = R (X - t), the image taken for 1000 x
1000 px, boxes of the 15 keypoints only, and in-image flags in the last columns of ``S``
and ``S_world``; those are read all the same. MMPose itself computes in float32.

Source: the layout of SIMSPINE's preprocessing (arXiv 2602.20792) and of MMPose's
Human3.6M annotations.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from simspine_jax.datasets import label_rows, licences
from simspine_jax.datasets.spine_sequence import SpineSequence, Subject
from simspine_jax.io import npz, storage
from simspine_jax.io.spinepose_npz import RATE_HZ, image_place
from simspine_jax.skeletons import simspine

ROOT = "Hip"
# What each keypoint hangs from; of the 22 beside the spine nothing is published.
PARENTS: dict[str, str | None] = {
    **simspine.SPINE_PARENTS,
    **{"REye": "Nose", "LEye": "Nose", "REar": "REye", "LEar": "LEye"},
    **{
        f"{side}{name}": f"{side}{parent}" if parent != ROOT else ROOT
        for side in "RL"
        for name, parent in (
            *(("Shoulder", "Clavicle"), ("Elbow", "Shoulder"), ("Wrist", "Elbow")),
            *(("Hip", ROOT), ("Knee", "Hip"), ("Ankle", "Knee")),
            *(("BigToe", "Ankle"), ("SmallToe", "Ankle"), ("Heel", "Ankle")),
        )
    },
}
# Arrays, and the axes each has after the rows; K keypoints, A coordinates.
_SHAPES = {
    "imgname": "",
    "center": "2",
    "scale": "",
    "part": "K3",
    "S": "K4",
    "S_world": "K4",
    "angles": "A",
}
_CHUNK = 1 << 16


@dataclass(frozen=True)
class View:
    """Consecutive rows that are one camera's frames of a sequence.

    Attributes:
        subject: Name of the subject.
        action: Name of the action with its take.
        camera: Name of the camera.
        rows: Where in the file.
    """

    subject: str
    action: str
    camera: str
    rows: slice


@dataclass(frozen=True)
class SpineNpz:
    """A file opened; arrays that are stored uncompressed are read when used.

    Attributes:
        path: The file.
        arrays: ``imgname``, ``center``, ``scale``, ``part``, ``S``, ``S_world`` and
            ``angles`` as in the file, read-only.
        names: K keypoints.
        coordinate_names: A coordinates.
        rotational: Which of them are in degrees.
        rate_hz: Frames per second.
        views: In the file's order.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    names: tuple[str, ...]
    coordinate_names: tuple[str, ...]
    rotational: tuple[bool, ...]
    rate_hz: float
    views: tuple[View, ...]

    def sequences(self) -> Iterator[SpineSequence]:
        """Yields the sequences as they were before the cameras saw them.

        A keypoint is valid where any camera's row says so. Sequences begin at 0 s and
        have no weights.

        Raises:
            ValueError: The cameras of a sequence differ in keypoints or coordinates.
        """
        grouped: dict[tuple[str, str], list[View]] = {}
        for view in self.views:
            grouped.setdefault((view.subject, view.action), []).append(view)
        for (subject, action), views in grouped.items():
            world = self._same("S_world", views)
            yield label_rows.unlabelled(
                subject,
                action,
                world[..., :3],
                world[..., 3] > 0,
                self._same("angles", views),
                names=self.names,
                coordinate_names=self.coordinate_names,
                rotational=self.rotational,
                rate_hz=self.rate_hz,
            )

    def _same(self, name: str, views: Sequence[View]) -> np.ndarray:
        """Returns an array's rows, which all views must have alike but for flags."""
        first, *others = (np.array(self.arrays[name][v.rows]) for v in views)
        flagged = 3 if name == "S_world" else None
        for view, other in zip(views[1:], others, strict=True):
            if not np.array_equal(first[..., :flagged], other[..., :flagged]):
                raise ValueError(
                    f"{self.path}: {name} of {view.subject}_{view.action} differs "
                    f"between the cameras {views[0].camera} and {view.camera}"
                )
            if flagged is not None:
                first[..., 3] = np.maximum(first[..., 3], other[..., 3])
        return first


def write_npz(
    path: str | os.PathLike[str],
    sequences: Iterable[tuple[Subject, SpineSequence]],
    *,
    names: Sequence[str] = simspine.SPINE_NAMES,
    dtype: type[np.floating] = np.float32,
    licence: str = licences.SIMULATED,
) -> int:
    """Writes the file, whole or not at all; the same input gives the same bytes.

    One sequence is in memory at a time. Weights and start times are not written.

    Args:
        path: Final path; a file already there is replaced.
        sequences: At least one, all with the same coordinates and rate.
        names: Keypoints to write, ``simspine.SPINE_NAMES`` or ``simspine.NAMES``.
        dtype: Of all numbers.
        licence: One of ``licences.LICENCES``, for the metadata.

    Returns:
        N, the rows written.

    Raises:
        ValueError: There is no sequence; or one is there twice, is not of its subject,
            lacks a keypoint, has no frame, is not finite, has other coordinates or
            another rate than the first, or may not be written out
            (`licences.Licensed`); or there is no such licence.
        FileNotFoundError: The folder does not exist.
    """
    text = licences.text_of(licence)
    names = tuple(names)
    with npz.npz_writer(path) as writer:
        for one in label_rows.labelled(sequences, names, path):
            writer.attach("metadata", _metadata(names, one.sequence, text))
            for index, camera in enumerate(one.cameras):
                images = label_rows.image_names(one.sequence, camera)
                numbers = _numbers(one, index)
                rows = {name: a.astype(dtype) for name, a in numbers.items()}
                writer.append({"imgname": images, **rows})
    return writer.rows


def read_npz(path: str | os.PathLike[str]) -> SpineNpz:
    """Opens such a file, ours or the published one.

    Args:
        path: The file. Its metadata are read as plain data only
            (`io.plain_pickle`); without ``rotational`` in them the coordinates' names
            say which are angles, and without ``rate_hz`` it is 50.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not an npz file, damaged, or an array is missing; shapes contradict
            each other; an image is not named as above, frames of a view are not 0, 1,
            2..., or a view is there twice.
    """
    path = Path(path)
    found = npz.open_npz(path, ("metadata", *_SHAPES), pickled=("metadata",))
    metadata = found.pop("metadata")
    if not isinstance(metadata, dict):
        raise ValueError(f"{path}: metadata is not a pickled dict")
    names, axes = (_texts(metadata, n, path) for n in ("joint_names", "param_names"))
    sizes = {"K": len(names), "A": len(axes)}
    rows = len(found["imgname"])
    for name, letters in _SHAPES.items():
        shape = (rows, *(sizes.get(n) or int(n) for n in letters))
        if found[name].shape != shape:
            raise ValueError(
                f"{path}: {name} has shape {found[name].shape}, and with {rows} images,"
                f" {len(names)} keypoints and {len(axes)} coordinates it must have "
                f"{shape}"
            )
    flags = metadata.get("rotational", storage.rotational_flags(axes, None))
    if len(flags) != len(axes):
        raise ValueError(
            f"{path}: metadata has {len(axes)} coordinates and {len(flags)} flags "
            "rotational"
        )
    return SpineNpz(
        path,
        found,
        names,
        axes,
        tuple(bool(flag) for flag in flags),
        float(metadata.get("rate_hz", RATE_HZ)),
        tuple(_views(found["imgname"], path)),
    )


def _numbers(one: label_rows.LabelledSequence, camera: int) -> dict[str, np.ndarray]:
    view = one.labels.view(camera)
    joined = lambda values, flag: np.concatenate([values, flag[..., None]], axis=-1)
    return {
        "center": np.asarray(view.center),
        "scale": np.asarray(view.scale),
        "part": joined(view.pixels, view.visible),
        "S": joined(view.points, one.known),
        "S_world": joined(one.world, one.known),
        "angles": one.angles,
    }


def _metadata(
    names: tuple[str, ...], first: SpineSequence, licence: str
) -> dict[str, Any]:
    parents = [PARENTS[name] for name in names]
    return {
        "root_name": ROOT,
        "root_index": names.index(ROOT),
        "joint_names": np.array(names),
        "param_names": np.array(first.motion.coordinate_names),
        "parent_ids": np.array([-1 if p is None else names.index(p) for p in parents]),
        "rotational": np.array(first.rotational, bool),
        "rate_hz": float(first.motion.rate_hz),
        "licence": licence,
    }


def _texts(metadata: dict[str, Any], name: str, path: Path) -> tuple[str, ...]:
    if name not in metadata:
        raise ValueError(
            f"{path}: metadata has no {name!r}; it has {', '.join(map(str, metadata))}"
        )
    return tuple(str(text) for text in metadata[name])


def _views(images: np.ndarray, path: Path) -> Iterator[View]:
    """Cuts the rows where the image's name changes but for its frame."""
    starts, heads, frames = [], [], np.zeros(len(images), np.int64)
    before = None
    for first in range(0, len(images), _CHUNK):
        chunk = np.asarray(images[first : first + _CHUNK])
        if chunk.dtype.kind == "S":
            chunk = np.char.decode(chunk, "utf-8")
        head, _, tail = np.strings.rpartition(chunk, "_")
        number = np.strings.partition(tail, ".")[0]
        for name in chunk[~np.strings.isdecimal(number)][:1]:
            image_place(str(name), path)  # says what is wrong
        frames[first : first + len(chunk)] = number.astype(np.int64)
        new = np.append(head[0] != before, head[1:] != head[:-1])
        starts.extend((first + np.flatnonzero(new)).tolist())
        heads.extend(str(name) for name in chunk[new])
        before = head[-1]
    seen = set()
    ends = [*starts[1:], len(images)]
    for start, end, name in zip(starts, ends, heads, strict=True):
        sequence, camera, _ = image_place(name, path)
        if not np.array_equal(frames[start:end], np.arange(end - start)):
            raise ValueError(
                f"{path}: the frames of {sequence}.{camera} are not 0, 1, 2... in order"
            )
        if (sequence, camera) in seen:
            raise ValueError(f"{path}: {sequence}.{camera} is there twice")
        seen.add((sequence, camera))
        folder = PurePosixPath(name).parts[0]
        subject = folder if sequence.startswith(f"{folder}_") else ""
        subject = subject or sequence.partition("_")[0]
        action = sequence.removeprefix(f"{subject}_")
        yield View(subject, action, camera, slice(start, end))
