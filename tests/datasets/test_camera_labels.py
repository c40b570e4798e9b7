import cv2
import jax
import numpy as np
import pytest

from simspine_jax.datasets import camera_labels
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory
from tests.datasets import spine_files as files


@pytest.fixture(scope="module")
def labelled():
    rig, markers = files.rig(), files.sequence(frames=5).markers
    return rig, markers, camera_labels.camera_labels(rig, markers)


def _world(markers) -> np.ndarray:
    # World X, Y, Z are ground Z, X, Y, as the published preprocessing has it.
    return markers.points[..., [2, 0, 1]]


def _of(points, valid) -> MarkerTrajectory:
    """Markers at points of the world of the cameras; the rest of 37 are missing."""
    points, valid = np.asarray(points, float), np.asarray(valid, bool)
    more = len(simspine.NAMES) - points.shape[1]
    points = np.pad(points[..., [1, 2, 0]], ((0, 0), (0, more), (0, 0)))
    valid = np.pad(valid, ((0, 0), (0, more)))
    return MarkerTrajectory(points, valid, simspine.NAMES, 50.0)


def test_pixels_and_depths_are_those_of_opencv(labelled):
    rig, markers, labels = labelled
    world, valid = _world(markers), markers.valid
    assert labels.pixels.shape == (5, 2, 37, 2)
    for camera in range(2):
        view = labels.view(camera)
        turn, slide = rig.rotation[camera], rig.translation[camera]
        pixels, _ = cv2.projectPoints(
            world.reshape(-1, 3),
            cv2.Rodrigues(turn)[0],
            slide,
            rig.matrix[camera],
            rig.distortion[camera],
        )
        pixels = pixels.reshape(5, 37, 2)
        assert np.abs(view.pixels - pixels)[valid].max() < 1e-6
        depths = np.array([[turn @ x + slide for x in frame] for frame in world])
        np.testing.assert_allclose(view.points[valid], depths[valid], atol=1e-12)
        # The published R (X - t) is another place altogether.
        wrong = np.array([[turn @ (x - slide) for x in frame] for frame in world])
        assert np.abs(view.points - wrong)[valid].max() > 1
        # The two labels of a point agree: the lens takes one to the other.
        again, _ = cv2.projectPoints(
            view.points[valid],
            np.zeros(3),
            np.zeros(3),
            rig.matrix[camera],
            rig.distortion[camera],
        )
        np.testing.assert_allclose(view.pixels[valid], again[:, 0], atol=1e-6)


def test_boxes_are_of_the_keypoints_that_are_there(labelled):
    _, markers, labels = labelled
    for frame in range(5):
        for camera in range(2):
            seen = labels.pixels[frame, camera][markers.valid[frame]]
            low, high = seen.min(axis=0), seen.max(axis=0)
            np.testing.assert_array_equal(labels.box[frame, camera], [*low, *high])
            np.testing.assert_allclose(labels.center[frame, camera], (low + high) / 2)
            np.testing.assert_allclose(
                labels.scale[frame, camera], 1.2 * (high - low).max() / 200
            )
    assert labels.has_box.all()


def test_missing_keypoints_have_no_label_and_a_frame_without_any_no_box():
    rig = files.rig()
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (3, 4, 3))
    valid = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
    labels = camera_labels.camera_labels(rig, _of(points, valid))
    # Where a marker is missing, its numbers mean nothing.
    points[~valid] = np.nan
    other = camera_labels.camera_labels(rig, _of(points, valid))
    for ours, theirs in zip(
        jax.tree.leaves(labels), jax.tree.leaves(other), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    gone = np.ones((3, 2, 37), bool)
    gone[..., :4] = ~valid[:, None]
    assert not labels.visible[gone].any()
    assert not labels.pixels[gone].any()
    assert not labels.points[gone].any()
    # One keypoint has no size either.
    assert labels.has_box.tolist() == [[True, True], [False, False], [False, False]]
    for field in (labels.box, labels.center, labels.scale):
        assert not field[1:].any()
        assert field[0].any()


def test_visibility_goes_by_the_size_of_each_image():
    rig = files.rig().replace(
        rotation=np.stack([np.eye(3)] * 2),
        translation=np.zeros((2, 3)),
        distortion=np.zeros((2, 5)),
    )
    # Rows 1001 and 1003 of images 1002 and 1000 rows high; and behind the camera.
    z, fy, cy = 4.0, 1143.0, 515.0
    points = [[[0, z * (row - cy) / fy, z] for row in (999, 1001, 1003)] + [[0, 0, -z]]]
    labels = camera_labels.camera_labels(rig, _of(points, np.ones((1, 4))))
    assert labels.visible[0, :, :4].tolist() == [
        [True, True, False, False],
        [True, False, False, False],
    ]
    # Out of the image is in the box; behind the camera is not.
    np.testing.assert_allclose(labels.box[0, 0], [512, 999, 512, 1003])
    np.testing.assert_array_equal(labels.pixels[0, 0, 3], 0)
    np.testing.assert_allclose(labels.points[0, 0, 3], [0, 0, -z])


def test_margin_of_the_box(labelled):
    rig, markers, labels = labelled
    wide = camera_labels.camera_labels(rig, markers, box_factor=1.5)
    np.testing.assert_allclose(wide.scale, labels.scale * 1.25)
    np.testing.assert_array_equal(wide.box, labels.box)
    with pytest.raises(ValueError, match="box_factor is 0, and it must be positive"):
        camera_labels.camera_labels(rig, markers, box_factor=0)


def test_sequences_of_like_lengths_share_a_compilation(labelled):
    rig, markers, labels = labelled
    before = camera_labels.labels_in_views._cache_size()
    for frames in (1, 33, 64):
        longer = files.sequence(frames=frames).markers
        camera_labels.camera_labels(rig, longer)
    assert camera_labels.labels_in_views._cache_size() == before
    four = camera_labels.camera_labels(rig, markers.cut(slice(1, 5)))
    np.testing.assert_allclose(four.pixels, labels.pixels[1:], rtol=0, atol=1e-9)
    assert four.visible.shape == (4, 2, 37)
