import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.io.calibration import read_calibration
from simspine_jax.io.openpose import read_openpose
from simspine_jax.io.people import select_keypoints
from simspine_jax.skeletons import body_25b

NAMES = ("Nose", "LHip", "RHip")
CAMERAS = ("cam_1", "cam_10")
TRIALS = Path("Pose2Sim/S00_Demo_BatchSession/S00_P00_SingleParticipant")


def person(x: float, confidence: float = 0.5) -> list[float]:
    return [value for k in range(3) for value in (x + k, 2 * x, confidence)]


def write(folder: Path, name: str, *people: list) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    content = {
        "version": 1.3,
        "people": [{"person_id": [-1], "pose_keypoints_2d": row} for row in people],
    }
    (folder / name).write_text(json.dumps(content))
    return folder / name


def read(source, cameras=CAMERAS, names=NAMES):
    return read_openpose(source, cameras, keypoint_names=names, rate_hz=30.0)


def two_views(parent: Path) -> None:
    for frame in (3, 4, 5):
        write(parent / "cam1_json", f"cam1.{frame:04d}.json", person(10.0 * frame))
    for frame in (4, 5, 6):
        write(
            parent / "cam10_json", f"T_cam10_{frame:012d}_keypoints.json", person(1.0)
        )


def test_frames_are_aligned_by_their_numbers(tmp_path: Path):
    two_views(tmp_path)
    write(tmp_path / "cam10_json", "T_cam10_7.json")
    people = read(tmp_path)
    assert people.camera_names == CAMERAS
    assert people.frame_numbers == (3, 4, 5, 6, 7)
    assert people.keypoint_names == NAMES
    assert people.points.shape == (5, 2, 1, 3, 2)
    seen = people.confidence[:, :, 0, 0] > 0
    assert seen.T.tolist() == [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0]]
    np.testing.assert_array_equal(people.points[1, 0, 0, 2], [42.0, 80.0])
    assert not people.points[0, 1].any()
    only = people.only()
    assert only.rate_hz == 30.0
    np.testing.assert_array_equal(only.points, people.points[:, :, 0])


def test_every_fifth_frame_makes_steps_of_five(tmp_path: Path):
    for frame in (10, 20, 35):
        for camera in CAMERAS:
            write(tmp_path / camera, f"{camera}_{frame}.json", person(1.0))
    people = read(tmp_path)
    assert people.frame_numbers == (10, 15, 20, 25, 30, 35)
    assert (people.confidence[:, 0, 0, 0] > 0).tolist() == [1, 0, 1, 0, 0, 1]


def test_several_people_in_a_view(tmp_path: Path):
    two_views(tmp_path)
    unseen = [0.0] * 9
    write(tmp_path / "cam1_json", "cam1.0004.json", person(1.0), unseen, person(2.0))
    people = read(tmp_path)
    assert people.points.shape[2] == 2
    assert (people.confidence[1, :, :, 0] > 0).tolist() == [[True, True], [True, False]]
    assert people.points[1, 0, 1, 0].tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match="up to 2 people are in one view"):
        people.only()


def test_folders_by_camera(tmp_path: Path):
    two_views(tmp_path)
    folders = {"cam_10": tmp_path / "cam10_json", "cam_1": str(tmp_path / "cam1_json")}
    assert read(folders).camera_names == CAMERAS
    with pytest.raises(ValueError, match="'cam_1' of the calibration has no folder"):
        read({"cam_10": tmp_path / "cam10_json"})
    with pytest.raises(
        ValueError, match="camera 'cam_10', which the calibration lacks"
    ):
        read(folders, cameras=("cam_1",))


def test_other_names_are_reported(tmp_path: Path):
    two_views(tmp_path)
    folder = tmp_path / "cam1_json"
    for name in ("cam1.0003.json.old", "del_0001_0.json", "cam1.json", "cam10_1.json"):
        write(folder, name, person(9.0))
    write(folder, ".hidden.json")
    with pytest.warns(UserWarning, match="cam1_json/.* and 1 more") as caught:
        people = read(tmp_path)
    assert len(caught) == 1
    assert "hidden" not in str(caught[0].message)
    assert people.frame_numbers == (3, 4, 5, 6)
    assert people.points[0, 0, 0, 0, 0] == 30.0


