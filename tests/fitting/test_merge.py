"""Markers of known quality joined with pseudo-markers."""

import numpy as np
import pytest

from simspine_jax.fitting import merge as module
from simspine_jax.fitting.merge import Source, from_h36m, merge
from simspine_jax.skeletons import h36m_17, simspine
from simspine_jax.types import MarkerTrajectory

FRAMES = 12


def trajectory(names, frames=FRAMES, seed=0, rate_hz=50.0, **fields):
    points = np.random.default_rng(seed).normal(0, 0.3, (frames, len(names), 3))
    valid = np.ones(points.shape[:2], bool)
    return MarkerTrajectory(points, valid, tuple(names), rate_hz, **fields)


def covariances(frames, count, seed=0):
    root = np.random.default_rng(seed).normal(0, 0.01, (frames, count, 3, 3))
    return root @ root.swapaxes(2, 3) + 1e-6 * np.eye(3)


BODY = Source("body", trajectory(("Hip", "Neck", "LHip")), sd_m=0.002)
SPINE_COVARIANCE = covariances(FRAMES, 2)
SPINE = Source("spine", trajectory(("Spine_01", "Neck"), seed=1), SPINE_COVARIANCE)


def only(source: Source, *names: str) -> Source:
    keep = [source.markers.names.index(name) for name in names]
    markers = source.markers.replace(
        points=source.markers.points[:, keep],
        valid=source.markers.valid[:, keep],
        names=names,
    )
    covariance = None if source.covariance is None else source.covariance[:, keep]
    return Source(source.name, markers, covariance, source.sd_m)


def unseen(source: Source, frame: int, name: str) -> Source:
    valid = np.array(source.markers.valid)
    valid[frame, source.markers.names.index(name)] = False
    markers = source.markers.replace(valid=valid)
    return Source(source.name, markers, source.covariance, source.sd_m)


def test_markers_of_both_are_kept_with_their_own_weights():
    weight = np.full((FRAMES, 3), 4.0)
    weight[3, 1] = 0.0  # counts as not seen
    body = Source("body", BODY.markers.replace(weight=weight), sd_m=0.002)
    spine = only(SPINE, "Spine_01")
    merged = merge(body, spine)
    markers = merged.markers
    assert markers.names == ("Hip", "Neck", "LHip", "Spine_01")
    assert (markers.rate_hz, markers.start_s) == (50.0, 0.0)
    np.testing.assert_array_equal(markers.points[:, 0], body.markers.points[:, 0])
    np.testing.assert_array_equal(markers.points[:, 3], spine.markers.points[:, 0])
    # SD 2 mm at weight 4 is 1 mm; the reference is 5 mm.
    np.testing.assert_allclose(markers.weight[:, 0], 25.0)
    one = np.broadcast_to(np.eye(3) * 1e-6, (FRAMES, 3, 3))
    np.testing.assert_allclose(merged.covariance[:, 2], one)
    told = 0.005**2 / (np.trace(SPINE_COVARIANCE[:, 0], axis1=1, axis2=2) / 3)
    np.testing.assert_allclose(markers.weight[:, 3], told)
    assert not markers.valid[3, 1]
    assert markers.weight[3, 1] == 0 == np.abs(markers.points[3, 1]).max()
    assert merged.origin[3, 1] == module.NONE
    assert merged.source_of["Neck"] == ("body",)
    assert merged.source_of["Spine_01"] == ("spine",)
    assert merged.disagreement == {}
    assert merged.dropped == (0, 0)
    assert merged.to_text() == "body: Hip, Neck, LHip\nspine: Spine_01"


def test_a_marker_of_both_is_refused_unless_a_rule_is_given():
    with pytest.raises(ValueError, match=r"^body and spine both have Neck; on_confl"):
        merge(BODY, SPINE)


def test_first_falls_back_where_the_first_source_is_blind():
    merged = merge(unseen(BODY, 5, "Neck"), SPINE, on_conflict="first")
    column = merged.markers.names.index("Neck")
    seen = np.arange(FRAMES) != 5
    points = merged.markers.points[:, column]
    np.testing.assert_array_equal(points[seen], BODY.markers.points[seen, 1])
    np.testing.assert_array_equal(points[5], SPINE.markers.points[5, 1])
    np.testing.assert_allclose(merged.covariance[5, column], SPINE_COVARIANCE[5, 1])
    np.testing.assert_array_equal(merged.fallback_frames["Neck"], [5])
    assert merged.source_of["Neck"] == ("body", "spine")
    assert "fell back in 1 frames" in merged.to_text()


