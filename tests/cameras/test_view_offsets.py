"""Offsets of views in frames: walking, standing and a real OpenPose capture."""

from pathlib import Path

import numpy as np
import pytest

from simspine_jax.cameras import pinhole, view_offsets
from simspine_jax.fitting.people import main_person
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import CameraRig, Detections2D
from tests import captures

SHIFTS = (0, 3, -2, 5)
FRAMES, RATE_HZ, NOISE_PX = 150, 50.0, 2.0


@pytest.fixture(scope="module")
def rig() -> CameraRig:
    return h36m_rig("S1")


@pytest.fixture(scope="module")
def real(pose2sim_08: Path) -> tuple[CameraRig, Detections2D]:
    rig, people = captures.balancing(pose2sim_08)
    return rig, main_person(rig, people)


def walking(frame: np.ndarray) -> np.ndarray:
    """A trunk and four limbs that swing, walking in a curve, m. [T, 13, 3]."""
    time = np.asarray(frame)[:, None] / RATE_HZ
    turn, swing = 0.5 * time, np.sin(2 * np.pi * 0.9 * time)
    ahead = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
    left = np.stack([-np.sin(turn), np.cos(turn), 0 * turn], axis=-1)
    middle = 2.0 * np.concatenate([np.sin(turn), -np.cos(turn), 0 * turn], axis=1)
    rows = [(0.0, 0.0, 1.65)]
    for side in (1.0, -1.0):
        rows += [(0.2 * side, 0.0, 1.4), (0.25 * side, -0.15, 1.1)]
        rows += [(0.25 * side, -0.3, 0.85), (0.12 * side, 0.0, 0.95)]
        rows += [(0.12 * side, 0.2, 0.5), (0.12 * side, 0.4, 0.1)]
    aside, reach, height = np.array(rows).T
    reach = swing * (reach * np.sign(aside))
    body = reach[..., None] * ahead + aside[:, None] * left
    return body + middle[:, None] + height[:, None] * np.array([0.0, 0.0, 1.0])


def seen(
    rig: CameraRig, shifts: tuple[int, ...], still: bool = False, frames: int = FRAMES
) -> Detections2D:
    rng = np.random.default_rng(0)
    time = np.arange(frames)
    views = []
    for c, shift in enumerate(shifts):
        at = np.zeros(frames) if still else time - shift
        views.append(np.asarray(pinhole.project(rig, walking(at)))[:, c])
    pixels = np.stack(views, axis=1)
    pixels += rng.normal(0.0, NOISE_PX, pixels.shape)
    confidence = rng.uniform(0.5, 1.0, pixels.shape[:-1])
    names = tuple(f"k{k}" for k in range(pixels.shape[2]))
    return Detections2D(pixels, confidence, names, RATE_HZ)


@pytest.mark.parametrize("shifts", [SHIFTS, (0, 0, 0, 0), (0, 0, -1, 0), (0, -7, 2, 0)])
def test_the_offsets_of_a_walk_are_found(rig, shifts):
    found = view_offsets.estimate_offsets(rig, seen(rig, shifts))
    np.testing.assert_array_equal(found.frames, shifts)
    assert found.sure.all()
    assert found.reference == 0
    if any(shifts):
        assert found.error_after_px.mean() < 0.8 * found.error_before_px.mean()
    else:
        np.testing.assert_array_equal(found.error_after_px, found.error_before_px)
    assert (found.error_after_px < 2.5 * NOISE_PX).all()
    assert f"{rig.names[1]}: {shifts[1]:+d} (sure)" in str(found)


def test_missing_and_wrong_keypoints_do_not_matter(rig):
    given = seen(rig, SHIFTS)
    rng = np.random.default_rng(1)
    draw = rng.uniform(size=given.confidence.shape)
    confidence = np.where(draw < 0.3, 0.0, given.confidence)
    pixels = np.where((draw < 0.3)[..., None], 0.0, given.points)
    far = rng.uniform(0.0, 1000.0, pixels.shape)
    pixels = np.where((draw > 0.9)[..., None], far, pixels)
    spoilt = Detections2D(pixels, confidence, given.keypoint_names, RATE_HZ)
    found = view_offsets.estimate_offsets(rig, spoilt)
    np.testing.assert_array_equal(found.frames, SHIFTS)


def test_a_view_that_sees_nobody_is_not_sure(rig):
    given = seen(rig, SHIFTS)
    confidence = np.array(given.confidence)
    confidence[:, 0] = 0.0
    alone = Detections2D(given.points, confidence, given.keypoint_names, RATE_HZ)
    found = view_offsets.estimate_offsets(rig, alone)
    np.testing.assert_array_equal(found.sure, [False, True, True, True])
    np.testing.assert_array_equal(found.frames, [0, 0, -5, 2])
    assert found.reference == 1
    assert np.isnan(found.error_after_px[0])


@pytest.mark.parametrize("frames", [30, FRAMES])
def test_a_still_person_tells_nothing(rig, frames):
    given = seen(rig, (0, 0, 0, 0), still=True, frames=frames)
    found = view_offsets.estimate_offsets(rig, given)
    np.testing.assert_array_equal(found.frames, 0)
    assert not found.sure.any()
    assert "not sure" in str(found)
    few = view_offsets.estimate_offsets(rig, given, max_frames=3)
    assert not few.sure.any()


def test_applied_offsets_put_views_together(rig):
    given = seen(rig, SHIFTS)
    before = np.array(given.points)
    moved = view_offsets.apply_offsets(given, SHIFTS)
    np.testing.assert_array_equal(given.points, before)
    assert moved.points.shape == before.shape
    np.testing.assert_array_equal(moved.points[:-3, 1], before[3:, 1])
    np.testing.assert_array_equal(moved.points[2:, 2], before[:-2, 2])
    lacks = np.zeros((FRAMES, 4), bool)
    lacks[-3:, 1] = lacks[:2, 2] = lacks[-5:, 3] = True
    np.testing.assert_array_equal((moved.confidence == 0).all(axis=-1), lacks)
    assert not moved.points[lacks].any()
    again = view_offsets.estimate_offsets(rig, moved)
    np.testing.assert_array_equal(again.frames, 0)
    assert again.sure.all()


def test_what_cannot_be_searched_is_refused(rig):
    given = seen(rig, SHIFTS)
    with pytest.raises(ValueError, match="fit best when shifted by all of max_frames"):
        view_offsets.estimate_offsets(rig, given, max_frames=4)
    with pytest.raises(ValueError, match="take a trial of at least 205 frames; this"):
        view_offsets.estimate_offsets(rig, given, max_frames=100)
    with pytest.raises(ValueError, match="max_frames must be at least 1; it is 0"):
        view_offsets.estimate_offsets(rig, given, max_frames=0)
    with pytest.raises(ValueError, match="one integer is needed for each"):
        view_offsets.apply_offsets(given, (1, 2))


def test_the_views_of_a_real_capture(real):
    rig, main = real
    found = view_offsets.estimate_offsets(rig, main)
    assert found.sure.all()
    np.testing.assert_array_equal(found.frames, [0, 1, 3, 1])
    assert (found.error_after_px < found.error_before_px).all()
    # A shift that is known comes on top.
    late = view_offsets.apply_offsets(main, (0, -4, 0, 0))
    again = view_offsets.estimate_offsets(rig, late)
    np.testing.assert_array_equal(again.frames, [0, 5, 3, 1])
