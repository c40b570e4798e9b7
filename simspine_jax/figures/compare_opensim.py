"""Both inverse kinematics solvers on the same frames, one row a trial."""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simspine_jax.evaluation.ik_comparison import Comparison
from simspine_jax.figures import saving

_OURS, _OPENSIM = "C0", "C1"
_LEAST_DEG = 1e-3  # smaller differences are drawn here


def save(path: str | os.PathLike[str], comparisons: Sequence[Comparison]) -> None:
    """Draws objective ratio, marker distances and angle differences.

    Args:
        path: Image to write; appears whole or not at all.
        comparisons: One for each trial, at least one.
    """
    rows = len(comparisons)
    figure = Figure(figsize=(15, 0.7 + 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False)
    for row, comparison in zip(grid, comparisons, strict=True):
        _ratio(row[0], comparison)
        _markers(row[1], comparison)
        _angles(row[2], comparison)
    for axes in grid[:, 0]:
        axes.yaxis.set_major_formatter("{x:g}")
    saving.save(path, figure)


def _ratio(axes: Axes, comparison: Comparison) -> None:
    axes.axhline(1.0, color=_OPENSIM, label="OpenSim")
    axes.plot(
        comparison.times_s, comparison.ratio, ".-", lw=1, color=_OURS, label="ours"
    )
    top = comparison.ratio.max()
    axes.set(
        xlabel="time, s",
        ylabel="objective / OpenSim's",
        title=f"{comparison.name}: objective, largest ratio {top:.6f}",
    )
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, 1 + 0.05 * (1 - low)))
    _finish(axes)


def _markers(axes: Axes, comparison: Comparison) -> None:
    times = comparison.times_s
    theirs, ours = comparison.opensim.marker_rms, comparison.ours.marker_rms
    # Ours above and thinner: the two often lie on each other.
    axes.plot(times, 1e3 * theirs, lw=4, color=_OPENSIM, alpha=0.6, label="OpenSim")
    axes.plot(times, 1e3 * ours, ".-", lw=1, color=_OURS, label="ours")
    axes.set(
        xlabel="time, s",
        ylabel="marker RMS, mm",
        title=f"{comparison.name}: marker distances",
    )
    _finish(axes)


def _angles(axes: Axes, comparison: Comparison) -> None:
    kinds = (("determined by the markers", True), ("not determined", False))
    for (label, kind), colour in zip(kinds, ("C2", "C3"), strict=True):
        size = np.sort(np.rad2deg(comparison.angles(kind)))
        if len(size):
            share = np.arange(1, len(size) + 1) / len(size)
            axes.step(
                np.maximum(size, _LEAST_DEG), share, where="post", color=colour,
                label=f"{label} ({len(size)})",
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set(
        xlabel="angle difference from OpenSim, degrees",
        ylabel="share of angles below",
        ylim=(0, 1.02),
        title=f"{comparison.name}: angles",
    )
    axes.xaxis.set_major_formatter("{x:g}")
    _finish(axes, "upper left")


def _finish(axes: Axes, place: Literal["best", "upper left"] = "best") -> None:
    axes.grid(True, color="0.9")
    axes.legend(loc=place, framealpha=0.9, edgecolor="none")
