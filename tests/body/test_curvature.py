"""The whole Hessian, against automatic differentiation of the cost."""

import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.body.curvature import residual_curvature
from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.body.normal_equations import normal_equations
from simspine_jax.io.load import load_model
from tests import poses, random_models

RTOL = 1e-9
FRAMES = 3


def check(model: Model) -> None:
    rng = np.random.default_rng(3)
    q_free = np.asarray(model.free_of(poses.random_poses(model, FRAMES)))
    placed = np.asarray(marker_positions(model, model.expand(q_free)))
    points = placed + rng.normal(scale=0.1, size=placed.shape)
    weight = rng.uniform(0.2, 2.0, points.shape[:2])
    weight[:, 0] = 0.0
    columns = tuple(range(len(model.topology.free)))[::-1]

    def cost(x: jax.Array, points: jax.Array, weight: jax.Array) -> jax.Array:
        q = jnp.zeros(len(columns)).at[np.array(columns)].set(x)
        miss = marker_positions(model, model.expand(q)) - points
        return 0.5 * jnp.sum(weight[:, None] * miss**2)

    x = q_free[:, list(columns)]
    expected = jax.jit(jax.vmap(jax.hessian(cost)))(x, points, weight)
    arguments = (q_free.T, columns, points, weight)
    gauss = normal_equations(model, *map(jnp.asarray, arguments[:1]), *arguments[1:])
    rest = residual_curvature(model, jnp.asarray(q_free.T), *arguments[1:])
    size = np.abs(expected).max()
    np.testing.assert_allclose(gauss.hessian + rest, expected, atol=RTOL * size)
    assert np.abs(rest).max() > 1e-3 * size


@pytest.mark.parametrize("seed", range(5))
def test_random_models(seed: int, tmp_path: Path):
    path = tmp_path / "random.osim"
    random_models.write_random_model(seed, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(load_model(path))


def test_a_model_with_a_coupled_spine(pose2sim_08: Path):
    check(
        load_model(pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim")
    )