def test_cameras_and_folders_must_match(tmp_path: Path):
    two_views(tmp_path)
    with pytest.raises(ValueError, match="camera 'cam_2' of the calibration has no"):
        read(tmp_path, cameras=(*CAMERAS, "cam_2"))
    (tmp_path / "cam_2").mkdir()
    with pytest.raises(ValueError, match="camera 'cam_2' has no detections"):
        read(tmp_path, cameras=(*CAMERAS, "cam_2"))
    write(tmp_path / "cam_2", "cam_2_1.json")
    with pytest.raises(ValueError, match=r"cam_2: .*the calibration lacks"):
        read(tmp_path)
    (tmp_path / "cam_2").rename(tmp_path / "cam01")
    with pytest.raises(ValueError, match="has two folders, cam01 and cam1_json"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read(tmp_path / "none")


def test_views_without_a_common_frame(tmp_path: Path):
    write(tmp_path / "cam1", "cam1_1.json", person(1.0))
    write(tmp_path / "cam10", "cam10_2.json", person(1.0))
    with pytest.raises(ValueError, match="cam_1 1 to 1, cam_10 2 to 2"):
        read(tmp_path)
    for camera in ("cam1", "cam10"):
        write(tmp_path / camera, f"{camera}_1700000003.json", person(1.0))
    with pytest.raises(ValueError, match="too far apart to count frames"):
        read(tmp_path)


def test_a_frame_that_is_there_twice(tmp_path: Path):
    two_views(tmp_path)
    write(tmp_path / "cam1_json", "cam1_4.json")
    with pytest.raises(ValueError, match="frame 4 is there twice"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (person(1.0, float("nan")), "keypoint 'Nose'.*nan"),
        (person(1.0, -0.1), "keypoint 'Nose'.*-0.1"),
        ([*person(1.0)[:-3], float("inf"), 1.0, 0.5], "keypoint 'RHip'"),
        (person(1.0)[:-3], "2 keypoints, and the keypoints named are 3"),
        (person(1.0)[:-1], "2.66667 keypoints"),
        (["a"] * 9, "not a list of numbers"),
        ([[None] * 9], "keypoint 'Nose'"),
    ],
)
def test_wrong_keypoints(tmp_path: Path, row: list, message: str):
    two_views(tmp_path)
    file = write(tmp_path / "cam1_json", "cam1.0004.json", person(1.0), row)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no list 'people'"),
        ('{"people": 3}', "no list 'people'"),
        ('{"people": [{}]}', "no pose_keypoints_2d"),
    ],
)
def test_files_that_are_not_openposes(tmp_path: Path, text: str, message: str):
    two_views(tmp_path)
    file = tmp_path / "cam1_json" / "cam1.0004.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(str(file))


def test_a_place_that_was_not_seen_may_be_anything(tmp_path: Path):
    two_views(tmp_path)
    row = person(1.0)
    row[:3] = [float("nan"), 3.0, 0.0]
    write(tmp_path / "cam1_json", "cam1.0004.json", row)
    people = read(tmp_path)
    assert not people.points[1, 0, 0, 0].any()
    assert people.confidence[1, 0, 0].tolist() == [0.0, 0.5, 0.5]


def test_nobody_is_seen(tmp_path: Path):
    for camera in CAMERAS:
        write(tmp_path / camera, f"{camera}_1.json")
    people = read(tmp_path)
    assert people.points.shape == (1, 2, 0, 3, 2)
    with pytest.raises(ValueError, match="nobody was seen"):
        people.only()


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_the_rate_is_positive(tmp_path: Path, rate: float):
    two_views(tmp_path)
    with pytest.raises(ValueError, match="rate_hz"):
        read_openpose(tmp_path, CAMERAS, keypoint_names=NAMES, rate_hz=rate)


def test_keypoints_are_picked_by_name(tmp_path: Path):
    two_views(tmp_path)
    people = read(tmp_path)
    picked = select_keypoints(
        people, ("Pelvis", "Nose"), source_names={"Pelvis": "RHip"}
    )
    assert picked.keypoint_names == ("Pelvis", "Nose")
    np.testing.assert_array_equal(picked.points, people.points[..., [2, 0], :])
    one = select_keypoints(people.only(), ("LHip",))
    assert one.points.shape == (4, 2, 1, 2)
    with pytest.raises(ValueError, match="no keypoint 'Tail'"):
        select_keypoints(people, ("Tail",))


def test_the_real_trials(pose2sim_08: Path):
    rig = read_calibration(
        pose2sim_08 / TRIALS.parent / "S00_Calibration/Calib.qca.txt"
    )
    pose = pose2sim_08 / TRIALS / "S00_P00_T01_BalancingTrial/pose"
    with pytest.warns(UserWarning, match=r"cam01_json/.*\.json\.old.* and 4 more"):
        people = read(pose, rig, body_25b.NAMES)
    assert people.frame_numbers == tuple(range(100))
    assert people.points.shape[:2] == (100, 4)
    assert people.camera_names == rig.names
    pixels = people.points[people.confidence > 0]
    assert (pixels > -1).all()
    assert (pixels < np.array([1088, 1920])).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        static = read(
            pose2sim_08 / TRIALS / "S00_P00_T00_StaticTrial/pose", rig, body_25b.NAMES
        )
    assert static.only().points.shape == (12, 4, 25, 2)
