"""One picture of a data set: how well its sequences fit, and the spine of one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from simspine_jax.body.spine import SpineAngles
from simspine_jax.figures.skeleton_panel import SPINE, STICK
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory

_NAMED = 24  # sequences that get a line of their own; of more there is a histogram
_SHOWN = 7  # frames of the spine
_LIMBS = (
    *(("LShoulder", "LElbow"), ("LElbow", "LWrist"), ("LHip", "LKnee")),
    *(("LKnee", "LAnkle"), ("LAnkle", "LHeel"), ("LHeel", "LBigToe")),
    *(("RShoulder", "RElbow"), ("RElbow", "RWrist"), ("RHip", "RKnee")),
    *(("RKnee", "RAnkle"), ("RAnkle", "RHeel"), ("RHeel", "RBigToe")),
    *(("LShoulder", "LClavicle"), ("RShoulder", "RClavicle")),
    *(("LHip", "Hip"), ("RHip", "Hip")),
)


def make(
    name: str,
    markers: MarkerTrajectory,
    angles: SpineAngles,
    rms_mm: Mapping[str, float],
) -> Figure:
    """Draws fit errors of all sequences, and keypoints and curvature of one.

    Args:
        name: Of the sequence that is shown.
        markers: Its 37 keypoints in ground, m.
        angles: Of its motion.
        rms_mm: Marker error of each sequence, by name, mm.
    """
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1.6, 1], width_ratios=[1, 1, 0.8])
    _person(figure.add_subplot(grid[0, 0]), markers)
    _spines(figure.add_subplot(grid[0, 1]), markers)
    _errors(figure.add_subplot(grid[0, 2]), rms_mm)
    _curvature(figure.add_subplot(grid[1, :]), angles)
    figure.suptitle(f"{len(rms_mm)} sequences; shown: {name}")
    return figure


def spine_in_side_view(markers: MarkerTrajectory) -> np.ndarray:
    """Returns the spine's chain ahead of and above the Hip, m. [T, 10, 2].

    Ahead is the horizontal normal of the line from the left to the right hip.
    """
    at = {n: np.asarray(markers.points)[:, markers.names.index(n)] for n in _needed()}
    across = at["RHip"] - at["LHip"]
    ahead = np.stack([across[:, 2], 0 * across[:, 0], -across[:, 0]], axis=1)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    chain = np.stack([at[n] - at["Hip"] for n in simspine.SPINE_CHAIN], axis=1)
    return np.stack([(chain * ahead[:, None]).sum(axis=2), chain[..., 1]], axis=2)


def _needed() -> tuple[str, ...]:
    return (*simspine.SPINE_CHAIN, "LHip", "RHip")


def _person(axes: Axes, markers: MarkerTrajectory) -> None:
    """The frame in the middle, seen from where most of its width shows."""
    frame = len(markers.points) // 2
    points = np.asarray(markers.points)[frame]
    valid = np.asarray(markers.valid)[frame]
    flat = points[:, (0, 2)] - points[valid][:, (0, 2)].mean(axis=0)
    _, _, directions = np.linalg.svd(flat[valid], full_matrices=False)
    seen = np.stack([flat @ directions[0], points[:, 1]], axis=1)
    index = {n: k for k, n in enumerate(markers.names)}
    for links, colour, width in (
        (_LIMBS, STICK, 2.5),
        (simspine.SPINE_LINKS, SPINE, 3),
    ):
        lines = [
            seen[[index[a], index[b]]]
            for a, b in links
            if a in index and b in index and valid[index[a]] and valid[index[b]]
        ]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width))
    axes.plot(*seen[valid].T, "o", color="k", markersize=3)
    axes.set(title=f"keypoints, frame {frame + 1}", xlabel="m", ylabel="height (m)")
    axes.set_aspect("equal")


def _spines(axes: Axes, markers: MarkerTrajectory) -> None:
    valid = np.asarray(markers.valid)
    columns = [markers.names.index(n) for n in _needed()]
    whole = np.flatnonzero(valid[:, columns].all(axis=1))
    if len(whole):
        chain = spine_in_side_view(markers)
        picks = np.unique(np.linspace(0, len(whole) - 1, _SHOWN).astype(int))
        shades = colormaps["viridis"](np.linspace(0, 0.9, len(picks)))
        for pick, shade in zip(whole[picks], shades, strict=True):
            time = markers.times_s[pick]
            axes.plot(*chain[pick].T, "-o", color=shade, ms=4, label=f"{time:.2f} s")
        for name, (x, y) in zip(
            simspine.SPINE_CHAIN, chain[whole[picks[0]]], strict=True
        ):
            axes.annotate(name, (x, y), (6, 0), textcoords="offset points", fontsize=7)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set(title="spine from the side", xlabel="ahead of Hip (m)", ylabel="above (m)")
    axes.set_aspect("equal")


def _errors(axes: Axes, rms_mm: Mapping[str, float]) -> None:
    if len(rms_mm) > _NAMED:
        axes.hist(list(rms_mm.values()), bins=30, color=SPINE)
        axes.set(title="fit of the sequences", xlabel="marker RMS (mm)")
        axes.set_ylabel("sequences")
        return
    names = list(rms_mm)[::-1]
    axes.barh(names, [rms_mm[n] for n in names], color=SPINE, height=0.5)
    axes.set_ylim(len(names) - max(len(names), 6) - 0.5, len(names) - 0.5)
    axes.tick_params(axis="y", labelsize=8)
    axes.set(title="fit of the sequences", xlabel="marker RMS (mm)")


def _curvature(axes: Axes, angles: SpineAngles) -> None:
    times: Any = angles.times_s
    shown = {
        "lumbar lordosis L1-S1 (Cobb)": (angles.lla, "-"),
        "lordosis by keypoints": (angles.lordosis, "--"),
        "thoracic kyphosis T3-T12 (rigid thorax)": (angles.tka, "-"),
        "kyphosis by keypoints": (angles.kyphosis, "--"),
    }
    for (label, (values, style)), colour in zip(
        shown.items(), ("#1f4e9c", "#6f95d6", "#b0431f", "#e39a7a"), strict=True
    ):
        axes.plot(times, np.rad2deg(values), style, color=colour, label=label)
    axes.set(title="curvature", xlabel="time (s)", ylabel="degrees")
    axes.set_ylim(*_with_room(shown))
    axes.legend(fontsize=8, ncols=4, loc="upper center")


def _with_room(shown: Mapping[str, tuple[Any, str]]) -> tuple[float, float]:
    """Limits in degrees that leave the legend a place above the curves."""
    every = np.rad2deg(np.concatenate([values for values, _ in shown.values()]))
    low, high = min(float(every.min()), 0.0), float(every.max())
    return low - 0.05 * (high - low), high + 0.3 * (high - low)
