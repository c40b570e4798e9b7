import numpy as np
import pytest

from simspine_jax.evaluation import angle_difference
from simspine_jax.fitting import euler_branches
from simspine_jax.io import load

ROUNDING = 1e-12


@pytest.fixture(scope="module")
def model(pose2sim_04):
    return load.load_model(
        pose2sim_04 / "Pose2Sim/Demo/opensim/Model_Pose2Sim_Body25b.osim"
    )


@pytest.fixture(scope="module")
def poses(model):
    count = len(model.coordinate_names)
    return np.random.default_rng(0).uniform(-0.4, 0.4, (5, count))


def test_small_differences_are_plain(model, poses):
    step = np.random.default_rng(1).uniform(-0.01, 0.01, poses.shape)
    found = angle_difference.coordinate_difference(model, poses + step, poses)
    np.testing.assert_allclose(found, step, atol=ROUNDING)


def test_whole_turns_are_none_for_angles_only(model, poses):
    angle = np.asarray(model.coordinate_is_angle)
    found = angle_difference.coordinate_difference(model, poses + 2 * np.pi, poses)
    expected = np.broadcast_to(np.where(angle, 0.0, 2 * np.pi), poses.shape)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)
    assert angle.any()
    assert not angle.all()


def test_the_other_euler_triple_is_none(model, poses):
    triples = euler_branches.triples(model)
    assert len(triples) >= 1
    q = poses.copy()
    for triple in map(list, triples):
        a, b, c = poses[:3, triple].T
        q[:3, triple] = np.stack([a + np.pi, np.pi - b, c - np.pi], axis=1)
    found = angle_difference.coordinate_difference(model, q, poses)
    np.testing.assert_allclose(found, 0.0, atol=1e-9)


def test_a_large_difference_stays(model, poses):
    q = poses.copy()
    q[0, list(euler_branches.triples(model)[0])[1]] += 1.0
    found = angle_difference.coordinate_difference(model, q, poses)
    np.testing.assert_allclose(found, q - poses, atol=ROUNDING)
