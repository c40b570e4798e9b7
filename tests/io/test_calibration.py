"""Calibrations: each format's conventions, told by OpenCV's own projection."""

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from simspine_jax.io.calibration import read_calibration, write_calibration
from simspine_jax.io.camera_entry import rodrigues
from simspine_jax.io.openpose import read_openpose
from simspine_jax.skeletons import body_25b
from simspine_jax.types import CameraRig

WORLD_M = np.random.default_rng(3).uniform(-0.8, 0.8, (40, 3))
SIZE = (1088, 1920)
MATRIX = np.array([[1681.2, 0, 532.97], [0, 1680.1, 948.1], [0, 0, 1.0]])
DISTORTION = np.array([-0.046, 0.14, 0.0006, -0.0007, 0.01])
# World to camera, as every hand-written file below must be understood.
TURNS = (np.array([1.69, 1.05, -0.42]), np.array([1.35, 1.6, -1.2]))
SHIFTS_M = (np.array([0.32, 0.15, 3.89]), np.array([-0.11, 0.35, 4.07]))
DEMO = Path("Pose2Sim/S00_Demo_BatchSession")


def truth(camera: int) -> np.ndarray:
    return cv2.projectPoints(
        WORLD_M, TURNS[camera], SHIFTS_M[camera], MATRIX, DISTORTION
    )[0][:, 0]


def project(rig: CameraRig, camera: int) -> np.ndarray:
    turn = cv2.Rodrigues(np.asarray(rig.rotation[camera]))[0]
    return cv2.projectPoints(
        WORLD_M,
        turn,
        np.asarray(rig.translation[camera]),
        np.asarray(rig.matrix[camera]),
        np.asarray(rig.distortion[camera]),
    )[0][:, 0]


def assert_true(rig: CameraRig, names=("left", "right"), atol_px=1e-6) -> None:
    assert rig.names == names
    assert rig.fisheye == ()
    for camera in range(2):
        np.testing.assert_allclose(project(rig, camera), truth(camera), atol=atol_px)
        assert np.asarray(rig.image_size[camera]).tolist() == list(SIZE)


def toml_text(unit_m: float = 1.0, names=("left", "right")) -> str:
    return "\n".join(
        f"[{name}]\nname = '{name}'\nsize = [1088.0, 1920.0]\n"
        f"matrix = {MATRIX.tolist()}\ndistortions = {DISTORTION.tolist()}\n"
        f"rotation = {turn.tolist()}\ntranslation = {(shift / unit_m).tolist()}\n"
        for name, turn, shift in zip(names, TURNS, SHIFTS_M, strict=True)
    )


def qca_text(left: int = 0, top: int = 0) -> str:
    cameras = []
    for name, turn, shift in zip(("left", "right"), TURNS, SHIFTS_M, strict=True):
        world_to_cv = cv2.Rodrigues(turn)[0]
        centre_mm = -1000 * world_to_cv.T @ shift
        r = np.diag([1.0, -1.0, -1.0]) @ world_to_cv
        cells = " ".join(
            f'r{i + 1}{j + 1}="{r[i, j]}"' for i in range(3) for j in range(3)
        )
        x, y, z = (float(value) for value in centre_mm)
        intrinsic = (
            f'focalLengthU="{64 * MATRIX[0, 0]}" focalLengthV="{64 * MATRIX[1, 1]}" '
            f'centerPointU="{64 * (MATRIX[0, 2] + left)}" '
            f'centerPointV="{64 * (MATRIX[1, 2] + top)}" skew="0.0" '
            f'radialDistortion1="{DISTORTION[0]}" radialDistortion2="{DISTORTION[1]}" '
            f'radialDistortion3="{DISTORTION[4]}" '
            f'tangentalDistortion1="{DISTORTION[2]}" '
            f'tangentalDistortion2="{DISTORTION[3]}"'
        )
        cameras.append(
            f'<camera active="1" model="Miqus Video" serial="{name}" viewrotation="0">'
            f'<fov_video left="{left}" top="{top}" right="{left + 1087}" '
            f'bottom="{top + 1919}"/>'
            f'<transform x="{x!r}" y="{y!r}" z="{z!r}" {cells}/>'
            f"<intrinsic {intrinsic}/></camera>"
        )
    text = "".join(cameras)
    return f"<calibration><cameras>{text}</cameras></calibration>"


