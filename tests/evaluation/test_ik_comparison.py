import csv

import numpy as np
import pytest

from simspine_jax.evaluation import ik_comparison
from simspine_jax.evaluation.ik_comparison import Answer, Comparison


def answer(objective, rms, seconds):
    objective, rms = np.asarray(objective, float), np.asarray(rms, float)
    zeros = np.zeros(len(objective))
    return Answer(
        q=np.zeros((len(objective), 3)),
        objective=objective,
        objective_normalised=objective / 2,
        marker_rms=rms,
        constraint_violation=zeros,
        at_bounds=zeros.astype(int),
        past_bounds=zeros,
        seconds=seconds,
    )


def comparison(name="a", seconds=1.0):
    degrees = np.deg2rad([[1.0, 40.0, 7.0], [3.0, 50.0, 9.0]])
    return Comparison(
        name=name,
        times_s=np.array([0.0, 0.1]),
        coordinate_names=("x", "y", "z"),
        rotational=np.array([True, True, True]),
        free=np.array([True, True, False]),
        ours=answer([1.0, 3.0], [0.003, 0.004], seconds),
        opensim=answer([2.0, 4.0], [0.005, 0.005], 10.0),
        own_objective=np.array([1.0, 3.0]),
        difference=degrees,
        determined=np.array([[True, False, True]] * 2),
    )


def test_figures_of_one_trial():
    found = ik_comparison.pair_metrics(comparison())
    assert found["objective_ratio_max"] == 0.75
    assert found["objective_ratio_median"] == 0.625
    assert found["marker_rms_mm"] == pytest.approx(np.sqrt(12.5))
    assert found["opensim_marker_rms_mm"] == pytest.approx(5.0)
    assert found["frames_per_second"] == 2.0
    assert found["speedup"] == pytest.approx(10.0)
    assert found["objective_agreement"] == 0.0
    # z is coupled, so it does not count.
    assert found["angle_determined_max_deg"] == pytest.approx(3.0)
    assert found["angle_determined_median_deg"] == pytest.approx(2.0)
    assert found["angle_undetermined_max_deg"] == pytest.approx(50.0)


def test_figures_of_several_trials():
    trials = [comparison("a"), comparison("b", seconds=2.0)]
    found = ik_comparison.metrics(trials, "a")
    assert found["speedup"] == pytest.approx(10.0)
    assert found["speedup_min"] == pytest.approx(5.0)
    assert found["b_speedup"] == pytest.approx(5.0)
    assert found["frames"] == 4
    assert found["objective_ratio_max"] == 0.75
    assert found["frames_above_opensim"] == 0
    with pytest.raises(ValueError, match="no trial is called 'c'"):
        ik_comparison.metrics(trials, "c")


def test_frames_above_opensim_are_counted():
    worse = comparison()
    worse.ours.objective[0] = 2.1
    assert ik_comparison.metrics([worse], "a")["frames_above_opensim"] == 1


def test_joined_trials():
    joined = ik_comparison.join([comparison(), comparison(seconds=3.0)])
    assert len(joined.ratio) == 4
    assert joined.ours.seconds == 4.0
    assert joined.difference.shape == (4, 3)
    assert ik_comparison.pair_metrics(joined)["frames_per_second"] == 1.0


def test_table_has_a_row_for_each_trial():
    lines = ik_comparison.table([comparison("a"), comparison("b")]).splitlines()
    assert lines[2].split()[:4] == ["a", "2", "0.7500000", "0.6250"]
    assert lines[3].startswith("b ")


def test_frames_are_written(tmp_path):
    path = tmp_path / "frames.csv"
    ik_comparison.write_frames(path, [comparison("a"), comparison("b")])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["a", "a", "b", "b"]
    assert [float(row["objective_ratio"]) for row in rows[:2]] == [0.5, 0.75]
    assert float(rows[1]["angle_determined_max_deg"]) == pytest.approx(3.0)
    assert float(rows[1]["opensim_marker_rms_m"]) == 0.005
