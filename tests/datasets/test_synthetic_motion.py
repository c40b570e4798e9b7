import numpy as np
import pytest

from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Model
from simspine_jax.datasets import synthetic_motion
from simspine_jax.io import load
from simspine_jax.skeletons import simspine_markers
from simspine_jax.types import MarkerTrajectory

RATE_HZ = 50.0
ROUNDING = 1e-12
FLEX = "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_muscles_flex.osim"


@pytest.fixture(scope="module")
def flex(pose2sim_10) -> Model:
    return with_markers(load.load_model(pose2sim_10 / FLEX), simspine_markers.MARKERS)


def trial(frames: int, markers: int = 2) -> MarkerTrajectory:
    points = np.arange(frames * markers * 3, dtype=float).reshape(frames, markers, 3)
    valid = np.ones((frames, markers), bool)
    return MarkerTrajectory(points, valid, ("A", "B"), RATE_HZ, start_s=1.0)


def test_swing_stays_in_range_and_is_repeatable(flex):
    swing = synthetic_motion.draw_swing(flex, 0)
    motion = synthetic_motion.swing_motion(flex, swing, 200, RATE_HZ)
    again = synthetic_motion.swing_motion(
        flex, synthetic_motion.draw_swing(flex, 0), 200, RATE_HZ
    )
    other = synthetic_motion.draw_swing(flex, 1)
    np.testing.assert_array_equal(motion.q, again.q)
    assert not np.array_equal(swing.phase_rad, other.phase_rad)
    free = list(flex.topology.free)
    low, high = np.asarray(flex.range)[free].T
    assert (motion.q[:, free] >= low).all()
    assert (motion.q[:, free] <= high).all()
    excursion = np.abs(motion.q - np.asarray(flex.default_q))[:, free]
    assert excursion.max() <= 0.25 + ROUNDING
    assert (excursion.max(axis=0) > 0).all()
    assert (swing.frequency_hz >= 0.2).all()
    assert (swing.frequency_hz <= 0.8).all()


def test_swing_is_a_function_of_time(flex):
    swing = synthetic_motion.draw_swing(flex, 3)
    whole = synthetic_motion.swing_motion(flex, swing, 20, RATE_HZ)
    late = synthetic_motion.swing_motion(flex, swing, 5, RATE_HZ, 15 / RATE_HZ)
    np.testing.assert_allclose(whole.q[15:], late.q, atol=ROUNDING)


def test_swing_obeys_couplers(flex):
    swing = synthetic_motion.draw_swing(flex, 0)
    q = synthetic_motion.swing_motion(flex, swing, 10, RATE_HZ).q
    np.testing.assert_allclose(flex.expand(flex.free_of(q)), q, atol=ROUNDING)


def test_lumbar_ramp_bends_evenly(flex):
    motion = synthetic_motion.lumbar_ramp(flex, 11, RATE_HZ, np.deg2rad(61.4))
    flexion = np.rad2deg(synthetic_motion.lumbar_flexion(flex, motion.q))
    np.testing.assert_allclose(flexion, np.linspace(0, 61.4, 11), atol=1e-9)
    moved = np.ptp(motion.q, axis=0) > 0
    names = {n for n, m in zip(flex.coordinate_names, moved, strict=True) if m}
    assert set(synthetic_motion.LUMBAR_FLEXION) <= names
    assert names <= {*synthetic_motion.LUMBAR_FLEXION, "Abs_r3"}


def test_lumbar_ramp_carries_the_head_forwards(flex):
    motion = synthetic_motion.lumbar_ramp(flex, 2, RATE_HZ, np.deg2rad(61.4))
    seen = synthetic_motion.observe(flex, motion)
    head = seen.points[:, seen.names.index("Head")]
    assert head[1, 0] - head[0, 0] > 0.3  # x is forward
    assert head[1, 1] < head[0, 1]


def test_lumbar_ramp_refuses_other_models(pose2sim_04):
    model = load.load_model(
        pose2sim_04 / "Pose2Sim/Demo/opensim/Model_Pose2Sim_Body25b.osim"
    )
    bare = model.replace(
        topology=model.topology.__class__(
            **{
                **model.topology.__dict__,
                "coordinate_names": tuple(
                    f"c{i}" for i in range(len(model.coordinate_names))
                ),
            }
        )
    )
    with pytest.raises(ValueError, match="L5_S1_Flex_Ext"):
        synthetic_motion.lumbar_ramp(bare, 5, RATE_HZ, 1.0)
    with pytest.raises(ValueError, match="at least 2 frames"):
        synthetic_motion.lumbar_ramp(model, 1, RATE_HZ, 1.0)


def test_noise_has_the_stated_size(flex):
    swing = synthetic_motion.draw_swing(flex, 0)
    motion = synthetic_motion.swing_motion(flex, swing, 300, RATE_HZ)
    clean = synthetic_motion.observe(flex, motion)
    noisy = synthetic_motion.observe(flex, motion, 0.005, seed=2)
    assert np.std(noisy.points - clean.points) == pytest.approx(0.005, rel=0.02)
    assert clean.names == tuple(simspine_markers.MARKERS)


def test_repeat_goes_there_and_back():
    again = synthetic_motion.repeat_with_noise(trial(4), 9, 0.0, 0)
    order = [0, 1, 2, 3, 2, 1, 0, 1, 2]
    np.testing.assert_array_equal(again.points, trial(4).points[order])
    assert again.start_s == 1.0
    assert again.rate_hz == RATE_HZ


def test_repeat_of_one_frame():
    again = synthetic_motion.repeat_with_noise(trial(1), 3, 0.0, 0)
    np.testing.assert_array_equal(again.points, trial(1).points[[0, 0, 0]])


def test_no_two_frames_share_their_noise():
    again = synthetic_motion.repeat_with_noise(trial(3), 40, 0.01, 0)
    quiet = synthetic_motion.repeat_with_noise(trial(3), 40, 0.0, 0)
    noise = (again.points - quiet.points).reshape(40, -1)
    assert len(np.unique(noise.round(9), axis=0)) == 40


def test_pieces_are_the_whole():
    whole = synthetic_motion.repeat_with_noise(trial(5), 23, 0.01, 7)
    pieces = list(synthetic_motion.repeated_pieces(trial(5), 23, 0.01, 7, 10))
    assert [len(p.points) for p in pieces] == [10, 10, 3]
    joined = np.concatenate([p.points for p in pieces])
    np.testing.assert_array_equal(joined, whole.points)
    times = np.concatenate([p.times_s for p in pieces])
    np.testing.assert_allclose(times, whole.times_s, atol=ROUNDING)


def test_missing_markers_stay_missing():
    seen = trial(3)
    valid = seen.valid.copy()
    valid[1, 0] = False
    seen = seen.replace(valid=valid, weight=np.full((3, 2), 2.0))
    again = synthetic_motion.repeat_with_noise(seen, 6, 0.01, 0)
    np.testing.assert_array_equal(
        again.valid[:, 0], [True, False, True, False, True, False]
    )
    np.testing.assert_array_equal(again.points[1, 0], np.zeros(3))
    np.testing.assert_array_equal(again.weight, np.full((6, 2), 2.0))


@pytest.mark.parametrize(("frames", "piece"), [(0, 5), (5, 0)])
def test_repeat_refuses_nothing(frames, piece):
    with pytest.raises(ValueError, match="positive"):
        next(synthetic_motion.repeated_pieces(trial(3), frames, 0.0, 0, piece))
