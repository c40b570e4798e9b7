"""The experiment on its smallest variant, and on inputs that cannot be used."""

import contextlib
import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import simspine_jax as sj
from configs import sensitivity as configuration
from experiments import _sensitivity_candidates, sensitivity
from simspine_jax.body import spine_markers
from simspine_jax.body.markers import with_markers
from simspine_jax.fitting import ik
from simspine_jax.skeletons import simspine
from tests import refusals
from third_party import fetch

FILES = {"sensitivity.png", "sensitivity.csv", "metrics.json", "manifest.json"}


def tiny(**fields) -> ConfigDict:
    config = configuration.get_config("tiny")
    config.update(fields)
    return config


@pytest.fixture(scope="module")
def model() -> sj.Model:
    return sj.load_model(
        next(fetch.fetch("pose2sim-0.8.4").rglob("*_body25b_scaled.osim"))
    )


@pytest.fixture(scope="module")
def demo() -> sj.MarkerTrajectory:
    return sj.read_trc(
        next(fetch.fetch("pose2sim-0.4.15").rglob("Balancing_for_IK.trc"))
    )


def without(demo: sj.MarkerTrajectory, path: Path, *names: str) -> str:
    kept = [i for i, name in enumerate(demo.names) if name not in names]
    trial = demo.replace(
        points=np.asarray(demo.points)[:, kept],
        valid=np.asarray(demo.valid)[:, kept],
        names=tuple(demo.names[i] for i in kept),
    )
    sj.write_trc(path, trial)
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo):
    """The demo without the nose, which is then a candidate; what it printed."""
    folder = tmp_path_factory.mktemp("run")
    workdir = folder / "out"
    workdir.mkdir()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        sensitivity.main(tiny(trc=without(demo, folder / "a.trc", "Nose")), workdir)
    return workdir, printed.getvalue()


@pytest.fixture
def refused(tmp_path: Path, monkeypatch):
    """Runs the experiment, which must refuse; gives the one sentence it prints."""
    workdir = tmp_path / "out"
    workdir.mkdir()

    def fit(*_, **__):
        raise AssertionError("a mistake must not cost a fit")

    monkeypatch.setattr(ik, "fit_ik", fit)

    return lambda **fields: refusals.sentence(sensitivity.main, tiny(**fields), workdir)


def test_writes_everything_and_nothing_else(run):
    assert {path.name for path in run[0].iterdir()} == FILES


def test_shares_sum_to_one(run):
    with (run[0] / "sensitivity.csv").open() as file:
        rows = list(csv.DictReader(file))
    markers = list(rows[0])[4:]
    assert len(markers) == 20
    assert len(rows) == 32
    for row in rows:
        share = np.array([float(row[name]) for name in markers])
        known = math.isfinite(float(row["sd"]))
        assert known or row["coordinate"].startswith("neck")
        if known:
            assert share.sum() == pytest.approx(1, abs=1e-4)
        assert row["unit"] == (
            "mm"
            if row["coordinate"][:8] == "pelvis_t"
            and row["coordinate"] != "pelvis_tilt"
            else "deg"
        )
        side = row["coordinate"][-2:]
        if row["part"] != "trunk":
            assert side in ("_r", "_l")
    knee = next(row for row in rows if row["coordinate"] == "knee_angle_r")
    assert max(markers, key=lambda name: float(knee[name])) == "RKnee"
    assert float(knee["LWrist"]) < 0.01


def test_metrics_are_flat_and_finite(run):
    metrics = json.loads((run[0] / "metrics.json").read_text())
    assert all(math.isfinite(value) for value in metrics.values())
    assert metrics["frames"] == 4
    assert metrics["markers"] == 20
    assert metrics["noise_mm"] == 5
    assert metrics["coordinates"] == 32
    assert metrics["add_Nose_decides"] == 3
    assert metrics["drop_RAnkle_factor"] < 1.2
    assert metrics["drop_LWrist_decides"] >= 2
    assert "drop_LWrist_factor" not in metrics  # infinite
    assert metrics["coordinates_undetermined"] >= 3


