"""The vocabulary of the package: one frozen type per arrow of the pipeline.

Units are metres, radians, seconds and pixels; missing data is a mask, never NaN
and never zero. Axis order is time, camera, keypoint or marker, component.
Arrays may be NumPy (as read from disk) or JAX; every type is a pytree whose
names and rates are static.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import struct

Array = jax.Array | np.ndarray


@struct.dataclass
class Detections2D:
    """Keypoints seen in synchronised views.

    Attributes:
        points: Pixels, x right and y down, origin at the centre of the top-left
            pixel. Shape [T, C, K, 2].
        confidence: Detector score, 0 where nothing was seen. Shape [T, C, K].
        keypoint_names: K names.
        rate_hz: Frames per second.
    """

    points: Array
    confidence: Array
    keypoint_names: tuple[str, ...] = struct.field(pytree_node=False)
    rate_hz: float = struct.field(pytree_node=False)


@struct.dataclass
class CameraRig:
    """Calibrated cameras; ``x_cam = R x_world + t``.

    Attributes:
        names: C camera names.
        matrix: Intrinsics, px. Shape [C, 3, 3].
        distortion: OpenCV coefficients k1 k2 p1 p2 [k3 [k4 k5 k6]], D = 4, 5 or 8; of
            a fisheye k1 k2 k3 k4, then zeros. Shape [C, D].
        rotation: World to camera. Shape [C, 3, 3].
        translation: World origin in the camera frame, m. Shape [C, 3].
        image_size: Width and height, px. Shape [C, 2].
        fisheye: Which cameras have OpenCV's fisheye model; empty means none.
    """

    names: tuple[str, ...] = struct.field(pytree_node=False)
    matrix: Array
    distortion: Array
    rotation: Array
    translation: Array
    image_size: Array
    fisheye: tuple[bool, ...] = struct.field(pytree_node=False, default=())

    @property
    def centres(self) -> Array:
        """Places of the cameras in the world, m. Shape [C, 3]."""
        return -(self.rotation * self.translation[:, :, None]).sum(axis=1)


@struct.dataclass
class MarkerTrajectory:
    """Marker positions over time, in the ground frame (Y up in OpenSim's files).

    Attributes:
        points: Positions, m; 0 where not valid. Shape [T, K, 3].
        valid: Whether the marker was seen. Shape [T, K].
        names: K marker names.
        rate_hz: Frames per second.
        start_s: Time of the first frame, s.
        weight: Optional weight of each observation; None means one. Shape [T, K].
    """

    points: Array
    valid: Array
    names: tuple[str, ...] = struct.field(pytree_node=False)
    rate_hz: float = struct.field(pytree_node=False)
    start_s: float = struct.field(pytree_node=False, default=0.0)
    weight: Array | None = None

    @property
    def times_s(self) -> np.ndarray:
        """Time of each frame, s. Shape [T]."""
        return self.start_s + np.arange(self.points.shape[0]) / self.rate_hz

    def cut(self, frames: slice) -> "MarkerTrajectory":
        """Returns some consecutive frames, at their own times."""
        first = frames.indices(self.points.shape[0])[0]
        return self.replace(  # pyright: ignore[reportAttributeAccessIssue]
            points=self.points[frames],
            valid=self.valid[frames],
            weight=None if self.weight is None else self.weight[frames],
            start_s=self.start_s + (first / self.rate_hz if first else 0.0),
        )


@struct.dataclass
class Motion:
    """Joint coordinates over time.

    Attributes:
        q: Coordinates, rad and m. Shape [T, N].
        coordinate_names: N names.
        rate_hz: Frames per second.
        start_s: Time of the first frame, s.
    """

    q: Array
    coordinate_names: tuple[str, ...] = struct.field(pytree_node=False)
    rate_hz: float = struct.field(pytree_node=False)
    start_s: float = struct.field(pytree_node=False, default=0.0)

    @property
    def times_s(self) -> np.ndarray:
        """Time of each frame, s. Shape [T]."""
        return self.start_s + np.arange(self.q.shape[0]) / self.rate_hz


@dataclass(frozen=True)
class CoordinateTask:
    """One coordinate held near a value during inverse kinematics.

    Attributes:
        name: Coordinate name.
        weight: Weight of ``(q - value)^2``, as in OpenSim's IKCoordinateTask.
        value: Target, rad or m; None means the model's default value.
        series: Times (s) and values (rad or m) where the target comes from a
            motion file, each of shape [S]; it then replaces ``value``.
    """

    name: str
    weight: float
    value: float | None = None
    series: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class IkTasks:
    """What inverse kinematics is asked to follow; OpenSim's IKTaskSet.

    Attributes:
        marker_weights: Weight by marker name; markers not named are not used.
        coordinate_tasks: Coordinates held near values.
        accuracy: OpenSim's solver accuracy; only the reference runs use it.
        constraint_weight: OpenSim's; infinity means hard constraints.
        time_range_s: First and last time to solve, s; None means all.
        files: Paths named by the set-up file, by their XML element
            (``model_file``, ``marker_file``, ...), absolute; empty if none.
    """

    marker_weights: Mapping[str, float]
    coordinate_tasks: tuple[CoordinateTask, ...] = ()
    accuracy: float = 1e-5
    constraint_weight: float = float("inf")
    time_range_s: tuple[float, float] | None = None
    files: Mapping[str, Any] = field(default_factory=dict)

    def without_coordinate_tasks(self) -> "IkTasks":
        """Returns the same marker weights with no coordinate held."""
        return IkTasks(
            self.marker_weights,
            (),
            self.accuracy,
            self.constraint_weight,
            self.time_range_s,
            self.files,
        )
