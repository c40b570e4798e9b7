"""Files as SIMSPINE published them, and sequences to write, for tests of both."""

from pathlib import Path

import h5py
import numpy as np

from simspine_jax.datasets.spine_sequence import SpineSequence, Subject
from simspine_jax.io.camera_entry import rodrigues
from simspine_jax.skeletons import simspine
from simspine_jax.types import CameraRig, MarkerTrajectory, Motion

AXES = (
    "pelvis_tilt",
    "pelvis_tx",
    "knee_angle_r",
    "knee_angle_r_beta",
    "L5_S1_Flex_Ext",
)
ROTATIONAL = (True, False, True, False, True)


def rig(seed: int = 0) -> CameraRig:
    """Two cameras 4 m from the origin of a world with Z up, which look at it."""
    rng = np.random.default_rng(seed)
    turns = [
        rodrigues(0.05 * rng.normal(size=3)) @ rows
        for rows in (
            np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]]),
            np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]]),
        )
    ]
    matrix = [[[1145.0, 0, 512], [0, 1143, 515], [0, 0, 1]]] * 2
    distortion = [[-0.2, 0.24, -0.001, -0.0009, -0.002], [-0.19, 0.2, 0, 0.001, 0.001]]
    return CameraRig(
        names=("54138969", "55011271"),
        matrix=np.array(matrix),
        distortion=np.array(distortion),
        rotation=np.array(turns),
        translation=np.array([[0.1, 0.9, 4.0], [-0.1, 0.8, 4.5]]),
        image_size=np.array([[1000.0, 1002.0], [1000.0, 1000.0]]),
    )


def sequence(
    subject: str = "S1",
    action: str = "Walking_1",
    frames: int = 6,
    names: tuple[str, ...] = simspine.NAMES,
    start_s: float = 0.0,
    seed: int = 0,
) -> SpineSequence:
    """Keypoints of a person's size with one missing, and coordinates."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-0.3, 0.1, -0.3), (0.3, 1.7, 0.3), (frames, len(names), 3))
    valid = np.ones(points.shape[:2], bool)
    valid[0, 2] = False
    return SpineSequence(
        subject,
        action,
        MarkerTrajectory(
            np.where(valid[..., None], points, 0.0), valid, names, 50.0, start_s
        ),
        Motion(rng.normal(size=(frames, len(AXES))), AXES, 50.0, start_s),
        ROTATIONAL,
    )


def assert_same(found: SpineSequence, wanted: SpineSequence, atol: float) -> None:
    """Compares all that a sequence has."""
    assert (found.subject, found.action) == (wanted.subject, wanted.action)
    assert found.markers.names == wanted.markers.names
    assert found.motion.coordinate_names == wanted.motion.coordinate_names
    assert found.rotational == wanted.rotational
    for ours, theirs in (
        (found.markers, wanted.markers),
        (found.motion, wanted.motion),
    ):
        assert ours.rate_hz == theirs.rate_hz
        assert abs(ours.start_s - theirs.start_s) <= atol
    np.testing.assert_array_equal(found.markers.valid, wanted.markers.valid)
    np.testing.assert_allclose(
        found.markers.points, wanted.markers.points, rtol=0, atol=atol
    )
    np.testing.assert_allclose(found.motion.q, wanted.motion.q, rtol=0, atol=atol)


def assert_same_rig(found: CameraRig, wanted: CameraRig, atol: float) -> None:
    """Compares all that cameras have."""
    assert found.names == wanted.names
    for field in ("matrix", "distortion", "rotation", "translation", "image_size"):
        np.testing.assert_allclose(
            getattr(found, field), getattr(wanted, field), rtol=0, atol=atol
        )


def publish_h5(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Writes what the published serialiser writes; returns its numbers."""
    rng = np.random.default_rng(3)
    cameras = rig()
    numbers = {
        "markers": rng.uniform(-1, 1, (4, len(names), 3)),
        "kinematics": rng.uniform(-90, 90, (4, len(AXES))),
        "timestamps": np.array([0.0, 0.02, 0.04, 0.06]),
    }
    with h5py.File(path, "w") as file:
        metadata = file.create_group("metadata")
        metadata.create_dataset("markers_names", data=np.array(names, dtype="S"))
        metadata.create_dataset("kinematic_axes", data=np.array(AXES, dtype="S"))
        for subject in ("S9", "S11"):
            group = file.create_group(subject)
            group.attrs["model_file"] = f"data/simspine/original/models/{subject}.osim"
            calibration = group.create_group("calibration")
            single = {
                "K": cameras.matrix,
                "dist": cameras.distortion,
                "R": cameras.rotation,
                "t": cameras.translation,
            }
            calibration.create_dataset("names", data=np.array(cameras.names, dtype="S"))
            for field, values in single.items():
                calibration.create_dataset(
                    field, data=values.astype(np.float32), compression="gzip"
                )
            calibration.create_dataset("size", data=cameras.image_size.astype(np.int32))
            for field, values in numbers.items():
                file[f"{subject}/Sitting 1/{field}"] = values
    return numbers


def subjects(*names: str) -> list[Subject]:
    """People with cameras of their own."""
    return [Subject(name, rig(i), f"{name}.osim") for i, name in enumerate(names)]