def test_toml(tmp_path: Path):
    path = tmp_path / "Calib.toml"
    path.write_text(toml_text() + "[metadata]\nadjusted = false\nerror = 0.0\n")
    assert_true(read_calibration(path))


def test_toml_in_millimetres(tmp_path: Path):
    path = tmp_path / "Calib.toml"
    path.write_text(toml_text(unit_m=0.001))
    assert_true(read_calibration(path, metres_per_unit=0.001))
    path.write_text(toml_text(unit_m=1e-4))
    with pytest.raises(ValueError, match=r"apart.*metres_per_unit=0\.001"):
        read_calibration(path)


def test_toml_of_a_fisheye_camera(tmp_path: Path):
    path = tmp_path / "Calib.toml"
    lens = [0.1, 0.01, -0.002, 0.0004]
    text = toml_text().replace(str(DISTORTION.tolist()), str(lens))
    path.write_text(text.replace("'left'", "'left'\nfisheye = true"))
    rig = read_calibration(path)
    assert rig.fisheye == (True, False)
    seen = cv2.fisheye.projectPoints(
        WORLD_M[:, None],
        cv2.Rodrigues(rig.rotation[0])[0],
        rig.translation[0],
        rig.matrix[0],
        rig.distortion[0],
    )[0]
    truly = cv2.fisheye.projectPoints(
        WORLD_M[:, None], TURNS[0], SHIFTS_M[0], MATRIX, np.array(lens)
    )[0]
    np.testing.assert_allclose(seen, truly, atol=1e-6)
    write_calibration(tmp_path / "again.toml", rig)
    again = read_calibration(tmp_path / "again.toml")
    assert again.fisheye == (True, False)
    np.testing.assert_array_equal(again.distortion, rig.distortion)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size = [1088.0, 1920.0]", "", "has no size"),
        ("size = [1088.0, 1920.0]", "size = [0, 1920]", "whole positive width"),
        (str(DISTORTION.tolist()), "[0.1, nan]", "distortion.*not finite"),
        (str(TURNS[0].tolist()), "[1.0, 2.0]", "rotation has 2 numbers.*3 or 9"),
        (str(TURNS[0].tolist()), str([2.0] * 9), "rotation is not one"),
        (str(MATRIX.tolist()), "[[1, 5, 3], [0, 1, 3], [0, 0, 1]]", "skew"),
        (str(MATRIX.tolist()), "[[-1, 0, 3], [0, 1, 3], [0, 0, 1]]", "positive"),
        ("name = 'right'", "name = 'left'", "more than once"),
        ("name = 'right'", "moving = true", "moves"),
        ("size = [", "size = ", "not TOML"),
    ],
)
def test_toml_that_is_wrong(tmp_path: Path, old: str, new: str, message: str):
    path = tmp_path / "Calib.toml"
    assert old in toml_text()
    path.write_text(toml_text().replace(old, new))
    with pytest.raises(ValueError, match=message) as caught:
        read_calibration(path)
    assert str(caught.value).startswith(str(path))


def test_writing_keeps_every_digit(tmp_path: Path):
    (tmp_path / "in.toml").write_text(toml_text(names=("left", "right")))
    rig = read_calibration(tmp_path / "in.toml")
    rig = rig.replace(names=("a b", 'c"d'))
    write_calibration(tmp_path / "out.toml", rig)
    again = read_calibration(tmp_path / "out.toml")
    assert_true(again, names=("a b", 'c"d'))
    np.testing.assert_allclose(again.rotation, rig.rotation, atol=1e-15)
    np.testing.assert_array_equal(again.translation, rig.translation)
    with pytest.raises(ValueError, match=r"must end in \.toml"):
        write_calibration(tmp_path / "out.yml", rig)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.toml", "out.toml"]


