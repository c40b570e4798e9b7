"""Left and right exchanged in views: a synthetic walk and a real OpenPose capture."""

from pathlib import Path

import jax
import numpy as np
import pytest

from simspine_jax.cameras import pinhole, side_swaps
from simspine_jax.fitting.people import main_person
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.skeletons import body_25b
from simspine_jax.types import CameraRig, Detections2D
from tests import captures
from tests.cameras.test_view_offsets import RATE_HZ, walking

LIMBS = ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
NAMES = ("Nose", *(f"L{n}" for n in LIMBS), *(f"R{n}" for n in LIMBS))
PAIRS = tuple((f"L{n}", f"R{n}") for n in LIMBS)
ALL, ARMS, LEGS = slice(0, 6), slice(0, 3), slice(3, 6)
FRAMES, NOISE_PX, SHARE = 400, 2.0, 0.05


@pytest.fixture(scope="module")
def rig() -> CameraRig:
    return h36m_rig("S1")


def seen(rig: CameraRig, noise_px: float = NOISE_PX) -> Detections2D:
    rng = np.random.default_rng(0)
    pixels = np.asarray(pinhole.project(rig, walking(np.arange(FRAMES))))
    pixels = pixels + rng.normal(0.0, noise_px, pixels.shape)
    confidence = rng.uniform(0.5, 1.0, pixels.shape[:-1])
    return Detections2D(pixels, confidence, NAMES, RATE_HZ)


def without(given: Detections2D, share: float) -> Detections2D:
    """Leaves out some keypoints."""
    lost = np.random.default_rng(2).uniform(size=given.confidence.shape) < share
    points = np.where(lost[..., None], 0.0, given.points)
    confidence = np.where(lost, 0.0, given.confidence)
    return Detections2D(points, confidence, given.keypoint_names, given.rate_hz)


def exchanged(
    given: Detections2D,
    swapped: np.ndarray,
    pairs: tuple[tuple[str, str], ...] = PAIRS,
) -> Detections2D:
    """Exchanges left and right, [T, C, P]."""
    points, confidence = np.array(given.points), np.array(given.confidence)
    for t, c, p in np.argwhere(swapped):
        left, right = (given.keypoint_names.index(name) for name in pairs[p])
        points[t, c, [left, right]] = points[t, c, [right, left]]
        confidence[t, c, [left, right]] = confidence[t, c, [right, left]]
    return Detections2D(points, confidence, given.keypoint_names, given.rate_hz)


def drawn(given: Detections2D, part: slice, view: int | None) -> np.ndarray:
    """Some frames of a view, or of one view drawn for each frame, [T, C, P]."""
    rng = np.random.default_rng(3)
    frames, views = given.confidence.shape[:2]
    truth = np.zeros((frames, views, len(PAIRS)), bool)
    for t in np.flatnonzero(rng.uniform(size=frames) < SHARE):
        truth[t, rng.integers(views) if view is None else view, part] = True
    return truth


