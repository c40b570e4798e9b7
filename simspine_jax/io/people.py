"""Keypoints of several people in several views, before anyone knows who is who."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from flax import struct

from simspine_jax.types import Array, Detections2D


@struct.dataclass
class People2D:
    """People seen in synchronised views.

    Index p of one view and frame need not be the same person in another.

    Attributes:
        points: Pixels, x right and y down, origin at the centre of the top-left
            pixel; 0 where nothing was seen. Shape [T, C, P, K, 2].
        confidence: Detector score, 0 where nothing was seen. Shape [T, C, P, K].
        keypoint_names: K names.
        rate_hz: Frames per second.
        frame_numbers: The files' numbers of the frames, evenly spaced; T of them.
        camera_names: C names.
    """

    points: Array
    confidence: Array
    keypoint_names: tuple[str, ...] = struct.field(pytree_node=False)
    rate_hz: float = struct.field(pytree_node=False)
    frame_numbers: tuple[int, ...] = struct.field(pytree_node=False)
    camera_names: tuple[str, ...] = struct.field(pytree_node=False)

    def only(self) -> Detections2D:
        """Returns the one person.

        Raises:
            ValueError: Some view shows more than one person, or none shows any.
        """
        people = self.points.shape[2]
        if people == 0:
            raise ValueError("nobody was seen in any view, and one person is needed")
        if people > 1:
            raise ValueError(
                f"up to {people} people are in one view, and one person is needed; "
                "people must first be told apart"
            )
        return Detections2D(
            points=self.points[:, :, 0],
            confidence=self.confidence[:, :, 0],
            keypoint_names=self.keypoint_names,
            rate_hz=self.rate_hz,
        )


_Seen = TypeVar("_Seen", Detections2D, People2D)


def stack_people(
    seen: Mapping[str, Mapping[int, np.ndarray]],
    *,
    keypoint_names: Sequence[str],
    rate_hz: float,
    frame_numbers: Sequence[int],
) -> People2D:
    """Stacks what each view showed in each frame.

    Args:
        seen: By camera and frame number: x, y (px) and confidence. Shape [p, K, 3],
            p being how many people that view showed. Frames may be absent.
        keypoint_names: K names.
        rate_hz: Frames per second.
        frame_numbers: Frames of the result.

    Returns:
        People; P is the largest p, and 0 if nobody was seen.

    Raises:
        ValueError: The rate is not positive, or a keypoint is named twice.
    """
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise ValueError(f"rate_hz is {rate_hz}, and it must be positive")
    if len(set(keypoint_names)) < len(keypoint_names):
        raise ValueError(f"a keypoint is named twice in {', '.join(keypoint_names)}")
    index = {number: t for t, number in enumerate(frame_numbers)}
    people = max(
        (len(found) for frames in seen.values() for found in frames.values()), default=0
    )
    shape = (len(frame_numbers), len(seen), people, len(keypoint_names), 3)
    values = np.zeros(shape)
    for camera, frames in enumerate(seen.values()):
        for number, found in frames.items():
            values[index[number], camera, : len(found)] = found
    confidence = values[..., 2]
    return People2D(
        points=np.where(confidence[..., None] > 0, values[..., :2], 0.0),
        confidence=confidence,
        keypoint_names=tuple(keypoint_names),
        rate_hz=float(rate_hz),
        frame_numbers=tuple(int(number) for number in frame_numbers),
        camera_names=tuple(seen),
    )


def select_keypoints(
    seen: _Seen, names: Sequence[str], *, source_names: Mapping[str, str] | None = None
) -> _Seen:
    """Picks keypoints by name, in the order asked for.

    Args:
        seen: Detections.
        names: Keypoints of the result.
        source_names: Their names in ``seen``, where these differ.

    Returns:
        The same detections with the keypoints ``names``.

    Raises:
        ValueError: A keypoint is not among those of ``seen``.
    """
    wanted = [(source_names or {}).get(name, name) for name in names]
    for name in wanted:
        if name not in seen.keypoint_names:
            raise ValueError(
                f"there is no keypoint {name!r} among the detections; they have "
                f"{', '.join(seen.keypoint_names)}"
            )
    order = np.array([seen.keypoint_names.index(name) for name in wanted], dtype=int)
    return seen.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=seen.points[..., order, :],
        confidence=seen.confidence[..., order],
        keypoint_names=tuple(names),
    )
