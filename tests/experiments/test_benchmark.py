import json

import pytest

from configs import benchmark as configuration
from configs import compare_opensim
from experiments import _benchmark_ik, _ik_measure, benchmark
from tests.experiments.test_compare_opensim import KEYS


def in_this_process(job, cache):
    """Measures without a new process, which another test does."""
    return _ik_measure.main(job)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ik_measure, "_in_new_process", in_this_process)
        benchmark.main(configuration.get_config("tiny"), workdir)
    return workdir


def test_files_and_metrics(result):
    metrics = json.loads((result / "metrics.json").read_text())
    assert set(KEYS) <= set(metrics)
    assert metrics["objective_ratio_max"] <= 1 + 1e-6
    config = configuration.get_config("tiny")
    assert metrics["frames"] == config.checked_runs * config.checked_frames
    for frames in config.stream_frames:
        assert metrics[f"stream_{frames}_seconds"] > 0
    for key in _benchmark_ik._RATES:
        assert metrics[f"body25b_{key}"] > 0
    content = json.loads((result / "benchmark.json").read_text())
    assert content["cost_by_frames"]["frames"] == list(config.stream_frames)
    assert {key: content[key] for key in metrics} == metrics
    assert (result / "cost_by_frames.png").stat().st_size > 1000
    assert (result / "manifest.json").is_file()


def test_both_experiments_solve_alike():
    for variant in ("", "tiny"):
        ours = configuration.get_config(variant)
        theirs = compare_opensim.get_config(variant)
        for key in ("ik", "trials", "noise_mm", "seed", "keep_coordinate_tasks"):
            assert ours[key] == theirs[key]


def test_ik_is_the_default():
    assert configuration.get_config("ik") == configuration.get_config()


def test_checked_runs_do_not_overlap():
    starts = _benchmark_ik._starts(configuration.get_config())
    assert len(starts) == 12  # four times as many as are checked, as spares
    ordered = sorted(starts)
    assert all(b - a >= 20 for a, b in zip(ordered, ordered[1:], strict=False))
    assert ordered[-1] + 20 <= 10_000


def test_too_many_checked_runs():
    config = configuration.get_config("tiny")
    config.checked_runs = 100
    with pytest.raises(ValueError, match="holds 4 runs"):
        _benchmark_ik._starts(config)


def test_unknown_benchmark(tmp_path):
    config = configuration.get_config("tiny")
    config.what = "nets"
    with pytest.raises(ValueError, match="no benchmark 'nets'"):
        benchmark.main(config, tmp_path)
    with pytest.raises(ValueError, match="no variant 'nets'"):
        configuration.get_config("nets")
