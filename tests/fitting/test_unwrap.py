import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_what_a_coupler_reads_may_not_turn(model: Model):
    """Even where the coordinate that follows drives no axis."""
    at = model.coordinate_names.index("pelvis_rotation")
    follower = model.coordinate_names.index("pelvis_list")
    old = model.topology
    topology = dataclasses.replace(
        old,
        free=tuple(c for c in old.free if c != follower),
        couplers=((follower, at), *old.couplers),
        axis_sources=tuple(-1 if s == follower else s for s in old.axis_sources),
    )
    changed = dataclasses.replace(model, topology=topology)
    assert at in unwrap.plain_angles(model)
    assert at not in unwrap.plain_angles(changed)


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


# Limits


def limited(model: Model, low: float, high: float) -> tuple[Model, int]:
    """The model with the heading of its pelvis clamped."""
    at = model.coordinate_names.index("pelvis_rotation")
    lower, upper = np.array(model.lower), np.array(model.upper)
    lower[at], upper[at] = low, high
    return dataclasses.replace(model, lower=lower, upper=upper), at


def test_room_for_a_whole_turn_decides(model: Model):
    for room, may_turn in ((TURN, True), (7.0, True), (6.2, False)):
        narrow, at = limited(model, -3.0, -3.0 + room)
        assert (at in unwrap.turnable(narrow)) == may_turn
        assert at in unwrap.plain_angles(narrow)


def test_turns_are_taken_out_within_limits(model: Model, smooth: np.ndarray):
    wide, at = limited(model, -1.0, 10.0)
    broken = smooth.copy()
    broken[15:, at] -= np.where(smooth[15:, at] > 5.5, TURN, 0)
    assert np.abs(np.diff(broken[:, at])).max() > 6.0
    np.testing.assert_allclose(unwrap.unwrap(wide, broken), smooth, atol=1e-12)


def test_a_turn_stays_where_a_limit_needs_it(model: Model, smooth: np.ndarray):
    """The heading goes up to 9 rad; what is beyond 8 must lie a turn lower."""
    narrow, at = limited(model, -1.0, 8.0)
    broken = smooth.copy()
    broken[:, at] = (broken[:, at] + 1.0) % TURN - 1.0
    found = unwrap.unwrap(narrow, broken)
    expected = smooth.copy()
    expected[:, at] -= np.where(smooth[:, at] > 8.0, TURN, 0)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(unwrap.unwrap(narrow, found), found)


def test_an_angle_beyond_its_limit_is_not_made_to_jump(
    model: Model, smooth: np.ndarray
):
    narrow, at = limited(model, -4.0, 4.0)
    q = smooth[:4].copy()
    q[:, at] = 3.9, 4.3, 4.2, 3.8 - TURN
    found = unwrap.unwrap(narrow, q, before=q[0])
    np.testing.assert_allclose(found[:, at], [3.9, 4.3, 4.2, 3.8], atol=1e-12)


def test_an_angle_at_its_limit_stays(model: Model, smooth: np.ndarray):
    """Both ends of a whole turn are the same pose, and rounding is no jump."""
    narrow, at = limited(model, -np.pi, np.pi)
    for value in (np.pi, -np.pi, np.pi + 1e-13, -np.pi - 1e-13):
        q = smooth[:5].copy()
        q[:, at] = value
        q[2, at] -= np.sign(value) * 1e-9
        found = unwrap.unwrap(narrow, q, before=q[0])
        np.testing.assert_array_equal(found, q)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(TURN, 20.0))
def test_limits_hold_and_twice_is_once(model: Model, seed: int, room: float):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-room, 0)
    narrow, at = limited(model, low, low + room)
    q = np.zeros((30, len(model.coordinate_names)))
    q[:, at] = rng.uniform(low, low + room, 30)
    found = unwrap.unwrap(narrow, q)
    inside = found[:, at]
    assert ((inside >= low) & (inside <= low + room)).all()
    away = (found - q) / TURN
    np.testing.assert_allclose(away, np.round(away), atol=1e-12)
    np.testing.assert_array_equal(unwrap.unwrap(narrow, found), found)
    # No whole turn would bring any frame nearer to the one before.
    last = np.concatenate([[float(model.default_q[at])], inside[:-1]])
    for turns in (-2, -1, 1, 2):
        moved = inside + turns * TURN
        allowed = (moved >= low) & (moved <= low + room)
        assert (abs(moved - last)[allowed] > abs(inside - last)[allowed] - 1e-6).all()


def test_whole_turns_of_steps():
    half = np.array([np.pi, -np.pi, np.pi + 1e-12, 3 * np.pi])
    np.testing.assert_array_equal(unwrap.turns(half), [0, 0, 0, 1])
    steps = np.array([0.0, 3.0, 3.2, -3.2, 6.0, 9.0, -13.0])
    np.testing.assert_array_equal(unwrap.turns(steps), [0, 0, 1, -1, 1, 1, -2])


def test_into_limits():
    angles = np.array([0.0, 7.0, -7.0, 3.0, 20.0, 1.0 + 1e-13])
    lower = np.array([-1.0, -1.0, -1.0, -1.0, 19.0 - 2 * TURN, -1.0])
    upper = np.array([1.0, 1.0, 1.0, 1.0, np.inf, 1.0])
    moved, inside = unwrap.into_limits(angles, lower, upper)
    np.testing.assert_array_equal(inside, [True, True, True, False, True, True])
    expected = [0.0, 7.0 - TURN, TURN - 7.0, 20.0, 1.0]
    np.testing.assert_allclose(moved[inside], expected, atol=1e-12)
    assert (moved[inside] <= upper[inside]).all()
