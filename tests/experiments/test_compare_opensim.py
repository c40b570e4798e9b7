import contextlib
import io
import json

import pytest

from configs import compare_opensim as configuration
from experiments import compare_opensim

KEYS = (
    *("objective_ratio_max", "objective_ratio_median", "marker_rms_mm"),
    *("opensim_marker_rms_mm", "frames_per_second", "opensim_frames_per_second"),
    *("speedup", "speedup_min", "compile_seconds_cold", "compile_seconds_cached"),
    *("peak_memory_mb", "body25b_objective_ratio_max"),
)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("compare")
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        compare_opensim.main(configuration.get_config("tiny"), workdir)
    (workdir / "printed.txt").write_text(printed.getvalue())
    (workdir / "said.txt").write_text(said.getvalue())
    return workdir


def test_files_and_metrics(result):
    metrics = json.loads((result / "metrics.json").read_text())
    assert set(KEYS) <= set(metrics)
    assert metrics["objective_ratio_max"] <= 1 + 1e-6
    assert metrics["compile_seconds_cold"] > metrics["compile_seconds_cached"] > 0
    assert 50 < metrics["peak_memory_mb"] < 4000
    for name in ("comparison.png", "frames.csv", "body25b.mot", "body25b_opensim.mot"):
        assert (result / name).stat().st_size > 100
    manifest = json.loads((result / "manifest.json").read_text())
    assert len(manifest["inputs"]) == 3
    assert manifest["config"]["ik"] == {"objective": "opensim"}


def test_what_is_printed(result):
    printed = (result / "printed.txt").read_text()
    assert "objective ratio" in printed
    assert "body25b " in printed
    said = (result / "said.txt").read_text().splitlines()
    lines = [line for line in said if line.startswith("warning: ")]
    assert len(lines) == 1
    assert "L5_S1_Flex_Ext" in lines[0]


def test_unknown_variant():
    with pytest.raises(ValueError, match="no variant 'big'"):
        configuration.get_config("big")
