"""Filters, gaps, exchanged sides and several people, on made-up captures."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import triangulate as configuration
from experiments import _mending, triangulate
from simspine_jax.core import filters
from simspine_jax.io import detections_h5, trc, triangulation_h5
from simspine_jax.io.calibration import read_calibration
from simspine_jax.skeletons import coco_17
from tests import small_captures
from tests.small_captures import FRAMES, RATE_HZ, SmallCapture

GAP = slice(10, 14)
KNEE = coco_17.NAMES.index("LKnee")
# World Z up to ground Y up: ground X, Y, Z are world Y, Z, X.
TURN = [1, 2, 0]


def config_of(capture: SmallCapture, **fields) -> ConfigDict:
    config = configuration.get_config()
    given = {"calibration": capture.calibration, "detections": capture.detections}
    config.update({name: str(path) for name, path in given.items()})
    config.update({"keypoints": "coco_17", "rate_hz": RATE_HZ} | fields)
    return config


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> SmallCapture:
    """One person whose left knee nobody sees in four frames; sides exchanged once."""
    capture = small_captures.write(tmp_path_factory.mktemp("gap"))
    for c in range(3):
        for t in range(GAP.start, GAP.stop):
            rows = capture.rows(c, t)
            rows[0, KNEE] = 0.0
            capture.write_rows(c, t, rows)
    rows = capture.rows(0, 20)
    sides = [[coco_17.NAMES.index(n) for n in pair] for pair in coco_17.PAIRS]
    left, right = np.array(sides).T
    rows[:, np.concatenate([left, right])] = rows[:, np.concatenate([right, left])]
    capture.write_rows(0, 20, rows)
    return capture


def run(capture: SmallCapture, workdir: Path, **fields) -> dict[str, float]:
    workdir.mkdir(exist_ok=True)
    triangulate.main(config_of(capture, **fields), workdir)
    return json.loads((workdir / "metrics.json").read_text())


def test_nothing_is_filled_or_mended_unasked(gap: SmallCapture, tmp_path: Path, capsys):
    metrics = run(gap, tmp_path)
    assert metrics["points_filled"] == 0
    assert metrics["sides_exchanged"] == len(coco_17.PAIRS)
    said = capsys.readouterr().out
    assert f"exchanged in {len(coco_17.PAIRS)} pairs of keypoints" in said
    assert "--config.repair_sides=True puts them back" in said
    markers = trc.read_trc(tmp_path / "markers.trc")
    found = triangulation_h5.read_triangulation(tmp_path / "points.h5")[0]
    np.testing.assert_array_equal(markers.valid, found.valid)
    assert not markers.valid[GAP, KNEE].any()
    assert not (tmp_path / "filled.csv").exists()
    # The exchanged view is left out, so that the points are right all the same.
    truth = small_captures.body()[..., TURN]
    np.testing.assert_allclose(
        np.asarray(markers.points)[markers.valid], truth[markers.valid], atol=1e-6
    )
    # Without any error there is nothing to be late by.
    assert metrics["views_lag_frames"] == 0


def test_sides_are_put_back(gap: SmallCapture, tmp_path: Path):
    metrics = run(gap, tmp_path, repair_sides=True)
    assert metrics["sides_exchanged"] == len(coco_17.PAIRS)
    assert metrics["observations_used_fraction"] == 1
    seen = detections_h5.read_detections(tmp_path / "detections.h5")
    step = np.linalg.norm(np.diff(np.asarray(seen.points)[18:23, 0], axis=0), axis=-1)
    assert step.max() < 20


@pytest.mark.parametrize(
    ("method", "atol"),
    [("none", 2e-3), ("butterworth", None), ("gcv", 2e-3), ("kalman", 5e-3)],
)
def test_gaps_are_filled_and_said(
    gap: SmallCapture, tmp_path: Path, method: str, atol: float | None
):
    wanted = {"method": method, "fill_frames": 4}
    metrics = run(gap, tmp_path, filter=wanted, repair_sides=True)
    markers = trc.read_trc(tmp_path / "markers.trc")
    found = triangulation_h5.read_triangulation(tmp_path / "points.h5")[0]
    assert markers.valid.all()
    assert metrics["points_filled"] == GAP.stop - GAP.start == (~found.valid).sum()
    with (tmp_path / "filled.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"marker": "LKnee", "first_frame": "11", "last_frame": "14"}
        ]
    truth = small_captures.body()[..., TURN]
    if atol is not None:
        inner = slice(4, -4)
        np.testing.assert_allclose(markers.points[inner], truth[inner], atol=atol)
    else:
        smooth = filters.butterworth(truth[:, 0], 6.0, RATE_HZ, 2)
        np.testing.assert_allclose(markers.points[:, 0], smooth, atol=1e-6)


def test_longer_gaps_stay(gap: SmallCapture, tmp_path: Path):
    wanted = {"method": "butterworth", "fill_frames": 3}
    metrics = run(gap, tmp_path, filter=wanted, repair_sides=True)
    assert metrics["points_filled"] == 0
    assert not trc.read_trc(tmp_path / "markers.trc").valid[GAP, KNEE].any()


def test_everyone(tmp_path: Path, capsys):
    """Two people, then the main one only: no file of the first run is left."""
    capture = small_captures.write(tmp_path, people=2)
    workdir = tmp_path / "out"
    metrics = run(capture, workdir, people="all")
    assert metrics["people"] == 2
    assert metrics["person_2_points_valid_fraction"] == 1
    assert {path.name for path in workdir.iterdir()} == {
        *(f"{stem}_{n}.h5" for stem in ("points", "detections") for n in (1, 2)),
        *("markers_1.trc", "markers_2.trc", "report_1.png", "report_2.png"),
        *("metrics.json", "manifest.json"),
    }
    manifest = json.loads((workdir / "manifest.json").read_text())
    assert {"markers_1.trc", "markers_2.trc"} < set(manifest["units"])
    assert "people found: 2" in capsys.readouterr().out
    one, two = (trc.read_trc(workdir / f"markers_{n}.trc") for n in (1, 2))
    apart = np.asarray(one.points) - np.asarray(two.points)
    expected = np.abs(np.array([-0.7, 0.0, 0.9]))
    np.testing.assert_allclose(
        np.abs(apart), np.zeros_like(apart) + expected, atol=1e-6
    )
    kept = workdir / "markers_fitted.trc"
    kept.write_text("of another program")
    run(capture, workdir)
    assert {path.name for path in workdir.iterdir()} == {
        *("markers.trc", "points.h5", "detections.h5", "report.png"),
        *("metrics.json", "manifest.json", kept.name),
    }
    assert len(trc.read_trc(workdir / "markers.trc").points) == FRAMES


def test_refined_cameras_are_written(gap: SmallCapture, tmp_path: Path, monkeypatch):
    def nudged(rig, seen):
        return rig.replace(translation=rig.translation + 1e-3), seen, {}

    monkeypatch.setattr(_mending, "refined", nudged)
    run(gap, tmp_path, refine=True)
    given = read_calibration(gap.calibration)
    written = read_calibration(tmp_path / "cameras.toml")
    assert written.names == given.names
    np.testing.assert_allclose(written.translation, given.translation + 1e-3, atol=1e-9)
    # Another run's cameras do not stay behind.
    run(gap, tmp_path)
    assert not (tmp_path / "cameras.toml").exists()


def test_the_detections_that_it_writes_can_be_read_again(
    gap: SmallCapture, tmp_path: Path
):
    run(gap, tmp_path / "first")
    (tmp_path / "again").mkdir()
    config = config_of(gap, detections=str(tmp_path / "first" / "detections.h5"))
    triangulate.main(config, tmp_path / "again")
    first, again = (
        triangulation_h5.read_triangulation(tmp_path / name / "points.h5")[0]
        for name in ("first", "again")
    )
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.valid, again.valid)
