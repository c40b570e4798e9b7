import json
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.io import detections_h5, openpose
from simspine_jax.io.detection_files import read_detections_of
from simspine_jax.io.people import People2D
from simspine_jax.skeletons import coco_17, simspine
from simspine_jax.types import CameraRig
from tests import small_captures
from tests.small_captures import RATE_HZ, SmallCapture


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> SmallCapture:
    return small_captures.write(tmp_path_factory.mktemp("capture"), people=2)


@pytest.fixture(scope="module")
def people(capture: SmallCapture) -> People2D:
    return openpose.read_openpose(
        capture.detections,
        capture.rig,
        keypoint_names=coco_17.NAMES,
        rate_hz=RATE_HZ,
    )


def _read(path: Path, rig: CameraRig, **fields) -> People2D:
    given = {"keypoint_names": coco_17.NAMES, "rate_hz": RATE_HZ} | fields
    return read_detections_of(path, rig, **given)


def _same(found: People2D, people: People2D) -> None:
    np.testing.assert_array_equal(found.points, people.points)
    np.testing.assert_array_equal(found.confidence, people.confidence)
    assert found.keypoint_names == people.keypoint_names
    assert found.camera_names == people.camera_names
    assert found.rate_hz == people.rate_hz


def test_a_folder_is_openposes(capture, people):
    _same(_read(capture.detections, capture.rig), people)


def test_views_of_our_own_file_come_in_the_order_of_the_rig(capture, people, tmp_path):
    backwards = people.replace(
        points=people.points[:, ::-1],
        confidence=people.confidence[:, ::-1],
        camera_names=people.camera_names[::-1],
    )
    detections_h5.write_people(tmp_path / "a.h5", backwards)
    # The file knows its rate and names.
    found = _read(tmp_path / "a.h5", capture.rig, rate_hz=1.0, keypoint_names=("x",))
    _same(found, people)


@pytest.mark.parametrize(
    ("cameras", "said"),
    [
        (("cam1", "cam2", "camX"), "a.h5: there is no camera 'cam3'.*cam1, cam2, camX"),
        (("cam1", "cam2", "cam3", "camX"), "camera 'camX' has detections.*cam3"),
    ],
)
def test_other_cameras_are_named(capture, people, tmp_path, cameras, said):
    views = [0, 1, 2, 2][: len(cameras)]
    other = people.replace(
        points=people.points[:, views],
        confidence=people.confidence[:, views],
        camera_names=cameras,
    )
    detections_h5.write_people(tmp_path / "a.h5", other)
    with pytest.raises(ValueError, match=said):
        _read(tmp_path / "a.h5", capture.rig)


def test_cocos_names_become_simspines(capture, people, tmp_path):
    images, annotations = [], []
    frames, cameras = people.confidence.shape[:2]
    for t in range(frames):
        for c in range(cameras):
            images.append({"id": len(images), "file_name": f"cam{c + 1}_{t:06d}.jpg"})
            for p in range(2):
                rows = np.concatenate(
                    [people.points[t, c, p], 2.0 * np.ones((17, 1))], axis=1
                )
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": images[-1]["id"],
                        "category_id": 1,
                        "keypoints": rows.ravel().tolist(),
                        "num_keypoints": 17,
                    }
                )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(coco_17.NAMES)}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = _read(tmp_path / "a.json", capture.rig)
    assert found.keypoint_names == coco_17.NAMES
    np.testing.assert_allclose(found.points, people.points, atol=1e-9)


def test_an_npz_is_read_by_sequence(tmp_path, capture):
    count = len(simspine.SPINE_NAMES)
    names = [
        f"{sequence}.cam{c}_{t:06d}.jpg"
        for sequence in ("S1_A 1", "S1_B 1")
        for c in (1, 2, 3)
        for t in range(1, 4)
    ]
    part = np.random.default_rng(0).uniform(0, 900, (len(names), count, 3))
    part[..., 2] = 1.0
    np.savez(tmp_path / "a.npz", imgname=np.array(names), part=part)
    with pytest.raises(ValueError, match="one of its 2 sequences must be named"):
        _read(tmp_path / "a.npz", capture.rig)
    found = _read(tmp_path / "a.npz", capture.rig, sequence="S1_B 1")
    assert found.keypoint_names == simspine.SPINE_NAMES
    assert found.points.shape == (3, 3, 1, count, 2)
    np.testing.assert_allclose(found.points[1, 2, 0], part[9 + 7, :, :2])


def test_other_files_are_refused(tmp_path, capture):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(ValueError, match="a.mp4: detections are a folder of OpenPose"):
        _read(tmp_path / "a.mp4", capture.rig)
    with pytest.raises(FileNotFoundError):
        _read(tmp_path / "none", capture.rig)
