"""Filters of whole trajectories against those of single signals and the truth."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.core import filters, gaps, gcv_spline, kalman
from simspine_jax.fitting.trajectory_filters import (
    DENSITIES,
    METHODS,
    FilterOptions,
    filter_trajectory,
)
from simspine_jax.types import MarkerTrajectory

# One size for all that is smoothed here: one compilation of each kind.
FRAMES, RATE_HZ = 120, 100.0
NOISE_M = 0.005
LONG, SHORT = slice(40, 60), slice(80, 84)
methods = pytest.mark.parametrize("method", METHODS)


def truth() -> np.ndarray:
    time = np.arange(FRAMES)[:, None, None] / RATE_HZ
    start = np.random.default_rng(0).uniform(0, 6, (1, 2, 3))
    return 0.2 * np.sin(2 * np.pi * 1.5 * time + start) + 1.0


def trial(weight: np.ndarray | None = None) -> MarkerTrajectory:
    """Two noisy markers; the first has a long gap, a short one, and late starts."""
    noise = NOISE_M * np.random.default_rng(1).normal(size=(FRAMES, 2, 3))
    valid = np.ones((FRAMES, 2), bool)
    valid[LONG, 0] = valid[SHORT, 0] = valid[:3, 0] = False
    points = np.where(valid[..., None], truth() + noise, 0.0)
    return MarkerTrajectory(points, valid, ("a", "b"), RATE_HZ, 2.0, weight)


def options(method: str, **changed) -> FilterOptions:
    return FilterOptions(**{"method": method, "fill_frames": 5, **changed})


@methods
def test_only_short_gaps_inside_are_filled_and_can_be_told(method):
    given = trial()
    before = given.points.copy(), given.valid.copy()
    found = filter_trajectory(given, None, options(method))
    np.testing.assert_array_equal(given.points, before[0])
    np.testing.assert_array_equal(given.valid, before[1])
    filled = found.valid & ~given.valid
    expected = np.zeros_like(filled)
    expected[SHORT, 0] = True
    np.testing.assert_array_equal(filled, expected)
    assert not found.points[~found.valid].any()
    assert (found.names, found.rate_hz, found.start_s, found.weight) == (
        given.names,
        given.rate_hz,
        given.start_s,
        None,
    )
    assert np.abs(found.points - truth())[filled].max() < 4 * NOISE_M


@methods
def test_nothing_is_filled_unless_asked(method):
    given = trial()
    found = filter_trajectory(given, None, options(method, fill_frames=0))
    np.testing.assert_array_equal(found.valid, given.valid)
    assert not found.points[~found.valid].any()


@pytest.mark.parametrize("method", METHODS[1:])
def test_noise_falls(method):
    given = trial()
    found = filter_trajectory(given, None, options(method, cutoff_hz=8.0))
    error = lambda t: np.std((t.points - truth())[given.valid])
    assert error(found) < 0.65 * error(given)


@pytest.mark.parametrize("method", ["butterworth", "gcv"])
def test_nothing_is_carried_across_a_gap_that_stays(method):
    given = trial()
    other = given.points.copy()
    other[LONG.stop :] += 1.0
    found = filter_trajectory(given, None, options(method))
    moved = filter_trajectory(given.replace(points=other), None, options(method))
    before = slice(0, LONG.start)
    np.testing.assert_array_equal(moved.points[before, 0], found.points[before, 0])


def test_butterworth_is_the_filter_of_each_stretch():
    given = trial()
    filled, _, _ = gaps.fill(given.points, given.valid, 5, "pchip")
    found = filter_trajectory(
        given, None, options("butterworth", fill_method="pchip", cutoff_hz=7.0)
    )
    for stretch in (slice(3, LONG.start), slice(LONG.stop, FRAMES)):
        expected = filters.butterworth(filled[stretch, 0], 7.0, RATE_HZ)
        np.testing.assert_array_equal(found.points[stretch, 0], expected)


def test_gcv_weighs_by_covariances_and_fills_by_the_spline():
    given = trial()
    sd = np.random.default_rng(2).uniform(0.5, 2, (FRAMES, 2))
    covariance = sd[..., None, None] ** 2 * NOISE_M**2 * np.eye(3)
    found = filter_trajectory(given, covariance, options("gcv"))
    late = slice(LONG.stop, FRAMES)
    weight = np.where(given.valid, 1 / sd**2, 0.0)[late, 0]
    expected = gcv_spline.smooth(given.points[late, 0], RATE_HZ, weight)
    np.testing.assert_allclose(found.points[late, 0], expected.x, atol=1e-7)
    other = filter_trajectory(given.replace(weight=1 / sd**2), None, options("gcv"))
    np.testing.assert_allclose(other.points, found.points, atol=1e-7)


@pytest.mark.parametrize("of", tuple(kalman.ORDERS))
def test_kalman_is_the_smoother_of_all_frames(of):
    given = trial()
    sd = np.random.default_rng(2).uniform(0.5, 2, (FRAMES, 2))
    covariance = sd[..., None, None] ** 2 * NOISE_M**2 * np.eye(3)
    found = filter_trajectory(given, covariance, options("kalman", of=of))
    expected = jax.jit(
        lambda *data: kalman.smooth(*data, RATE_HZ, DENSITIES[of], of).points
    )(given.points, covariance, given.valid)
    expected = np.where(found.valid[..., None], expected, 0.0)
    np.testing.assert_allclose(found.points, expected, atol=1e-10)
    other = given.replace(weight=1 / sd**2)
    other = filter_trajectory(other, None, options("kalman", of=of))
    np.testing.assert_allclose(other.points, found.points, atol=1e-10)


@pytest.mark.parametrize("method", ["gcv", "kalman"])
def test_a_point_of_weight_zero_is_replaced(method):
    weight = np.ones((FRAMES, 2))
    weight[70, 1] = 0.0
    given = trial(weight)
    points = given.points.copy()
    points[70, 1] = 9.0
    found = filter_trajectory(given.replace(points=points), None, options(method))
    assert np.abs(found.points[70, 1] - truth()[70, 1]).max() < 2 * NOISE_M


@methods
def test_filled_points_take_the_smaller_weight_beside_them(method):
    weight = np.random.default_rng(3).uniform(0.5, 2, (FRAMES, 2))
    found = filter_trajectory(trial(weight), None, options(method))
    expected = weight.copy()
    expected[SHORT, 0] = min(weight[SHORT.start - 1, 0], weight[SHORT.stop, 0])
    np.testing.assert_array_equal(found.weight, expected)


@methods
def test_too_short_stretches_keep_their_points(method):
    given = trial()
    valid = np.zeros_like(given.valid)
    valid[10:12, 0] = valid[30:32, 1] = True
    if method != "kalman":  # Five frames are enough for it.
        valid[100:103, 0] = True
    given = given.replace(valid=valid)
    found = filter_trajectory(given, None, options(method))
    np.testing.assert_array_equal(found.points[valid], given.points[valid])
    np.testing.assert_array_equal(found.valid, valid)


@methods
def test_single_precision_stays(method):
    given = trial()
    narrow = given.replace(points=jnp.asarray(given.points, jnp.float32))
    found = filter_trajectory(narrow, None, options(method))
    assert found.points.dtype == np.float32
    expected = filter_trajectory(given, None, options(method))
    np.testing.assert_allclose(found.points, expected.points, atol=1e-4)


@methods
def test_markers_never_seen_and_no_markers(method):
    given = trial()
    unseen = given.replace(valid=np.zeros_like(given.valid))
    found = filter_trajectory(unseen, None, options(method))
    assert not found.valid.any()
    none = MarkerTrajectory(given.points[:, :0], given.valid[:, :0], (), RATE_HZ)
    assert filter_trajectory(none, None, options(method)).points.shape[1] == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": "median"}, r"^filter: method must be one of .*; it is 'median'$"),
        ({"fill_method": "nearest"}, r"^filter: fill_method must be one of"),
        ({"of": "velocity"}, r"^filter: of must be one of"),
        ({"degree": 4}, r"^filter: degree must be one of \(3, 5\); it is 4$"),
        ({"cutoff_hz": 0.0}, r"^filter: cutoff_hz must be positive; it is 0.0$"),
        ({"density": -1.0}, r"^filter: density must be positive; it is -1.0$"),
        ({"noise_m": float("nan")}, r"^filter: noise_m must be positive; it is nan$"),
        ({"fill_frames": -1}, r"^filter: fill_frames must be at least 0; it is -1$"),
        ({"order": 0}, r"^filter: order must be at least 1; it is 0$"),
    ],
)
def test_bad_options_are_one_sentence(changed, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(FilterOptions(), **changed)


def test_bad_input_is_one_sentence():
    given = trial()
    with pytest.raises(ValueError, match=r"^covariances of shape \(4, 2, 3, 3\) do"):
        filter_trajectory(given, np.zeros((4, 2, 3, 3)))
    with pytest.raises(ValueError, match=r"^filtering needs the frame rate of the"):
        filter_trajectory(given.replace(rate_hz=float("nan")))
    with pytest.raises(ValueError, match=r"^a cutoff of 60 Hz must lie between 0"):
        filter_trajectory(given, None, options("butterworth", cutoff_hz=60.0))
