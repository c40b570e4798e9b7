"""Filters along time."""

import numpy as np
from jaxtyping import Float
from scipy import signal


def butterworth(
    x: Float[np.ndarray, " t *rest"], cutoff_hz: float, rate_hz: float, order: int = 2
) -> Float[np.ndarray, " t *rest"]:
    """Filters forwards and backwards, without delay.

    Args:
        x: Signals, time first.
        cutoff_hz: Where both passes together lower the power to a half (-3 dB).
        rate_hz: Samples per second.
        order: Of one pass; both passes fall off like twice the order.

    Raises:
        ValueError: A cutoff that is not between zero and half the rate, or fewer
            samples than the filter needs at its ends.

    Source: scipy's ``butter`` and ``sosfiltfilt``; the cutoff of one pass is raised so
    that it holds after both (Winter, Biomechanics and Motor Control of Human
    Movement, 2009, section 3.4.4).
    """
    if not 0 < cutoff_hz < rate_hz / 2:
        raise ValueError(
            f"a cutoff of {cutoff_hz:g} Hz must lie between 0 and half the rate, "
            f"{rate_hz / 2:g} Hz"
        )
    # The digital filter bends frequencies: raise the cutoff before it does.
    bent = np.tan(np.pi * cutoff_hz / rate_hz) / (2**0.5 - 1) ** (0.5 / order)
    once = rate_hz / np.pi * np.arctan(bent)
    stages = np.asarray(signal.butter(order, once, fs=rate_hz, output="sos"))
    needed = 3 * (2 * len(stages) + 1)
    if len(x) <= needed:
        raise ValueError(f"the filter needs more than {needed} samples, not {len(x)}")
    return signal.sosfiltfilt(stages, np.asarray(x), axis=0)
