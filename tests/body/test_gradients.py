"""Derivatives of forward kinematics: finite and right, forwards and backwards."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.body import jacobian, kinematics
from simspine_jax.body.model import Model
from simspine_jax.body.scaling import scale_model
from simspine_jax.io.load import load_model
from tests import poses, random_models

STEP = 1e-6
ATOL = 1e-7  # central differences of metres; 1e-5 where a curve's bend jumps
ATOL_AT_KNOTS = 1e-5
EXACT_ATOL = 1e-12


@pytest.fixture(scope="module", params=["all joints", "all functions", "couplers"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    seed = ["all joints", "all functions", "couplers"].index(request.param)
    path = tmp_path_factory.mktemp("models") / "random.osim"
    random_models.write_random_model(seed, path)
    if request.param == "couplers":
        with pytest.warns(UserWarning, match="is not enforced and is left out"):
            return load_model(path)
    return load_model(path)


def points_of_interest(model: Model) -> dict[str, np.ndarray]:
    """Free coordinates at random, at zero, at limits and at the knots of curves."""
    topology = model.topology
    low, high = np.asarray(model.range).T
    knots = np.tile(np.asarray(model.default_q), (4, 1))
    for curve, coordinate in enumerate(topology.curve_coordinates):
        breaks = np.asarray(model.curves.breaks)[curve]
        breaks = breaks[np.isfinite(breaks)]
        for k, x in enumerate((*breaks[:2], *breaks[-2:])):
            knots[k, coordinate] = x
    found = {
        "random": poses.random_poses(model, 4),
        "zero": np.zeros((1, len(low))),
        "limits": np.stack([low, high]),
        "knots": knots,
    }
    return {name: np.asarray(model.free_of(q)) for name, q in found.items()}


def markers(model: Model) -> Callable:
    """Markers as a function of pose, marker offsets and scale factors."""

    def place(q_free, offset, factors):
        changed = scale_model(model.replace(marker_offset=offset), factors)
        return kinematics.marker_positions(changed, changed.expand(q_free))

    return place


def inputs(model: Model, q_free: np.ndarray) -> tuple[jax.Array, ...]:
    factors = np.random.default_rng(5).uniform(0.8, 1.2, (len(model.body_names), 3))
    offset = jnp.asarray(model.marker_offset)
    return jnp.asarray(q_free), offset, jnp.asarray(factors)


def test_every_derivative(model: Model):
    place = jax.jit(markers(model))
    forwards = jax.jit(lambda x, d: jax.jvp(markers(model), x, d)[1])
    backwards = jax.jit(lambda x, d: jax.vjp(markers(model), *x)[1](d))
    rng = np.random.default_rng(0)
    for name, q_free in points_of_interest(model).items():
        # One shape for all, so that each function is compiled once.
        x = inputs(model, np.resize(q_free, (4, q_free.shape[1])))
        y = place(*x)
        assert np.isfinite(y).all()
        cotangent = jnp.asarray(rng.normal(size=y.shape))
        pulled = backwards(x, cotangent)
        for which in range(3):
            direction = [jnp.zeros_like(a) for a in x]
            direction[which] = jnp.asarray(rng.normal(size=x[which].shape))
            slope = forwards(x, tuple(direction))
            ahead, behind = (
                place(*(a + sign * STEP * d for a, d in zip(x, direction, strict=True)))
                for sign in (1, -1)
            )
            difference = (ahead - behind) / (2 * STEP)
            assert np.isfinite(slope).all(), name
            if name != "knots" or which > 0:
                atol = ATOL_AT_KNOTS if name == "knots" else ATOL
                np.testing.assert_allclose(
                    slope, difference, rtol=1e-6, atol=atol, err_msg=name
                )
            # Reverse mode is the transpose of forward mode.
            assert np.isfinite(pulled[which]).all(), name
            np.testing.assert_allclose(
                jnp.vdot(pulled[which], direction[which]),
                jnp.vdot(cotangent, slope),
                rtol=1e-10,
                atol=1e-10,
            )


def test_at_knots_of_smooth_curves(tmp_path: Path):
    """SimmSpline has one slope at a knot, its end knots included."""
    random_models.write_random_model(4, tmp_path / "spine.osim")
    model = load_model(tmp_path / "spine.osim")
    at = model.coordinate_names.index("n_0")
    rows = [k for k, c in enumerate(model.topology.curve_coordinates) if c == at]
    breaks = np.asarray(model.curves.breaks)[rows]
    breaks = breaks[np.isfinite(breaks)]
    assert len(breaks) >= 5
    q = np.tile(np.asarray(model.default_q), (len(breaks), 1))
    q[:, at] = breaks
    place = jax.jit(kinematics.marker_positions)
    step = np.zeros(q.shape[1])
    step[at] = STEP
    difference = (place(model, q + step) - place(model, q - step)) / (2 * STEP)
    _, slope = jax.jvp(
        lambda q: place(model, q),
        (jnp.asarray(q),),
        (jnp.tile(step / STEP, (len(q), 1)),),
    )
    assert np.abs(slope).max() > 0.01
    np.testing.assert_allclose(slope, difference, rtol=0, atol=ATOL_AT_KNOTS)


def test_the_geometric_derivative_is_the_plain_one(model: Model):
    """The custom rule against JAX's own through every operation."""

    def plain(model: Model, q: jax.Array) -> jax.Array:
        joints = kinematics.joint_transforms(model, q)
        return kinematics.to_bodies(model, joints.x_gm)

    rng = np.random.default_rng(3)
    device = model.with_dtype(np.float64)
    q = jnp.asarray(poses.random_poses(model, 4)).T
    q_dot = jnp.asarray(rng.normal(size=q.shape))
    model_dot = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), device)
    # Padding of the curves is no number to move.
    model_dot = model_dot.replace(
        curves=jax.tree.map(jnp.zeros_like, model_dot.curves),
        coupler_curves=jax.tree.map(jnp.zeros_like, model_dot.coupler_curves),
    )
    for direction in ((model_dot, q_dot), (model_dot, jnp.zeros_like(q_dot))):
        ours, theirs = (
            jax.jit(jax.jvp, static_argnums=0)(f, (device, q), direction)
            for f in (kinematics.body_transforms, plain)
        )
        np.testing.assert_allclose(ours[0], theirs[0], atol=EXACT_ATOL)
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-10)


