import h5py
import numpy as np
import pytest

from simspine_jax.io import motion_h5
from simspine_jax.types import Motion


def _motion(frames: int = 5) -> Motion:
    q = np.random.default_rng(0).normal(size=(frames, 3))
    return Motion(q, ("tilt", "ärm", "knee"), 50.0, 1.5)


def _write(path, motion):
    frames = len(motion.q)
    rms, status = np.linspace(0, 1, frames), np.arange(frames)
    motion_h5.write_motion(path, motion, marker_rms=rms, status=status)
    return rms, status


def test_round_trip_is_exact_and_its_bytes_are_the_same_every_time(tmp_path):
    motion = _motion()
    rms, status = _write(tmp_path / "a.h5", motion)
    _write(tmp_path / "b.h5", motion)
    found, found_rms, found_status = motion_h5.read_motion(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.q, motion.q)
    np.testing.assert_array_equal(found_rms, rms)
    np.testing.assert_array_equal(found_status, status)
    assert found.coordinate_names == motion.coordinate_names
    assert (found.rate_hz, found.start_s) == (50.0, 1.5)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_no_frames(tmp_path):
    _write(tmp_path / "a.h5", _motion(0))
    assert motion_h5.read_motion(tmp_path / "a.h5")[0].q.shape == (0, 3)


def test_lengths_that_differ_are_refused_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"5 frames.*marker_rms 4"):
        motion_h5.write_motion(
            tmp_path / "a.h5", _motion(), marker_rms=np.zeros(4), status=np.zeros(5)
        )
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ValueError, match=r"text\.h5: not an HDF5 file"):
        motion_h5.read_motion(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "x"
    with pytest.raises(ValueError, match=r"its format is 'x'"):
        motion_h5.read_motion(tmp_path / "other.h5")
    _write(tmp_path / "less.h5", _motion())
    with h5py.File(tmp_path / "less.h5", "a") as file:
        del file["status"]
    with pytest.raises(ValueError, match=r"a field is missing, 'status'"):
        motion_h5.read_motion(tmp_path / "less.h5")