@pytest.mark.parametrize("corner", [(0, 0), (40, 16)])
def test_qualisys(tmp_path: Path, corner: tuple[int, int]):
    path = tmp_path / "Calib.qca.txt"
    path.write_text(qca_text(*corner))
    assert_true(read_calibration(path))


def test_qualisys_cameras_that_see_markers_only_are_left_out(tmp_path: Path):
    path = tmp_path / "Calib.qca.txt"
    # The first camera only.
    path.write_text(qca_text().replace("Miqus Video", "Oqus 700", 1))
    assert read_calibration(path).names == ("right",)
    path.write_text(qca_text().replace("Miqus Video", "Oqus 210c"))
    assert read_calibration(path).names == ("left", "right")
    path.write_text(qca_text().replace('active="1"', 'active="0"', 1))
    assert read_calibration(path).names == ("right",)


def test_qualisys_view_rotation_is_reported(tmp_path: Path):
    path = tmp_path / "Calib.qca.txt"
    path.write_text(qca_text().replace('viewrotation="0"', 'viewrotation="90"', 1))
    with pytest.warns(UserWarning, match="'left' has a view rotation of 90"):
        assert_true(read_calibration(path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<transform", "<other", "no <transform>"),
        ('skew="0.0"', 'skew="64"', "skew"),
        ('skew="0.0"', "", "skew of <intrinsic> is missing"),
        ('skew="0.0"', 'skew="x"', "skew of <intrinsic> is 'x'"),
        ('serial="left"', "", "no serial"),
        ("</camera>", "", "not well-formed XML"),
        ('active="1"', 'active="0"', "no active <camera>"),
        ('r11="', 'r11="1', "rotation is not one"),
    ],
)
def test_qualisys_that_is_wrong(tmp_path: Path, old: str, new: str, message: str):
    path = tmp_path / "Calib.qca.txt"
    assert old in qca_text()
    path.write_text(qca_text().replace(old, new))
    with pytest.raises(ValueError, match=message) as caught:
        read_calibration(path)
    assert str(caught.value).startswith(str(path))


def test_qualisys_is_always_in_millimetres(tmp_path: Path):
    path = tmp_path / "Calib.qca.txt"
    path.write_text(qca_text())
    assert_true(read_calibration(path, metres_per_unit=0.001))
    with pytest.raises(ValueError, match="always in millimetres"):
        read_calibration(path, metres_per_unit=1.0)


def write_opencv(path: Path, camera: int, *, vectors: bool) -> None:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    _fill(storage, camera, vectors=vectors)
    storage.release()


def _fill(storage: cv2.FileStorage, camera: int, *, vectors: bool) -> None:
    storage.write("image_width", SIZE[0])
    storage.write("image_height", SIZE[1])
    turn, shift = TURNS[camera], SHIFTS_M[camera]
    if vectors:
        storage.write("camera_matrix", MATRIX)
        storage.write("distortion_coefficients", DISTORTION[:, None])
        storage.write("rvec", turn[:, None])
        storage.write("tvec", shift[:, None])
    else:
        storage.write("K", MATRIX)
        storage.write("D", DISTORTION[None])
        storage.write("R", cv2.Rodrigues(turn)[0])
        storage.write("T", shift)


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("suffix", [".yml", ".yaml", ".xml"])
def test_opencv_folder(tmp_path: Path, suffix: str, vectors: bool):
    for camera, name in enumerate(("left", "right")):
        write_opencv(tmp_path / f"{name}{suffix}", camera, vectors=vectors)
    (tmp_path / "notes.txt").write_text("not a camera")
    assert_true(read_calibration(tmp_path))
    assert read_calibration(tmp_path / f"left{suffix}").names == ("left",)


@pytest.mark.parametrize("below", ["", "cameras"])
@pytest.mark.parametrize("suffix", [".yml", ".xml"])
def test_opencv_file_of_several_cameras(tmp_path: Path, suffix: str, below: str):
    path = tmp_path / f"rig{suffix}"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    if below:
        storage.startWriteStruct(below, cv2.FILE_NODE_MAP)
    for camera, name in enumerate(("left", "right")):
        storage.startWriteStruct(name, cv2.FILE_NODE_MAP)
        _fill(storage, camera, vectors=False)
        storage.endWriteStruct()
    if below:
        storage.endWriteStruct()
    storage.release()
    assert_true(read_calibration(path))


