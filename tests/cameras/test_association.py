"""People who walk and cross, in views that miss, mix and invent detections."""

import jax
import numpy as np
import pytest

from simspine_jax.cameras import pinhole
from simspine_jax.cameras.association import (
    AssociationOptions,
    associate,
)
from simspine_jax.cameras.person_groups import groups
from simspine_jax.cameras.person_pairs import pair_costs
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import Array, CameraRig

FRAMES, PEOPLE, KEYPOINTS = 80, 3, 15
NOISE_PX = 4.0
_project = jax.jit(pinhole.project)


@pytest.fixture(scope="module")
def rig() -> CameraRig:
    return h36m_rig("S1")


def walkers(*, alike: bool = False) -> np.ndarray:
    """Bodies of keypoints, each walking its own line. [T, N, K, 3]."""
    rng, people = np.random.default_rng(0), PEOPLE
    body = rng.uniform([-0.25, -0.25, 0.05], [0.25, 0.25, 1.75], (people, KEYPOINTS, 3))
    phase = rng.uniform(0, 6, body.shape)
    if alike:
        body, phase = np.tile(body[:1], (people, 1, 1)), np.tile(phase[:1], (3, 1, 1))
    time = np.linspace(-1, 1, FRAMES)[:, None]
    ways = [
        np.concatenate([1.3 * time, 0.4 + 0 * time], axis=1),
        np.concatenate([-1.3 * time, -0.3 + 0 * time], axis=1),
        np.concatenate([0.9 + 0.2 * time, 1.3 * time - 1.0], axis=1),
    ]
    place = np.stack(ways, axis=1)  # [T, N, 2]
    swing = 0.08 * np.sin(9 * time[..., None, None] + phase)
    points = body + swing
    points[..., :2] += place[:, :, None]
    return points


def projected(rig: CameraRig, points: np.ndarray) -> np.ndarray:
    """Pixels of people, one compilation for all of one shape. [T, C, N, K, 2]."""
    return np.swapaxes(np.asarray(_project(rig, points)), 1, 2)


