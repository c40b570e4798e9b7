"""A build of a simulated data set: what it leaves, and how it is taken up again."""

import json

import numpy as np
import pytest

import simspine_jax as sj
from experiments import _build_setup, build_dataset
from simspine_jax.datasets import (
    camera_labels,
    simspine_h5,
    simspine_npz,
    simspine_parquet,
    simspine_tree,
)
from simspine_jax.skeletons import simspine
from tests.experiments import built

NAMES = ("S9_Greeting_1", "S9_Sitting_1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        built.build(workdir, built.small(), patch)
    return workdir


def test_every_format_holds_the_same_sequences(run):
    whole = simspine_h5.open_simspine(run / "dataset/simspine.h5")
    spine = simspine_h5.open_simspine(run / "dataset/simspine_15.h5")
    tree = simspine_tree.open_tree(run / "dataset")
    assert whole.names == simspine.NAMES
    assert spine.names == simspine.SPINE_NAMES
    assert tuple(sequence.name for sequence in whole) == NAMES
    columns = [simspine.NAMES.index(name) for name in simspine.SPINE_NAMES]
    for sequence in whole:
        few = spine.read(sequence.subject, sequence.action)
        leaf = tree.read(sequence.subject, sequence.action)
        points = sequence.markers.points
        np.testing.assert_array_equal(few.markers.points, points[:, columns])
        np.testing.assert_allclose(leaf.markers.points, points, atol=1e-9)
        np.testing.assert_allclose(few.motion.q, sequence.motion.q, atol=1e-12)
        np.testing.assert_allclose(leaf.motion.q, sequence.motion.q, atol=1e-9)
    rows = simspine_npz.read_npz(run / "dataset/annotations/simspine_test.npz")
    assert len(rows.arrays["S"]) == 2 * 30 * 4
    table = simspine_parquet.read_parquet(run / "dataset/parquet/test.parquet")
    for sequence in table.sequences():
        points = whole.read(sequence.subject, sequence.action).markers.points
        np.testing.assert_allclose(sequence.markers.points, points, atol=1e-6)


def test_labels_are_those_of_the_cameras(run):
    whole = simspine_h5.open_simspine(run / "dataset/simspine.h5")
    sequence = whole.read("S9", "Greeting_1")
    labels = camera_labels.camera_labels(whole.subjects["S9"].rig, sequence.markers)
    rows = np.load(run / "dataset/annotations/simspine_test.npz", allow_pickle=True)
    columns = [simspine.NAMES.index(name) for name in simspine.SPINE_NAMES]
    camera = whole.subjects["S9"].rig.names[2]
    mine = [f"S9_Greeting_1.{camera}/" in name for name in rows["imgname"]]
    np.testing.assert_allclose(
        rows["part"][mine][..., :2],
        np.asarray(labels.view(2).pixels)[:, columns],
        atol=1e-3,
    )


def test_motion_and_model_give_the_keypoints(run):
    """No blending where nothing is known but detections: the model's own keypoints."""
    config = built.small(cutoff_hz=0.0)
    whole = simspine_h5.open_simspine(run / "dataset/simspine.h5")
    sequence = whole.read("S9", "Sitting_1")
    model = sj.load_model(run / "dataset/models/S9.osim")
    placed = np.asarray(sj.marker_positions(model, sequence.motion.q))
    away = np.linalg.norm(placed - sequence.markers.points, axis=2)
    # They differ by the low-pass.
    assert config.cutoff_hz == 0
    assert np.median(away) < 0.01


def test_numbers_and_quality_are_said(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["sequences"], metrics["frames"], metrics["images"]) == (2, 60, 240)
    assert metrics["sequences_failed"] == 0
    assert metrics["judged_sequences"] == 1
    assert metrics["keypoint_error_mm_median"] < 60  # not scaled
    rows = (run / "quality.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["sequence", *NAMES]
    manifest = json.loads((run / "manifest.json").read_text())
    assert list(manifest["licences"]) == ["simulated"]
    assert (run / "report.png").stat().st_size > 20_000


def test_it_goes_on_and_ends_with_the_same_bytes(run, monkeypatch):
    before = built.hashes(run)
    (run / "work/sequences/S9_Sitting_1.h5").unlink()
    (run / "work/sequences/.S9_Sitting_1-0123abcd.h5").write_bytes(b"half")
    (run / "dataset/simspine.h5").unlink()
    (run / "dataset/annotations/simspine_test.npz").unlink()
    built.build(run, built.small(), monkeypatch)
    assert built.hashes(run) == before
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["frames_this_run"] == 60  # fitted together, made together
    built.build(run, built.small(), monkeypatch)
    assert built.hashes(run) == before
    assert json.loads((run / "metrics.json").read_text())["frames_this_run"] == 0


def test_formats_and_processes_change_no_sequence(run):
    config = built.small()
    source = type("Source", (), {"settings": {}, "files": ()})()
    one = _build_setup.settings(config, source)
    other = built.small(formats=("h5",), judged=0)
    assert _build_setup.settings(other, source) == one


def test_other_settings_are_refused_in_the_same_folder(run, monkeypatch):
    with pytest.raises(ValueError, match=r"settings\.json: the folder was begun with"):
        built.build(run, built.small(cutoff_hz=3.0), monkeypatch)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"source": "video"}, "config.source is 'video'; it must be one of"),
        ({"markers": "all"}, "config.markers is 'all'"),
        ({"formats": ("csv",)}, "formats are h5, npz, parquet, tree"),
        ({"together": 0}, "config.together is 0; it must be at least 1"),
        ({"cutoff_hz": -1.0}, "config.cutoff_hz is -1"),
        ({"compat": "2026"}, "compat must be 'simspine-2026'"),
        ({"setup": "tasks.xml"}, "config.setup is given with config.markers=keypoints"),
        ({"smooth": "jerk"}, "config.smooth is 'jerk'"),
    ],
)
def test_wrong_choices_are_refused_before_any_work(tmp_path, fields, words):
    with pytest.raises(ValueError, match=words):
        build_dataset.main(built.small(**fields), tmp_path)
    assert not list(tmp_path.iterdir())