def json_camera(camera: int, *, opencap: bool) -> dict:
    shift = SHIFTS_M[camera]
    if not opencap:
        return {
            "name": ("left", "right")[camera],
            "K": MATRIX.tolist(),
            "dist": DISTORTION.tolist(),
            "rvec": TURNS[camera].tolist(),
            "tvec": shift.tolist(),
            "size": list(SIZE),
        }
    return {
        "intrinsicMat": MATRIX.tolist(),
        "distortion": [DISTORTION.tolist()],
        "imageSize": [[float(SIZE[1])], [float(SIZE[0])]],
        "rotation": cv2.Rodrigues(TURNS[camera])[0].tolist(),
        "translation": (1000 * shift[:, None]).tolist(),
        "rotation_EulerAngles": [[0.0], [0.0], [0.0]],
    }


def test_json(tmp_path: Path):
    path = tmp_path / "rig.json"
    path.write_text(json.dumps([json_camera(0, opencap=False) for _ in range(1)]))
    assert read_calibration(path).names == ("left",)
    both = [json_camera(camera, opencap=False) for camera in range(2)]
    path.write_text(json.dumps({"cameras": both}))
    assert_true(read_calibration(path))


def test_json_of_opencap(tmp_path: Path):
    for camera, name in enumerate(("left", "right")):
        text = json.dumps(json_camera(camera, opencap=True))
        (tmp_path / f"{name}.json").write_text(text)
    assert_true(read_calibration(tmp_path))
    both = {f"cam{i}": json_camera(i, opencap=True) for i in range(2)}
    (tmp_path / "rig.txt.json").write_text(json.dumps(both))
    assert_true(read_calibration(tmp_path / "rig.txt.json"), names=("cam0", "cam1"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": None, "matrix": 1}, "there is no camera in it"),
        ({"rvec": None}, "has no rotation"),
        ({"R": np.eye(3).tolist()}, "more than once, as R and rvec"),
        ({"size": None}, "has no image width"),
        ({"size": [300, 300]}, "principal point.*outside"),
        ({"tvec": ["a", 1, 2]}, "translation is not a table of numbers"),
    ],
)
def test_json_that_is_wrong(tmp_path: Path, change: dict, message: str):
    fields = {**json_camera(0, opencap=False), **change}
    fields = {key: value for key, value in fields.items() if value is not None}
    path = tmp_path / "left.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=message) as caught:
        read_calibration(path)
    assert str(caught.value).startswith(str(path))


def test_what_is_no_calibration(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_calibration(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="no file in this folder"):
        read_calibration(tmp_path)
    for name, text, message in (
        ("a.txt", "hello", "not a calibration that can be read"),
        ("a.json", "{", "not JSON"),
        ("a.json", "3", "neither an object nor a list"),
        ("a.yml", "%YAML:1.0\n---\nsome: 3\n", "there is no camera in it"),
        ("a.xml", "<a><b></a>", "OpenCV"),
        ("a.toml", "[metadata]\nerror = 0.0\n", "no camera"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=message):
            read_calibration(tmp_path / name)
    with pytest.raises(ValueError, match="must be positive"):
        read_calibration(tmp_path / "a.toml", metres_per_unit=0.0)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-4, 1.0, 3.1])
def test_rodrigues_is_opencvs(scale: float):
    vector = scale * np.array([0.6, -0.64, 0.48])
    np.testing.assert_allclose(rodrigues(vector), cv2.Rodrigues(vector)[0], atol=1e-15)