def test_jacobian_is_the_derivative(model: Model):
    q_free = jnp.asarray(points_of_interest(model)["random"])
    place = lambda x: kinematics.marker_positions(model, model.expand(x))
    found = jax.jit(jacobian.marker_jacobian)(model, q_free)
    np.testing.assert_allclose(
        found, jax.jit(jax.vmap(jax.jacfwd(place)))(q_free), atol=EXACT_ATOL
    )
    np.testing.assert_allclose(
        found, jax.jit(jax.vmap(jax.jacrev(place)))(q_free), atol=EXACT_ATOL
    )


def test_batches_of_any_shape(model: Model):
    q = jnp.asarray(poses.random_poses(model, 6)).reshape(2, 3, -1)
    together = jax.jit(kinematics.forward_kinematics)
    found = together(model, q)
    assert found.rotation.shape == (2, 3, len(model.body_names), 3, 3)
    assert found.position.shape == (2, 3, len(model.body_names), 3)
    alone = together(model, q[1, 2])
    np.testing.assert_allclose(found.rotation[1, 2], alone.rotation, atol=1e-14)
    np.testing.assert_allclose(found.position[1, 2], alone.position, atol=1e-14)
    mapped = jax.jit(jax.vmap(kinematics.forward_kinematics, in_axes=(None, 0)))(
        model, q
    )
    np.testing.assert_allclose(mapped.position, found.position, atol=1e-14)
    empty = jax.eval_shape(kinematics.marker_positions, model, q[:0])
    assert empty.shape == (0, 3, len(model.marker_names), 3)
    assert jax.eval_shape(model.expand, model.free_of(q)).shape == q.shape
