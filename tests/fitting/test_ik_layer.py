"""Gradients of fitted coordinates against solving again; the layer inside Flax."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.body.scaling import scale_model
from simspine_jax.fitting import identifiability, ik_prepare, implicit_ik
from simspine_jax.fitting.ik_layer import IkLayer
from simspine_jax.io.load import load_model
from simspine_jax.types import CoordinateTask, IkTasks, MarkerTrajectory
from tests import poses, random_models

FINITE_DIFFERENCE_RTOL = 1e-5
FRAMES = 2
STEP = 1e-5
SMALLEST_SLOPE = 1e-3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("models") / "random.osim"
    random_models.write_random_model(0, path)
    return load_model(path)


def layer_of(model: Model) -> IkLayer:
    held, other = model.free_coordinate_names[1:3]
    tasks = IkTasks(
        {n: 1.0 + 0.1 * k for k, n in enumerate(model.marker_names)},
        (CoordinateTask(held, 0.05, value=0.1), CoordinateTask(other, 0.1)),
    )
    return IkLayer(model, model.marker_names, tasks, train_weights=True)


def noisy_poses(model: Model, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Poses some way from the default, and their markers with 1 cm of noise."""
    rng = np.random.default_rng(0)
    free = np.asarray(model.free_of(poses.random_poses(model, FRAMES)))
    default = np.asarray(model.free_of(model.default_q))
    q = np.asarray(model.expand(default + share * (free - default)))
    points = np.asarray(marker_positions(model, q))
    return q, points + rng.normal(scale=0.01, size=points.shape)


@pytest.fixture(scope="module")
def layer(model: Model) -> IkLayer:
    return layer_of(model)


@pytest.fixture(scope="module")
def trial(layer: IkLayer) -> tuple[np.ndarray, np.ndarray]:
    return noisy_poses(layer.fixed.plan.model, 1.0)


def test_gradients_equal_solving_again(pose2sim_08: Path):
    """Markers, weights, marker offsets, scale factors, the weights of the layer."""
    osim = pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    layer = layer_of(load_model(osim))
    model = layer.fixed.plan.model
    graph, state = nnx.split(layer)
    q, points = noisy_poses(model, 0.3)
    inputs = {
        "points": jnp.asarray(points),
        "weight": jnp.ones(points.shape[:2]),
        "offset": jnp.asarray(model.marker_offset),
        "factors": jnp.ones((len(model.body_names), 3)),
        "log_weight": layer.log_weight[...],
    }

    # One compilation for values, poses and gradients.
    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def solved(inputs: dict[str, jax.Array], start: jax.Array, way: jax.Array):
        changed = nnx.merge(graph, state)
        changed.log_weight = nnx.Param(inputs["log_weight"])
        moved = model.replace(marker_offset=inputs["offset"])
        moved = scale_model(moved, inputs["factors"])
        q = changed(inputs["points"], inputs["weight"], start, moved)
        return jnp.sum(way * q), q

    (_, start), _ = solved(inputs, jnp.asarray(q), jnp.zeros(q.shape))
    sd = identifiability.coordinate_sd(
        layer.fixed.plan, np.asarray(start), np.ones(points.shape[:2], bool)
    )
    rng = np.random.default_rng(3)
    way = rng.normal(size=q.shape)
    way = jnp.asarray(way * identifiability.determined(layer.fixed.plan, sd))
    loss = lambda inputs: solved(inputs, start, way)[0][0]
    _, slopes = solved(inputs, start, way)
    for name, value in inputs.items():
        change = jnp.asarray(rng.normal(size=value.shape))
        slope = float(jnp.sum(slopes[name] * change))
        up, down = (
            float(loss({**inputs, name: value + s * STEP * change})) for s in (1, -1)
        )
        assert abs(slope) > SMALLEST_SLOPE, name
        again = (up - down) / (2 * STEP)
        assert again == pytest.approx(slope, rel=FINITE_DIFFERENCE_RTOL), name


def test_gradients_of_priors_equal_solving_again(layer, trial):
    """Targets and weights of coordinate tasks, frame by frame."""
    plan = layer.fixed.plan
    q, points = trial
    seen = np.ones(points.shape[:2], bool)
    observed = MarkerTrajectory(points, seen, plan.model.marker_names, 50.0)
    data = jax.tree.map(jnp.asarray, ik_prepare.observations(plan, observed))
    start = nnx.jit(lambda layer: layer(points, start=jnp.asarray(q)))(layer)
    rng = np.random.default_rng(1)
    sd = identifiability.coordinate_sd(plan, np.asarray(start), seen)
    way = jnp.asarray(rng.normal(size=q.shape) * identifiability.determined(plan, sd))

    @jax.jit
    @jax.value_and_grad
    def solved(inputs: dict[str, jax.Array]) -> jax.Array:
        changed = data.replace(**inputs)
        return jnp.sum(way * implicit_ik.implicit_q(plan, plan.model, start, changed))

    inputs = {"task_target": data.task_target, "task_weight": data.task_weight}
    _, slopes = solved(inputs)
    for name, value in inputs.items():
        assert value.shape == (FRAMES, 2)
        for at in np.ndindex(value.shape):
            up, down = (
                float(solved({**inputs, name: value.at[at].add(s * STEP)})[0])
                for s in (1, -1)
            )
            slope, again = float(slopes[name][at]), (up - down) / (2 * STEP)
            assert abs(slope) > SMALLEST_SLOPE, (name, at)
            assert again == pytest.approx(slope, rel=FINITE_DIFFERENCE_RTOL), name


