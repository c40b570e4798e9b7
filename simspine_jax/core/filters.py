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
        ValueError: A cutoff that is not between zero and half the rate, an order
            below 1, or fewer samples than ``samples_needed``.

    Source: scipy's ``butter`` and ``sosfiltfilt``; the cutoff of one pass is raised so
    that it holds after both (Winter, Biomechanics and Motor Control of Human
    Movement, 2009, section 3.4.4).
    """
    if not 0 < cutoff_hz < rate_hz / 2:
        raise ValueError(
            f"a cutoff of {cutoff_hz:g} Hz must lie between 0 and half the rate, "
            f"{rate_hz / 2:g} Hz"
        )
    needed = samples_needed(order)
    if len(x) < needed:
        raise ValueError(
            f"a filter of order {order} needs at least {needed} samples, not {len(x)}"
        )
    # The digital filter bends frequencies: raise the cutoff before it does.
    bent = np.tan(np.pi * cutoff_hz / rate_hz) / (2**0.5 - 1) ** (0.5 / order)
    once = rate_hz / np.pi * np.arctan(bent)
    stages = np.asarray(signal.butter(order, once, fs=rate_hz, output="sos"))
    return signal.sosfiltfilt(stages, np.asarray(x), axis=0)


def samples_needed(order: int) -> int:
    """Returns how many samples ``butterworth`` needs at least.

    Both ends are prolonged by three lengths of the filter, mirrored from the samples.

    Raises:
        ValueError: An order below 1.

    Source: scipy's ``filtfilt`` and ``sosfiltfilt``.
    """
    if order < 1:
        raise ValueError(f"the order of a filter must be at least 1; it is {order}")
    return 3 * (order + 1) + 1
