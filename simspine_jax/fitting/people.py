"""From several people per view to one set of detections a person."""

from dataclasses import dataclass

import numpy as np

from simspine_jax.cameras import association
from simspine_jax.cameras.association import AssociationOptions
from simspine_jax.io.people import People2D
from simspine_jax.types import CameraRig, Detections2D

_USUAL = AssociationOptions()


@dataclass(frozen=True)
class PeopleReport:
    """What became of the detections.

    Attributes:
        people: How many people were found.
        frames: How many frames there are.
        frames_seen: Of each person, frames in which two views see them.
        detections: How many detections there are, of all views and frames.
        left_out: How many of these are nobody's.
    """

    people: int
    frames: int
    frames_seen: tuple[int, ...]
    detections: int
    left_out: int

    def __str__(self) -> str:
        """Returns one line."""
        seen = ", ".join(str(count) for count in self.frames_seen) or "none"
        return (
            f"people found: {self.people}; frames in which two views see each: {seen} "
            f"of {self.frames}; detections left out: {self.left_out} of "
            f"{self.detections}"
        )


def associate(
    rig: CameraRig,
    people: People2D,
    options: AssociationOptions = _USUAL,
) -> list[Detections2D]:
    """Returns the detections of each person, the main person first.

    Args:
        rig: Cameras, in the order of the views.
        people: Detections, in any order in each view and frame.
        options: See ``AssociationOptions``.

    Raises:
        ValueError: As ``associate_with_report``.
    """
    return associate_with_report(rig, people, options)[0]


def main_person(
    rig: CameraRig,
    people: People2D,
    options: AssociationOptions = _USUAL,
) -> Detections2D:
    """Returns the person seen longest, by most views, best and largest.

    Args:
        rig: Cameras, in the order of the views.
        people: Detections, in any order in each view and frame.
        options: See ``AssociationOptions``.

    Raises:
        ValueError: As ``associate_with_report``, or nobody was found.
    """
    found, report = associate_with_report(rig, people, options)
    if not found:
        raise ValueError(
            "no person is seen by two cameras in enough frames, though there are "
            f"{report.detections} detections in {report.frames} frames"
        )
    return found[0]


def associate_with_report(
    rig: CameraRig,
    people: People2D,
    options: AssociationOptions = _USUAL,
) -> tuple[list[Detections2D], PeopleReport]:
    """Returns what ``associate`` does, and what became of the detections.

    Args:
        rig: Cameras, in the order of the views.
        people: Detections, in any order in each view and frame.
        options: See ``AssociationOptions``.

    Raises:
        ValueError: Other cameras than views, or as ``association.associate``.
    """
    if tuple(people.camera_names) != tuple(rig.names):
        raise ValueError(
            f"the detections are of the cameras {', '.join(people.camera_names)}, but "
            f"the rig has {', '.join(rig.names)}"
        )
    pixels, confidence = np.asarray(people.points), np.asarray(people.confidence)
    tracks = association.associate(rig, pixels, confidence, options)
    index = np.asarray(tracks.index)  # [T, N, C]
    taken = index >= 0
    found = [
        _picked(people, pixels, confidence, index[:, n]) for n in range(index.shape[1])
    ]
    detections = int((confidence > 0).any(axis=-1).sum())
    report = PeopleReport(
        people=len(found),
        frames=len(index),
        frames_seen=tuple(int(n) for n in (taken.sum(axis=2) >= 2).sum(axis=0)),
        detections=detections,
        left_out=detections - int(taken.sum()),
    )
    return found, report


def _picked(
    people: People2D, pixels: np.ndarray, confidence: np.ndarray, index: np.ndarray
) -> Detections2D:
    """Returns the detections that ``index`` [T, C] names, 0 where it is -1."""
    frame, view = np.indices(index.shape)
    mine = (index >= 0)[..., None]
    score = np.where(mine, confidence[frame, view, index], 0.0)
    points = np.where(mine[..., None], pixels[frame, view, index], 0.0)
    return Detections2D(points, score, people.keypoint_names, people.rate_hz)
