"""Smoothing splines against scipy, dense algebra and what they must keep."""

import numpy as np
import pytest
from scipy import interpolate

from simspine_jax.core import gcv_spline

RATE_HZ = 50.0
degrees = pytest.mark.parametrize("degree", gcv_spline.DEGREES)


def noisy(frames: int = 120, signals: int = 3, sd: float = 0.05, seed: int = 0):
    """A slow sine, the same with noise, and weights that differ."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / RATE_HZ
    truth = np.sin(2 * np.pi * time[:, None] + rng.uniform(0, 6, signals))
    weight = rng.uniform(0.3, 3, frames)
    noise = rng.normal(size=truth.shape) / np.sqrt(weight)[:, None]
    return truth, truth + sd * noise, weight


def penalty(weight: np.ndarray, cutoff_hz: float, degree: int) -> float:
    """p in units of seconds, from the cutoff."""
    m = (degree + 1) / 2
    halved_hz = cutoff_hz / (2**0.5 - 1) ** (0.5 / m)
    return weight.mean() * RATE_HZ / (2 * np.pi * halved_hz) ** (2 * m)


def dense(weight: np.ndarray, cutoff_hz: float, degree: int) -> np.ndarray:
    """The matrix from signals to smoothed signals; all B-splines, by quadrature."""
    m, n = (degree + 1) // 2, len(weight)
    time = np.arange(n) / RATE_HZ
    knots = np.concatenate([[time[0]] * degree, time, [time[-1]] * degree])
    basis = [interpolate.BSpline(knots, c, degree) for c in np.eye(n + degree - 1)]
    at, area = np.polynomial.legendre.leggauss(m)
    points = (time[:-1, None] + (at + 1) / (2 * RATE_HZ)).ravel()
    values = np.stack([b(time) for b in basis], axis=1)
    bends = np.stack([b.derivative(m)(points) for b in basis], axis=1)
    area = np.tile(area / (2 * RATE_HZ), n - 1)
    energy = bends.T @ (area[:, None] * bends)
    p = penalty(weight, cutoff_hz, degree)
    normal = values.T @ (weight[:, None] * values) + p * energy
    return values @ np.linalg.solve(normal, values.T * weight)


@pytest.mark.parametrize("cutoff_hz", [1.0, 4.0, 20.0])
def test_the_cubic_equals_scipys_smoothing_spline(cutoff_hz):
    _, y, weight = noisy()
    time = np.arange(len(y)) / RATE_HZ
    lam = penalty(weight, cutoff_hz, 3)
    expected = interpolate.make_smoothing_spline(time, y, weight, lam=lam)(time)
    found = gcv_spline.smooth(y, RATE_HZ, weight, degree=3, cutoff_hz=cutoff_hz)
    np.testing.assert_allclose(found.x, expected, atol=1e-9)
    assert found.cutoff_hz == pytest.approx(cutoff_hz)


@degrees
@pytest.mark.parametrize("cutoff_hz", [1.0, 4.0, 20.0])
def test_it_equals_the_dense_solution_over_all_splines(degree, cutoff_hz):
    _, y, weight = noisy(40)
    expected = dense(weight, cutoff_hz, degree) @ y
    found = gcv_spline.smooth(y, RATE_HZ, weight, degree=degree, cutoff_hz=cutoff_hz)
    np.testing.assert_allclose(found.x, expected, atol=1e-8)


@degrees
def test_the_cutoff_has_the_least_score_of_all(degree):
    _, y, weight = noisy(60)

    def score(cutoff_hz: float) -> float:
        left = np.eye(60) - dense(weight, cutoff_hz, degree)
        return np.sum(weight[:, None] * (left @ y) ** 2) / np.trace(left) ** 2

    found = float(gcv_spline.smooth(y, RATE_HZ, weight, degree=degree).cutoff_hz)
    others = [score(c) for c in np.geomspace(0.5, 24.0, 40)]
    assert score(found) <= min(others)
    assert score(found) <= min(score(0.97 * found), score(1.03 * found))


def test_it_is_as_good_as_scipys_own_choice():
    _, y, _ = noisy(signals=1)
    time = np.arange(len(y)) / RATE_HZ
    expected = interpolate.make_smoothing_spline(time, y[:, 0])(time)
    found = gcv_spline.smooth(y[:, 0], RATE_HZ, degree=3)
    # scipy ends its search for the penalty at a step of 1e-5.
    np.testing.assert_allclose(found.x, expected, atol=1e-3)


@degrees
def test_the_cutoff_lowers_a_sine_to_half_the_power(degree):
    time = np.arange(2000) / RATE_HZ
    wave = np.sin(2 * np.pi * 3.0 * time)
    found = gcv_spline.smooth(wave, RATE_HZ, degree=degree, cutoff_hz=3.0).x
    middle = slice(500, 1500)
    left = found[middle] @ wave[middle] / (wave[middle] @ wave[middle])
    assert left == pytest.approx(1 / np.sqrt(2), abs=2e-3)


@degrees
def test_polynomials_are_kept_and_carried_into_missing_samples(degree):
    powers = np.linspace(-1, 1, 80)[:, None] ** np.arange((degree + 1) // 2)
    truth = powers @ np.random.default_rng(0).normal(size=(powers.shape[1], 2))
    weight = np.ones(80)
    weight[:4] = weight[30:45] = weight[-2:] = 0
    seen = np.where(weight[:, None] > 0, truth, 99.0)
    for cutoff_hz in (None, 0.5, 5.0):
        found = gcv_spline.smooth(
            seen, RATE_HZ, weight, degree=degree, cutoff_hz=cutoff_hz
        )
        np.testing.assert_allclose(found.x, truth, atol=1e-9)


@degrees
def test_missing_samples_are_those_of_vanishing_weight(degree):
    _, y, weight = noisy(60)
    gone = [0, 1, 20, 21, 22, 23, 40, 59]
    weight[gone] = 0
    faint = weight.copy()
    faint[gone] = 1e-9
    found = gcv_spline.smooth(y, RATE_HZ, weight, degree=degree, cutoff_hz=4.0)
    # The mean weight, by which a cutoff counts, is that of the samples there are.
    share = weight[weight > 0].mean() / faint.mean()
    cutoff_hz = 4.0 * share ** (-1 / (degree + 1))
    expected = gcv_spline.smooth(y, RATE_HZ, faint, degree=degree, cutoff_hz=cutoff_hz)
    np.testing.assert_allclose(found.x, expected.x, atol=1e-5)


@degrees
def test_noise_falls_and_the_cutoff_follows_it(degree):
    truth, y, weight = noisy(300)
    found = gcv_spline.smooth(y, RATE_HZ, weight, degree=degree)
    assert np.std(found.x - truth) < 0.45 * np.std(y - truth)
    truth, y, weight = noisy(300, sd=0.005)
    finer = gcv_spline.smooth(y, RATE_HZ, weight, degree=degree)
    assert finer.cutoff_hz > found.cutoff_hz > 1.0


def test_weights_tell_good_samples_from_bad():
    truth, _, _ = noisy(300)
    rng = np.random.default_rng(1)
    sd = np.where(rng.uniform(size=300) < 0.3, 0.5, 0.02)
    y = truth + sd[:, None] * rng.normal(size=truth.shape)
    error = lambda weight: np.std(gcv_spline.smooth(y, RATE_HZ, weight).x - truth)
    assert error(1 / sd**2) < 0.2 * error(np.ones(300))


def test_signals_under_one_column_of_weights_share_one_smoothing():
    points = np.random.default_rng(2).normal(size=(50, 2, 3))
    weight = np.random.default_rng(3).uniform(0.5, 2, (50, 2))
    found = gcv_spline.smooth(points, RATE_HZ, weight)
    assert found.x.shape == points.shape
    assert found.cutoff_hz.shape == (2,)
    alone = gcv_spline.smooth(points[:, 1], RATE_HZ, weight[:, 1])
    np.testing.assert_allclose(found.x[:, 1], alone.x, atol=1e-12)
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    turned = gcv_spline.smooth(points @ turn, RATE_HZ, weight)
    np.testing.assert_allclose(turned.x, found.x @ turn, atol=1e-5)


@degrees
def test_time_reversal_scale_and_the_input(degree):
    _, y, weight = noisy()
    before = y.copy(), weight.copy()
    found = gcv_spline.smooth(y, RATE_HZ, weight, degree=degree)
    np.testing.assert_array_equal(y, before[0])
    np.testing.assert_array_equal(weight, before[1])
    back = gcv_spline.smooth(y[::-1], RATE_HZ, weight[::-1], degree=degree)
    np.testing.assert_allclose(back.x[::-1], found.x, atol=1e-5)
    scaled = gcv_spline.smooth(y, 2 * RATE_HZ, 1e6 * weight, degree=degree)
    np.testing.assert_allclose(scaled.x, found.x, atol=1e-5)
    assert scaled.cutoff_hz == pytest.approx(2 * float(found.cutoff_hz), rel=1e-3)


@degrees
def test_the_fewest_samples_and_the_smoothest_spline(degree):
    rng = np.random.default_rng(5)
    few = rng.normal(size=degree + 1)
    assert np.isfinite(gcv_spline.smooth(few, RATE_HZ, degree=degree).x).all()
    # Beyond the precision of the equations a spline would no longer be its own mirror.
    long = rng.normal(size=4000)
    low = RATE_HZ / 400
    found = gcv_spline.smooth(long, RATE_HZ, degree=degree, cutoff_hz=low).x
    back = gcv_spline.smooth(long[::-1], RATE_HZ, degree=degree, cutoff_hz=low).x
    np.testing.assert_allclose(back[::-1], found, atol=1e-4)


def test_weights_that_differ_by_very_much():
    rng = np.random.default_rng(6)
    truth = np.sin(2 * np.pi * np.arange(1000) / 100)
    weight = 1e8 ** rng.uniform(-0.5, 0.5, 1000)
    y = truth + 0.01 * rng.normal(size=1000) / np.sqrt(weight)
    found = gcv_spline.smooth(y, RATE_HZ, weight)
    assert np.mean(weight * (found.x - truth) ** 2) < 0.7 * 0.01**2
    with pytest.raises(ValueError, match=r"^weights from .* differ by too much for a"):
        gcv_spline.smooth(y, RATE_HZ, weight, cutoff_hz=RATE_HZ / 400)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"degree": 4}, r"^a spline's degree must be one of \(3, 5\); it is 4$"),
        ({"rate_hz": 0.0}, r"^a spline needs a positive rate; it is 0.0 Hz$"),
        ({"cutoff_hz": 30.0}, r"^a cutoff of 30 Hz must lie between 0.125 and 25 Hz"),
        ({"cutoff_hz": 0.01}, r"^a cutoff of 0.01 Hz must lie between 0.125 and"),
        (
            {"weight": np.ones((20, 2))},
            r"^weights of shape \(20, 2\) do not fit signals",
        ),
        ({"weight": -np.ones(20)}, r"^weights must be finite and not below zero$"),
        ({"weight": np.full(20, np.inf)}, r"^weights must be finite and not below"),
        ({"weight": 1.0 * (np.arange(20) < 5)}, r"needs 6 samples with weight, not 5$"),
    ],
)
def test_bad_input_is_one_sentence(changed, said):
    with pytest.raises(ValueError, match=said):
        gcv_spline.smooth(**{"x": np.zeros(20), "rate_hz": RATE_HZ, **changed})
