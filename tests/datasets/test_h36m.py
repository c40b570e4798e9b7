"""Files are made with cdflib and NumPy in the published layouts, of made-up numbers."""

from pathlib import Path

import cdflib.cdfwrite
import numpy as np
import pytest

from simspine_jax.datasets import h36m, licences
from simspine_jax.io import h36m_cameras

# Of the 32 joints in the files, by their published numbers.
KEPT = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
NAMES = (
    *("Hip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle"),
    *("Spine", "Neck", "Nose", "Head"),
    *("LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist"),
)


def write_cdf(path: Path, pose: np.ndarray, name: str = "Pose") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = cdflib.cdfwrite.CDF(path)
    file.write_var(
        {
            "Variable": name,
            "Data_Type": file.CDF_FLOAT,
            "Num_Elements": 1,
            "Rec_Vary": True,
            "Dim_Sizes": list(pose.shape[1:]),
        },
        var_data=pose.astype(np.float32),
    )
    file.close()
    return path


def pose(frames: int, size: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-2000, 2000, (1, frames, 32 * size)).astype(np.float32)


def place(root: Path, subject: str, feature: str, name: str) -> Path:
    return root / subject / "MyPoseFeatures" / feature / f"{name}.cdf"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("h36m")
    for seed, action in enumerate(("Walking", "Walking 1", "WalkingDog 1", "_ALL 1")):
        write_cdf(place(root, "S1", "D3_Positions", action), pose(5, seed=seed))
    write_cdf(place(root, "S11", "D3_Positions", "Directions 1"), pose(3))
    return root


def test_a_sequence(root: Path):
    data = h36m.open_h36m(root)
    assert data.sequences == {
        "S1": ("Walking", "Walking 1", "WalkingDog 1"),
        "S11": ("Directions 1",),
    }
    found = data.read("S1", "Walking 1")
    assert isinstance(found, licences.Licensed)
    assert "not to be redistributed" in found.licence
    markers = found.markers
    assert (markers.names, markers.rate_hz) == (NAMES, 50.0)
    world = pose(5, seed=1).reshape(5, 32, 3)[:, KEPT].astype(np.float64) / 1000
    # Ground X, Y, Z are world Y, Z, X.
    np.testing.assert_allclose(markers.points, world[..., [1, 2, 0]], rtol=1e-14)
    assert markers.valid.all()


def test_what_is_missing_is_named(root: Path):
    missing = h36m.open_h36m(root).missing
    assert missing[0] == "S1 Directions (0 of 2 takes)"
    assert "S1 WalkDog (1 of 2 takes)" in missing
    assert "S11 Directions (1 of 2 takes)" in missing
    assert "S5" in missing
    assert not [name for name in missing if name.startswith("S1 Walking ")]


def test_sitting_is_not_sitting_down(tmp_path: Path):
    for action in ("Sitting", "SittingDown", "SittingDown 2"):
        write_cdf(place(tmp_path, "S1", "D3_Positions", action), pose(1))
    data = h36m.open_h36m(tmp_path)
    assert "S1 Sitting (1 of 2 takes)" in data.missing
    assert not [
        name for name in data.missing if "SittingDown" in name and "S1 " in name
    ]
    with pytest.raises(ValueError, match="no sequence 'S1' 'Sit'; S1 has Sitting, Sit"):
        data.read("S1", "Sit")
    with pytest.raises(ValueError, match="the subjects are S1"):
        data.read("S9", "Sitting")


def test_joints_that_are_no_numbers(tmp_path: Path):
    broken = pose(2)
    broken[0, 1, 3 * 15 + 2] = np.nan
    write_cdf(place(tmp_path, "S1", "D3_Positions", "Eating"), broken)
    markers = h36m.open_h36m(tmp_path).read("S1", "Eating").markers
    head = NAMES.index("Head")
    assert np.argwhere(~markers.valid).tolist() == [[1, head]]
    assert not markers.points[1, head].any()


