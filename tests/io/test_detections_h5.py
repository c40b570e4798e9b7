from pathlib import Path

import h5py
import numpy as np
import pytest

from simspine_jax.io import detections_h5
from simspine_jax.io.people import People2D
from simspine_jax.types import Detections2D

RNG = np.random.default_rng(5)


def people(count: int = 2) -> People2D:
    return People2D(
        points=RNG.normal(size=(4, 2, count, 3, 2)),
        confidence=RNG.uniform(size=(4, 2, count, 3)),
        keypoint_names=("Nose", "LHip", "RHip"),
        rate_hz=59.94,
        frame_numbers=(10, 12, 14, 16),
        camera_names=("cam_01", "Kamera hinten rechts é"),
    )


def detections() -> Detections2D:
    return people(1).only()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_people_come_back(tmp_path: Path, count: int):
    path = tmp_path / "people.h5"
    written = people(count)
    detections_h5.write_people(path, written)
    found = detections_h5.read_people(path)
    np.testing.assert_array_equal(found.points, written.points)
    np.testing.assert_array_equal(found.confidence, written.confidence)
    for field in ("keypoint_names", "rate_hz", "frame_numbers", "camera_names"):
        assert getattr(found, field) == getattr(written, field)
    assert [file.name for file in tmp_path.iterdir()] == ["people.h5"]


def test_detections_come_back(tmp_path: Path):
    path = tmp_path / "seen.h5"
    written = detections()
    detections_h5.write_detections(path, written, camera_names=("a", "b"))
    found = detections_h5.read_detections(path)
    np.testing.assert_array_equal(found.points, written.points)
    np.testing.assert_array_equal(found.confidence, written.confidence)
    assert found.keypoint_names == written.keypoint_names
    assert found.rate_hz == written.rate_hz
    assert detections_h5.read_people(path).frame_numbers == (0, 1, 2, 3)
    detections_h5.write_detections(
        path, written, camera_names=("a", "b"), frame_numbers=(3, 4, 5, 6)
    )
    assert detections_h5.read_people(path).frame_numbers == (3, 4, 5, 6)


def test_several_people_are_not_detections(tmp_path: Path):
    path = tmp_path / "people.h5"
    detections_h5.write_people(path, people(2))
    with pytest.raises(ValueError, match="up to 2 people") as caught:
        detections_h5.read_detections(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera_names": ("a",)}, "do not belong to 4 frames, 1 cameras"),
        ({"camera_names": ("a", "a")}, "camera_names has a name"),
        ({"keypoint_names": ("a", "b", "")}, "keypoint_names has a name"),
        ({"frame_numbers": (1, 2)}, "do not belong to 2 frames"),
        ({"rate_hz": 0.0}, "the rate is 0.0 Hz"),
        ({"confidence": np.full((4, 2, 2, 3), -1.0)}, "negative"),
        ({"points": np.full((4, 2, 2, 3, 2), np.nan)}, "not finite"),
        ({"points": np.zeros((4, 2, 2, 3, 3))}, "do not belong"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, changes: dict, message: str):
    path = tmp_path / "people.h5"
    path.write_text("before")
    with pytest.raises(ValueError, match=message):
        detections_h5.write_people(path, people().replace(**changes))
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_read(tmp_path: Path):
    path = tmp_path / "people.h5"
    with pytest.raises(FileNotFoundError, match="no such file"):
        detections_h5.read_people(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        detections_h5.read_people(path)
    for name, value, message in (
        ("format", "other", "its format is 'other'"),
        ("version", 2, "its version is 2"),
        ("camera_names", None, "a field is missing"),
        ("rate_hz", -1.0, "must be positive"),
    ):
        detections_h5.write_people(path, people())
        with h5py.File(path, "r+") as file:
            if value is None:
                del file.attrs[name]
            else:
                file.attrs[name] = value
        with pytest.raises(ValueError, match=message) as caught:
            detections_h5.read_people(path)
        assert str(caught.value).startswith(str(path))
    detections_h5.write_people(path, people())
    with h5py.File(path, "r+") as file:
        del file["points"]
    with pytest.raises(ValueError, match="a field is missing"):
        detections_h5.read_people(path)
