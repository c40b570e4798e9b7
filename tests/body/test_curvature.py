"""The whole Hessian, against automatic differentiation of the gradient."""

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
from simspine_jax.core import implicit
from simspine_jax.io.load import load_model
from tests import poses, random_models

RTOL = 1e-9
FRAMES = 3


def check(model: Model) -> None:
    rng = np.random.default_rng(3)
    q_free = np.asarray(model.free_of(poses.random_poses(model, FRAMES)))
    exact = np.asarray(marker_positions(model, model.expand(q_free)))
    points = exact + rng.normal(scale=0.1, size=exact.shape)
    weight = rng.uniform(0.2, 2.0, points.shape[:2])
    weight[:, 0] = 0.0
    columns = tuple(range(len(model.topology.free)))[::-1]

    order = np.array(columns)

    def gradient(x: jax.Array) -> jax.Array:
        placed = jnp.zeros(q_free.T.shape).at[order].set(x.T)
        return normal_equations(model, placed, columns, points, weight).gradient

    # The gradient is held against the plain cost in test_normal_equations.
    x = jnp.asarray(q_free[:, order])
    arguments = (columns, points, weight)

    @jax.jit
    def both(q_free: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
        gauss = normal_equations(model, q_free, *arguments).hessian
        rest = residual_curvature(model, q_free, *arguments)
        return implicit.hessian_blocks(gradient, x), gauss, rest

    expected, gauss, rest = both(jnp.asarray(q_free.T), x)
    size = np.abs(expected).max()
    np.testing.assert_allclose(gauss + rest, expected, atol=RTOL * size)
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
