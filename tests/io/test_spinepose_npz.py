from pathlib import Path

import numpy as np
import pytest

from simspine_jax.io.spinepose_npz import npz_sequences, read_spinepose_npz
from simspine_jax.skeletons import simspine

CAMERAS = ("54138969", "55011271")


def image(action: str, camera: str, frame: int) -> str:
    view = f"S1_{action}.{camera}"
    return f"S1/{view}/{view}_{frame:06d}.jpg"


def save(path: Path, **changes) -> Path:
    names = [image("Walking 1", CAMERAS[0], frame) for frame in (0, 1, 2)]
    names += [image("Walking 1", CAMERAS[1], frame) for frame in (1, 2)]
    names += [image("WalkingDog", CAMERAS[0], 0)]
    part = np.ones((len(names), 15, 3))
    part[..., 0] = np.arange(len(names))[:, None]
    part[1, 4] = [3.0, 4.0, 0.0]
    arrays = {"imgname": np.array(names), "part": part}
    # A pickle, as the real files have one; it must not be opened.
    arrays["metadata"] = np.array({"parent_ids": [0]}, dtype=object)
    np.savez(path, **{**arrays, **changes})
    return path


def test_one_sequence_of_many(tmp_path: Path):
    path = save(tmp_path / "train.npz")
    assert npz_sequences(path) == ("S1_Walking 1", "S1_WalkingDog")
    seen = read_spinepose_npz(path, "S1_Walking 1", CAMERAS)
    assert seen.keypoint_names == simspine.SPINE_NAMES
    assert seen.rate_hz == 50.0
    assert seen.points.shape == (3, 2, 15, 2)
    assert seen.points[:, :, 0, 0].tolist() == [[0, 0], [1, 3], [2, 4]]
    assert seen.confidence[:, :, 0].tolist() == [[1, 0], [1, 1], [1, 1]]
    assert seen.confidence[1, 0, 4] == 0
    assert not seen.points[1, 0, 4].any()


def test_image_names_as_bytes(tmp_path: Path):
    with np.load(save(tmp_path / "a.npz")) as arrays:
        names = arrays["imgname"]
    path = save(tmp_path / "b.npz", imgname=names.astype("S"))
    assert npz_sequences(path) == ("S1_Walking 1", "S1_WalkingDog")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": np.ones((6, 14, 3))}, r"\(6, 14, 3\).*\(6, 15, 3\)"),
        ({"part": np.full((6, 15, 3), np.nan)}, "keypoint 'Hip'"),
        ({"imgname": np.array(["a.jpg"] * 6)}, "'a.jpg' is not named"),
        ({"imgname": np.array(["a"] * 6, dtype=object)}, "stored as a pickle"),
        (
            {"imgname": np.array([image("Walking 1", CAMERAS[0], 0)] * 6)},
            "is there twice",
        ),
    ],
)
def test_wrong_arrays(tmp_path: Path, changes: dict, message: str):
    path = save(tmp_path / "train.npz", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        read_spinepose_npz(path, "S1_Walking 1", CAMERAS)
    assert str(caught.value).startswith(str(path))


def test_what_is_not_there(tmp_path: Path):
    path = save(tmp_path / "train.npz")
    with pytest.raises(ValueError, match="no sequence 'S2_Eating'; it has S1_Walking"):
        read_spinepose_npz(path, "S2_Eating", CAMERAS)
    with pytest.raises(ValueError, match="camera 'x' has no frame of the sequence"):
        read_spinepose_npz(path, "S1_Walking 1", (*CAMERAS, "x"))
    with pytest.raises(FileNotFoundError, match="no such file"):
        npz_sequences(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="not an npz file"):
        npz_sequences(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="no array 'imgname'; there are a"):
        npz_sequences(tmp_path / "other.npz")
    np.save(tmp_path / "other.npy", np.ones(3))
    with pytest.raises(ValueError, match="not an npz file"):
        npz_sequences(tmp_path / "other.npy")
