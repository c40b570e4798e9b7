"""A person's height from markers, for records; it scales nothing."""

from collections.abc import Sequence

import numpy as np

from simspine_jax.fitting import quiet_frames
from simspine_jax.fitting.quiet_frames import QuietFrames, QuietOptions, marker_points
from simspine_jax.types import MarkerTrajectory

# From the feet up; each the mean of both sides.
_CHAIN = ("Heel", "Ankle", "Knee", "Hip", "Shoulder")
# Height of the top of the head over that of the nose, both from the shoulders.
_TOP_OVER_NOSE = 1.33


def body_height(
    trajectories: MarkerTrajectory | Sequence[MarkerTrajectory],
    options: QuietOptions | None = None,
) -> float | None:
    """Estimates a person's height.

    The sum of the median lengths from heel to ankle, ankle to knee, knee to hip and hip
    to shoulder (means of both sides, or the side that is seen) and from the middle of
    the shoulders to the top of the head, or 1.33 times to the nose.

    Args:
        trajectories: All trials of one person, m.
        options: Which frames count; None for the defaults.

    Returns:
        Height, m; None where one of the lengths is not seen, nothing being made up.

    Raises:
        ValueError: As ``quiet_frames.choose``.

    Source: SIMSPINE's released scaling, which makes up 0.10 m of foot and 1.75 m of
    height where markers are missing.
    """
    one = isinstance(trajectories, MarkerTrajectory)
    trials = (trajectories,) if one else tuple(trajectories)
    chosen = quiet_frames.choose(trials, options or QuietOptions())
    return in_frames(trials, chosen)


def in_frames(trials: Sequence[MarkerTrajectory], chosen: QuietFrames) -> float | None:
    """As ``body_height``, in frames already chosen."""
    parts = []
    for below, above in zip(_CHAIN[:-1], _CHAIN[1:], strict=True):
        sides = [
            _median(trials, chosen, (side + below,), (side + above,)) for side in "LR"
        ]
        told = [length for length in sides if length is not None]
        parts.append(sum(told) / len(told) if told else None)
    shoulders = ("LShoulder", "RShoulder")
    top = _median(trials, chosen, shoulders, ("Head",))
    nose = _median(trials, chosen, shoulders, ("Nose",))
    if top is None and nose is not None:
        top = nose * _TOP_OVER_NOSE
    known = [part for part in (*parts, top) if part is not None]
    return sum(known) if len(known) == len(parts) + 1 else None


def _median(
    trials: Sequence[MarkerTrajectory],
    chosen: QuietFrames,
    ends: tuple[str, ...],
    others: tuple[str, ...],
) -> float | None:
    """Returns the median distance of the middles of markers; None if never seen."""
    lengths = []
    for trial, kept in zip(trials, chosen.kept, strict=True):
        one, two = (
            np.mean([marker_points(trial, name) for name in names], axis=0)[kept]
            for names in (ends, others)
        )
        lengths.append(np.linalg.norm(one - two, axis=1))
    all_lengths = np.concatenate(lengths)
    seen = all_lengths[np.isfinite(all_lengths)]
    return float(np.median(seen)) if len(seen) else None
