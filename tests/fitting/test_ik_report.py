"""The report on a fit whose errors were put there on purpose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.fitting import ik, ik_report, ik_report_text, replay

FRAMES = 12
LIFT_M = np.array([0.0, 0.03, 0.0])
SHAKE_M = 0.01


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> sj.Model:
    return sj.load_model(next(pose2sim_08.rglob("Model_Pose2Sim_body25b_scaled.osim")))


@pytest.fixture(scope="module")
def q(model: sj.Model) -> np.ndarray:
    """A smooth motion inside the limits."""
    free = np.asarray(model.free_of(np.asarray(model.default_q)))
    time = np.linspace(0, 1, FRAMES)[:, None]
    wave = 0.2 * np.sin(3 * time + np.arange(len(free)))
    lower = np.asarray(model.free_of(np.asarray(model.lower)))
    upper = np.asarray(model.free_of(np.asarray(model.upper)))
    inside = np.clip(free + wave, lower + 0.01, upper - 0.01)
    return np.asarray(model.expand(inside))


@pytest.fixture(scope="module")
def exact(model: sj.Model, q: np.ndarray) -> sj.MarkerTrajectory:
    points = replay.marker_points(model, replay.body_poses(model, q))
    valid = np.ones(points.shape[:2], bool)
    return sj.MarkerTrajectory(points, valid, model.marker_names, 60.0)


@pytest.fixture(scope="module")
def plan(model: sj.Model):
    return ik.make_plan(model, model.marker_names, None, ik.IkOptions())


@pytest.fixture(scope="module")
def shifted(model: sj.Model, q: np.ndarray, exact: sj.MarkerTrajectory):
    """RHip 30 mm up in the pelvis, LWrist shaken by 10 mm in turns."""
    points = np.array(exact.points)
    pelvis = model.body_names.index("pelvis")
    rotation = np.asarray(replay.body_poses(model, q).rotation)[:, pelvis]
    points[:, model.marker_names.index("RHip")] += rotation @ LIFT_M
    sign = np.where(np.arange(FRAMES) % 2 == 0, 1.0, -1.0)
    points[:, model.marker_names.index("LWrist"), 0] += SHAKE_M * sign
    return exact.replace(points=points)


def test_an_exact_fit_has_nothing_to_explain(plan, exact, q):
    report = ik_report.make_report(plan, exact, q)
    assert report.rms_m < 1e-9
    assert np.isfinite(report.error_share).all()
    assert "met within" in ik_report_text.to_text(report)


def test_offset_and_shaking_are_told_apart(plan, shifted, q):
    report = ik_report.make_report(plan, shifted, q)
    hip = plan.marker_names.index("RHip")
    wrist = plan.marker_names.index("LWrist")
    assert report.marker_bodies[hip] == "pelvis"
    np.testing.assert_allclose(report.marker_rms_m[[hip, wrist]], [0.03, SHAKE_M])
    np.testing.assert_allclose(report.marker_max_m[[hip, wrist]], [0.03, SHAKE_M])
    np.testing.assert_allclose(report.offset_m[hip], LIFT_M, atol=1e-12)
    np.testing.assert_allclose(report.offset_share[hip], 1.0)
    # Back and forth in ground, while the arm turns a little: nearly nothing stays.
    assert report.offset_share[wrist] < 0.01
    np.testing.assert_allclose(report.error_share[[hip, wrist]], [0.9, 0.1])
    assert report.offset_share_of_all == pytest.approx(0.9, abs=2e-3)
    assert list(report.worst[:2]) == [hip, wrist]
    assert next(iter(report.segment_shares())) == "pelvis"
    np.testing.assert_allclose(report.frame_max_m, 0.03)
    expected = np.sqrt((0.03**2 + SHAKE_M**2) / len(plan.marker_names))
    np.testing.assert_allclose(report.frame_rms_m, expected)
    assert report.rms_m == pytest.approx(expected)


def test_shares_are_those_of_the_objective(model, shifted, q):
    weights = {**dict.fromkeys(model.marker_names, 1.0), "LWrist": 4.0}
    plan = ik.make_plan(model, model.marker_names, sj.IkTasks(weights), ik.IkOptions())
    report = ik_report.make_report(plan, shifted, q)
    share = dict(zip(plan.marker_names, report.error_share, strict=True))
    hip, wrist = 0.03**2, 4 * SHAKE_M**2
    assert share["RHip"] == pytest.approx(hip / (hip + wrist))
    assert share["LWrist"] == pytest.approx(wrist / (hip + wrist))


def test_missing_markers_do_not_count(plan, shifted, q):
    valid = np.array(shifted.valid)
    valid[3] = False
    valid[:, shifted.names.index("RHip")] = False
    points = np.where(valid[..., None], shifted.points, 0.0)
    report = ik_report.make_report(plan, shifted.replace(points=points, valid=valid), q)
    hip = plan.marker_names.index("RHip")
    assert report.marker_frames[hip] == 0
    assert report.marker_rms_m[hip] == report.error_share[hip] == 0
    assert list(np.flatnonzero(~report.frame_seen)) == [3]
    text = ik_report_text.to_text(report)
    assert "Without any marker: 1 of 12 frames (4," in text
    assert "LWrist" in text


def test_no_marker_at_all(plan, exact, q):
    empty = exact.replace(
        points=np.zeros_like(exact.points), valid=np.zeros_like(exact.valid)
    )
    report = ik_report.make_report(plan, empty, q)
    assert not report.frame_seen.any()
    assert report.rms_m == 0
    assert "12 of 12 frames (1-12," in ik_report_text.to_text(report)


def test_limits_are_counted(model, plan, q):
    moved = q.copy()
    column = model.coordinate_names.index("hip_rotation_l")
    moved[:4, column] = np.asarray(model.upper)[column]
    moved[4:6, column] = np.asarray(model.lower)[column]
    points = replay.marker_points(model, replay.body_poses(model, moved))
    report = ik_report.make_report(
        plan,
        sj.MarkerTrajectory(
            points, np.ones(points.shape[:2], bool), model.marker_names, 60.0
        ),
        moved,
    )
    assert report.at_upper[column] == pytest.approx(4 / FRAMES)
    assert report.at_lower[column] == pytest.approx(2 / FRAMES)
    text = " ".join(ik_report_text.to_text(report).split())
    assert "hip_rotation_l (upper, 33 % of frames)" in text


def test_ranges_that_are_not_enforced_are_watched(model, plan, exact, q):
    moved = q.copy()
    column = model.coordinate_names.index("L5_S1_Flex_Ext")
    assert np.isinf(np.asarray(model.upper)[column])
    moved[:, column] = np.asarray(model.range)[column].mean()
    moved[:3, column] = np.asarray(model.range)[column, 1] + 0.1
    report = ik_report.make_report(plan, exact, moved)
    assert report.beyond_range[column] == pytest.approx(3 / FRAMES)
    text = " ".join(ik_report_text.to_text(report).split())
    assert "L5_S1_Flex_Ext (25 % of frames)" in text


def test_what_markers_do_not_tell_is_named(model, exact, q):
    # Without a wrist nothing moves with the elbow, and the upper arm, a stick from
    # shoulder to elbow, can turn about itself unseen.
    names = tuple(n for n in model.marker_names if n != "RWrist")
    plan = ik.make_plan(
        model, exact.names, sj.IkTasks(dict.fromkeys(names, 1.0)), ik.IkOptions()
    )
    report = ik_report.make_report(plan, exact, q)
    assert "elbow_flex_r" in report.unmoved
    assert "arm_rot_r" in report.undetermined
    assert "elbow_flex_l" not in (*report.undetermined, *report.unmoved)
    text = " ".join(ik_report_text.to_text(report).split())
    assert "Moved by no marker, kept at their defaults: elbow_flex_r." in text


def test_coupled_levels_inherit_the_uncertainty_of_what_drives_them(model, plan, q):
    points = replay.marker_points(model, replay.body_poses(model, q))
    report = ik_report.make_report(
        plan,
        sj.MarkerTrajectory(
            points, np.ones(points.shape[:2], bool), model.marker_names, 60.0
        ),
        q,
    )
    sd = dict(zip(report.coordinate_names, report.coordinate_sd, strict=True))
    # The coupler's coefficient in the model file.
    assert sd["L4_L5_Flex_Ext"] == pytest.approx(1.8571 * sd["L5_S1_Flex_Ext"], 1e-4)
    assert 0 < np.degrees(sd["L5_S1_Flex_Ext"]) < 5


def test_priors_are_listed(plan, exact, q):
    report = ik_report.make_report(plan, exact, q, {"L5_S1_Flex_Ext": 31.4159})
    text = ik_report_text.to_text(report)
    assert "L5_S1_Flex_Ext 31.4" in text


def test_text_is_short_and_says_where_the_error_is(plan, shifted, q):
    text = ik_report_text.to_text(ik_report.make_report(plan, shifted, q))
    assert max(map(len, text.splitlines())) <= 79
    assert len(text.splitlines()) < 35
    flat = " ".join(text.split())
    assert "90 % of the squared error sits at RHip:" in flat
    assert "explains 100 % of it" in flat


@pytest.mark.parametrize(
    ("frames", "expected"),
    [([], ""), ([0], "1"), ([2, 3, 4, 9], "3-5, 10"), (range(0, 20, 2), None)],
)
def test_frame_ranges(frames, expected):
    mask = np.zeros(20, bool)
    mask[list(frames)] = True
    found = ik_report_text.frame_ranges(mask)
    assert found == (expected if expected is not None else "1, 3, 5, 7, 9, 11, ...")


def test_report_is_frozen(plan, exact, q):
    report = ik_report.make_report(plan, exact, q)
    with pytest.raises(AttributeError):
        report.undetermined = ()  # pyright: ignore[reportAttributeAccessIssue]
    assert replace(report, undetermined=("a",)).undetermined == ("a",)
