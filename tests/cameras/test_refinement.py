"""Refined cameras against the true ones, and on a real capture with held-out frames."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.cameras import bundle, held_out, pinhole, refinement
from simspine_jax.cameras.refinement import Refined, RefinementOptions, refine
from simspine_jax.cameras.triangulation import triangulate
from simspine_jax.fitting.people import main_person
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import CameraRig, Detections2D
from tests import captures

FRAMES, KEYPOINTS = 60, 17
# Three cameras turned by 0.5 degrees and moved by 10 mm, each its own way.
TURN_DEG, MOVE_M = 0.5, 0.010


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    way = rng.normal(size=(count, 3))
    return way / np.linalg.norm(way, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def rig() -> CameraRig:
    return h36m_rig("S1")


@pytest.fixture(scope="module")
def wrong(rig) -> CameraRig:
    rng = np.random.default_rng(3)
    change = np.zeros((4, 6))
    change[1:, :3] = np.radians(TURN_DEG) * unit(rng, 3)
    change[1:, 3:] = MOVE_M * unit(rng, 3)
    return jax.tree.map(np.asarray, bundle.moved(rig, change))


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """A stiff set of points that walks and turns. Shape [T, K, 3], m."""
    rng = np.random.default_rng(0)
    body = rng.uniform([-0.4, -0.3, 0.0], [0.4, 0.3, 1.7], (KEYPOINTS, 3))
    angle = np.linspace(0, 2 * np.pi, FRAMES)
    c, s, o = np.cos(angle), np.sin(angle), np.zeros(FRAMES)
    turn = np.stack([c, -s, o, s, c, o, o, o, o + 1], axis=1).reshape(-1, 3, 3)
    walk = np.stack([1.2 * c, 1.2 * np.sin(2 * angle), o], axis=1)
    return np.einsum("tij,kj->tki", turn, body) + walk[:, None]


@pytest.fixture(scope="module")
def detections(rig, truth) -> Detections2D:
    """1 px of noise, and 3 % of the detections 30 to 300 px away."""
    rng = np.random.default_rng(1)
    pixels = np.asarray(pinhole.project(rig, truth))
    pixels = pixels + rng.normal(size=pixels.shape)
    shape = pixels.shape[:-1]
    angle = rng.uniform(0, 2 * np.pi, shape)
    far = np.where(rng.random(shape) < 0.03, rng.uniform(30, 300, shape), 0.0)
    pixels += far[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    names = tuple(f"k{k}" for k in range(KEYPOINTS))
    return Detections2D(pixels, np.ones(shape), names, 50.0)


@pytest.fixture(scope="module")
def refined(wrong, detections) -> Refined:
    return refine(wrong, detections)


def centres(rig: CameraRig) -> np.ndarray:
    turn, slide = np.asarray(rig.rotation), np.asarray(rig.translation)
    return -np.einsum("cji,cj->ci", turn, slide)


def apart(rig: CameraRig, other: CameraRig) -> tuple[np.ndarray, np.ndarray, float]:
    """Angles, deg, and distances, mm, after the best similarity; its scale less 1."""
    ours, theirs = np.asarray(rig.rotation), np.asarray(other.rotation)
    left, _, right = np.linalg.svd(np.einsum("cji,cjk->ik", theirs, ours))
    turn = left @ right  # of our world into theirs
    a, b = centres(rig) @ turn.T, centres(other)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = (a * b).sum() / (a * a).sum()
    rest = np.einsum("cij,kj,clk->cil", ours, turn, theirs)
    cosine = (np.trace(rest, axis1=1, axis2=2) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return angle, 1000 * np.linalg.norm(scale * a - b, axis=1), scale - 1


def test_held_out_error_falls_to_that_of_the_true_rig(rig, detections, refined):
    best = triangulate(rig, detections)
    held = held_out.frames(FRAMES, 0.25)
    least = best.reprojection_error[held][best.used_views[held]].mean()
    assert refined.before.mean_px > 2 * least
    assert refined.after.mean_px < 1.05 * least
    assert refined.after.median_px < refined.before.median_px
    assert 0.9 < refined.after.agreeing <= 1.0
    assert refined.steps > 0
    assert refined.points <= 45 * KEYPOINTS


def test_cameras_come_back_up_to_the_gauge(rig, wrong, refined):
    angle, distance, _ = apart(refined.rig, rig)
    first_angle, first_distance, _ = apart(wrong, rig)
    assert first_angle.max() > 0.2
    assert angle.max() < 0.06
    assert first_distance.max() > 5.0
    assert distance.max() < 3.0


def test_the_gauge_is_that_of_the_given_rig(wrong, refined):
    # No similarity brings the refined rig nearer to the given one: the scale of the
    # camera centres is the given one.
    _, _, scale = apart(refined.rig, wrong)
    assert abs(scale) < 1e-3
    moves = np.asarray(centres(refined.rig) - centres(wrong))
    assert (
        np.linalg.norm(moves.mean(axis=0)) < 0.3 * np.linalg.norm(moves, axis=1).max()
    )
    np.testing.assert_allclose(
        1000 * np.linalg.norm(moves, axis=1), refined.translation_mm, atol=1e-6
    )


def test_lengths_keep_their_scale(truth, detections, refined):
    solved = triangulate(refined.rig, detections)
    found, true = (p[:, 1:] - p[:, :1] for p in (solved.points, truth))
    good = solved.valid[:, 1:] & solved.valid[:, :1]
    ratio = np.linalg.norm(found, axis=-1)[good] / np.linalg.norm(true, axis=-1)[good]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)


def test_a_wrong_focal_length_is_found(rig, detections):
    matrix = np.array(rig.matrix)
    matrix[2, :2, :2] *= 1.01
    zoomed = rig.replace(matrix=matrix)  # pyright: ignore[reportAttributeAccessIssue]
    found = refine(zoomed, detections, RefinementOptions(focal=True))
    factor = found.rig.matrix[:, 0, 0] / np.asarray(rig.matrix)[:, 0, 0]
    # What all focal lengths share is nearly free; what one has of its own is not.
    assert factor[2] == pytest.approx(1.0, abs=0.004)
    assert found.focal_percent[2] == pytest.approx(-1.0, abs=0.4)
    assert found.after.mean_px < found.before.mean_px
    np.testing.assert_array_equal(found.rig.matrix[:, :2, 2], matrix[:, :2, 2])


def test_a_perfect_rig_stays(rig, detections):
    found = refine(rig, detections)
    assert found.rotation_deg.max() < 0.05
    assert found.translation_mm.max() < 3.0
    np.testing.assert_array_equal(found.focal_percent, 0.0)
    np.testing.assert_array_equal(found.rig.matrix, rig.matrix)
    assert found.after.mean_px == pytest.approx(found.before.mean_px, rel=0.02)


def test_inputs_stay_and_results_repeat(wrong, detections, refined):
    before = copy.deepcopy((wrong, detections))
    again = refine(wrong, detections)
    jax.tree.map(np.testing.assert_array_equal, before, (wrong, detections))
    jax.tree.map(np.testing.assert_array_equal, again, refined)


def test_points_are_drawn_from_the_frames_that_are_not_held_out(rig, detections):
    solved, options = triangulate(rig, detections), RefinementOptions(max_points=200)
    held = held_out.frames(FRAMES, options.held_out)
    problem, points, real = refinement._problem(rig, detections, solved, ~held, options)
    assert real == 200
    assert points.shape == (3, 200)
    assert (np.sum(problem.weight > 0, axis=0) >= 3).all()
    drawn = {tuple(p) for p in points.T}
    assert len(drawn) == 200
    assert not drawn & {tuple(p) for p in solved.points[held].reshape(-1, 3)}


def test_frames_that_judge_are_stretches():
    held = held_out.frames(100, 0.25)
    np.testing.assert_array_equal(
        np.flatnonzero(held), [*range(19, 31), *range(69, 81)]
    )
    for frames, share in ((8, 0.25), (60, 0.5), (1000, 0.1)):
        assert held_out.frames(frames, share).mean() == pytest.approx(share, abs=0.01)


@pytest.fixture(scope="module")
def biased(detections) -> tuple[Detections2D, np.ndarray]:
    """What a view adds to a keypoint, SD 5 px, and detections with it."""
    rng = np.random.default_rng(8)
    bias = rng.normal(0.0, 5.0, size=(4, KEYPOINTS, 2))
    return detections.replace(points=detections.points + bias), bias


def test_biases_of_a_detector_do_not_move_the_cameras(rig, wrong, biased):
    seen, bias = biased
    found = refine(wrong, seen)
    plain = refine(wrong, seen, RefinementOptions(bias_px=0.0))
    np.testing.assert_array_equal(plain.bias_px, 0.0)
    assert plain.unbiased == plain.after
    assert found.unbiased.mean_px < 0.6 * plain.after.mean_px
    angle, distance, _ = apart(found.rig, rig)
    plain_angle, plain_distance, _ = apart(plain.rig, rig)
    assert angle.mean() < 0.7 * plain_angle.mean()
    assert distance.mean() < 0.7 * plain_distance.mean()
    first_angle, first_distance, _ = apart(wrong, rig)
    assert angle.mean() < 0.7 * first_angle.mean()
    assert distance.mean() < first_distance.mean()
    # What a displacement of the keypoint in the world explains is not found.
    assert np.corrcoef(found.bias_px.ravel(), bias.ravel())[0, 1] > 0.6


def test_biases_are_taken_out_of_what_was_seen(detections):
    bias = np.ones((4, KEYPOINTS, 2)) * [2.0, -3.0]
    confidence = np.array(detections.confidence)
    confidence[0, 0, 0] = 0.0
    some = detections.replace(confidence=confidence)
    clean = refinement.without_bias(some, bias)
    moved = np.asarray(some.points) - clean.points
    np.testing.assert_array_equal(moved[0, 0, 0], 0.0)
    np.testing.assert_allclose(moved[1:], np.broadcast_to(bias, moved[1:].shape))
    assert refinement.without_bias(some, np.zeros((4, 0, 2))) is some


def test_a_step_is_that_of_the_dense_equations(rig, wrong, truth):
    points = truth[::30].reshape(-1, 3).T
    seen = pinhole.by_camera(pinhole.project(rig, truth[::30]))
    rng = np.random.default_rng(5)
    weight = (rng.random(seen.shape[:2]) < 0.8) / 4.0
    weight[:2] = 0.25
    pull, bias_pull = np.array([1e3] * 6 + [1e4]), np.full((3, 2), 0.04)
    keypoint = np.arange(points.shape[1]) % 3
    problem = bundle.Problem(wrong, seen, weight, 1e6, pull, bias_pull, keypoint)
    change = jnp.asarray(1e-3 * rng.normal(size=(4, 13)))
    all_pulls = jnp.concatenate([pull, bias_pull.ravel()])
    ours, spots = bundle._step(problem, change, jnp.asarray(points), 0.0)

    lens = pinhole.lens_of(wrong)

    @jax.jit
    def rows(flat):
        moves, places = flat[:52].reshape(4, 13), flat[52:].reshape(3, -1)
        miss = bundle._misses(problem, lens, moves, places) * jnp.sqrt(weight)[None]
        prior = moves * jnp.sqrt(all_pulls)[None]
        return jnp.concatenate([miss.reshape(-1), prior.reshape(-1)])

    flat = jnp.concatenate([change.reshape(-1), jnp.asarray(points).reshape(-1)])
    step = np.linalg.lstsq(
        np.asarray(jax.jit(jax.jacfwd(rows))(flat)), -rows(flat), rcond=None
    )
    whole = np.asarray(flat) + step[0]
    np.testing.assert_allclose(ours.reshape(-1), whole[:52], atol=1e-7)
    np.testing.assert_allclose(spots.reshape(-1), whole[52:], atol=1e-7)


def some_of(rig: CameraRig, count: int) -> CameraRig:
    few = jax.tree.map(lambda a: np.asarray(a)[:count], rig)
    return few.replace(names=rig.names[:count])


@pytest.mark.parametrize(("count", "words"), [(1, "two cameras"), (2, "3 cameras")])
def test_too_few_cameras_are_refused(rig, detections, count, words):
    few = Detections2D(
        detections.points[:, :count],
        detections.confidence[:, :count],
        detections.keypoint_names,
        50.0,
    )
    with pytest.raises(ValueError, match=f"at least {words}; the rig has {count}"):
        refine(some_of(rig, count), few)


def test_too_few_points_are_refused(rig, detections):
    confidence = np.array(detections.confidence)
    confidence[2:] = 0.0
    few = detections.replace(confidence=confidence)
    with pytest.raises(ValueError, match="at least 50 points that 3 views agree on"):
        refine(rig, few)


@pytest.mark.parametrize(
    ("wrong_one", "words"),
    [
        ({"huber_sds": 0.0}, "huber_sds must be positive"),
        ({"rotation_deg": float("nan")}, "rotation_deg must be positive"),
        ({"max_points": 3}, "max_points must be at least 50"),
        ({"bias_px": -1.0}, "bias_px must be 0 or more"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
        ({"held_out": 0.9}, "held_out must be above 0 and at most 0.5"),
    ],
)
def test_options_out_of_range_are_refused(wrong_one, words):
    with pytest.raises(ValueError, match=words):
        RefinementOptions(**wrong_one)


def test_a_real_capture_becomes_better(pose2sim_08):
    names = h36m_rig("S1").names
    rig, people = captures.balancing(pose2sim_08)
    main = main_person(rig, people)
    # Of the shape and names of the synthetic ones, for which all is compiled.
    cut = Detections2D(
        main.points[:FRAMES, :, :KEYPOINTS],
        main.confidence[:FRAMES, :, :KEYPOINTS],
        main.keypoint_names[:KEYPOINTS],
        main.rate_hz,
    )
    same = rig.replace(names=names)  # pyright: ignore[reportAttributeAccessIssue]
    found = refine(same, cut)
    assert found.after.mean_px < 0.75 * found.before.mean_px
    assert found.after.median_px < 0.75 * found.before.median_px
    assert found.after.agreeing >= 0.9 * found.before.agreeing
    assert found.unbiased.mean_px < 0.9 * found.after.mean_px
    assert found.unbiased.median_px < 0.9 * found.after.median_px
    assert found.unbiased.agreeing >= 0.95 * found.after.agreeing
