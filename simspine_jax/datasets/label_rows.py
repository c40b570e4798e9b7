"""Rows of labels: a frame of a sequence as one camera sees it, for npz and parquet."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simspine_jax.datasets import licences
from simspine_jax.datasets.camera_labels import CameraLabels, camera_labels
from simspine_jax.datasets.simspine_keypoints import with_keypoints
from simspine_jax.datasets.spine_sequence import (
    SpineSequence,
    Subject,
    to_ground,
    to_world,
)
from simspine_jax.io import storage
from simspine_jax.types import MarkerTrajectory, Motion


@dataclass(frozen=True)
class LabelledSequence:
    """A sequence with what the rows of all its cameras share, and their labels.

    Attributes:
        sequence: Where they come from.
        world: The K keypoints in the cameras' world (Z up), m, 0 where missing. Shape
            [T, K, 3].
        known: Which are not missing. Shape [T, K].
        angles: Coordinates as a .mot has them, degrees and m. Shape [T, A].
        cameras: C names.
        labels: Of the K keypoints, with boxes of all that the sequence has.
    """

    sequence: SpineSequence
    world: np.ndarray
    known: np.ndarray
    angles: np.ndarray
    cameras: tuple[str, ...]
    labels: CameraLabels


def labelled(
    sequences: Iterable[tuple[Subject, SpineSequence]],
    names: Sequence[str],
    path: object,
) -> Iterator[LabelledSequence]:
    """Labels sequences that go into one file, one at a time.

    Args:
        sequences: At least one, all with the same coordinates and rate.
        names: The K keypoints, ``simspine.SPINE_NAMES`` or ``simspine.NAMES``.
        path: The file, for messages.

    Raises:
        ValueError: There is no sequence; or one is there twice, is not of its subject,
            lacks a keypoint, has no frame, is not finite, has other coordinates or
            another rate than the first, or may not be written out
            (`licences.Licensed`).
    """
    seen: set[str] = set()
    first = None
    for subject, sequence in sequences:
        first = first or sequence
        _require_alike(sequence, first, subject, seen, path)
        kept = with_keypoints(sequence.markers, names, f"{path}: {sequence.name}")
        columns = [sequence.markers.names.index(name) for name in names]
        # Before the keypoints are chosen: boxes are of the whole person.
        labels = camera_labels(subject.rig, sequence.markers)
        known = np.asarray(kept.valid)
        yield LabelledSequence(
            sequence,
            np.where(known[..., None], to_world(kept.points), 0.0),
            known,
            storage.file_values(
                np.asarray(sequence.motion.q), sequence.rotational, True, str(path)
            ),
            subject.rig.names,
            labels.replace(  # pyright: ignore[reportAttributeAccessIssue]
                pixels=labels.pixels[:, :, columns],
                points=labels.points[:, :, columns],
                visible=labels.visible[:, :, columns],
            ),
        )
    if first is None:
        raise ValueError(f"{path}: there is no sequence to write")


def unlabelled(
    subject: str,
    action: str,
    world: np.ndarray,
    known: np.ndarray,
    angles: np.ndarray,
    *,
    names: tuple[str, ...],
    coordinate_names: tuple[str, ...],
    rotational: tuple[bool, ...],
    rate_hz: float,
) -> SpineSequence:
    """Returns the sequence that rows were made of, float64, from 0 s.

    Args:
        subject: Its name.
        action: Its name.
        world: Keypoints in the cameras' world, m. Shape [T, K, 3].
        known: Which are not missing. Shape [T, K].
        angles: Coordinates as a .mot has them. Shape [T, A].
        names: K keypoints.
        coordinate_names: A coordinates.
        rotational: Which of them are in degrees.
        rate_hz: Frames per second.
    """
    points = to_ground(np.where(known[..., None], world, 0.0).astype(np.float64))
    angles = angles.astype(np.float64)
    q = np.where(rotational, np.radians(angles), angles)
    return SpineSequence(
        subject,
        action,
        MarkerTrajectory(points, known, names, rate_hz),
        Motion(q, coordinate_names, rate_hz),
        rotational,
    )


def image_names(sequence: SpineSequence, camera: str) -> np.ndarray:
    """Returns the names of a camera's images of a sequence, as text. [T]."""
    view = f"{sequence.name}.{camera}"
    frames = range(len(sequence.motion.q))
    return np.array([f"{sequence.subject}/{view}/{view}_{i:06d}.jpg" for i in frames])


def _require_alike(
    sequence: SpineSequence,
    first: SpineSequence,
    subject: Subject,
    seen: set[str],
    path: object,
) -> None:
    licences.refuse_licensed(sequence, path=path)
    where = f"{path}: sequence {sequence.name!r}"
    motion, markers = sequence.motion, sequence.markers
    if sequence.subject != subject.name:
        raise ValueError(f"{where} is not of the subject {subject.name!r}")
    if sequence.name in seen:
        raise ValueError(f"{where} is there twice")
    if not len(motion.q):
        raise ValueError(f"{where} is empty; a sequence has at least one frame")
    names = first.motion.coordinate_names
    if (motion.coordinate_names, sequence.rotational) != (names, first.rotational):
        raise ValueError(f"{where} has other coordinates than {first.name!r}")
    if motion.rate_hz != first.motion.rate_hz:
        raise ValueError(
            f"{where} has {motion.rate_hz:g} Hz, and {first.name!r} has "
            f"{first.motion.rate_hz:g} Hz"
        )
    points = np.asarray(markers.points)[np.asarray(markers.valid)]
    if not (np.isfinite(points).all() and np.isfinite(np.asarray(motion.q)).all()):
        raise ValueError(f"{where} has a marker or a coordinate that is not finite")
    seen.add(sequence.name)
