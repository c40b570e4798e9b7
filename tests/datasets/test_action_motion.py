import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import simspine_jax as sj
from simspine_jax.body.markers import with_markers
from simspine_jax.datasets import action_motion, actions
from simspine_jax.types import Motion
from tests import random_models

_FRAMES, _RATE = 200, 50.0


@pytest.fixture(scope="module")
def model(pose2sim_08) -> sj.Model:
    path = pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    places = {
        "pelvis": ("pelvis", (0.0, 0.0, 0.0)),
        "front": ("pelvis", (1.0, 0.0, 0.0)),
        "knee": ("tibia_r", (0.0, 0.0, 0.0)),
    }
    return with_markers(sj.load_model(path), places)


@pytest.fixture(scope="module")
def stride(model) -> Motion:
    """A made-up clip that goes along a heading of its own and turns a little."""
    t = np.linspace(0, 2 * np.pi, 40)
    free = np.tile(np.asarray(model.free_of(model.default_q)), (40, 1))
    column = model.free_coordinate_names.index
    free[:, column("hip_flexion_r")] = 0.5 * np.sin(t)
    free[:, column("knee_angle_r")] = 0.5 + 0.4 * np.cos(t)
    tilt, list_, turn = -0.2 + 0.1 * np.sin(t), 0.1 * np.cos(t), 1.1 + 0.1 * np.sin(t)
    for name, values in zip(
        ("pelvis_tilt", "pelvis_list", "pelvis_rotation"),
        (tilt, list_, turn),
        strict=True,
    ):
        free[:, column(name)] = values
    free[:, column("pelvis_tx")] = np.linspace(0, 1.2, 40)
    return Motion(np.asarray(model.expand(free)), model.coordinate_names, 40.0)


@pytest.fixture(scope="module")
def clips(model, stride):
    return {
        "walk": action_motion.base_clip(model, stride, loops=True),
        "dance_a": action_motion.base_clip(model, stride, loops=False),
    }


def _drawn(model, name, clips, seed=0):
    action = actions.action_named(name)
    centre = (0.4, -0.2)
    return action_motion.draw_motion(
        model, action, clips, _FRAMES, _RATE, centre, (seed, 1)
    )


@pytest.mark.parametrize("name", actions.NAMES)
def test_every_action_keeps_to_the_limits_and_moves_smoothly(model, clips, name):
    low, high = action_motion.limits(model)
    for seed in range(3):
        motion = _drawn(model, name, clips, seed)
        free = np.asarray(model.free_of(motion.q))
        assert (free >= low - 1e-12).all()
        assert (free <= high + 1e-12).all()
        np.testing.assert_allclose(motion.q, model.expand(free), atol=1e-12)
        assert 0 < np.abs(np.diff(free, axis=0)).max() < 0.35  # rad, m in 20 ms
        place = free[:, [model.free_coordinate_names.index("pelvis_tx")]] - 0.4
        assert np.abs(place).max() < 2.0


def test_the_same_seed_moves_the_same(model, clips):
    one, again = (_drawn(model, "Greeting", clips) for _ in range(2))
    np.testing.assert_array_equal(one.q, again.q)
    assert not np.array_equal(one.q, _drawn(model, "Greeting", clips, 1).q)


def test_every_coordinate_that_an_action_names_is_in_the_model(model):
    both = {n.removesuffix("_r") for n in model.free_coordinate_names}
    known = {*model.free_coordinate_names, *both}
    for action in actions.ACTIONS:
        assert {*action.posture, *action.swing, *action.held} <= known
    assert {*actions.STANDING, *actions.SWING} <= known


def test_the_names_are_human36ms():
    assert len(set(actions.NAMES)) == 15
    assert {"Directions", "SittingDown", "WalkTogether"} < set(actions.NAMES)
    with pytest.raises(ValueError, match="no action 'Flying'; there are Directions"):
        actions.action_named("Flying")


