"""The filter along time against scipy's other form of it and sines."""

import numpy as np
import pytest
from scipy import optimize, signal

from simspine_jax.core.filters import butterworth, samples_needed

HALF_POWER = 1 / np.sqrt(2)
# Cutoff and rate, Hz; the last two lie near half the rate.
cutoffs = pytest.mark.parametrize(
    ("cutoff_hz", "rate_hz"), [(6.0, 1000.0), (6.0, 100.0), (6.0, 50.0), (10.0, 30.0)]
)
orders = pytest.mark.parametrize("order", [1, 2, 3, 4])


def response(frequency_hz: float, cutoff_hz: float, rate_hz: float, order: int):
    """What is left of a unit sine, and what a quarter of a period later, in one."""
    time = np.arange(4000) / rate_hz
    turn = 2 * np.pi * frequency_hz * time + 0.3
    middle = slice(1000, 3000)
    found = butterworth(np.sin(turn), cutoff_hz, rate_hz, order)[middle]
    both = np.stack([np.sin(turn), np.cos(turn)], axis=1)[middle]
    return np.linalg.lstsq(both, found, rcond=None)[0]


@orders
@cutoffs
def test_both_passes_halve_the_power_at_the_cutoff(cutoff_hz, rate_hz, order):
    in_phase, _ = response(cutoff_hz, cutoff_hz, rate_hz, order)
    assert in_phase == pytest.approx(HALF_POWER, abs=1e-3)


@cutoffs
def test_no_frequency_is_delayed(cutoff_hz, rate_hz):
    for share in (0.3, 1.0, 1.2):
        _, shifted = response(share * cutoff_hz, cutoff_hz, rate_hz, 2)
        assert abs(shifted) < 1e-6


def test_it_passes_below_and_stops_above():
    assert response(0.5, 6.0, 100.0, 2)[0] == pytest.approx(1.0, abs=1e-3)
    assert response(30.0, 6.0, 100.0, 2)[0] == pytest.approx(0.0, abs=2e-3)


def test_a_higher_order_falls_off_faster():
    left = [abs(response(15.0, 6.0, 100.0, order)[0]) for order in (1, 2, 3)]
    assert left[0] > 2 * left[1] > 4 * left[2]


@orders
@cutoffs
def test_it_equals_filtfilt_at_the_cutoff_that_holds_after_both(
    cutoff_hz, rate_hz, order
):
    def left(once: float) -> float:
        b, a = signal.butter(order, once, fs=rate_hz)
        _, gain = signal.freqz(b, a, [cutoff_hz], fs=rate_hz)
        return abs(gain[0]) ** 2 - HALF_POWER

    once = optimize.brentq(left, cutoff_hz, 0.4999 * rate_hz, xtol=1e-13)
    x = np.random.default_rng(0).normal(size=(600, 2, 3))
    b, a = signal.butter(order, once, fs=rate_hz)
    expected = signal.filtfilt(b, a, x, axis=0)
    found = butterworth(x, cutoff_hz, rate_hz, order)
    assert found.shape == x.shape
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_constants_are_left_as_they_are_and_lines_away_from_the_ends():
    line = np.linspace(-1, 3, 200)[:, None] * np.array([1.0, -2.0])
    still = np.ones_like(line) * line[:1]
    np.testing.assert_allclose(butterworth(still, 6.0, 100.0), still, atol=1e-12)
    found = butterworth(line, 6.0, 100.0)
    np.testing.assert_allclose(found[60:140], line[60:140], atol=1e-6)


@pytest.mark.parametrize("cutoff_hz", [0.0, -1.0, 50.0, 70.0, float("nan")])
def test_a_cutoff_outside_the_band_is_one_sentence(cutoff_hz):
    with pytest.raises(ValueError, match=r"^a cutoff of .* between 0 and half the"):
        butterworth(np.zeros(100), cutoff_hz, 100.0)


@orders
def test_as_many_samples_are_needed_as_scipy_needs(order):
    needed = samples_needed(order)
    b, a = signal.butter(order, 6.0, fs=100.0)
    stages = signal.butter(order, 6.0, fs=100.0, output="sos")
    x = np.random.default_rng(1).normal(size=needed)
    assert butterworth(x, 6.0, 100.0, order).shape == (needed,)
    signal.filtfilt(b, a, x)
    signal.sosfiltfilt(stages, x)
    few = f"^a filter of order {order} needs at least {needed} samples, not"
    with pytest.raises(ValueError, match=few):
        butterworth(x[1:], 6.0, 100.0, order)
    with pytest.raises(ValueError, match="length of the input"):
        signal.filtfilt(b, a, x[1:])
    with pytest.raises(ValueError, match="length of the input"):
        signal.sosfiltfilt(stages, x[1:])


@pytest.mark.parametrize("order", [0, -2])
def test_an_order_below_one_is_one_sentence(order):
    with pytest.raises(ValueError, match=r"^the order of a filter must be at least 1"):
        butterworth(np.zeros(100), 6.0, 100.0, order)


def test_time_reversed_signals_are_filtered_alike():
    x = np.random.default_rng(2).normal(size=400)
    found = butterworth(x[::-1], 6.0, 100.0)[::-1]
    expected = butterworth(x, 6.0, 100.0)
    # The two passes differ in how they start.
    np.testing.assert_allclose(found[100:300], expected[100:300], atol=1e-8)


def test_the_input_is_not_changed():
    x = np.random.default_rng(3).normal(size=(40, 2))
    before = x.copy()
    butterworth(x, 6.0, 100.0)
    np.testing.assert_array_equal(x, before)
