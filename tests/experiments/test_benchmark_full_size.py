"""The whole size, small: what it leaves, and what it leaves when taken up again."""

import hashlib
import json

import pytest

import simspine_jax as sj
from configs import benchmark as config_file
from experiments import _simulation, benchmark
from simspine_jax.io import ansur, motion_h5
from simspine_jax.io.triangulation_h5 import read_triangulation
from third_party import fetch


@pytest.fixture
def config(monkeypatch, pose2sim_08):
    """Two sequences of one subject, without captured clips, which take time to fit."""
    survey = fetch.fetch("nimblephysics-0.10.52.1").glob(_simulation._SURVEY)
    sources = _simulation.Sources(
        sj.load_model(pose2sim_08 / _simulation._MODEL),
        ansur.read_ansur(sorted(survey)),
        {},
        (),
    )
    monkeypatch.setattr(_simulation, "load", lambda: sources)
    made = config_file.get_config("full_size,tiny").unlock()
    made.simulation.subjects = ("S9",)
    made.simulation.actions = ("Greeting", "Sitting")
    made.simulation.frames = 30
    return made.lock()


def _hashes(workdir):
    files = workdir.glob("*/*.h5")
    digest = lambda file: hashlib.sha256(file.read_bytes()).hexdigest()
    return {str(f.relative_to(workdir)): digest(f) for f in files}


def test_it_goes_on_where_it_was_killed_and_ends_with_the_same_bytes(tmp_path, config):
    benchmark.main(config, tmp_path)
    whole = _hashes(tmp_path)
    assert len(whole) == 6
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["instants"] == metrics["instants_done"] == 60
    assert metrics["point_error_mm_median"] < 20
    assert metrics["keypoint_error_mm_median"] < 15
    for name in ("S9_Greeting_1", "S9_Sitting_1"):
        found, keypoints, _, rate = read_triangulation(tmp_path / f"points/{name}.h5")
        motion, rms, _ = motion_h5.read_motion(tmp_path / f"motion/{name}.h5")
        assert found.points.shape == (30, 37, 3)
        assert motion.q.shape == (30, len(motion.coordinate_names))
        assert (len(keypoints), rate, motion.rate_hz) == (37, 50.0, 50.0)
        assert 0 < rms.mean() < 0.05
    # What a killed run leaves: files missing, another half written.
    (tmp_path / "motion/S9_Sitting_1.h5").unlink()
    (tmp_path / "points/S9_Sitting_1.h5").unlink()
    (tmp_path / "points/.S9_Sitting_1-0123abcd.h5").write_bytes(b"half")
    benchmark.main(config, tmp_path)
    assert _hashes(tmp_path) == whole
    assert json.loads((tmp_path / "metrics.json").read_text())["instants_done"] == 60
    # Nothing is left to do.
    benchmark.main(config, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["instants_done"] == 0


def test_other_settings_are_refused_in_the_same_folder(tmp_path, config):
    (tmp_path / "detections").mkdir()
    old = {"seed": 5}
    (tmp_path / "detections/settings.json").write_text(json.dumps(old))
    with pytest.raises(ValueError, match=r"settings\.json: the folder was begun with"):
        benchmark.main(config, tmp_path)
