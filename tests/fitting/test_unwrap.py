from pathlib import Path

import numpy as np
import pytest

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.fitting import unwrap
from simspine_jax.io.load import load_model

POSE_ATOL_M = 1e-12
TURN = 2 * np.pi


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> Model:
    return load_model(
        pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    )


@pytest.fixture(scope="module")
def smooth(model: Model) -> np.ndarray:
    """A motion that turns on the spot, so that its heading passes half a turn."""
    q = np.tile(np.asarray(model.default_q), (40, 1))
    q[:, model.coordinate_names.index("pelvis_rotation")] = np.linspace(0, 9.0, 40)
    return np.asarray(model.expand(model.free_of(q)))


def test_turns_are_taken_out(model: Model, smooth: np.ndarray):
    at = model.coordinate_names.index("pelvis_rotation")
    assert at in unwrap.turnable(model)
    broken = smooth.copy()
    broken[:, at] = (broken[:, at] + np.pi) % TURN - np.pi
    assert np.abs(np.diff(broken[:, at])).max() > 6.0
    found = unwrap.unwrap(model, broken)
    np.testing.assert_allclose(found, smooth, atol=1e-12)
    np.testing.assert_allclose(
        marker_positions(model, found),
        marker_positions(model, broken),
        atol=POSE_ATOL_M,
    )


def test_every_turnable_coordinate_moves_nothing(model: Model, smooth: np.ndarray):
    columns = list(unwrap.turnable(model))
    assert len(columns) >= 3
    rng = np.random.default_rng(0)
    turned = smooth.copy()
    turned[:, columns] += TURN * rng.integers(-3, 4, (len(smooth), len(columns)))
    np.testing.assert_allclose(
        marker_positions(model, turned),
        marker_positions(model, smooth),
        atol=POSE_ATOL_M,
    )
    np.testing.assert_allclose(unwrap.unwrap(model, turned), smooth, atol=1e-12)


def test_what_may_not_turn(model: Model):
    names = {model.coordinate_names[c] for c in unwrap.turnable(model)}
    lengths = {"pelvis_tx", "pelvis_ty", "pelvis_tz"}
    coupled = {"L5_S1_Flex_Ext", "knee_angle_r", "knee_angle_r_beta"}
    assert not names & (lengths | coupled)
    clamped = np.isfinite(np.asarray(model.lower))
    assert not any(clamped[c] for c in unwrap.turnable(model))
    # Nor what a task holds near a value.
    at = model.coordinate_names.index("pelvis_rotation")
    assert at not in unwrap.turnable(model, (at,))


def test_pieces_join(model: Model, smooth: np.ndarray):
    at = model.coordinate_names.index("pelvis_rotation")
    broken = smooth.copy()
    broken[:, at] = (broken[:, at] + np.pi) % TURN - np.pi
    first = unwrap.unwrap(model, broken[:25])
    second = unwrap.unwrap(model, broken[25:], before=first[-1])
    np.testing.assert_allclose(np.concatenate([first, second]), smooth, atol=1e-12)
    assert unwrap.unwrap(model, broken[:0]).shape == (0, smooth.shape[1])
    # The first frame lies within half a turn of the default pose.
    far = unwrap.unwrap(model, smooth[:1] + 0.0)
    shifted = smooth[:1].copy()
    shifted[0, at] += 3 * TURN
    np.testing.assert_allclose(unwrap.unwrap(model, shifted), far, atol=1e-12)