def test_cameras_and_pixels(tmp_path: Path):
    cameras = h36m_cameras.NAMES[1:3]
    for seed, camera in enumerate(cameras):
        name = f"Posing 1.{camera}"
        write_cdf(place(tmp_path, "S6", "D3_Positions_mono", name), pose(4, 3, seed))
        write_cdf(place(tmp_path, "S6", "D2_Positions", name), pose(4, 2, seed))
    points, names = h36m.read_camera_points(tmp_path, "S6", "Posing 1")
    assert names == cameras
    expected = pose(4, 3, 1).reshape(4, 32, 3)[:, KEPT].astype(np.float64) / 1000
    np.testing.assert_allclose(points[:, 1], expected, rtol=1e-14)
    seen, names = h36m.read_pixels(tmp_path, "S6", "Posing 1")
    assert names == cameras
    assert seen.keypoint_names == NAMES
    np.testing.assert_array_equal(
        seen.points[:, 0], pose(4, 2, 0).reshape(4, 32, 2)[:, KEPT]
    )
    assert seen.confidence.shape == (4, 2, 17)
    assert (seen.confidence == 1).all()
    with pytest.raises(FileNotFoundError, match="no camera has the sequence 'Posing'"):
        h36m.read_pixels(tmp_path, "S6", "Posing")
    name = f"Posing 1.{h36m_cameras.NAMES[0]}"
    write_cdf(place(tmp_path, "S6", "D2_Positions", name), pose(3, 2))
    with pytest.raises(ValueError, match="differ in frames .*54138969 has 3, 55011271"):
        h36m.read_pixels(tmp_path, "S6", "Posing 1")


@pytest.mark.parametrize("joints", [32, 17])
def test_archive(tmp_path: Path, joints: int):
    poses = np.random.default_rng(0).normal(size=(6, 32, 3)).astype("float32")
    stored = poses if joints == 32 else poses[:, KEPT]
    tree = {"S9": {"Photo 1": stored, "WalkDog": stored[:2]}, "S1": {"Eating": stored}}
    np.savez_compressed(tmp_path / "data_3d_h36m.npz", positions_3d=tree)
    data = h36m.open_h36m(tmp_path / "data_3d_h36m.npz")
    assert list(data.sequences) == ["S1", "S9"]
    assert data.sequences["S9"] == ("Photo 1", "WalkDog")
    markers = data.read("S9", "WalkDog").markers
    np.testing.assert_array_equal(markers.points, poses[:2, KEPT][..., [1, 2, 0]])
    assert markers.names == NAMES
    assert "S9 Photo (1 of 2 takes)" in data.missing


class Trap:
    def __reduce__(self):
        return print, ("run",)


def test_what_is_refused(tmp_path: Path, capsys):
    with pytest.raises(FileNotFoundError, match="no such folder or file"):
        h36m.open_h36m(tmp_path / "none")
    with pytest.raises(ValueError, match="must have files such as S1/MyPoseFeatures"):
        h36m.open_h36m(tmp_path)
    file = tmp_path / "a.npz"
    np.savez(file, positions_3d={"S1": {"Eating": Trap()}})
    with pytest.raises(ValueError, match="could run code"):
        h36m.open_h36m(file)
    assert capsys.readouterr().out == ""
    np.savez(file, positions_3d={"S1": np.zeros(3)})
    with pytest.raises(ValueError, match="must be a dict of dicts"):
        h36m.open_h36m(file)
    np.savez(file, positions_3d={"S1": {"Eating": np.zeros((4, 16, 3))}})
    with pytest.raises(ValueError, match=r"\(4, 16, 3\).*frames, 32 or 17, 3"):
        h36m.open_h36m(file).read("S1", "Eating")
    path = place(tmp_path, "S1", "D3_Positions", "Eating")
    for damage, message in (
        (lambda: write_cdf(path, pose(2, 2)), r"\(1, 2, 64\).*\(1, frames, 96\)"),
        (lambda: write_cdf(path, pose(2), "Angles"), "not a CDF file with Pose"),
        (lambda: path.write_text("hello"), "not a CDF file with Pose"),
    ):
        path.unlink(missing_ok=True)
        damage()
        with pytest.raises(ValueError, match=message) as caught:
            h36m.open_h36m(tmp_path).read("S1", "Eating")
        assert "\n" not in str(caught.value)
