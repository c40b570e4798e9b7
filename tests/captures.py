"""The real balancing capture of Pose2Sim, as tests of cameras take it."""

from pathlib import Path

import pytest

from simspine_jax.io.calibration import read_calibration
from simspine_jax.io.openpose import read_openpose
from simspine_jax.io.people import People2D
from simspine_jax.skeletons import body_25b
from simspine_jax.types import CameraRig

SESSION = Path("Pose2Sim/S00_Demo_BatchSession")
POSE = "S00_P00_SingleParticipant/S00_P00_T01_BalancingTrial/pose"


def balancing(package: Path) -> tuple[CameraRig, People2D]:
    """Returns the cameras and all people, given the unpacked package."""
    rig = read_calibration(package / SESSION / "S00_Calibration/Calib.qca.txt")
    with pytest.warns(UserWarning, match="json"):
        people = read_openpose(
            package / SESSION / POSE,
            rig.names,
            keypoint_names=body_25b.NAMES,
            rate_hz=60.0,
        )
    return rig, people
