import json
import sys
import types

import numpy as np
import pytest

from configs import benchmark as configuration
from experiments import _benchmark_capture as measure
from experiments import _capture_peers as peers
from experiments import _reprojection, _view_subsets, benchmark
from simspine_jax.cameras import pinhole
from simspine_jax.cameras.triangulation import triangulate
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import Detections2D

FRAMES, KEYPOINTS = 10, 6
_COMPARED = ("reprojection_px_mean", "observations_used")


@pytest.fixture(scope="module")
def rig():
    return h36m_rig("S1")


@pytest.fixture(scope="module")
def seen(rig) -> Detections2D:
    """Noise of 2 px; one view of a third of the points 60 px off, one not there."""
    rng = np.random.default_rng(0)
    truth = rng.uniform([-1, -1, 0], [1, 1, 1.8], (FRAMES, KEYPOINTS, 3))
    pixels = np.asarray(pinhole.project(rig, truth))
    pixels = pixels + 2.0 * rng.normal(size=pixels.shape)
    pixels[::3, 1, :, 0] += 60.0
    confidence = np.ones(pixels.shape[:3])
    confidence[0, 2, 0] = 0.0
    names = tuple(f"k{k}" for k in range(KEYPOINTS))
    return Detections2D(pixels, confidence, names, 50.0)


def test_errors_are_those_of_our_projection(rig, seen):
    found = triangulate(rig, seen)
    used = np.asarray(found.used_views)
    one = _reprojection.judged("x", "x", rig, seen, measure._points(found), used)
    error = found.reprojection_error[used]
    assert one.mean_px == pytest.approx(error.mean(), abs=1e-6)
    assert one.median_px == pytest.approx(np.median(error), abs=1e-6)
    assert one.used == used.sum()
    assert one.used_share == pytest.approx(used.sum() / (used.size - 1))
    assert one.valid_share == found.valid.mean()
    with pytest.raises(ValueError, match="x: no point was found"):
        _reprojection.judged("x", "x", rig, seen, np.full((10, 6, 3), np.nan), used)


def test_fewest_views_are_left_out(rig, seen):
    subsets = _view_subsets.all_subsets(rig, seen)
    assert subsets.views.sum(axis=1).tolist() == [2] * 6 + [3] * 4 + [4]
    points, used = subsets.fewest_left_out(15.0)
    one = _reprojection.judged("x", "x", rig, seen, points, used)
    assert one.valid_share == 1.0
    # The view that is off is the one left out, the others stay.
    expected = np.asarray(seen.confidence) > 0
    expected[::3, 1] = False
    assert (used == expected).mean() > 0.97
    nothing, none = subsets.fewest_left_out(0.0)
    assert np.isnan(nothing).all()
    assert not none.any()


def test_as_many_as_asked_for(rig, seen):
    subsets = _view_subsets.all_subsets(rig, seen)
    least = 200
    threshold, points, used = _view_subsets.as_many(subsets, least)
    assert used.sum() >= least
    assert subsets.fewest_left_out(0.99 * threshold)[1].sum() < least
    error = _reprojection.judged("x", "x", rig, seen, points, used)
    assert error.used == used.sum()
    with pytest.raises(ValueError, match="at most 239 observations"):
        _view_subsets.as_many(subsets, 240)
    noise, found = measure.as_many(rig, seen, least)
    assert noise <= float(triangulate(rig, seen).noise_px)
    assert found.used_views.sum() >= least


def test_keypoints_are_left_out(seen):
    fewer = measure.without_keypoints(seen, ("k0", "k3"))
    assert fewer.keypoint_names == ("k1", "k2", "k4", "k5")
    np.testing.assert_array_equal(fewer.points, seen.points[:, :, [1, 2, 4, 5]])
    with pytest.raises(ValueError, match="left_out has 'hip'; the keypoints are k0"):
        measure.without_keypoints(seen, ("hip",))


def test_a_peer_is_given_what_we_are(rig, seen, monkeypatch):
    """A stand-in for Pose2Sim: its calls, thresholds and answers."""
    calls = []

    def best(config, one, other, matrices, parameters):
        calls.append(one)
        if np.isnan(one[2]).any():
            return np.full(3, np.nan), np.nan, 4, [0, 1, 2, 3]
        return np.array([1.0, 2.0, 3.0]), 5.0, 1, np.array([2])

    common = types.SimpleNamespace(
        computeP=lambda file, undistort: [file], retrieve_calib_params=lambda file: {}
    )
    config = {
        "triangulation": {
            "undistort_points": False,
            "likelihood_threshold_triangulation": 0.3,
        }
    }
    triangulation = types.SimpleNamespace(triangulation_from_best_cameras=best)
    monkeypatch.setattr(peers, "_load", lambda: (common, triangulation, config))
    points, used, own = peers.pose2sim(rig, seen)
    assert len(calls) == FRAMES * KEYPOINTS
    np.testing.assert_array_equal(calls[1][:2].T, seen.points[0, :, 1])
    assert own == 5.0
    assert np.isnan(points[0, 0]).all()
    assert not used[0, :, 0].any()
    assert used[1, :, 1].tolist() == [True, True, False, True]
    config["triangulation"]["undistort_points"] = True
    with pytest.raises(ValueError, match="leave the lens out"):
        peers.pose2sim(rig, seen)


def test_pose2sim_finds_the_points(rig, seen):
    before, path = set(sys.modules), list(sys.path)
    points, used, own = peers.pose2sim(rig, seen)
    one = _reprojection.judged("x", "x", rig, seen, points, used)
    assert one.valid_share > 0.9
    assert 0 < own < 15
    # Neither it nor what stood in for its windows stays behind.
    left = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not left & {"Pose2Sim", "PyQt5", "pandas", "anytree", "toml", "c3d"}
    assert sys.path == path
    # Views that are off are mostly left out, and the points then near ours.
    assert used[::3, 1].mean() < 0.2
    good = np.array(seen.confidence)
    good[::3, 1] = 0.0
    others = Detections2D(seen.points, good, seen.keypoint_names, seen.rate_hz)
    ours = np.asarray(triangulate(rig, others).points)
    there = np.isfinite(points).all(axis=-1)
    there[::3] &= ~used[::3, 1]
    assert there.mean() > 0.9
    # It leaves the lens out, which costs it centimetres here.
    assert np.linalg.norm(points - ours, axis=-1)[there].max() < 0.1


def test_the_small_run(tmp_path, capsys):
    config = configuration.get_config("capture,tiny")
    benchmark.main(config, tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    given, refined, unbiased = (
        metrics[f"reprojection_px_mean_ours{end}"]
        for end in ("", "_refined", "_unbiased")
    )
    assert unbiased < refined < given
    assert metrics["held_out_px_mean_after"] < metrics["held_out_px_mean_before"]
    for end in ("", "_refined", "_unbiased"):
        assert 0.9 < metrics[f"observations_used_fraction_ours{end}"] <= 1
    text = capsys.readouterr().out
    assert "ours, refined, bias out" in text
    for end in ("", "_refined", "_unbiased"):
        theirs, ours = (
            {what: metrics[f"{what}_{who}{end}"] for what in _COMPARED}
            for who in ("pose2sim", "ours_its_rule")
        )
        assert 0 < ours["reprojection_px_mean"] <= theirs["reprojection_px_mean"]
        assert ours["observations_used"] >= theirs["observations_used"] > 0
    assert "on frames held out, where three views agree" in text
    assert json.loads((tmp_path / "manifest.json").read_text())["inputs"]
