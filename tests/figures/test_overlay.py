"""What the picture of a model over the views shows, read back from the drawing."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.body import spine_markers
from simspine_jax.figures import overlay
from simspine_jax.fitting import replay
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import Detections2D

FRAME = 1
# Ground X, Y and Z in the world, by the world's axis that points up.
TURNS = {"z": [[0, 1, 0], [0, 0, 1], [1, 0, 0]], "y": np.eye(3).tolist()}


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> sj.Model:
    return sj.load_model(next(pose2sim_08.rglob("Model_Pose2Sim_body25b_scaled.osim")))


@pytest.mark.parametrize("up", ["z", "y"])
def test_the_model_is_drawn_where_opencv_projects_it(
    model: sj.Model, up: str, tmp_path: Path
):
    q = np.tile(np.asarray(model.default_q), (2, 1))
    q[FRAME, model.coordinate_names.index("knee_angle_r")] = 0.4
    poses = replay.body_poses(model, q)
    names = ("RKnee", "Unseen", "LHip", "Nose")
    marker_names = ("LHip", "RAnkle", "RKnee", "Nose")  # RAnkle is not detected
    rig = h36m_rig("S1")
    points = np.random.default_rng(0).uniform(200, 800, (2, 4, 4, 2))
    confidence = np.ones((2, 4, 4))
    confidence[FRAME, 2, names.index("LHip")] = 0.0
    photo = np.random.default_rng(1).integers(0, 255, (1002, 1000, 3), np.uint8)
    views = overlay.Views(
        rig,
        Detections2D(points, confidence, names, 50.0),
        [None, photo, None, None],
        FRAME,
        up,
    )
    figure = overlay.make(views, model, poses, marker_names, ("pelvis",) * 4)
    shown = [model.marker_names.index(n) for n in ("LHip", "RKnee", "Nose")]
    ground = {
        "marker on the model": replay.marker_points(model, poses)[FRAME][shown],
        "15 spine keypoints": np.asarray(spine_markers.from_poses(model, poses))[FRAME],
    }
    for c, axis in enumerate(figure.axes):
        lines = {line.get_label(): line.get_xydata() for line in axis.lines}
        for label, where in ground.items():
            world = np.asarray(where) @ np.array(TURNS[up])
            pixels, _ = cv2.projectPoints(
                world,
                cv2.Rodrigues(np.asarray(rig.rotation[c]))[0],
                np.asarray(rig.translation[c]),
                np.asarray(rig.matrix[c]),
                np.asarray(rig.distortion[c]),
            )
            np.testing.assert_allclose(lines[label], pixels[:, 0], atol=1e-6)
        seen = [names.index(n) for n in ("LHip", "RKnee", "Nose")]
        detected = points[FRAME, c][seen][1 if c == 2 else 0 :]
        np.testing.assert_array_equal(lines["detected keypoint"], detected)
        bottom, top = axis.get_ylim()
        assert bottom > top  # rows count from above
        assert len(axis.images) == (c == 1)
        for image in axis.images:
            left, right, low, high = image.get_extent()
            part = photo[round(high + 0.5) : round(low + 0.5)]
            part = part[:, round(left + 0.5) : round(right + 0.5)]
            drawn = np.asarray(image.get_array(), float)
            np.testing.assert_allclose(drawn, 63.75 + 0.75 * part, atol=1.01)
        assert axis.get_title() == f"{rig.names[c]}, frame 2"
    overlay.save(tmp_path / "a.png", views, model, poses, marker_names, ("pelvis",) * 4)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