def rates(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Share of what is exchanged that was found, and of the rest."""
    return float(found[truth].mean()), float(found[~truth].mean())


@pytest.mark.parametrize("part", [ALL, ARMS, LEGS], ids=["body", "arms", "legs"])
@pytest.mark.parametrize("view", [0, 2, None])
def test_swaps_of_a_view_are_found_and_put_back(rig, part, view):
    clean = seen(rig)
    truth = drawn(clean, part, view)
    given = exchanged(clean, truth)
    before = np.array(given.points)
    swaps = side_swaps.find_swaps(rig, given, PAIRS)
    recall, false = rates(swaps.swapped, truth)
    assert recall > 0.95
    assert false < 0.01
    whole = side_swaps.repaired(given, swaps, PAIRS)
    np.testing.assert_array_equal(given.points, before)
    right = (swaps.swapped == truth).all(axis=2)
    np.testing.assert_array_equal(whole.points[right], clean.points[right])
    np.testing.assert_array_equal(whole.confidence[right], clean.confidence[right])
    np.testing.assert_array_equal(swaps.count, swaps.swapped.sum(axis=(0, 2)))
    assert f"{rig.names[2]}: {swaps.count[2]} in" in str(swaps)


def test_nothing_is_exchanged_in_clean_data(rig):
    clean = seen(rig)
    swaps = side_swaps.find_swaps(rig, clean, PAIRS)
    assert not swaps.swapped.any()
    whole = side_swaps.repaired(clean, swaps, PAIRS)
    np.testing.assert_array_equal(whole.points, clean.points)
    assert whole.keypoint_names == NAMES
    assert not side_swaps.find_swaps(rig, without(clean, 0.3), PAIRS).swapped.any()


def test_missing_keypoints(rig):
    clean = without(seen(rig), 0.2)
    truth = drawn(clean, ALL, 1)
    swaps = side_swaps.find_swaps(rig, exchanged(clean, truth), PAIRS)
    index = np.array([[NAMES.index(name) for name in pair] for pair in PAIRS])
    known = (np.asarray(clean.confidence)[:, :, index] > 0).any(axis=-1)
    assert not swaps.swapped[~known].any()
    recall, false = rates(swaps.swapped[known], truth[known])
    assert recall > 0.95
    assert false < 0.01
    empty = without(seen(rig), 0.0)
    empty.confidence[50:90, 3] = 0.0
    assert not side_swaps.find_swaps(rig, empty, PAIRS).swapped.any()


def test_two_views_and_time_tell_which_is_exchanged(rig):
    clean, two = seen(rig), jax.tree.map(lambda a: a[:2], rig)
    two = two.replace(names=rig.names[:2])
    clean = Detections2D(
        clean.points[:, :2], clean.confidence[:, :2], NAMES, clean.rate_hz
    )
    truth = drawn(clean, ALL, 1)
    swaps = side_swaps.find_swaps(two, exchanged(clean, truth), PAIRS)
    recall, false = rates(swaps.swapped, truth)
    assert recall > 0.9
    assert false < 0.01
    assert not side_swaps.find_swaps(two, clean, PAIRS).swapped.any()


def test_all_views_at_once_are_told_by_time(rig):
    clean = seen(rig)
    truth = np.zeros((FRAMES, 4, len(PAIRS)), bool)
    truth[100] = truth[300] = truth[200:202] = True
    swaps = side_swaps.find_swaps(rig, exchanged(clean, truth), PAIRS)
    recall, false = rates(swaps.swapped, truth)
    assert recall > 0.95
    assert false < 0.01


def test_sides_that_coincide_are_left_alone(rig):
    clean = seen(rig, noise_px=0.0)
    points = np.array(clean.points)
    for pair in PAIRS:
        left, right = (NAMES.index(name) for name in pair)
        points[:, 0, left] = points[:, 0, right] = points[:, 0, [left, right]].mean(1)
    points += np.random.default_rng(4).normal(0.0, NOISE_PX, points.shape)
    flat = Detections2D(points, clean.confidence, NAMES, RATE_HZ)
    assert not side_swaps.find_swaps(rig, flat, PAIRS).swapped.any()


def test_what_does_not_fit_is_refused(rig):
    clean = seen(rig)
    with pytest.raises(ValueError, match="there is no keypoint 'LEye'; there are Nose"):
        side_swaps.find_swaps(rig, clean, body_25b.PAIRS)
    swaps = side_swaps.find_swaps(rig, clean, PAIRS[:1])
    with pytest.raises(ValueError, match="the swaps are of 1 pairs and shape"):
        side_swaps.repaired(clean, swaps, PAIRS)
    assert side_swaps.find_swaps(rig, clean, ()).swapped.shape == (FRAMES, 4, 0)


def test_a_real_capture(pose2sim_08: Path):
    rig, people = captures.balancing(pose2sim_08)
    main = main_person(rig, people)
    swaps = side_swaps.find_swaps(rig, main, body_25b.PAIRS)
    assert swaps.count.sum() == 0
    pairs, body, arms, legs = body_25b.PAIRS, slice(0, 11), slice(2, 5), slice(5, 11)
    for view in range(4):
        for part in (body, arms, legs):
            truth = np.zeros_like(swaps.swapped)
            truth[::20, view, part] = True
            found = side_swaps.find_swaps(rig, exchanged(main, truth, pairs), pairs)
            recall, false = rates(found.swapped, truth)
            assert recall > 0.95
            assert false < 0.01