def test_what_is_printed(run):
    lines = run[1].split("\n\n", 1)[1].splitlines()
    assert max(map(len, lines)) <= 100
    dropped = lines.index("If one marker is dropped (worst first)")
    added = next(
        i for i, line in enumerate(lines) if line.startswith("If one marker is a")
    )
    assert added - dropped == 20 + 3
    assert lines[added + 2].startswith("Nose ")
    text = " ".join(" ".join(lines).split())
    assert "Would help most: Nose, for neck_" in text
    assert "Assumed: 5 mm of noise on every marker component." in text
    assert "neck_rotation" in text.partition("Not determined with this set:")[2]
    assert "linear, at the fitted poses" in text


def test_manifest(run):
    manifest = json.loads((run[0] / "manifest.json").read_text())
    assert len(manifest["inputs"]) == 3
    assert set(manifest["units"]) <= FILES


def test_landmarks_stand_where_the_spine_keypoints_are(model):
    found = _sensitivity_candidates.candidates(tiny(candidates="spine"), model, ())
    assert set(simspine.SPINE_NAMES) <= set(found)
    points = {name: found[name] for name in simspine.SPINE_NAMES}
    q = np.asarray(model.default_q)[None]
    np.testing.assert_allclose(
        sj.marker_positions(with_markers(model, points), q),
        spine_markers.spine_marker_positions(model, q),
        atol=1e-9,
    )


def test_candidates_are_what_the_trial_lacks(model):
    used = tuple(n for n in model.marker_names if n not in ("Nose", "RKnee"))
    own = _sensitivity_candidates.candidates(tiny(candidates="model"), model, used)
    assert set(own) == {"Nose", "RKnee"}
    assert own["RKnee"][0] == "femur_r"
    given = tiny(candidates="segments", points="C7 torso -0.05 0.41 0; X head 0 0 1e-1")
    fronts = _sensitivity_candidates.candidates(given, model, used)
    assert fronts["C7"] == ("torso", (-0.05, 0.41, 0.0))
    assert fronts["X"] == ("head", (0.0, 0.0, 0.1))
    assert "femur_r front" in fronts
    assert "patella_r front" not in fronts
    assert "sacrum front" not in fronts
    # 5 cm in front of the middle of a thigh that points down from the hip.
    x, y, _ = fronts["femur_r front"][1]
    assert 0.03 < x < 0.07
    assert -0.25 < y < -0.15
    # A model without the spine's bodies has no landmarks.
    names = tuple(n.replace("lumbar3", "vertebra") for n in model.body_names)
    topology = type(model.topology)(**{**vars(model.topology), "body_names": names})
    other = model.replace(topology=topology)
    assert not _sensitivity_candidates.candidates(tiny(candidates="spine"), other, used)


def test_sampled_frames_are_spread_over_those_with_a_marker():
    seen = np.ones((10, 2), bool)
    seen[3, 0] = False
    seen[[0, 5]] = False
    assert sensitivity.sampled(seen, 3).tolist() == [1, 6, 9]
    assert sensitivity.sampled(seen, 99).tolist() == [1, 2, 3, 4, 6, 7, 8, 9]


def test_a_trial_with_one_marker(refused, tmp_path: Path, demo):
    others = [name for name in demo.names if name != "RHip"]
    sentence = refused(trc=without(demo, tmp_path / "one.trc", *others))
    assert "share only the marker 'RHip'" in sentence


def test_a_candidate_on_a_body_that_is_not_there(refused):
    sentence = refused(points="Tip tail 0 0 0")
    assert "marker 'Tip' is on body 'tail', which the model does not have" in sentence


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": "C7 torso 0 0"}, "config.points has 'C7 torso 0 0'"),
        ({"points": "RKnee torso 0 0 0"}, "'RKnee' is a marker of the trial already"),
        ({"candidates": "model,skin"}, "config.candidates names 'skin'"),
        ({"weights": "none"}, "config.weights is 'none'; it is equal or fit"),
        ({"noise_mm": -1.0}, "config.noise_mm is -1.0"),
        ({"sampled_frames": 0}, "config.sampled_frames is 0"),
        ({"trc": "absent.trc"}, "absent.trc"),
    ],
)
def test_mistakes_are_one_sentence(refused, fields: dict, message: str):
    assert message in refused(**fields)


def test_unknown_variant():
    with pytest.raises(ValueError, match="no variant 'huge'; it has tiny"):
        configuration.get_config("huge")
