"""Normal equations from marker clouds, against the marker Jacobian."""

import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.body.jacobian import marker_jacobian
from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Model
from simspine_jax.body.normal_equations import column_order, normal_equations
from simspine_jax.io.load import load_model
from simspine_jax.skeletons.simspine_markers import MARKERS
from tests import poses, random_models

RTOL = 1e-9
# A lever of 1 cm seen from 1 m loses (1 / 0.01)^2 roundings; the solver damps by 1e-3.
FLOAT32_RTOL = 3e-4
FRAMES = 4


@pytest.fixture(scope="module", params=range(5))
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    path = tmp_path_factory.mktemp("models") / "random.osim"
    random_models.write_random_model(request.param, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_model(path)


def case(model: Model, columns: tuple[int, ...], shift: float = 0.0):
    """Inputs of ``normal_equations`` and what the Jacobian says of them."""
    rng = np.random.default_rng(3)
    q_free = np.asarray(model.free_of(poses.random_poses(model, FRAMES)))
    placed = np.asarray(marker_positions(model, model.expand(q_free)))
    points = placed + rng.normal(scale=0.1, size=placed.shape)
    weight = rng.uniform(0.2, 2.0, points.shape[:2])
    weight[rng.random(weight.shape) < 0.2] = 0.0
    jacobian = np.asarray(marker_jacobian(model, q_free))[..., list(columns)]
    miss = placed - points
    square = weight * (miss**2).sum(axis=2)
    gradient = np.einsum("tm,tmi,tmic->tc", weight, miss, jacobian)
    hessian = np.einsum("tm,tmic,tmid->tcd", weight, jacobian, jacobian)
    inputs = (jnp.asarray(q_free).T, columns, jnp.asarray(points), jnp.asarray(weight))
    return inputs, (square, gradient, hessian)


def assert_close(found, expected, rtol: float) -> None:
    for name, a, b in zip(
        ("square", "gradient", "hessian"), found, expected, strict=True
    ):
        assert np.shape(a) == np.shape(b), name
        np.testing.assert_allclose(a, b, atol=rtol * np.abs(b).max(), err_msg=name)


def test_all_columns(model: Model):
    inputs, expected = case(model, tuple(range(len(model.topology.free))))
    assert_close(normal_equations(model, *inputs), expected, RTOL)


def test_columns_in_any_order(model: Model):
    rng = np.random.default_rng(0)
    free = len(model.topology.free)
    for count in (1, 2, free):
        columns = tuple(int(c) for c in rng.permutation(free)[:count])
        inputs, expected = case(model, columns)
        assert_close(normal_equations(model, *inputs), expected, RTOL)


def test_column_order_is_a_permutation(model: Model):
    columns = tuple(range(len(model.topology.free)))
    assert sorted(column_order(model.topology, columns)) == list(columns)


def test_single_precision_stays_near_far_from_the_origin(pose2sim_10: Path):
    """The spine markers of the flex model, a subject 20 m from the ground frame."""
    osim = pose2sim_10 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_muscles_flex.osim"
    model = with_markers(load_model(osim), MARKERS)
    q = np.tile(np.asarray(model.default_q), (FRAMES, 1))
    q[:, [model.coordinate_names.index(n) for n in ("pelvis_tx", "pelvis_tz")]] = 20.0
    columns = tuple(range(len(model.topology.free)))
    points = jnp.asarray(marker_positions(model, q)) + 0.01
    weight = jnp.ones(points.shape[:2])
    inputs = (jnp.asarray(model.free_of(q)).T, columns, points, weight)
    exact = normal_equations(model, *inputs)
    rough = normal_equations(model, *inputs, dtype=np.float32)
    diagonal = np.sqrt(np.einsum("tcc->tc", exact.hessian))
    scale = diagonal[:, :, None] * diagonal[:, None, :] + 1e-12
    off = np.abs(np.asarray(rough.hessian) - exact.hessian) / scale
    assert off.max() < FLOAT32_RTOL