def triangulate(rig: CameraRig, seen: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Returns the point that cameras see at the given pixels."""
    rows = []
    for camera, pixel in seen:
        ray = cv2.undistortPoints(
            pixel.reshape(1, 1, 2), rig.matrix[camera], rig.distortion[camera]
        ).ravel()
        view = np.column_stack([rig.rotation[camera], rig.translation[camera]])
        rows += [ray[0] * view[2] - view[0], ray[1] * view[2] - view[1]]
    point = np.linalg.svd(np.array(rows))[2][-1]
    return point[:3] / point[3]


def thighs_and_errors(folder: Path, trial: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns lengths of thighs (m) and errors of reprojection (px) of a trial."""
    rig = read_calibration(folder / DEMO / "S00_Calibration/Calib.qca.txt")
    pose = folder / DEMO / "S00_P00_SingleParticipant" / trial / "pose"
    with warnings.catch_warnings():
        # The folder holds files that do not count.
        warnings.filterwarnings("ignore", ".*these are not read")
        people = read_openpose(pose, rig, keypoint_names=body_25b.NAMES, rate_hz=60.0)
    # The first person of each view is the one who is filmed.
    points, confidence = people.points[:, :, 0], people.confidence[:, :, 0]
    lengths, errors = [], []
    for frame in range(0, len(points), 4):
        for side in "LR":
            ends = []
            for joint in ("Hip", "Knee"):
                k = people.keypoint_names.index(side + joint)
                seen = [
                    (camera, points[frame, camera, k])
                    for camera in range(4)
                    if confidence[frame, camera, k] > 0.3
                ]
                if len(seen) < 3:
                    break
                ends.append(triangulate(rig, seen))
                for camera, pixel in seen:
                    depth = rig.rotation[camera] @ ends[-1] + rig.translation[camera]
                    assert depth[2] > 1.0
                    back = cv2.projectPoints(
                        ends[-1].reshape(1, 3),
                        cv2.Rodrigues(np.asarray(rig.rotation[camera]))[0],
                        rig.translation[camera],
                        rig.matrix[camera],
                        rig.distortion[camera],
                    )[0].ravel()
                    errors.append(np.linalg.norm(back - pixel))
            if len(ends) == 2:
                lengths.append(np.linalg.norm(ends[0] - ends[1]))
    return np.array(lengths), np.array(errors)


def test_real_qualisys_calibration_and_detections_of_a_moving_person(
    pose2sim_08: Path,
):
    lengths, errors = thighs_and_errors(pose2sim_08, "S00_P00_T01_BalancingTrial")
    assert len(lengths) > 30
    assert abs(lengths.mean() - 0.42) < 0.03
    assert lengths.std() < 0.03
    assert np.median(errors) < 20.0


def test_real_qualisys_calibration_and_detections_of_a_standing_person(
    pose2sim_08: Path,
):
    lengths, errors = thighs_and_errors(pose2sim_08, "S00_P00_T00_StaticTrial")
    # This trial's hips sit lower than those of the trial above.
    assert abs(lengths.mean() - 0.37) < 0.02
    assert errors.max() < 20.0


def test_qualisys_distortion_has_no_unit(pose2sim_08: Path):
    # The lens that a chessboard finds has the file's coefficients, not a 64th of them.
    rig = read_calibration(pose2sim_08 / DEMO / "S00_Calibration/Calib.qca.txt")
    board = np.zeros((28, 3), np.float32)
    board[:, :2] = np.mgrid[0:4, 0:7].T.reshape(-1, 2)
    corners = []
    folder = pose2sim_08 / DEMO / "S00_Calibration/intrinsics/int_cam01_img"
    for file in sorted(folder.glob("*.jpg")):
        image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        assert image.shape[::-1] == tuple(rig.image_size[0])
        found, places = cv2.findChessboardCorners(image, (4, 7))
        if found:
            corners.append(
                cv2.cornerSubPix(image, places, (5, 5), (-1, -1), (3, 30, 1e-3))
            )
    assert len(corners) >= 5
    _, matrix, lens, _, _ = cv2.calibrateCamera(
        [board] * len(corners), corners, SIZE, None, None, flags=cv2.CALIB_FIX_K3
    )
    np.testing.assert_allclose(matrix[0, 0], rig.matrix[0, 0, 0], rtol=0.01)
    np.testing.assert_allclose(lens.ravel()[:2], rig.distortion[0, :2], atol=0.04)
