"""Which frames a calibration uses."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from simspine_jax.body.model import Model
from simspine_jax.types import IkTasks, MarkerTrajectory

# Frames with less than this share of the best frame's markers are left out.
_LEAST_SEEN = 0.5


class Chosen(NamedTuple):
    """Frames of all trials, one after the other.

    Attributes:
        trajectory: Their markers; the names are those of all trials, and times and
            rate mean nothing.
        trial: Index of the trial that each is from. Shape [T].
        frame: Frame of that trial. Shape [T].
    """

    trajectory: MarkerTrajectory
    trial: Int[np.ndarray, " t"]
    frame: Int[np.ndarray, " t"]


def choose(
    model: Model,
    trials: Sequence[MarkerTrajectory],
    tasks: IkTasks | None,
    frames: int,
) -> Chosen:
    """Takes frames evenly from all trials, of those in which enough markers are seen.

    Args:
        model: Whose markers count.
        trials: Of one person; their markers may differ.
        tasks: Marker weights; markers without one do not count.
        frames: How many at most.

    Raises:
        ValueError: No trial, or no marker of the model is seen in any frame.
    """
    if not trials:
        raise ValueError("a calibration needs at least one trial; there is none")
    joined = joined_trials(trials)
    used = [
        k
        for k, name in enumerate(joined.names)
        if name in model.marker_names
        and (tasks is None or tasks.marker_weights.get(name, 0.0) > 0)
    ]
    seen = np.asarray(joined.valid)
    if joined.weight is not None:
        seen = seen & (np.asarray(joined.weight) > 0)
    count = seen[:, used].sum(axis=1)
    if not count.any():
        raise ValueError(
            f"none of the model's {len(model.marker_names)} markers is seen with a "
            f"weight in any of the {len(count)} frames"
        )
    good = np.flatnonzero(count >= max(_LEAST_SEEN * count.max(), 1))
    if len(good) > frames:
        good = good[np.round(np.linspace(0, len(good) - 1, frames)).astype(int)]
    lengths = [len(trial.points) for trial in trials]
    trial = np.repeat(np.arange(len(trials)), lengths)
    frame = np.concatenate([np.arange(length) for length in lengths])
    weight = None if joined.weight is None else np.asarray(joined.weight)[good]
    return Chosen(
        MarkerTrajectory(
            np.asarray(joined.points)[good],
            np.asarray(joined.valid)[good],
            joined.names,
            joined.rate_hz,
            weight=weight,
        ),
        trial[good],
        frame[good],
    )


def joined_trials(trials: Sequence[MarkerTrajectory]) -> MarkerTrajectory:
    """Puts trials one after the other; a marker that one lacks is missing there."""
    names = tuple(dict.fromkeys(name for trial in trials for name in trial.names))
    weighted = any(trial.weight is not None for trial in trials)
    points, valid, weight = [], [], []
    for trial in trials:
        place = [names.index(name) for name in trial.names]
        shape = (len(trial.points), len(names))
        own = [np.zeros((*shape, 3)), np.zeros(shape, bool), np.ones(shape)]
        own[0][:, place] = trial.points
        own[1][:, place] = trial.valid
        if trial.weight is not None:
            own[2][:, place] = trial.weight
        for all_, part in zip((points, valid, weight), own, strict=True):
            all_.append(part)
    return MarkerTrajectory(
        np.concatenate(points),
        np.concatenate(valid),
        names,
        trials[0].rate_hz,
        weight=np.concatenate(weight) if weighted else None,
    )
