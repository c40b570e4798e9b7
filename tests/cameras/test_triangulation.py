"""Triangulated points against the truth, statistics, oracles and finite differences."""

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.cameras import pinhole
from simspine_jax.cameras.triangulation import (
    TriangulationOptions,
    triangulate,
    triangulate_points,
)
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import CameraRig, Detections2D

POINTS = 10_000
CHI2_95_OF_3 = 7.814727903251179
NOISE_GIVEN = TriangulationOptions(noise_px=1.0, block_points=POINTS)


@pytest.fixture(scope="module")
def rig() -> CameraRig:
    return h36m_rig("S1")


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    low, high = [-1.5, -1.5, 0.1], [1.5, 1.5, 1.9]
    return np.random.default_rng(0).uniform(low, high, (POINTS, 1, 3))


@pytest.fixture(scope="module")
def exact(rig, truth) -> np.ndarray:
    return np.asarray(pinhole.project(rig, truth))


@pytest.fixture(scope="module")
def noisy(exact) -> np.ndarray:
    return exact + np.random.default_rng(1).normal(size=exact.shape)


def seen(pixels: np.ndarray, confidence: np.ndarray | None = None) -> Detections2D:
    one = np.ones(pixels.shape[:-1])
    return Detections2D(pixels, one if confidence is None else confidence, ("p",), 50.0)


def error_of(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - truth, axis=-1)[:, 0]


@pytest.mark.parametrize(("float64", "atol_m"), [(True, 1e-6), (False, 1e-5)])
def test_exact_projections_give_the_points(rig, truth, exact, float64, atol_m):
    options = TriangulationOptions(float64=float64, block_points=POINTS)
    found = triangulate(rig, seen(exact), options)
    assert found.valid.all()
    assert error_of(found.points, truth).max() <= atol_m
    assert found.reprojection_error.max() < (1e-6 if float64 else 1e-2)
    assert found.used_views.all()


def test_noise_gives_the_error_that_cannot_be_less(rig, truth, exact, noisy):
    found = triangulate(rig, seen(noisy), NOISE_GIVEN)
    bound = triangulate(rig, seen(exact), NOISE_GIVEN).covariance[:, 0]
    error = (found.points - truth)[:, 0]
    rms = np.sqrt((error**2).sum(axis=1).mean())
    least = np.sqrt(np.trace(bound, axis1=1, axis2=2).mean())
    assert 0.98 < rms / least < 1.02
    inverse = np.linalg.inv(found.covariance[:, 0])
    square = np.einsum("ti,tij,tj->t", error, inverse, error)
    assert 0.94 <= (square < CHI2_95_OF_3).mean() <= 0.96
    assert triangulate(rig, seen(noisy)).noise_px == pytest.approx(1.0, rel=0.03)