def sightings(
    rig: CameraRig, people: int, *, clutter: int, missing: float, alike: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels and confidence in shuffled slots, and who is in each (-1 nobody)."""
    rng = np.random.default_rng(1)
    exact = projected(rig, walkers(alike=alike))[:, :, :people]
    frames, cameras, slots = FRAMES, len(rig.names), people + clutter
    pixels = np.zeros((frames, cameras, slots, KEYPOINTS, 2))
    pixels[:, :, :people] = exact + rng.normal(scale=NOISE_PX, size=exact.shape)
    # A false detection is a still body somewhere in the image, as of a mirror.
    still = rng.uniform(150, 850, (cameras, clutter, 1, 2))
    shape = rng.uniform([-60, -150], [60, 150], (cameras, clutter, KEYPOINTS, 2))
    ghost = (still + shape)[None] + rng.normal(size=(frames, 1, 1, 1, 2))
    pixels[:, :, people:] = ghost
    confidence = rng.uniform(0.3, 0.9, pixels.shape[:-1])
    confidence[rng.uniform(size=confidence.shape) < 0.1] = 0.0
    confidence[rng.uniform(size=confidence.shape[:3]) < missing] = 0.0
    who = np.tile(np.r_[np.arange(people), np.full(clutter, -1)], (frames, cameras, 1))
    order = np.argsort(rng.uniform(size=who.shape), axis=2)
    pixels = np.take_along_axis(pixels, order[..., None, None], axis=2)
    confidence = np.take_along_axis(confidence, order[..., None], axis=2)
    pixels = np.where(confidence[..., None] > 0, pixels, 0.0)
    return pixels, confidence, np.take_along_axis(who, order, axis=2)


def identities(index: Array, who: np.ndarray) -> np.ndarray:
    """Who the detections of the tracks are; -2 where there is none. [T, N, C]."""
    frame, view = np.arange(len(index))[:, None, None], np.arange(who.shape[1])
    return np.where(index >= 0, who[frame, view, index], -2)


def share_found(index: Array, who: np.ndarray, confidence: np.ndarray, person: int):
    """Which share of a person's detections is in the track that is theirs."""
    there = ((who == person) & (confidence > 0).any(axis=-1)).any(axis=2)
    named = identities(index, who)
    best = max(range(index.shape[1]), key=lambda n: (named[:, n] == person).sum())
    return (named[:, best] == person)[there].mean()


@pytest.mark.parametrize("people", [1, 2, 3])
@pytest.mark.parametrize(("clutter", "missing"), [(0, 0.0), (2, 0.15)])
def test_each_track_is_one_person(rig, people, clutter, missing):
    pixels, confidence, who = sightings(rig, people, clutter=clutter, missing=missing)
    tracks = associate(rig, pixels, confidence)
    named = identities(tracks.index, who)
    assert tracks.index.shape[1] >= people
    owners = []
    for n in range(people):
        mine = named[:, n][named[:, n] != -2]
        owners.append(int(np.bincount(mine[mine >= 0]).argmax()))
        assert (mine == owners[-1]).mean() > 0.99
    assert sorted(owners) == list(range(people))
    for person in range(people):
        assert share_found(tracks.index, who, confidence, person) > 0.95
    assert (np.diff(tracks.score) <= 0).all()


def test_people_of_the_same_shape_and_step_are_told_apart(rig):
    pixels, confidence, who = sightings(rig, 3, clutter=1, missing=0.1, alike=True)
    tracks = associate(rig, pixels, confidence)
    named = identities(tracks.index, who)
    for n in range(3):
        mine = named[:, n][named[:, n] >= 0]
        assert (mine == np.bincount(mine).argmax()).mean() > 0.97
        assert share_found(tracks.index, who, confidence, n) > 0.9


def test_a_person_lost_for_a_while_is_the_same(rig):
    pixels, confidence, who = sightings(rig, 2, clutter=0, missing=0.0)
    hidden = np.isin(np.arange(FRAMES), np.arange(30, 42))[:, None, None] & (who == 1)
    confidence = np.where(hidden[..., None], 0.0, confidence)
    tracks = associate(rig, pixels, confidence)
    assert tracks.index.shape[1] == 2
    named = identities(tracks.index, who)
    assert set(np.unique(named[:, 0])) <= {-2, 0}
    assert set(np.unique(named[:, 1])) == {-2, 1}
    assert (named[50:, 1] == 1).mean() > 0.97
    short = associate(rig, pixels, confidence, AssociationOptions(max_gap=5))
    assert short.index.shape[1] == 3


def test_one_view_carries_a_person_on(rig):
    pixels, confidence, who = sightings(rig, 1, clutter=0, missing=0.0)
    confidence = confidence.copy()
    confidence[30:60, 1:] = 0.0
    tracks = associate(rig, pixels, confidence)
    assert tracks.index.shape[1] == 1
    assert (tracks.index[30:60, 0] >= 0).tolist() == [[True, False, False, False]] * 30
    assert (tracks.index[60:, 0] >= 0).mean() > 0.97
    confidence[:, 1:] = 0.0
    assert associate(rig, pixels, confidence).index.shape == (FRAMES, 0, 4)


def test_the_cost_is_the_distance_over_the_size(rig):
    exact = projected(rig, walkers())[:5, :, :1]
    confidence = np.ones(exact.shape[:-1])
    cost = pair_costs(rig, exact, confidence)[:, :, 0, :, 0]
    apart = ~np.eye(4, dtype=bool)
    assert np.isinf(cost[:, ~apart]).all()
    assert cost[:, apart].max() < 1e-9
    np.testing.assert_allclose(cost, np.swapaxes(cost, 1, 2))
    # Across an epipolar line of view 1 that is about level: both views share the miss.
    moved = exact.copy()
    moved[:, 1] += 1e-3
    size = np.linalg.norm(np.ptp(exact, axis=3), axis=-1)[..., 0]
    mean = 0.5 * (size[:, 0] + size[:, 1])
    miss = pair_costs(rig, moved, confidence)[:, 0, 0, 1, 0] * mean
    assert (miss > 0).all()
    assert (miss <= 2**0.5 * 1e-3 + 1e-9).all()


def test_rays_that_meet_behind_a_camera_are_wrong(rig):
    # A point mirrored at camera 0 has its pixel there, and meets its ray behind it.
    turn, slide = np.asarray(rig.rotation), np.asarray(rig.translation)
    centre = -turn[0].T @ slide[0]
    front = projected(rig, walkers())[:1, :, :1]
    mirrored = centre + 0.2 * (centre - walkers())
    behind = projected(rig, mirrored)[:1, :, :1]
    seen = (turn @ mirrored[0, 0].T + slide[:, :, None])[:, 2] > 0  # [C, K]
    views = np.flatnonzero(seen.all(axis=1))
    assert views.size
    mixed = front.copy()
    mixed[:, views] = behind[:, views]
    cost = pair_costs(rig, mixed, np.ones(mixed.shape[:-1]))
    assert (cost[0, 0, 0, views, 0] > AssociationOptions().limit).all()


def test_a_group_has_one_detection_a_view(rig):
    pixels, confidence, _ = sightings(rig, 2, clutter=1, missing=0.1)
    found = groups(
        pair_costs(rig, pixels, confidence), confidence, AssociationOptions().limit
    )
    seen = np.any(confidence > 0, axis=-1)
    for t in range(FRAMES):
        for c in range(4):
            taken = found[t][:, c]
            assert sorted(taken[taken >= 0]) == np.flatnonzero(seen[t, c]).tolist()


def test_empty_frames_and_nobody(rig):
    pixels, confidence, who = sightings(rig, 1, clutter=0, missing=0.0)
    confidence[10:20] = 0.0
    tracks = associate(rig, pixels, confidence)
    assert tracks.index.shape[1] == 1
    assert (tracks.index[10:20] == -1).all()
    for people in (0, 2):
        empty = np.zeros((4, 4, people, KEYPOINTS))
        found = associate(rig, np.zeros((*empty.shape, 2)), empty)
        assert found.index.shape == (4, 0, 4)


def test_the_inputs_stay_and_the_result_repeats(rig):
    pixels, confidence, _ = sightings(rig, 3, clutter=1, missing=0.1)
    given = pixels.copy(), confidence.copy()
    one, two = (associate(rig, pixels, confidence) for _ in range(2))
    np.testing.assert_array_equal(one.index, two.index)
    np.testing.assert_array_equal(one.score, two.score)
    np.testing.assert_array_equal(pixels, given[0])
    np.testing.assert_array_equal(confidence, given[1])


def test_refusals(rig):
    pixels, confidence = np.ones((2, 4, 1, 5, 2)), np.ones((2, 4, 1, 5))
    alone = jax.tree.map(lambda a: a[:1], rig).replace(names=rig.names[:1])
    with pytest.raises(ValueError, match="at least two cameras; the rig has 1"):
        associate(alone, pixels[:, :1], confidence[:, :1])
    with pytest.raises(ValueError, match="3 views, but the rig 4 cameras"):
        associate(rig, pixels[:, :3], confidence[:, :3])
    for wrong in (-1.0, np.nan):
        with pytest.raises(ValueError, match="negative or not a number"):
            associate(rig, pixels, np.where(confidence > 0, wrong, 0.0))
    with pytest.raises(ValueError, match="limit must be positive"):
        AssociationOptions(limit=0.0)
    with pytest.raises(ValueError, match="min_frames must be at least 1"):
        AssociationOptions(min_frames=0)