def test_fusing_is_the_inverse_covariance_weighted_mean():
    merged = merge(unseen(BODY, 7, "Neck"), SPINE, on_conflict="fuse")
    column = merged.markers.names.index("Neck")
    for frame in range(FRAMES):
        one = np.linalg.inv(np.eye(3) * 0.002**2)
        two = np.linalg.inv(SPINE_COVARIANCE[frame, 1])
        x, y = BODY.markers.points[frame, 1], SPINE.markers.points[frame, 1]
        if frame == 7:
            one, x = np.zeros((3, 3)), np.zeros(3)
        spread = np.linalg.inv(one + two)
        np.testing.assert_allclose(
            merged.covariance[frame, column], spread, rtol=1e-7, atol=1e-15
        )
        np.testing.assert_allclose(
            merged.markers.points[frame, column],
            spread @ (one @ x + two @ y),
            rtol=1e-8,
            atol=1e-10,
        )
    np.testing.assert_array_equal(merged.fallback_frames["Neck"], [7])
    assert merged.origin[0, column] == module.FUSED
    assert set(merged.origin[:, 0]) == {module.FIRST}


def test_disagreement_is_one_where_the_covariances_are_right():
    frames = 3000
    rng = np.random.default_rng(3)
    truth = trajectory(("Neck",), frames)
    spread = covariances(frames, 1, seed=4)
    noise = np.einsum(
        "tkij,tkj->tki", np.linalg.cholesky(spread), rng.normal(size=(frames, 1, 3))
    )
    body = truth.replace(points=truth.points + rng.normal(0, 0.004, (frames, 1, 3)))
    spine = truth.replace(points=truth.points + noise)
    merged = merge(
        Source("body", body, sd_m=0.004),
        Source("spine", spine, spread),
        on_conflict="fuse",
    )
    distance, ratio = merged.disagreement["Neck"]
    expected = np.sqrt(np.square(body.points - spine.points).sum(-1).mean())
    assert distance == pytest.approx(expected)
    assert ratio == pytest.approx(1.0, abs=0.1)
    error = merged.markers.points - truth.points
    told = np.einsum("tki,tkij,tkj->t", error, np.linalg.inv(merged.covariance), error)
    assert told.mean() / 3 == pytest.approx(1.0, abs=0.1)


def test_more_frames_are_refused_or_cut_and_counted():
    """Published fault: frames past the shorter file were written unmerged."""
    longer = Source("spine", trajectory(("Spine_01",), FRAMES + 3, seed=1), sd_m=0.01)
    with pytest.raises(ValueError, match=r"^body has 12 frames at 50 Hz from 0 s, and"):
        merge(BODY, longer)
    merged = merge(BODY, longer, frames="overlap")
    assert merged.markers.points.shape == (FRAMES, 4, 3)
    assert merged.dropped == (0, 3)
    assert "spine: 3 frames outside the overlap were dropped" in merged.to_text()


@pytest.mark.parametrize(("start_s", "shift"), [(0.061, 3), (-0.04, -2)])
def test_overlap_aligns_by_time(start_s, shift):
    late = trajectory(("Spine_01",), seed=1, start_s=start_s)
    with pytest.raises(ValueError, match="number and start of the frames"):
        merge(BODY, Source("spine", late, sd_m=0.01))
    merged = merge(BODY, Source("spine", late, sd_m=0.01), frames="overlap")
    own, other = max(shift, 0), max(-shift, 0)
    count = FRAMES - abs(shift)
    assert merged.dropped == (abs(shift), abs(shift))
    assert merged.markers.start_s == pytest.approx(own / 50)
    np.testing.assert_array_equal(
        merged.markers.points[:, 0], BODY.markers.points[own : own + count, 0]
    )
    np.testing.assert_array_equal(
        merged.markers.points[:, 3], late.points[other : other + count, 0]
    )


def test_rates_may_drift_by_less_than_half_a_frame():
    near = Source("spine", trajectory(("Spine_01",), rate_hz=50.5), sd_m=0.01)
    assert merge(BODY, near).markers.rate_hz == 50.0
    off = Source("spine", trajectory(("Spine_01",), rate_hz=60.0), sd_m=0.01)
    for frames in ("equal", "overlap"):
        with pytest.raises(ValueError, match="at 60 Hz from 0 s; the rates must"):
            merge(BODY, off, frames=frames)


