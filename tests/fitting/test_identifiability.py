from pathlib import Path

import numpy as np
import pytest

from simspine_jax.body.jacobian import marker_jacobian
from simspine_jax.body.model import Model
from simspine_jax.fitting import identifiability, ik_prepare
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.io.load import load_model
from simspine_jax.types import CoordinateTask, IkTasks

NOISE_M = 0.005
FLEXION = "L5_S1_Flex_Ext"


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> Model:
    return load_model(
        pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    )


def plan_of(model: Model, tasks: IkTasks | None = None, objective="opensim") -> Plan:
    names = model.marker_names
    return ik_prepare.plan(model, names, tasks, objective, np.dtype(np.float64))


@pytest.fixture(scope="module")
def plan(model: Model) -> Plan:
    return plan_of(model)


def pose(model: Model, **degrees: float) -> np.ndarray:
    q = np.asarray(model.default_q).copy()
    # Off the poses in which two of a joint's axes fall together.
    start = dict.fromkeys(("knee_angle_r", "knee_angle_l"), 0.5)
    start |= dict.fromkeys(("arm_add_r", "arm_add_l"), -0.8)
    for name, value in start.items():
        q[model.coordinate_names.index(name)] = value
    for name, value in degrees.items():
        q[model.coordinate_names.index(name)] = np.deg2rad(value)
    return np.asarray(model.expand(model.free_of(q)))[None]


def seen(plan: Plan, *missing: str) -> np.ndarray:
    return np.array([[name not in missing for name in plan.marker_names]])


def test_a_straight_elbow_hides_the_arms_turn(model: Model, plan: Plan):
    """With the elbow straight no marker tells turning of the upper arm."""
    at = model.coordinate_names.index("arm_rot_r")
    straight = pose(model, elbow_flex_r=0.0, elbow_flex_l=90.0)
    bent = pose(model, elbow_flex_r=90.0, elbow_flex_l=90.0)
    sd = [
        identifiability.coordinate_sd(plan, q, seen(plan), NOISE_M)[0]
        for q in (straight, bent)
    ]
    assert sd[0][at] > 3 * sd[1][at]
    known = [identifiability.determined(plan, s)[at] for s in sd]
    assert known == [False, True]
    # The other arm does not notice.
    left = model.coordinate_names.index("arm_rot_l")
    np.testing.assert_allclose(sd[0][left], sd[1][left], rtol=0.1)


def test_missing_markers_leave_coordinates_undetermined(model: Model, plan: Plan):
    q = pose(model, elbow_flex_r=90.0, elbow_flex_l=90.0)
    sd = identifiability.coordinate_sd(plan, q, seen(plan, "RWrist"), NOISE_M)[0]
    at = model.coordinate_names.index
    assert np.isinf(sd[at("elbow_flex_r")])
    assert not identifiability.determined(plan, sd)[at("elbow_flex_r")]
    assert np.isfinite(sd[at("elbow_flex_l")])
    # What is locked is known.
    locked = [
        c
        for c in range(len(sd))
        if c not in model.topology.free
        and c not in [d for d, _ in model.topology.couplers]
    ]
    assert locked
    np.testing.assert_array_equal(sd[locked], 0.0)
    assert at("wrist_flex_r") in locked
    # The pelvis moves along with the noise of many markers: a few mm.
    assert 0.0005 < sd[at("pelvis_tx")] < 0.02


def test_sd_is_the_spread_of_a_linear_fit(model: Model, plan: Plan):
    """Against the covariance of least squares, where all is determined."""
    q = pose(model, elbow_flex_r=80.0, elbow_flex_l=90.0, arm_flex_r=30.0)
    sd = identifiability.coordinate_sd(plan, q, seen(plan), NOISE_M)[0]
    jacobian = np.asarray(marker_jacobian(plan.model, plan.model.free_of(q[0])))
    flat = jacobian.reshape(-1, jacobian.shape[2])[:, list(plan.columns)]
    known = np.isfinite(sd[plan.unknowns])
    assert known.sum() > 20
    covariance = NOISE_M**2 * np.linalg.pinv(flat.T @ flat, rcond=1e-13)
    np.testing.assert_allclose(
        sd[plan.unknowns][known], np.sqrt(np.diag(covariance))[known], rtol=1e-5
    )


def test_coupled_coordinates_follow(model: Model, plan: Plan):
    q = pose(model, elbow_flex_r=80.0, elbow_flex_l=90.0)
    sd = identifiability.coordinate_sd(plan, q, seen(plan), NOISE_M)[0]
    step = 1e-5
    free = np.asarray(model.free_of(q[0]))
    names = model.free_coordinate_names
    for driving, driven in ((FLEXION, "L1_L2_Flex_Ext"), ("knee_angle_r",) * 2):
        shift = step * np.eye(len(free))[names.index(driving)]
        rate = np.asarray(model.expand(free + shift) - model.expand(free)) / step
        at = model.coordinate_names.index(driven)
        own = sd[model.coordinate_names.index(driving)]
        assert 0 < own < 1
        np.testing.assert_allclose(sd[at], abs(rate[at]) * own, rtol=1e-4)


def test_a_task_on_what_no_marker_sees_has_no_ratio(model: Model):
    feet = IkTasks({"RHeel": 1.0, "RBigToe": 1.0}, (CoordinateTask("arm_rot_l", 1.0),))
    plan = plan_of(model, feet)
    assert (
        identifiability.prior_dominance(plan, pose(model), np.full((1, 2), 0.5)) == {}
    )


def test_prior_dominance_by_hand(model: Model):
    """Curvature of the task over the markers' information with the rest free."""
    tasks = IkTasks(
        dict.fromkeys(model.marker_names, 1.0),
        (CoordinateTask(FLEXION, 1.0),),
    )
    plan = plan_of(model, tasks)
    q = pose(model, elbow_flex_r=80.0, elbow_flex_l=80.0)
    weight = np.full((1, len(plan.marker_names)), 1 / len(plan.marker_names))
    ratio = identifiability.prior_dominance(plan, q, weight)
    assert set(ratio) == {FLEXION}
    jacobian = np.asarray(marker_jacobian(plan.model, plan.model.free_of(q[0])))
    flat = jacobian.reshape(-1, jacobian.shape[2])[:, list(plan.columns)]
    flat = flat * np.sqrt(weight[0, 0])
    at = list(plan.unknowns).index(model.coordinate_names.index(FLEXION))
    others = np.delete(flat, at, axis=1)
    left = flat[:, at] - others @ np.linalg.lstsq(others, flat[:, at], rcond=None)[0]
    np.testing.assert_allclose(ratio[FLEXION], 1.0 / (left @ left), rtol=1e-6)
    assert ratio[FLEXION] > 100
    ten = IkTasks(tasks.marker_weights, (CoordinateTask(FLEXION, 10.0),))
    tenfold = identifiability.prior_dominance(plan_of(model, ten), q, weight)
    np.testing.assert_allclose(tenfold[FLEXION], 10 * ratio[FLEXION])
