import json
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.io.coco_keypoints import read_coco_keypoints
from simspine_jax.skeletons import coco_17

CAMERAS = ("left", "right")
NAMES = ("nose", "left_hip")


def row(x: float, third: float = 2) -> list[float]:
    return [x, 1.0, third, x + 1, 2.0, third]


def data_set(**changes) -> dict:
    content = {
        "images": [
            {"id": 1, "file_name": "left/000004.jpg"},
            {"id": 2, "file_name": "right/000004.jpg"},
            {"id": 3, "file_name": "right/000005.jpg"},
        ],
        "annotations": [
            {"image_id": 1, "keypoints": row(10.0)},
            {"image_id": 1, "keypoints": row(20.0, 1)},
            {"image_id": 3, "keypoints": row(30.0, 0)},
            {"image_id": 3, "keypoints": [5.0, 6.0, 2, 7.0, 8.0, 0]},
        ],
        "categories": [{"name": "person", "keypoints": list(NAMES)}, {"name": "car"}],
    }
    return {**content, **changes}


def save(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def read(source, cameras=CAMERAS, names=None):
    return read_coco_keypoints(source, cameras, rate_hz=25.0, keypoint_names=names)


def test_data_set_of_two_views(tmp_path: Path):
    people = read(save(tmp_path / "all.json", data_set()))
    assert people.keypoint_names == NAMES
    assert people.camera_names == CAMERAS
    assert people.frame_numbers == (4, 5)
    assert people.rate_hz == 25.0
    assert people.points.shape == (2, 2, 2, 2, 2)
    # Labelled or not: hidden keypoints count, too.
    assert people.confidence[0].tolist() == [[[1, 1], [1, 1]], [[0, 0], [0, 0]]]
    assert people.confidence[1, 1].tolist() == [[1, 0], [0, 0]]
    assert people.points[1, 1, 0].tolist() == [[5.0, 6.0], [0.0, 0.0]]
    assert people.points[0, 0, 1, 1].tolist() == [21.0, 2.0]


def test_names_given_replace_the_files(tmp_path: Path):
    path = save(tmp_path / "all.json", data_set())
    assert read(path, names=("Nose", "LHip")).keypoint_names == ("Nose", "LHip")
    with pytest.raises(ValueError, match="2 keypoints, and the keypoints named are 17"):
        read(path, names=coco_17.NAMES)


def test_results_by_camera(tmp_path: Path):
    files = {
        "right": save(
            tmp_path / "b.json",
            [{"image_id": 7, "keypoints": row(1.0, 0.25), "score": 0.9}],
        ),
        "left": save(
            tmp_path / "a.json",
            [
                {"image_id": "frame_000007.png", "keypoints": row(2.0, 1.0)},
                {"image_id": "frame_000008.png", "keypoints": row(3.0, 2.5)},
            ],
        ),
    }
    people = read(files, names=("Nose", "LHip"))
    assert people.frame_numbers == (7, 8)
    assert people.confidence[:, 0, 0, 0].tolist() == [1.0, 2.5]
    assert people.confidence[:, 1, 0, 0].tolist() == [0.25, 0.0]
    np.testing.assert_array_equal(people.only().points[0, 1], [[1.0, 1.0], [2.0, 2.0]])
    with pytest.raises(ValueError, match="keypoint_names must be given"):
        read(files)
    with pytest.raises(ValueError, match="camera 'right' is in only one"):
        read(files, cameras=("left",))


def test_results_of_both_views_in_one_file(tmp_path: Path):
    path = save(
        tmp_path / "all.json",
        [
            {"image_id": f"{camera}_{frame:06d}.jpg", "keypoints": row(1.0, 0.5)}
            for camera in CAMERAS
            for frame in (1, 2)
        ],
    )
    assert read(path, names=NAMES).frame_numbers == (1, 2)
    with pytest.raises(ValueError, match="of a camera that the calibration lacks"):
        read(path, cameras=("left",), names=NAMES)
    with pytest.raises(ValueError, match="camera 'top' has no detections"):
        read(path, cameras=(*CAMERAS, "top"), names=NAMES)


def test_data_sets_by_camera_must_have_the_same_keypoints(tmp_path: Path):
    one = [{"id": 1, "file_name": "4.jpg"}]
    files = {
        camera: save(tmp_path / f"{camera}.json", data_set(images=one, annotations=[]))
        for camera in CAMERAS
    }
    assert read(files).frame_numbers == (4,)
    other = [{"keypoints": ["nose", "tail"]}]
    save(files["right"], data_set(images=one, annotations=[], categories=other))
    with pytest.raises(ValueError, match="nose, tail, and those of the file before"):
        read(files)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "no list of objects 'images'"),
        ({"images": [{"file_name": "left_1.jpg"}]}, "one of the images has no id"),
        ({"annotations": 3}, "no list of objects 'annotations'"),
        ({"annotations": [{"keypoints": []}]}, "a person has no image_id"),
        ({"annotations": [{"image_id": 9}]}, "image_id 9 is not among the images"),
        ({"categories": []}, "0 sets of keypoints"),
        (
            {"annotations": [{"image_id": 1, "keypoints": row(1.0, -1)}]},
            r"image 1: keypoint 'nose' is \[1.0, 1.0, -1.0\]",
        ),
        (
            {"images": [{"id": i, "file_name": "left_1.jpg"} for i in (1, 2)]},
            "frame 1 of camera 'left' is there twice",
        ),
        (
            {"images": [{"id": 1, "file_name": "left.jpg"}], "annotations": []},
            "'left.jpg' has no frame number",
        ),
        (
            {"images": [{"id": 1, "file_name": "top_1.jpg"}], "annotations": []},
            "the calibration lacks",
        ),
    ],
)
def test_data_set_that_is_wrong(tmp_path: Path, changes: dict, message: str):
    path = save(tmp_path / "all.json", data_set(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("3", "neither an object"), ("[3]", "neither an object")],
)
def test_not_coco(tmp_path: Path, text: str, message: str):
    path = tmp_path / "all.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "none.json")