def test_a_clip_without_its_heading_is_the_same_body_turned(model, stride):
    clip = action_motion.base_clip(model, stride, loops=True)
    assert abs(clip.speed_m_s - 1.2 / 39 * 40.0) < 1e-9
    turns = ["pelvis_tilt", "pelvis_list", "pelvis_rotation"]
    column = [model.free_coordinate_names.index(n) for n in turns]
    before = Rotation.from_euler("ZXY", np.asarray(model.free_of(stride.q))[:, column])
    after = Rotation.from_euler("ZXY", clip.q[:, column])
    # Between them is one turn about the vertical, and the clip looks ahead on average.
    between = after * before[: len(after)].inv()
    np.testing.assert_allclose(
        between.apply([0.0, 1, 0]), [[0.0, 1, 0]] * 40, atol=1e-12
    )
    np.testing.assert_allclose((between * between[0].inv()).magnitude(), 0, atol=1e-7)
    assert abs(after.apply([1.0, 0, 0]).mean(axis=0)[2]) < 1e-12


def test_a_loop_is_cut_to_whole_cycles(model, stride):
    half_more = np.concatenate([stride.q, stride.q[1:20]])
    longer = Motion(half_more, model.coordinate_names, stride.rate_hz)
    whole, cut = (
        action_motion.base_clip(model, motion, loops=True)
        for motion in (stride, longer)
    )
    assert len(whole.q) == 40
    knee = model.free_coordinate_names.index("knee_angle_r")
    assert abs(cut.q[0, knee] - cut.q[-1, knee]) < 0.1
    assert 40 <= len(cut.q) <= 42


def test_who_walks_looks_where_he_goes_at_the_clips_speed(model, clips):
    for seed in range(4):
        motion = _drawn(model, "Walking", {"walk": clips["walk"]}, seed)
        points = np.asarray(sj.marker_positions(model, motion.q))
        step = np.diff(points[:, 0, [0, 2]], axis=0)
        speed = np.linalg.norm(step, axis=1) * _RATE
        assert np.ptp(speed) < 0.01 * speed.mean()
        assert 0.84 < speed.mean() / clips["walk"].speed_m_s < 1.16
        ahead = (points[1:, 1] - points[1:, 0])[:, [0, 2]]
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        along = (ahead * step).sum(axis=1) / np.linalg.norm(step, axis=1)
        assert along.min() > np.cos(np.deg2rad(15))  # the clip itself turns by 6


@pytest.mark.parametrize("loops", [True, False])
def test_replay_goes_on_without_a_jump(model, stride, loops):
    clip = action_motion.base_clip(model, stride, loops=loops)
    times = np.arange(2000) / 500.0
    played = action_motion._replay(clip, times, 0.3)
    fastest = np.abs(np.diff(clip.q, axis=0)).max() * clip.rate_hz
    # There and back, the spline swings out where it turns round.
    assert np.abs(np.diff(played, axis=0)).max() * 500 < 1.5 * fastest
    if not loops:
        # Every captured frame comes by.
        knee = model.free_coordinate_names.index("knee_angle_r")
        assert np.ptp(played[:, knee]) > np.ptp(clip.q[:, knee]) - 1e-3


def test_held_coordinates_leave_the_clip(model, stride, clips):
    raised = np.array(model.free_of(stride.q))
    arm = model.free_coordinate_names.index("arm_flex_r")
    raised[:, arm] = -1.5
    lifted = Motion(
        np.asarray(model.expand(raised)), model.coordinate_names, stride.rate_hz
    )
    walk = {"walk": action_motion.base_clip(model, lifted, loops=True)}
    flexion = {
        name: np.asarray(model.free_of(_drawn(model, name, walk).q))[:, arm].mean()
        for name in ("WalkDog", "WalkTogether")
    }
    assert abs(flexion["WalkDog"] - 0.4) < 0.2
    assert abs(flexion["WalkTogether"] + 1.5) < 0.1


def test_another_pelvis_is_refused(tmp_path):
    random_models.write_random_model(0, tmp_path / "other.osim")
    other = sj.load_model(tmp_path / "other.osim")
    with pytest.raises(ValueError, match="pelvis must turn about Z, X and Y"):
        action_motion.draw_motion(other, actions.ACTIONS[0], {}, 5, 50.0, (0.0, 0.0), 0)
