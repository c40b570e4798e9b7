import warnings
from dataclasses import replace

import numpy as np
import pytest

from experiments import _ik_trials
from simspine_jax.body.markers import with_markers
from simspine_jax.body.spec import GROUND
from simspine_jax.fitting import ik
from simspine_jax.fitting.ik import IkOptions, PriorDominanceWarning
from simspine_jax.io import load, marker_set
from simspine_jax.reference import compare, opensim_objective
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine_markers

FRAMES = 3
FK_ATOL_M = 1e-9
OPTIONS = IkOptions(objective="opensim")
FLEX = "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_muscles_flex.osim"


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    case = _ik_trials.load_case(
        "body25b", folder, frames=FRAMES, noise_mm=5.0, seed=0,
        keep_coordinate_tasks=True,
    )  # fmt: skip
    return case.trial


@pytest.fixture(scope="module")
def both(trial):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorDominanceWarning)
        return compare.run_both(trial, OPTIONS)


def test_ours_is_not_above_opensim(both):
    comparison = both[0]
    assert comparison.ratio.max() <= 1 + 1e-6


def test_both_packages_see_one_objective(both):
    comparison, ours, _ = both
    np.testing.assert_allclose(
        comparison.own_objective, comparison.ours.objective, rtol=1e-9
    )
    np.testing.assert_allclose(
        ours.objective_normalised, comparison.ours.objective_normalised, rtol=1e-9
    )
    np.testing.assert_allclose(ours.marker_rms, comparison.ours.marker_rms, rtol=1e-6)


def test_opensim_is_judged_by_its_own_angles(both, trial):
    comparison, _, theirs = both
    reference = ReferenceModel(trial.model_path)
    value = opensim_objective.objective(
        reference, theirs.q, trial.trajectory, trial.tasks
    )
    np.testing.assert_array_equal(comparison.opensim.objective, value)
    reported = theirs.marker_errors["marker_error_RMS"]
    np.testing.assert_allclose(comparison.opensim.marker_rms, reported, atol=1e-6)


def test_couplers_and_limits_hold(both):
    ours = both[0].ours
    assert ours.constraint_violation.max() < 1e-12
    assert ours.past_bounds.max() < 1e-12


def test_an_answer_compared_with_itself(both, trial):
    ours = both[1]
    same = compare.judge(trial, OPTIONS, ours, 1.0, ours.q, 2.0)
    np.testing.assert_array_equal(same.ratio, 1.0)
    np.testing.assert_array_equal(same.difference, 0.0)
    assert same.ours.frames_per_second == 2 * same.opensim.frames_per_second


def test_bounds_and_their_excess_are_seen(both, trial):
    ours = both[1]
    model = trial.model
    knee = model.coordinate_names.index("knee_angle_r")
    assert np.isfinite(np.asarray(model.upper)[knee])
    q = ours.q.copy()
    q[:, knee] = np.asarray(model.upper)[knee] + 0.1
    past = compare.judge(trial, OPTIONS, ours, 1.0, q, 1.0).opensim
    np.testing.assert_allclose(past.past_bounds, 0.1, atol=1e-12)
    assert (past.at_bounds >= 1).all()
    # The coupled angle of the patella no longer follows.
    assert past.constraint_violation.min() > 0.05


def test_task_on_the_spine_is_warned_of(trial):
    with pytest.warns(PriorDominanceWarning, match="L5_S1_Flex_Ext"):
        ik.fit_ik(trial.model, trial.trajectory, trial.tasks, OPTIONS)


def test_trials_without_coordinate_tasks(tmp_path):
    case = _ik_trials.load_case(
        "flex", tmp_path, frames=2, noise_mm=0.0, seed=0, keep_coordinate_tasks=False
    )
    assert case.trial.tasks.coordinate_tasks == ()
    assert len(case.trial.trajectory.points) == 2
    assert len(case.clean.points) == 60
    np.testing.assert_array_equal(case.trial.trajectory.points, case.clean.points[:2])


@pytest.mark.parametrize(
    ("name", "frames"), [("body25b", 100), ("lstm", 100), ("flex", 60)]
)
def test_built_in_trials_are_those_of_opensim(name, frames, tmp_path):
    case = _ik_trials.load_case(
        name, tmp_path, frames=0, noise_mm=5.0, seed=0, keep_coordinate_tasks=True
    )
    trial = case.trial
    assert len(trial.trajectory.points) == frames
    held = {task.name: task.weight for task in trial.tasks.coordinate_tasks}
    assert held["L5_S1_Flex_Ext"] > 0
    used = set(trial.tasks.marker_weights) & set(trial.trajectory.names)
    assert used <= set(trial.model.marker_names)
    reference = ReferenceModel(trial.model_path, trial.markers_path)
    q = np.asarray(trial.model.default_q)[None]
    from simspine_jax.body.kinematics import marker_positions

    ours = np.asarray(marker_positions(trial.model, q))
    place = [reference.marker_names.index(n) for n in trial.model.marker_names]
    theirs = reference.marker_positions(q)[:, place]
    np.testing.assert_allclose(ours, theirs, atol=FK_ATOL_M)
    assert all(path.is_file() for path in case.inputs)


def test_unknown_trial(tmp_path):
    with pytest.raises(ValueError, match="no trial 'x'; choose from body25b, lstm"):
        _ik_trials.load_case(
            "x", tmp_path, frames=0, noise_mm=0.0, seed=0, keep_coordinate_tasks=True
        )


def test_cut_keeps_times(trial):
    seen = trial.trajectory.cut(slice(1, 3))
    np.testing.assert_allclose(seen.times_s, trial.trajectory.times_s[1:3], atol=1e-12)
    np.testing.assert_array_equal(seen.points, trial.trajectory.points[1:3])


def test_opensim_reads_the_marker_set(pose2sim_10, tmp_path):
    path = tmp_path / "markers.xml"
    markers = {**simspine_markers.MARKERS, "Origin": (GROUND, (0.1, 0.2, 1e-17))}
    marker_set.write_marker_set(path, markers)
    model = load.load_model(pose2sim_10 / FLEX, path)
    by_hand = with_markers(load.load_model(pose2sim_10 / FLEX), markers)
    assert model.marker_names == by_hand.marker_names == tuple(markers)
    assert model.topology.marker_bodies == by_hand.topology.marker_bodies
    np.testing.assert_array_equal(model.marker_offset, by_hand.marker_offset)
    reference = ReferenceModel(pose2sim_10 / FLEX, path)
    assert set(markers) <= set(reference.marker_names)


def test_marker_on_an_unknown_body(trial):
    with pytest.raises(ValueError, match="'A' is on body 'tail'"):
        with_markers(trial.model, {"A": ("tail", (0.0, 0.0, 0.0))})


def test_missing_markers_and_weights_count_in_both_forms(trial):
    valid = np.asarray(trial.trajectory.valid).copy()
    valid[:, :5] = False
    trajectory = trial.trajectory.replace(
        points=np.where(valid[..., None], trial.trajectory.points, 0.0), valid=valid
    )
    short = replace(trial, trajectory=trajectory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorDominanceWarning)
        ours = ik.fit_ik(short.model, trajectory, short.tasks, OPTIONS)
    judged = compare.judge(short, OPTIONS, ours, 1.0, ours.q, 1.0).ours
    np.testing.assert_allclose(judged.objective, ours.objective_opensim, rtol=1e-9)
    np.testing.assert_allclose(
        judged.objective_normalised, ours.objective_normalised, rtol=1e-9
    )