def test_nothing_in_common_and_other_places_are_refused():
    later = trajectory(("Spine_01",), start_s=10.0)
    with pytest.raises(ValueError, match="have no frame in common"):
        merge(BODY, Source("spine", later, sd_m=0.01), frames="overlap")
    points = trajectory(("Spine_01",))
    for wrong in (points.points * 1000, points.points + [0.0, 3.0, 0.0]):
        with pytest.raises(ValueError, match="not in the same ground frame or unit"):
            merge(BODY, Source("spine", points.replace(points=wrong), sd_m=0.01))


def test_sources_say_what_is_wrong_with_them():
    markers = trajectory(("Neck",))
    spread = covariances(FRAMES, 1)
    for said, fields in {
        "s: the markers need either a covariance or sd_m; found neither": {},
        "found both": {"sd_m": 0.1, "covariance": spread},
        "sd_m must be a positive number of metres; it is -1": {"sd_m": -1.0},
        "do not fit the points": {"covariance": spread[:, :, :2]},
        "'Neck' in frame 0 is not finite, symmetric and": {"covariance": -spread},
    }.items():
        with pytest.raises(ValueError, match=said):
            Source("s", markers, **fields)
    with pytest.raises(ValueError, match="'Neck' is named more than once"):
        Source("s", trajectory(("Neck", "Neck")), sd_m=0.1)
    with pytest.raises(ValueError, match="weights, of shape"):
        Source("s", markers.replace(weight=-np.ones((FRAMES, 1))), sd_m=0.1)
    bad = markers.replace(points=np.full((FRAMES, 1, 3), np.nan))
    with pytest.raises(ValueError, match="'Neck' is valid but not finite in frame 0"):
        Source("s", bad, sd_m=0.1)


def test_options_are_checked():
    with pytest.raises(ValueError, match="on_conflict must be one of"):
        merge(BODY, SPINE, on_conflict="second")
    with pytest.raises(ValueError, match="frames must be one of"):
        merge(BODY, SPINE, frames="cut")
    with pytest.raises(ValueError, match="reference_sd_m must be a positive"):
        merge(BODY, SPINE, reference_sd_m=0.0)


@pytest.mark.parametrize("names", [h36m_17.NAMES, h36m_17.NAMES_16])
def test_human36m_is_matched_by_name_in_any_order(names):
    """Published fault: 17 joints were a broadcast error, and 16 taken by order."""
    backwards = names[::-1]
    body = from_h36m(trajectory(backwards))
    assert set(body.names) <= set(simspine.NAMES)
    assert len(body.names) == len(names) - 1
    assert "Spine_04" not in body.names
    joint = "Neck" if "Neck" in names else "Thorax"
    np.testing.assert_array_equal(
        body.points[:, body.names.index("Neck")],
        trajectory(backwards).points[:, backwards.index(joint)],
    )
    asked = from_h36m(trajectory(names), mid_torso_is_t8=True)
    assert len(asked.names) == len(names)
    np.testing.assert_array_equal(
        asked.points[:, asked.names.index("Spine_04")],
        trajectory(names).points[:, names.index("Spine")],
    )
    merged = merge(Source("h36m", body, sd_m=0.002), only(SPINE, "Spine_01"))
    assert len(merged.markers.names) == len(names)


def test_human36m_refuses_other_names():
    with pytest.raises(ValueError, match="'Chest' is no joint of Human3.6M"):
        from_h36m(trajectory(("Hip", "Chest")))
    with pytest.raises(ValueError, match="more than one joint of Human3.6M is 'Neck'"):
        from_h36m(trajectory(("Neck", "Thorax")))


def test_the_skeleton_of_human36m():
    names = h36m_17.NAMES
    assert len(set(names)) == len(h36m_17.OF_32) == 17
    assert {n for link in h36m_17.LINKS for n in link} == set(names)
    assert len(h36m_17.LINKS) == 16
    assert len(h36m_17.PAIRS) == 6
    assert {n for pair in h36m_17.PAIRS for n in pair} <= set(names)
    told = [h36m_17.SIMSPINE_NAMES.get(name, h36m_17.T8) for name in names]
    assert len(set(told)) == 17
    assert set(told) <= set(simspine.NAMES)
    # SIMSPINE's 16 joints are the same in the same order, without the head's top.
    own = [h36m_17.SIMSPINE_NAMES.get(n, h36m_17.T8) for n in h36m_17.NAMES_16]
    assert own == [name for name in told if name != "Head"]