def test_training_the_weights_turns_a_bad_marker_down(layer, trial):
    """Supervised by true poses, the weight of a displaced marker falls."""
    q, points = trial
    points = points.copy()
    points[:, 0] += 0.1
    fitted = nnx.clone(layer)
    optimiser = nnx.Optimizer(fitted, optax.adam(0.3), wrt=nnx.Param)

    @nnx.jit
    def step(fitted: IkLayer, optimiser: nnx.Optimizer) -> jax.Array:
        def loss(fitted: IkLayer) -> jax.Array:
            placed = marker_positions(
                fitted.fixed.plan.model, fitted(points, start=jnp.asarray(q))
            )
            exact = marker_positions(fitted.fixed.plan.model, jnp.asarray(q))
            return jnp.sum((placed - exact) ** 2)

        value, gradient = nnx.value_and_grad(loss)(fitted)
        optimiser.update(fitted, gradient)
        return value

    losses = [float(step(fitted, optimiser)) for _ in range(40)]
    weight = np.exp(np.asarray(fitted.log_weight[...] - layer.log_weight[...]))
    assert losses[-1] < 0.5 * losses[0]
    assert weight[0] < 0.5 * np.median(weight)


def test_shapes_and_missing_markers(layer, trial):
    q, points = trial
    run = nnx.jit(lambda layer, points, weight, q: layer(points, weight, q))
    weight = np.ones(points.shape[:2])
    weight[0, 0] = 0.0
    lost = points.copy()
    lost[0, 0] = 1e3
    kept = run(layer, points[None], weight[None], q[None])
    assert kept.shape == (1, *q.shape)
    found = run(layer, lost[None], weight[None], q[None])
    np.testing.assert_allclose(found, kept, atol=1e-9)


def test_vmap_equals_a_batch_dimension(layer, trial):
    """Values, and gradients of points, weights and the layer's own weights."""
    q, points = trial
    rng = np.random.default_rng(2)
    moved = points + rng.normal(scale=0.005, size=(3, *points.shape))
    inputs = jnp.asarray(moved), jnp.asarray(rng.uniform(0.5, 1.0, moved.shape[:-1]))
    start = jnp.asarray(q)
    plan = layer.fixed.plan
    sd = identifiability.coordinate_sd(plan, q, np.ones(points.shape[:2], bool))
    known = identifiability.determined(plan, sd)
    way = jnp.asarray(known * rng.normal(size=(3, *q.shape)))
    graph, state = nnx.split(layer)

    def batched(state: nnx.State, points: jax.Array, weight: jax.Array) -> jax.Array:
        starts = jnp.broadcast_to(start, way.shape)
        return nnx.merge(graph, state)(points, weight, starts)

    def mapped(state: nnx.State, points: jax.Array, weight: jax.Array) -> jax.Array:
        layer = nnx.merge(graph, state)
        return jax.vmap(lambda points, weight: layer(points, weight, start))(
            points, weight
        )

    def outcome(run: Callable) -> tuple[jax.Array, tuple]:
        loss = lambda *args: (jnp.sum(way * (q := run(*args))), q)
        gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
        slopes, q = gradient(state, *inputs)
        return q, slopes

    kept, slopes = outcome(batched)
    found, again = outcome(mapped)
    assert found.shape == (3, *q.shape)
    np.testing.assert_allclose(
        *(np.asarray(q) * known for q in (found, kept)), atol=1e-9
    )
    placed = [marker_positions(plan.model, q) for q in (found, kept)]
    np.testing.assert_allclose(*placed, atol=1e-9)
    for one, other in zip(jax.tree.leaves(slopes), jax.tree.leaves(again), strict=True):
        assert np.abs(one).max() > SMALLEST_SLOPE
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("tasked", [True, False])
def test_a_frame_without_markers_has_no_gradient(model, layer, trial, tasked: bool):
    """It stays where it starts, but for the coordinates that tasks hold."""
    q, points = trial
    layer = layer if tasked else IkLayer(model, model.marker_names, train_weights=True)
    plan, start = layer.fixed.plan, jnp.asarray(q)
    graph, state = nnx.split(layer)
    weight = jnp.ones(points.shape[:2]).at[0].set(0.0)

    @jax.jit
    @partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
    def slopes(state, points, weight, frame):
        q = nnx.merge(graph, state)(points, weight, start)
        return jnp.sum(q[frame] ** 2), q

    (own, at_points, at_weight), found = slopes(state, jnp.asarray(points), weight, 0)
    assert np.isfinite(found).all()
    still = np.setdiff1d(plan.unknowns, plan.tasked)
    np.testing.assert_array_equal(found[0, still], start[0, still])
    np.testing.assert_allclose(found[0, list(plan.tasked)], ik_prepare.targets(plan))
    assert not np.any(at_points)
    assert not np.any(own["log_weight"][...])
    assert np.isfinite(at_weight).all()
    assert tasked or not np.any(at_weight)
    (own, at_points, at_weight), again = slopes(state, jnp.asarray(points), weight, 1)
    np.testing.assert_array_equal(again, found)
    for slope in (own["log_weight"][...], at_points, at_weight):
        assert np.isfinite(slope).all()
        assert np.abs(slope).max() > SMALLEST_SLOPE
    assert not np.any(at_points[0])


def test_a_task_over_time_is_refused(model: Model):
    series = (np.arange(4.0), np.zeros(4))
    name = model.free_coordinate_names[0]
    tasks = IkTasks(
        {model.marker_names[0]: 1.0}, (CoordinateTask(name, 1.0, series=series),)
    )
    with pytest.raises(ValueError, match="has no time"):
        IkLayer(model, model.marker_names, tasks)
