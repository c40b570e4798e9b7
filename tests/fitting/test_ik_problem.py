"""The objective and its derivatives, against OpenSim's form of it and jax.grad."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.fitting import ik_prepare, ik_problem
from simspine_jax.fitting.ik_problem import Blocks
from simspine_jax.io.load import load_model
from simspine_jax.reference import opensim_objective
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.types import CoordinateTask, IkTasks, MarkerTrajectory
from tests import poses

OBJECTIVE_RTOL = 1e-10
GRADIENT_RTOL = 2e-5  # it is computed in float32
FRAMES = 5

evaluate = jax.jit(ik_problem.evaluate, static_argnums=(1, 2))


@pytest.fixture(scope="module")
def path(pose2sim_08: Path) -> Path:
    return pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    return load_model(path)


@pytest.fixture(scope="module")
def q(model: Model) -> np.ndarray:
    return np.asarray(model.expand(model.free_of(poses.random_poses(model, FRAMES))))


@pytest.fixture(scope="module")
def trajectory(model: Model, q: np.ndarray) -> MarkerTrajectory:
    rng = np.random.default_rng(1)
    points = np.asarray(marker_positions(model, q))
    points = points + rng.normal(scale=0.05, size=points.shape)
    valid = rng.random(points.shape[:2]) > 0.2
    return MarkerTrajectory(
        np.where(valid[..., None], points, 0.0),
        valid,
        model.marker_names,
        50.0,
        weight=rng.uniform(0.5, 2.0, valid.shape),
    )


@pytest.fixture(scope="module")
def tasks(model: Model) -> IkTasks:
    rng = np.random.default_rng(2)
    times = np.arange(12) / 50.0  # OpenSim's spline wants six or more
    return IkTasks(
        {name: float(rng.uniform(0.1, 3.0)) for name in model.marker_names},
        (
            CoordinateTask("L5_S1_Flex_Ext", 0.3),
            CoordinateTask("L4_L5_Flex_Ext", 0.2, value=0.1),  # a coupled one
            CoordinateTask("pelvis_ty", 0.5, series=(times, np.sin(times))),
            CoordinateTask("knee_angle_r", 0.4, value=0.7),
        ),
    )


def fixed_rest(plan, q: np.ndarray) -> np.ndarray:
    """Poses whose coordinates that are no unknowns are those of the first."""
    free = np.tile(np.asarray(plan.model.free_of(q[:1])), (len(q), 1))
    columns = list(plan.columns)
    free[:, columns] = np.asarray(plan.model.free_of(q))[:, columns]
    return np.asarray(plan.model.expand(free))


def objectives(plan, free, data):
    """Marker part, task part and distances at all free coordinates."""
    _, *parts = ik_problem.outcome(
        plan.model,
        plan.columns,
        plan.tasked,
        jnp.asarray(free[0]),
        jnp.asarray(free)[:, np.asarray(plan.columns)],
        data,
    )
    return parts


def frames_of(model, trajectory, tasks, objective):
    plan = ik_prepare.plan(
        model, trajectory.names, tasks, objective, np.dtype(np.float64)
    )
    data = ik_prepare.observations(plan, trajectory)
    return plan, jax.tree.map(jnp.asarray, data)


def test_objective_is_opensims(model, path, q, trajectory, tasks):
    plan, data = frames_of(model, trajectory, tasks, "opensim")
    q = fixed_rest(plan, q)
    marker, task, distance = objectives(plan, plan.model.free_of(q), data)
    # The reference splines a series; at its own points it is the series itself.
    expected = opensim_objective.objective(ReferenceModel(path), q, trajectory, tasks)
    np.testing.assert_allclose(marker + task, expected, rtol=OBJECTIVE_RTOL)
    assert (np.asarray(task) > 1e-6).all()
    missing = ~np.asarray(trajectory.valid)
    np.testing.assert_array_equal(np.asarray(distance)[missing], 0.0)


def test_normalised_divides_the_tasks_too(model, q, trajectory, tasks):
    plan, data = frames_of(model, trajectory, tasks, "opensim")
    _, normalised = frames_of(model, trajectory, tasks, "normalised")
    free = plan.model.free_of(fixed_rest(plan, q))
    there = objectives(plan, free, data)
    here = objectives(plan, free, normalised)
    weights = np.array([tasks.marker_weights[n] for n in plan.marker_names])
    total = (trajectory.valid * trajectory.weight * weights).sum(axis=1)
    np.testing.assert_allclose(here[0], there[0])
    np.testing.assert_allclose(here[1], there[1] / total, rtol=OBJECTIVE_RTOL)


@pytest.mark.parametrize("with_tasks", [False, True])
def test_cost_gradient_and_hessian(model, q, trajectory, tasks, with_tasks):
    if not with_tasks:
        tasks = tasks.without_coordinate_tasks()
    plan, data = frames_of(model, trajectory, tasks, "opensim")
    x = jnp.asarray(q[:, plan.unknowns])
    base = jnp.asarray(plan.model.free_of(model.default_q))
    one_hot = np.eye(plan.n_blocks)
    blocks = Blocks(one_hot[plan.marker_block], one_hot[plan.task_block])
    at = evaluate(plan.model, plan.columns, plan.tasked, blocks, base, x, data)

    def total(x):
        return ik_problem.outcome(plan.model, plan.columns, plan.tasked, base, x, data)[
            1:3
        ]

    exact = np.asarray(total(x)[0] + total(x)[1])
    assert at.cost.shape == (FRAMES, plan.n_blocks)
    np.testing.assert_allclose(at.cost.sum(axis=1), exact, rtol=OBJECTIVE_RTOL)
    gradient = np.asarray(
        jax.jit(jax.grad(lambda x: sum(a.sum() for a in total(x))))(x)
    )
    size = np.abs(gradient).max()
    np.testing.assert_allclose(at.gradient, gradient, rtol=0, atol=GRADIENT_RTOL * size)
    assert size > 1e-3
    # Gauss-Newton: the curvature of the objective at a perfect fit.
    hessian = np.asarray(at.hessian)
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, 1, 2), atol=1e-6)
    assert (np.linalg.eigvalsh(hessian) > -1e-6 * np.abs(hessian).max()).all()


def test_hessian_at_a_perfect_fit(model, q, trajectory):
    """There it is the second derivative; blocks of two limbs do not touch."""
    exact = np.asarray(marker_positions(model, q[:1]))
    perfect = dataclasses.replace(
        trajectory,
        points=exact,
        valid=np.ones(exact.shape[:2], bool),
        weight=None,
    )
    plan, data = frames_of(model, perfect, None, "opensim")
    x = jnp.asarray(q[:1, plan.unknowns])
    base = jnp.asarray(plan.model.free_of(q[0]))
    one_hot = np.eye(plan.n_blocks)
    blocks = Blocks(one_hot[plan.marker_block], one_hot[plan.task_block])
    at = evaluate(plan.model, plan.columns, plan.tasked, blocks, base, x, data)

    @jax.jit
    @jax.grad
    def gradient(x):
        many = jax.tree.map(lambda a: jnp.repeat(a, len(x), axis=0), data)
        return ik_problem.outcome(plan.model, plan.columns, plan.tasked, base, x, many)[
            1
        ].sum()

    shift = 1e-6 * jnp.eye(x.shape[1])
    ends = gradient(jnp.concatenate([x + shift, x - shift]))
    ahead, behind = np.split(np.asarray(ends), 2)
    second = (ahead - behind) / 2e-6
    size = np.abs(second).max()
    np.testing.assert_allclose(at.hessian[0], second, rtol=0, atol=GRADIENT_RTOL * size)
    for k in range(1, plan.n_blocks):
        apart = (plan.block != k) & (plan.block > 0)
        between = np.asarray(at.hessian)[0][plan.block == k][:, apart]
        np.testing.assert_allclose(between, 0.0, atol=1e-9)


def test_observations_mask_and_normalise(model, trajectory, tasks):
    plan, data = frames_of(model, trajectory, tasks, "opensim")
    np.testing.assert_allclose(data.weight.sum(axis=1), 1.0)
    np.testing.assert_array_equal(data.weight > 0, trajectory.valid)
    broken = dataclasses.replace(
        trajectory,
        points=np.where(trajectory.valid[..., None], trajectory.points, np.nan),
    )
    _, same = frames_of(model, broken, tasks, "opensim")
    jax.tree.map(np.testing.assert_array_equal, data, same)
    # Targets: the default, a value, a series in time.
    at = model.coordinate_names.index("L5_S1_Flex_Ext")
    np.testing.assert_allclose(data.task_target[:, 0], model.default_q[at])
    np.testing.assert_allclose(data.task_target[:, 1], 0.1)
    np.testing.assert_allclose(data.task_target[:, 2], np.sin(trajectory.times_s))
    assert plan.tasked[3] == model.coordinate_names.index("knee_angle_r")
