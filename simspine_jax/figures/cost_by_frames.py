"""Cost of a fit against the length of the trial."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from simspine_jax.figures import saving


def save(
    path: str | os.PathLike[str],
    frames: Sequence[float],
    seconds: Sequence[float],
    reference: float,
) -> None:
    """Draws seconds and frames a second against the number of frames.

    Args:
        path: Image to write; appears whole or not at all.
        frames: Lengths of the trials.
        seconds: What each took.
        reference: Frames a second of OpenSim, drawn as a line.
    """
    length, cost = np.asarray(frames, float), np.asarray(seconds, float)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    ours = dict(color="C0", label="simspine_jax, streamed")
    left.loglog(length, cost, "o-", **ours)
    left.loglog(length, length / reference, "--", color="0.4", label="OpenSim's rate")
    left.set(ylabel="seconds", title="Time to fit a trial")
    right.loglog(length, length / cost, "o-", **ours)
    right.axhline(reference, ls="--", color="0.4", label="OpenSim")
    right.set(ylabel="frames a second", title="Throughput")
    for axes in (left, right):
        axes.set_xlabel("frames in the trial")
        axes.grid(True, which="major", color="0.9")
        axes.legend(frameon=False)
    saving.save(path, figure, dpi=130)
