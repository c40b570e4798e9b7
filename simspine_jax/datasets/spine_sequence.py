"""What a spine data set holds: subjects with their cameras, and their sequences.

Everything is in the model's ground frame (Y up), m, rad and s. A subject's cameras
stand in the world of SIMSPINE's files, which has Z up and is the ground frame with its
axes rolled: X, Y, Z of the world are Z, X, Y of the ground.

Source: the serialised data set and the preprocessing that SIMSPINE
(arXiv 2602.20792) released.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.cameras import world_axes
from simspine_jax.types import Array, CameraRig, MarkerTrajectory, Motion


@dataclass(frozen=True)
class Subject:
    """A person.

    Attributes:
        name: Such as "S1".
        rig: Cameras in the world of SIMSPINE's files, Z up.
        model_file: Name of the scaled model's ``.osim``; empty where there is none.
    """

    name: str
    rig: CameraRig
    model_file: str = ""


@dataclass(frozen=True)
class SpineSequence:
    """A take of an action; keypoints and coordinates have the same frames.

    Attributes:
        subject: Name of the subject.
        action: Name of the action with its take, such as "Walking_1".
        markers: Keypoints in ground, m.
        motion: Joint coordinates, rad and m.
        rotational: Which coordinates are angles, so in degrees in files.

    Raises:
        ValueError: Keypoints and coordinates differ in frames or rate.
    """

    subject: str
    action: str
    markers: MarkerTrajectory
    motion: Motion
    rotational: tuple[bool, ...]

    def __post_init__(self) -> None:  # noqa: D105
        have = (len(self.markers.points), float(self.markers.rate_hz))
        other = (len(self.motion.q), float(self.motion.rate_hz))
        if have != other:
            raise ValueError(
                f"{self.name}: {have[0]} frames of keypoints at {have[1]:g} Hz, but "
                f"{other[0]} frames of coordinates at {other[1]:g} Hz"
            )

    @property
    def name(self) -> str:
        """Such as ``S1_Walking_1``, as files are named."""
        return f"{self.subject}_{self.action}"


def to_world(points: Float[Array, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Returns points of the ground frame in the world of the cameras, m."""
    return np.asarray(points) @ np.asarray(world_axes.TO_GROUND["z"])


def to_ground(points: Float[Array, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Returns points of the cameras' world in the ground frame, m."""
    return np.asarray(points) @ np.asarray(world_axes.TO_GROUND["z"]).T
