"""From the world of a calibration to OpenSim's ground frame, which has Y up."""

import numpy as np

from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.types import CameraRig, MarkerTrajectory

# Rows: ground X, Y and Z in world axes. Turns, never mirrors.
TO_GROUND = {
    "z": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
    "y": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "-y": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
}


def to_trajectory(
    found: Triangulation,
    names: tuple[str, ...],
    rate_hz: float,
    up: str = "z",
) -> MarkerTrajectory:
    """Returns triangulated points as markers in a frame with Y up.

    Args:
        found: Points in the world of the rig.
        names: K keypoint names.
        rate_hz: Frames per second.
        up: World axis that points up: "z" (motion capture; ground X, Y, Z are world
            Y, Z, X, as Pose2Sim and SIMSPINE have it), "y", or "-y" (a world that is
            the first camera's frame).

    Raises:
        ValueError: Another axis.
    """
    _require_known(up)
    points = np.asarray(found.points) @ np.asarray(TO_GROUND[up]).T
    valid = np.asarray(found.valid)
    return MarkerTrajectory(
        np.where(valid[..., None], points, 0.0), valid, names, rate_hz
    )


def with_z_up(rig: CameraRig, up: str) -> CameraRig:
    """Returns the same cameras in the world whose Z is ground's Y.

    Args:
        rig: Cameras in the world of their calibration.
        up: The axis of that world that points up; see ``to_trajectory``.

    Raises:
        ValueError: Another axis.
    """
    _require_known(up)
    turn = np.asarray(TO_GROUND["z"]).T @ np.asarray(TO_GROUND[up])
    return rig.replace(  # pyright: ignore[reportAttributeAccessIssue]
        rotation=np.asarray(rig.rotation) @ turn.T
    )


def _require_known(up: str) -> None:
    if up not in TO_GROUND:
        raise ValueError(f"the world's up axis is {up!r}; it must be one of z, y, -y")