def displaced(pixels: np.ndarray, views: np.ndarray, seed: int) -> np.ndarray:
    """Moves the named view of every point by 30 to 300 px."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, len(pixels))
    way = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    moved = pixels.copy()
    moved[np.arange(len(pixels)), views, 0] += (
        rng.uniform(30, 300, len(pixels))[:, None] * way
    )
    return moved


@pytest.mark.parametrize("noise_px", [1.0, None])
def test_one_wrong_view_of_four_costs_nothing(rig, truth, noisy, noise_px):
    rng = np.random.default_rng(2)
    wrong, view = rng.random(POINTS) < 0.3, rng.integers(0, 4, POINTS)
    pixels = np.where(wrong[:, None, None, None], displaced(noisy, view, 3), noisy)
    left_out = np.ones(noisy.shape[:-1])
    left_out[wrong, view[wrong]] = 0.0
    options = dataclasses.replace(NOISE_GIVEN, noise_px=noise_px)
    found = triangulate(rig, seen(pixels), options)
    oracle = triangulate(rig, seen(noisy, left_out), options)
    valid = found.valid[:, 0]
    assert valid[wrong].mean() >= 0.95
    assert valid[~wrong].mean() >= 0.999
    kept = wrong & valid
    ours = error_of(found.points, truth)[kept].mean()
    assert ours <= 1.3 * error_of(oracle.points, truth)[kept].mean()
    assert not found.used_views[kept, view[kept], 0].any()


@pytest.mark.parametrize("noise_px", [1.0, None])
def test_two_wrong_views_of_four_are_hardly_ever_believed(rig, truth, noisy, noise_px):
    rng = np.random.default_rng(4)
    views = np.argsort(rng.random((POINTS, 4)), axis=1)[:, :2]
    pixels = displaced(displaced(noisy, views[:, 0], 5), views[:, 1], 6)
    left_out = np.ones(noisy.shape[:-1])
    np.put_along_axis(left_out[:, :, 0], views, 0.0, axis=1)
    options = dataclasses.replace(NOISE_GIVEN, noise_px=noise_px)
    found = triangulate(rig, seen(pixels), options)
    oracle = triangulate(rig, seen(noisy, left_out), options)
    limit = 5 * np.median(error_of(oracle.points, truth)[oracle.valid[:, 0]])
    silent = found.valid[:, 0] & (error_of(found.points, truth) > limit)
    assert silent.mean() <= 0.01
    assert found.valid.mean() > 0.6
    # What exactly two views see stays, wherever they stand.
    assert oracle.valid.mean() > 0.999


def test_any_mix_of_missing_views_shares_one_compilation(rig, noisy):
    rng = np.random.default_rng(7)
    confidence = rng.integers(0, 2, noisy.shape[:-1]).astype(float)
    pixels = np.where(confidence[..., None] > 0, noisy, np.nan)
    options = dataclasses.replace(NOISE_GIVEN, block_points=1000)
    before = triangulate_points._cache_size()
    found = triangulate(rig, seen(pixels, confidence), options)
    again = triangulate(rig, seen(noisy[:1700], confidence[:1700]), options)
    assert triangulate_points._cache_size() <= before + 1
    views = confidence.sum(axis=1)
    assert not found.valid[views < 2].any()
    assert found.valid[views >= 2].mean() > 0.99
    assert np.isfinite(found.points).all()
    assert np.isfinite(found.covariance).all()
    assert not found.points[~found.valid].any()
    np.testing.assert_allclose(again.points, found.points[:1700], atol=1e-12)


def test_two_views_agree_with_opencv(rig, exact, truth):
    two = jax.tree.map(lambda a: a[:2], rig).replace(names=rig.names[:2])
    found = triangulate(two, seen(exact[:500, :2]), NOISE_GIVEN)
    rays = np.asarray(pinhole.undistort(two, exact[:500, :2]))[:, :, 0]
    frame = [
        np.concatenate([r, t[:, None]], axis=1)
        for r, t in zip(two.rotation, two.translation, strict=True)
    ]
    flat = cv2.triangulatePoints(*frame, rays[:, 0].T, rays[:, 1].T)
    np.testing.assert_allclose(found.points[:, 0], (flat[:3] / flat[3]).T, atol=1e-6)


def test_gradients_are_those_of_solving_again(rig, noisy):
    rig = jax.tree.map(jnp.asarray, rig)
    rng = np.random.default_rng(8)
    inputs = {
        "pixels": jnp.asarray(noisy[:4]),
        "weight": jnp.asarray(rng.uniform(0.5, 1.0, (4, 4, 1))),
        "matrix": rig.matrix,
        "distortion": rig.distortion,
        "rotation": rig.rotation,
        "translation": rig.translation,
    }
    way = jnp.asarray(rng.normal(size=(4, 1, 3)))

    @jax.jit
    def loss(inputs: dict[str, jax.Array]) -> jax.Array:
        names = ("matrix", "distortion", "rotation", "translation")
        changed = rig.replace(**{n: inputs[n] for n in names})
        found = triangulate_points(changed, inputs["pixels"], inputs["weight"], 1.0)
        return jnp.sum(way * found[0])

    slopes = jax.jit(jax.grad(loss))(inputs)
    for name, value in inputs.items():
        change = jnp.asarray(rng.normal(size=value.shape))
        size = 1e-3 if name == "pixels" else 1e-6
        up, down = (
            float(loss({**inputs, name: value + s * size * change})) for s in (1, -1)
        )
        slope = float(jnp.sum(slopes[name] * change))
        assert (up - down) / (2 * size) == pytest.approx(slope, rel=1e-6), name


def test_many_views_of_which_few_are_right(rig, truth, noisy):
    """Eight cameras, three of them right."""
    twice = jax.tree.map(lambda a: np.concatenate([a, a]), rig)
    twice = twice.replace(
        names=tuple("abcdefgh"),
        translation=twice.translation + 0.3 * np.arange(8)[:, None] * [1.0, 0, 0],
    )
    few = truth[:500]
    pixels = np.array(pinhole.project(twice, few))
    pixels += np.random.default_rng(1).normal(size=pixels.shape)
    for k, view in enumerate((0, 2, 4, 5, 7)):
        pixels = displaced(pixels, np.full(len(few), view), 10 + k)
    found = triangulate(twice, seen(pixels), NOISE_GIVEN)
    assert found.valid.mean() > 0.9
    good = found.valid[:, 0]
    assert np.quantile(error_of(found.points, few)[good], 0.99) < 0.05
    assert found.used_views[good][:, [1, 3, 6], 0].mean() > 0.98


def test_bad_input_is_one_sentence(rig, noisy):
    few = noisy[:3]
    one = jax.tree.map(lambda a: a[:1], rig).replace(names=rig.names[:1])
    with pytest.raises(ValueError, match=r"^triangulation takes at least two cameras"):
        triangulate(one, seen(few[:, :1]))
    with pytest.raises(
        ValueError, match=r"^the detections have 3 views, but the rig 4"
    ):
        triangulate(rig, seen(few[:, :3]))
    for value in (np.nan, -0.5):
        confidence = np.ones(few.shape[:-1])
        confidence[1, 2, 0] = value
        match = rf"^the confidence of p in frame 1 of camera {rig.names[2]} is"
        with pytest.raises(ValueError, match=match):
            triangulate(rig, seen(few, confidence))
    alone = np.zeros(few.shape[:-1])
    alone[:, 1] = 1.0
    with pytest.raises(ValueError, match=r"^no keypoint is seen by two cameras"):
        triangulate(rig, seen(few, alone))
    for name, value in (("noise_px", 0.0), ("reach", 0.5), ("min_views", 1)):
        with pytest.raises(ValueError, match=rf"^{name} must be"):
            TriangulationOptions(**{name: value})
