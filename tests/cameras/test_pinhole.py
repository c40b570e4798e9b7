"""Projection and lenses against OpenCV, their inverse and their gradients."""

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from simspine_jax.cameras import pinhole
from simspine_jax.types import CameraRig

PIXEL_ATOL = 1e-6
LENSES = {
    "4": (-0.2, 0.24, -0.0014, -0.001),
    "5": (-0.2, 0.24, -0.0014, -0.001, -0.003),
    "8": (-0.2, 0.24, -0.0014, -0.001, -0.003, 0.01, 0.002, -0.001),
    "fisheye": (0.05, -0.01, 0.003, -0.001),
}


def rig_of(kind: str, cameras: int = 3) -> CameraRig:
    rng = np.random.default_rng(4)
    turn = [cv2.Rodrigues(0.2 * rng.normal(size=3))[0] for _ in range(cameras)]
    matrix = np.array([[1145.0, 0, 512], [0, 1143, 515], [0, 0, 1]])
    return CameraRig(
        tuple("abcdef"[:cameras]),
        np.tile(matrix, (cameras, 1, 1)),
        np.tile(LENSES[kind], (cameras, 1)),
        np.stack(turn),
        np.tile([0.1, -0.2, 5.0], (cameras, 1)),
        np.full((cameras, 2), 1000),
        (kind == "fisheye",) * cameras if kind == "fisheye" else (),
    )


def opencv(rig: CameraRig, c: int, points: np.ndarray) -> np.ndarray:
    wide = bool(rig.fisheye) and rig.fisheye[c]
    turn = cv2.Rodrigues(np.asarray(rig.rotation[c]))[0]
    given = turn, rig.translation[c], rig.matrix[c]
    flat = points.reshape(-1, 1, 3)
    if wide:
        lens = np.asarray(rig.distortion[c])[:4]
        found = cv2.fisheye.projectPoints(flat, *given, lens)[0]
    else:
        found = cv2.projectPoints(flat, *given, rig.distortion[c])[0]
    return found.reshape(*points.shape[:-1], 2)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1.4, 1.4, (6, 4, 3))


@pytest.mark.parametrize("kind", LENSES)
def test_pixels_are_opencvs_and_rays_their_inverse(kind: str, points: np.ndarray):
    rig = rig_of(kind)
    found = np.asarray(pinhole.project(rig, points))
    assert found.shape == (6, 3, 4, 2)
    for c in range(3):
        np.testing.assert_allclose(found[:, c], opencv(rig, c, points), atol=PIXEL_ATOL)
    placed = np.einsum("cij,tkj->tcki", rig.rotation, points)
    placed = placed + rig.translation[:, None]
    expected = placed[..., :2] / placed[..., 2:]
    np.testing.assert_allclose(pinhole.undistort(rig, found), expected, atol=1e-13)
    assert np.asarray(pinhole.visible(rig, points)).all()


def test_a_rig_may_mix_both_kinds(points: np.ndarray):
    rig = rig_of("4")
    mixed = dataclasses.replace(
        rig,
        distortion=np.stack([LENSES["4"], LENSES["fisheye"], LENSES["4"]]),
        fisheye=(False, True, False),
    )
    found = np.asarray(pinhole.project(mixed, points))
    for c in range(3):
        expected = opencv(mixed, c, points)
        np.testing.assert_allclose(found[:, c], expected, atol=PIXEL_ATOL)


@pytest.mark.parametrize("kind", ["8", "fisheye"])
def test_gradients_of_pixels_and_rays(kind: str, points: np.ndarray):
    rig = jax.tree.map(jnp.asarray, rig_of(kind, 2))
    few = jnp.asarray(points[:1, :2])

    def there(points, matrix, distortion, rotation, translation):
        changed = rig.replace(
            matrix=matrix,
            distortion=distortion,
            rotation=rotation,
            translation=translation,
        )
        return pinhole.project(changed, points) / 1000

    parts = rig.matrix, rig.distortion, rig.rotation, rig.translation
    check_grads(there, (few, *parts), 1, rtol=1e-6, atol=1e-6)
    pixels = pinhole.project(rig, few)

    def back(pixels, matrix, distortion):
        changed = rig.replace(matrix=matrix, distortion=distortion)
        return pinhole.undistort(changed, 1000 * pixels)

    check_grads(back, (pixels / 1000, *parts[:2]), 1, rtol=1e-6, atol=1e-6)


def test_behind_the_camera_and_beyond_the_lens_all_is_finite():
    """A lens that folds back: its distorted radius falls beyond 0.9."""
    rig = dataclasses.replace(rig_of("4", 1), distortion=np.array([[-0.4, 0, 0, 0]]))
    rig = dataclasses.replace(
        rig, rotation=np.eye(3)[None], translation=np.zeros((1, 3))
    )
    limit = float(pinhole.lens_of(rig).limit[0, 0])
    assert 0.85 < limit < (1 / 1.2) ** 0.5 + 1e-3
    radius = np.linspace(0.1, 3.0, 30)
    points = np.stack([radius, np.zeros(30), np.ones(30)], axis=1)
    points = np.concatenate([points, -points, np.zeros((1, 3))])
    found = np.asarray(pinhole.project(rig, points))
    assert np.isfinite(found).all()
    assert (np.diff(found[0, :30, 0]) > 0).all()  # nothing folds back
    seen = np.asarray(pinhole.visible(rig, points))[0]
    assert not seen[30:].any()
    inside = (found[0, :30, 0] < 999.5) & (radius < limit)
    np.testing.assert_array_equal(seen[:30], inside)
    slope = jax.grad(lambda p: jnp.sum(pinhole.project(rig, p)))(jnp.asarray(points))
    assert np.isfinite(slope).all()
    assert np.isfinite(pinhole.undistort(rig, found)).all()
    assert np.isfinite(pinhole.undistort(rig, np.full((1, 1, 2), 1e5))).all()


def test_an_unknown_lens_is_refused():
    rig = dataclasses.replace(rig_of("4"), distortion=np.zeros((3, 12)))
    with pytest.raises(ValueError, match=r"has 12 distortion coefficients; OpenCV's"):
        pinhole.project(rig, np.zeros((1, 3)))
