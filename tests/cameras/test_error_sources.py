"""Causes of reprojection errors that were put into simulated detections."""

import jax
import numpy as np
import pytest

from simspine_jax.cameras import held_out, pinhole
from simspine_jax.cameras.error_sources import ErrorSources, error_sources
from simspine_jax.cameras.triangulation import TriangulationOptions, triangulate
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import Detections2D

FRAMES, KEYPOINTS, RATE_HZ = 80, 12, 50.0
HELD = held_out.frames(FRAMES, 0.25)


@pytest.fixture(scope="module")
def rig():
    return h36m_rig("S1")


def place(seconds: np.ndarray) -> np.ndarray:
    """A body that walks a loop and swings. Shape [T, K, 3], m."""
    body = np.random.default_rng(2).uniform([-0.4, -0.3, 0], [0.4, 0.3, 1.7], (12, 3))
    phase = np.linspace(0, 6, KEYPOINTS)
    angle = 4.0 * seconds
    walk = np.stack([np.cos(angle), np.sin(2 * angle), 0 * angle], axis=1)
    swing = 0.3 * np.sin(3 * angle[:, None] + phase)
    return body + walk[:, None] + swing[..., None] * [1.0, 0.5, 0.2]


def seen_with(rig, noise_px: float, bias_px: float = 0.0, late_frames: float = 0.0):
    rng = np.random.default_rng(4)
    time = np.arange(FRAMES) / RATE_HZ
    pixels = np.array(pinhole.project(rig, place(time)))
    late = place(time - late_frames / RATE_HZ)  # the last view sees what was
    pixels[:, 3] = np.asarray(pinhole.project(rig, late))[:, 3]
    pixels += noise_px * rng.normal(size=pixels.shape)
    pixels += bias_px * rng.normal(size=(4, KEYPOINTS, 2))
    names = tuple(f"k{k}" for k in range(KEYPOINTS))
    return Detections2D(pixels, np.ones(pixels.shape[:3]), names, RATE_HZ)


def sources_of(rig, detections, cameras=None) -> ErrorSources:
    """Of points from all views, whatever they miss by."""
    cameras = rig if cameras is None else cameras
    solved = triangulate(cameras, detections, TriangulationOptions(noise_px=1000.0))
    assert np.asarray(solved.used_views).all()
    return error_sources(cameras, detections, solved, HELD)


def test_noise_has_no_cause(rig):
    found = sources_of(rig, seen_with(rig, 2.0))
    # Means of 60 frames are noise themselves.
    for share in (found.bias, found.lens, found.timing):
        assert abs(share) < 0.05
    assert abs(found.lasting) < 0.1
    np.testing.assert_allclose(found.offset_frames, 0.0, atol=0.05)


def test_bias_of_a_detector(rig):
    found = sources_of(rig, seen_with(rig, 1.0, bias_px=4.0))
    assert found.bias > 0.8
    assert found.lens < 0.4
    assert found.timing < 0.05
    assert str(found).endswith("by view and keypoint limit it most")


def test_clock_that_lags(rig):
    found = sources_of(rig, seen_with(rig, 0.3, late_frames=0.5))
    assert found.timing > 0.5
    assert found.timing > found.bias + 0.3
    # The points take up a part of the lag.
    assert found.offset_frames[3] > 0.1
    assert found.offset_frames[3] == max(found.offset_frames)
    assert str(found).endswith("clocks of cameras limit it most")


def test_focal_length_that_is_wrong(rig):
    matrix = np.array(rig.matrix)
    matrix[1, :2, :2] *= 1.02
    wrong = rig.replace(matrix=matrix)
    found = sources_of(rig, seen_with(rig, 0.3), wrong)
    assert found.lens > 0.8
    # Keypoints keep their heights, so that biases of theirs tell much of it too.
    assert found.lens > found.bias
    assert "lenses and focal lengths limit it most" in str(found)


def test_unused_frames_are_refused(rig):
    detections = seen_with(rig, 1.0)
    solved = triangulate(rig, detections)
    none = solved.used_views & ~HELD[:, None, None]
    fewer = solved.replace(used_views=none)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(
        ValueError, match="no observation is used in the held-out frames"
    ):
        error_sources(rig, detections, fewer, HELD)
    with pytest.raises(ValueError, match="no observation is used in the other frames"):
        error_sources(rig, detections, solved, np.ones(FRAMES, bool))


def test_inputs_stay(rig):
    detections = seen_with(rig, 1.0)
    solved = triangulate(rig, detections)
    before = jax.tree.map(np.array, (rig, detections, solved))
    error_sources(rig, detections, solved, HELD)
    jax.tree.map(np.testing.assert_array_equal, before, (rig, detections, solved))
