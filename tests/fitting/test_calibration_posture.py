import dataclasses

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.datasets import synthetic_motion as synthetic
from simspine_jax.fitting import (
    calibration,
    calibration_frames,
    calibration_posture,
    calibration_problem,
    calibration_setup,
    calibration_solve,
    ik,
)
from simspine_jax.fitting.calibration import CalibrationOptions
from simspine_jax.fitting.calibration_problem import State
from simspine_jax.skeletons import simspine
from tests.fitting import calibration_subjects

FRAMES, BENT_DEG = 60, -40.0
OFF_SPINE = sj.IkTasks(
    dict.fromkeys((n for n in simspine.NAMES if n not in simspine.SPINE_NAMES), 1.0)
)


@pytest.fixture(scope="module")
def generic() -> sj.Model:
    return calibration_subjects.generic_model()


@pytest.fixture(scope="module")
def bent(generic) -> list:
    """A person with 40 degrees of lumbar flexion whatever they do."""
    model = calibration_subjects.draw(
        generic, calibration_subjects.survey(), 3, FRAMES
    ).model
    driving = generic.free_coordinate_names.index("L5_S1_Flex_Ext")
    trials = []
    for seed, motion in enumerate(calibration_subjects._acted(model, 3, FRAMES)):
        q_free = np.array(generic.free_of(np.asarray(motion.q)))
        swing = 4.0 * np.sin(np.linspace(0.0, 6.0, len(q_free)) + seed)
        q_free[:, driving] = np.deg2rad(BENT_DEG + swing) / _slope(generic)
        q = np.asarray(generic.expand(q_free))
        moved = dataclasses.replace(motion, q=q)
        trials.append(synthetic.observe(model, moved, 0.005, seed))
    return trials


def _lumbar(model: sj.Model, q: np.ndarray) -> np.ndarray:
    levels = [n.endswith("Flex_Ext") for n in model.coordinate_names]
    return np.asarray(q)[..., levels].sum(axis=-1)


def _slope(model: sj.Model) -> float:
    """Total lumbar flexion for each radian of L5-S1."""
    q_free = np.array(model.default_q)[list(model.topology.free)]
    before = _lumbar(model, model.expand(q_free))
    q_free[model.free_coordinate_names.index("L5_S1_Flex_Ext")] += 0.1
    return float(_lumbar(model, model.expand(q_free)) - before) / 0.1


def _mean_flexion(model, trials, tasks, sd_deg) -> float:
    options = CalibrationOptions(frames=FRAMES, offset_sd_m=0.01, posture_sd_deg=sd_deg)
    found = calibration.calibrate(model, trials, tasks, options)
    return float(np.rad2deg(_lumbar(model, found.q)).mean())


def test_one_sd_of_total_lumbar_flexion_is_one_row_of_one(generic):
    plan = ik.make_plan(generic, generic.marker_names, None, ik.IkOptions())
    rows = calibration_posture.rows(generic, plan, 20.0)
    names = np.array(generic.coordinate_names)[plan.unknowns]
    assert {tuple(names[row != 0]) for row in rows} == {
        *(("L5_S1_Flex_Ext",), ("L5_S1_Lat_Bending",), ("L5_S1_axial_rotation",)),
        *(("neck_flexion",), ("neck_bending",), ("neck_rotation",)),
    }
    flexion = rows[:, list(names).index("L5_S1_Flex_Ext")]
    np.testing.assert_allclose(flexion.max(), _slope(generic) / np.deg2rad(20.0))
    for off in (None, 0.0):
        assert calibration_posture.rows(generic, plan, off).shape == (0, len(names))


def test_a_model_without_these_coordinates_has_no_prior(generic):
    limb = [n for n in generic.marker_names if n.endswith("Knee")]
    tasks = sj.IkTasks(dict.fromkeys((*limb, "LAnkle", "RAnkle"), 1.0))
    plan = ik.make_plan(generic, generic.marker_names, tasks, ik.IkOptions())
    assert calibration_posture.rows(generic, plan, 20.0).shape == (0, len(plan.columns))


def test_the_gradient_is_that_of_the_cost(generic, bent):
    chosen = calibration_frames.choose(generic, bent[:1], None, 2)
    plan = ik.make_plan(generic, chosen.trajectory.names, None, ik.IkOptions())
    problem = calibration_setup.problem_of(
        generic, plan, chosen.trajectory, CalibrationOptions(posture_sd_deg=0.05)
    )
    rng = np.random.default_rng(0)
    x = problem.neutral + 0.1 * rng.random((2, len(problem.neutral)))
    state = State(
        problem.mean + 0.05, 0.01 * rng.normal(size=(len(plan.marker_names), 3)), x
    )
    at = calibration_problem.linearise(problem, state)
    ours = calibration_solve._normal(problem, state, at, 0.1, limits=False)
    way = rng.normal(size=x.shape)

    def cost(step: float) -> float:
        there = state._replace(x=x + step * way)
        points = calibration_problem.linearise(problem, there).points
        return calibration_problem.frame_costs(problem, points, there.x, 0.1).sum()

    numeric = (cost(1e-5) - cost(-1e-5)) / 2e-5
    np.testing.assert_allclose((ours.pose_gradient * way).sum(), numeric, rtol=1e-6)


def test_who_sits_bent_throughout_is_found_bent(generic, bent):
    found = _mean_flexion(generic, bent, None, 20.0)
    assert abs(found - BENT_DEG) < 3.0


def test_without_spine_markers_the_posture_stays_nearer_to_neutral(generic, bent):
    free = _mean_flexion(generic, bent, OFF_SPINE, None)
    held = _mean_flexion(generic, bent, OFF_SPINE, 10.0)
    assert abs(held) < abs(free) - 2.0


def test_trials_without_markers_on_the_spine_get_a_narrower_posture():
    limbs = ("LHip", "RHip", "LShoulder", "Neck")
    narrow = calibration_posture.usual_sd_deg(limbs)
    assert narrow < calibration_posture.usual_sd_deg((*limbs, "Spine_03"))
