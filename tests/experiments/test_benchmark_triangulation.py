import importlib.util
import json

import numpy as np
import pytest

from configs import benchmark as configuration
from experiments import _benchmark_triangulation as measure
from experiments import _triangulation_peers as peers
from experiments import _triangulation_scene as scenes
from experiments import benchmark
from simspine_jax.cameras import pinhole

PEERS = ("cv2_two_views", "cv2_two_views_from_pixels", "svd_loop")
METHODS = ("", "_float32", "_two_views", "_host", "_host_float32")
RATIO_RTOL = 1e-12


@pytest.fixture(scope="module")
def config():
    return configuration.get_config("triangulation,tiny")


@pytest.fixture(scope="module")
def result(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("triangulation")
    benchmark.main(config, workdir)
    return workdir


@pytest.fixture(scope="module")
def metrics(result):
    return json.loads((result / "metrics.json").read_text())


def test_files_and_metrics(result, metrics, config):
    for end in (*METHODS, *(f"_{peer}" for peer in PEERS)):
        low, middle, high = (
            metrics[f"points_per_second{part}{end}"] for part in ("_min", "", "_max")
        )
        assert 0 < low <= middle <= high
        assert metrics[f"error_mm_median{end}"] < metrics[f"error_mm_p95{end}"]
        assert 0.5 < metrics[f"valid_share{end}"] <= 1
    assert metrics["peak_memory_mb"] > 0
    assert metrics["compile_seconds"] > 0
    assert metrics["points"] == config.points
    content = json.loads((result / "benchmark.json").read_text())
    assert {key: content[key] for key in metrics} == metrics
    sizes = [row["block_points"] for row in content["blocks"]]
    assert set(config.block_points) <= set(sizes)
    assert metrics["block_points_fastest"] in sizes
    manifest = json.loads((result / "manifest.json").read_text())
    assert manifest["config"]["what"] == "triangulation"


def test_ratios_are_of_the_rates(metrics):
    for peer in PEERS:
        theirs = metrics[f"points_per_second_{peer}"]
        for end in ("", "_host"):
            ours = metrics[f"points_per_second{end}"]
            ratio = metrics[f"ratio_{peer}{end}"]
            np.testing.assert_allclose(ratio, ours / theirs, rtol=RATIO_RTOL)


def test_wrong_views_mislead_the_others_only(metrics):
    key = "error_mm_median_wrong_view"
    for end in ("", "_float32", "_host", "_host_float32"):
        assert metrics[f"{key}{end}"] < 0.1 * metrics[f"{key}_svd_loop"]
        assert metrics[f"error_mm_p95{end}"] < 0.5 * metrics["error_mm_p95_svd_loop"]
        assert metrics[f"error_mm_median{end}"] < metrics["error_mm_median_svd_loop"]


def test_the_other_methods_triangulate(config):
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.wrong_share, config.repeats = 0.0, 1
    scene = scenes.make_scene(config)
    loop = peers.svd_loop(scene, config).metrics()
    rays, pixels = (method.metrics() for method in peers.opencv(scene, config))
    assert loop["error_mm_median_svd_loop"] < 10
    assert "error_mm_median_wrong_view_svd_loop" not in loop
    np.testing.assert_allclose(
        rays["error_mm_median_cv2_two_views"],
        pixels["error_mm_median_cv2_two_views_from_pixels"],
        rtol=0.01,
    )


def test_scene_is_as_asked(config):
    config = config.copy_and_resolve_references()
    config.points = 20_000
    scene = scenes.make_scene(config)
    assert np.mean(~scene.seen) == pytest.approx(config.missing_share, abs=0.01)
    assert scene.wrong.mean() == pytest.approx(config.wrong_share, abs=0.01)
    exact = np.asarray(pinhole.project(scene.rig, scene.truth[:, None]))
    miss = np.linalg.norm(scene.pixels - exact[:, :, 0], axis=2)
    far = (miss > 20) & scene.seen
    np.testing.assert_array_equal(far.sum(axis=1), scene.wrong)
    again = scenes.make_scene(config)
    np.testing.assert_array_equal(again.pixels, scene.pixels)


def test_table_has_every_method():
    none = np.zeros(2, bool)
    ours = scenes.Measured("", "ours", 2, [1.0, 2.0], np.array([1.0, np.nan]), none)
    theirs = scenes.Measured("loop", "theirs", 2, [4.0], np.ones(2), none, peer=True)
    metrics = {
        **{"ratio_loop": 3.25, "compile_seconds": 1.0, "compile_seconds_float32": 2.0},
        "peak_memory_mb": 3.0,
    }
    row = {"points_per_second_host": 5.0, "points_per_second_host_float32": 6.0}
    text = measure.table([ours, theirs], metrics, [{"block_points": 64, **row}])
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["ours", "theirs"]
    assert "3.25" in lines[3]
    assert "nan" in lines[2]  # no point of it has a view far off
    assert any(line.split() == ["64", "5", "6"] for line in lines)


def test_aniposelib_is_measured_only_where_it_is(metrics):
    installed = importlib.util.find_spec("aniposelib") is not None
    for key in ("ratio_aniposelib", "ratio_aniposelib_ransac"):
        assert (key in metrics) == installed


def test_points_that_fill_no_frames(config, tmp_path):
    config = config.copy_and_resolve_references()
    config.points = 401
    with pytest.raises(ValueError, match="multiple of keypoints, 20; it is 401"):
        benchmark.main(config, tmp_path)


def test_method_without_answers():
    empty = scenes.Measured("x", "x", 1, [1.0], np.array([np.nan]), np.ones(1, bool))
    with pytest.raises(ValueError, match="x: no point was found"):
        empty.metrics()
