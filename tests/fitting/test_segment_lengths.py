"""Scaling by robust segment lengths over whole trials."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import simspine_jax as sj
from simspine_jax.fitting import quiet_frames, replay, segment_lengths
from simspine_jax.fitting.body_height import body_height
from simspine_jax.fitting.quiet_frames import QuietOptions
from simspine_jax.fitting.segment_lengths import (
    MEASUREMENTS,
    LengthOptions,
    Measurement,
    scale_by_lengths,
)
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory

FRAMES = 60
# A person of plain shape, standing; metres, Y up.
STANDING = {
    "Hip": (0.0, 0.95, 0.0),
    "Neck": (0.0, 1.50, 0.0),
    "Head": (0.0, 1.74, 0.0),
    "Nose": (0.1, 1.62, 0.0),
    **{
        side + name: (x, y, sign * z)
        for side, sign in (("R", 1), ("L", -1))
        for name, (x, y, z) in {
            "Hip": (0.0, 0.92, 0.10),
            "Knee": (0.0, 0.50, 0.10),
            "Ankle": (0.0, 0.09, 0.10),
            "Heel": (-0.05, 0.03, 0.10),
            "BigToe": (0.17, 0.03, 0.10),
            "Shoulder": (0.0, 1.42, 0.18),
            "Elbow": (0.0, 1.13, 0.20),
            "Wrist": (0.0, 0.88, 0.22),
        }.items()
    },
}


def standing(frames=FRAMES, names=tuple(STANDING), rate_hz=50.0, noise_m=1e-3, seed=0):
    rng = np.random.default_rng(seed)
    points = np.array([STANDING[name] for name in names])
    points = points + rng.normal(0, noise_m, (frames, len(names), 3))
    return MarkerTrajectory(points, np.ones(points.shape[:2], bool), names, rate_hz)


def moved(trial, frames, name, shift):
    points = np.array(trial.points)
    points[frames, trial.names.index(name)] += shift
    return trial.replace(points=points)


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> sj.Model:
    folder = pose2sim_08 / "Pose2Sim/OpenSim_Setup"
    return sj.load_model(folder / "Model_Pose2Sim_Body25b.osim")


@pytest.fixture(scope="module")
def in_default_pose(model):
    """Makes the markers of a model in its default pose, with noise."""
    q = np.asarray(model.expand(model.free_of(np.asarray(model.default_q))))[None]

    def place(scaled, frames=FRAMES, noise_m=1e-3):
        at = replay.marker_points(scaled, replay.body_poses(scaled, q))[0]
        noise = np.random.default_rng(0).normal(0, noise_m, (frames, *at.shape))
        seen = np.ones((frames, len(at)), bool)
        return MarkerTrajectory(at + noise, seen, model.marker_names, 50.0)

    return place


def test_a_larger_person_is_found_again(model, in_default_pose):
    person = sj.scale_model(model, dict.fromkeys(model.body_names, (1.15,) * 3))
    scaled, report = scale_by_lengths(model, in_default_pose(person))
    assert set(report.ratios) == {m.name for m in MEASUREMENTS}
    assert list(report.ratios.values()) == pytest.approx([1.15] * 8, abs=2e-3)
    assert set(report.factors) == {body for m in MEASUREMENTS for body in m.bodies}
    for body, factors in zip(
        scaled.body_names, np.asarray(scaled.scale_factors), strict=True
    ):
        before = np.asarray(model.scale_factors)[model.body_names.index(body)]
        told = report.factors.get(body, 1.0)
        np.testing.assert_allclose(factors, before * told)
    assert report.frames_total == FRAMES
    assert report.frames_kept["straight"] >= 48 - 1
    assert "torso: factor 1.15" in report.to_text()


def test_lengths_are_trimmed_means_of_kept_frames(model, in_default_pose):
    trial = in_default_pose(model)
    options = LengthOptions(QuietOptions(fastest_share=0.3), trimmed_share=0.4)
    _, report = scale_by_lengths(model, trial, options)
    kept = quiet_frames.choose([trial], options.frames).kept[0]
    pair = [trial.names.index(name) for name in ("RHip", "RKnee")]
    apart = np.linalg.norm(np.diff(trial.points[kept][:, pair], axis=1)[:, 0], axis=1)
    measured, default = report.lengths_m["RHip", "RKnee"]
    assert measured == pytest.approx(stats.trim_mean(apart, 0.2))
    assert report.frames_used["RHip", "RKnee"] == kept.sum() == 42
    assert measured == pytest.approx(default, abs=2e-3)
    left = report.lengths_m["LHip", "LKnee"]
    assert report.ratios["thigh"] == pytest.approx(
        (measured / default + left[0] / left[1]) / 2
    )


@pytest.mark.parametrize("late", simspine.NAMES[:1] + simspine.NAMES[-1:])
def test_speed_sees_every_marker(late):
    """Published fault: mixed axes of the first 13 of 37 markers only."""
    points = np.random.default_rng(1).normal(0, 1e-3, (40, 37, 3))
    trial = MarkerTrajectory(points, np.ones((40, 37), bool), simspine.NAMES, 50.0)
    fast = moved(trial, slice(20, 28), late, np.arange(8)[:, None] * 0.1)
    options = QuietOptions(fastest_share=0.2)
    kept = quiet_frames.choose([fast], options).kept[0]
    assert not kept[21:29].any()
    assert kept.sum() == 32
    speed = quiet_frames.mean_speed(fast)
    step = np.diff(np.asarray(fast.points)[22:25], axis=0)
    told = np.linalg.norm(step, axis=-1).mean() * 50.0
    assert speed[23] == pytest.approx(told)  # m/s, not m/frame


def test_speed_does_not_run_across_trials():
    """Published fault: the way from one file to the next counted as motion."""
    near, far = standing(seed=1), standing(seed=2)
    far = far.replace(points=np.asarray(far.points) + [50.0, 0.0, 20.0])
    both = quiet_frames.choose([near, far], QuietOptions())
    again = quiet_frames.choose([near, standing(seed=2)], QuietOptions())
    assert both.counts == again.counts
    for one, other in zip(both.kept, again.kept, strict=True):
        np.testing.assert_array_equal(one, other)
    speeds = [quiet_frames.mean_speed(trial) for trial in (near, far)]
    assert max(speed.max() for speed in speeds) < 0.5


def test_speed_is_in_metres_a_second():
    slow, quick = standing(rate_hz=50.0), standing(rate_hz=100.0)
    np.testing.assert_allclose(
        quiet_frames.mean_speed(quick), 2 * quiet_frames.mean_speed(slow)
    )


def test_frozen_and_empty_frames_are_left_out():
    trial = standing()
    points, valid = np.array(trial.points), np.array(trial.valid)
    points[10:20] = points[10]  # a filled gap
    valid[40:45] = False
    trial = trial.replace(points=np.where(valid[..., None], points, 0.0), valid=valid)
    found = quiet_frames.choose([trial], QuietOptions(fastest_share=0.0))
    assert found.counts["all"] == FRAMES
    assert found.counts["with markers"] == FRAMES - 5
    # The first and last frame of the gap move on one side.
    assert found.counts["not frozen"] == FRAMES - 5 - 8
    assert not found.kept[0][11:19].any()
    assert not found.kept[0][40:45].any()
    still = trial.replace(points=np.broadcast_to(points[0], points.shape))
    found = quiet_frames.choose([still], QuietOptions())
    assert "all markers stand still" in found.notes[0]
    assert found.counts["not frozen"] == found.counts["with markers"]


def bent(trial, frames, degrees):
    """Turns thighs forward and shanks backward, so that hips and knees flex."""
    points = np.array(trial.points)
    angle = np.radians(degrees)
    for side in "RL":
        hip, knee, ankle = (
            trial.names.index(side + n) for n in ("Hip", "Knee", "Ankle")
        )
        thigh = 0.42 * np.array([np.sin(angle), -np.cos(angle), 0.0])
        points[frames, knee] = points[frames, hip] + thigh
        points[frames, ankle] = points[frames, knee] + [0.0, -0.41, 0.0]
    return trial.replace(points=points)


def test_bent_legs_are_left_out():
    trial = bent(standing(frames=200), slice(0, 100), 70.0)
    angle = quiet_frames.leg_flexion(trial)
    # The neck is not straight above a hip: 0.10 m beside it and 0.58 m above.
    lean = np.degrees(np.arctan2(0.10, 0.58))
    np.testing.assert_allclose(angle[100:], lean / 2, atol=1.0)
    assert angle[:100] == pytest.approx(70.0, abs=2.0)
    found = quiet_frames.choose([trial], QuietOptions())
    assert found.kept[0][:100].sum() == 0
    assert found.counts["straight"] == found.kept[0].sum() >= 50
    assert found.notes == ()


def test_the_straightest_are_taken_where_too_few_are_straight():
    trial = bent(standing(frames=200), slice(0, 190), 70.0)
    found = quiet_frames.choose([trial], QuietOptions(fastest_share=0.0))
    assert found.counts["straight"] == 50
    assert found.kept[0][190:].all()
    assert "10 frames have a mean hip and knee flexion below 45" in found.notes[0]


def test_shoulders_stand_in_for_the_neck_and_missing_legs_are_said():
    names = tuple(name for name in STANDING if name != "Neck")
    assert np.isfinite(quiet_frames.leg_flexion(standing(names=names))).all()
    upper = standing(names=("LShoulder", "LElbow", "RShoulder", "RElbow"))
    found = quiet_frames.choose([upper], QuietOptions(fastest_share=0.0))
    assert found.kept[0].all()
    assert "no frame has the markers of a leg" in found.notes[0]


def test_what_cannot_be_measured_keeps_its_size(model, in_default_pose):
    whole = in_default_pose(model)
    keep = [k for k, n in enumerate(whole.names) if n not in ("Head", "LWrist")]
    trial = whole.replace(
        points=whole.points[:, keep],
        valid=whole.valid[:, keep],
        names=tuple(whole.names[k] for k in keep),
    )
    scaled, report = scale_by_lengths(model, [trial, trial])
    assert "head" not in report.ratios
    head = model.body_names.index("head")
    np.testing.assert_array_equal(scaled.scale_factors[head], model.scale_factors[head])
    assert ("RElbow", "RWrist") in report.lengths_m
    said = report.to_text()
    assert "forearm: LElbow-LWrist is left out, no trial has a marker LWrist" in said
    assert "head: not measured, so that its bodies keep their size" in said
    other = Measurement("tail", (("LHip", "Tail"),), ("pelvis",))
    with pytest.raises(ValueError, match="nothing can be measured; tail: LHip-Tail"):
        scale_by_lengths(model, whole, measurements=(other,))


def test_pairs_that_differ_are_said(model, in_default_pose):
    trial = in_default_pose(model)
    longer = moved(trial, slice(None), "LKnee", [0.0, -0.06, 0.0])
    _, report = scale_by_lengths(model, longer)
    assert any(note.startswith("thigh: its pairs differ") for note in report.notes)


def test_millimetres_and_contradictions_are_refused(model, in_default_pose):
    trial = in_default_pose(model)
    in_mm = trial.replace(points=np.asarray(trial.points) * 1e3)
    with pytest.raises(ValueError, match="a unit or a marker name is wrong"):
        scale_by_lengths(model, in_mm)
    twice = (*MEASUREMENTS, Measurement("again", (("LHip", "RHip"),), ("pelvis",)))
    with pytest.raises(ValueError, match="'pelvis' is scaled by both 'pelvis' and"):
        scale_by_lengths(model, trial, measurements=twice)
    with pytest.raises(ValueError, match="at least one trial of markers; found none"):
        scale_by_lengths(model, [])
    unseen = trial.replace(valid=np.zeros_like(trial.valid))
    with pytest.raises(ValueError, match="no marker is seen in any of the 60 frames"):
        scale_by_lengths(model, unseen)
    with pytest.raises(ValueError, match="rate of a trial must be positive; it is 0"):
        scale_by_lengths(model, trial.replace(rate_hz=0.0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit_deg", 0.5),  # SIMSPINE's, by which no frame is straight
        ("frozen_m_s", 0.5),
        ("fastest_share", 20),
        ("fastest_share", float("nan")),
        ("least_frames", 0),
        ("limit_deg", "45"),
    ],
)
def test_thresholds_must_be_sane(name, value):
    with pytest.raises(ValueError, match=f"scaling: {name} must be a number from"):
        QuietOptions(**{name: value})


def test_trimmed_share_must_be_a_share():
    with pytest.raises(ValueError, match="trimmed_share must be a number from 0 to"):
        LengthOptions(trimmed_share=20)


def test_height_is_a_sum_of_lengths():
    exact = standing(noise_m=0.0)
    shoulder = np.hypot(0.50, 0.08)
    expected = np.hypot(0.05, 0.06) + 0.41 + 0.42 + shoulder + (1.74 - 1.42)
    assert body_height(exact) == pytest.approx(expected)
    # A tenth of the frames with a wild head does not matter.
    wild = moved(standing(), slice(0, 6), "Head", [0.0, 3.0, 0.0])
    assert body_height(wild) == pytest.approx(expected, abs=0.01)


def test_height_is_not_made_up():
    """Published fault: 1.75 m, and 0.10 m of foot, where markers are missing."""
    without = lambda *lost: standing(
        names=tuple(name for name in STANDING if name not in lost)
    )
    whole = body_height(standing())
    assert body_height(without("LHeel", "LAnkle")) == pytest.approx(whole, abs=0.01)
    assert body_height(without("LHeel", "RHeel")) is None
    assert body_height(without("Head", "Nose")) is None
    nose = np.hypot(0.1, 0.20) * 1.33 - 0.32
    assert body_height(without("Head")) == pytest.approx(whole + nose, abs=0.01)
    assert (
        "cannot be told"
        in segment_lengths.SegmentScaling({}, {}, {}, 0, {}, {}, None, ()).to_text()
    )
