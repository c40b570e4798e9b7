"""One picture of a triangulation: where the points fall in every view."""

import os
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simspine_jax.cameras import pinhole
from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.evaluation.triangulation_summary import Summary
from simspine_jax.figures import saving
from simspine_jax.types import CameraRig, Detections2D

_SEEN, _FOUND, _LEFT_OUT = "#f2b134", "#1f4e9e", "#c0392b"
_LINE = 130  # characters below the picture
_MARGIN = 0.15  # around the person, of its size


def save(path: str | os.PathLike[str], *args, **kwargs) -> None:
    """Draws ``make`` and saves it as a PNG file, whole or not at all."""
    figure = make(*args, **kwargs)
    saving.save(path, figure)


def make(
    rig: CameraRig,
    detections: Detections2D,
    found: Triangulation,
    summary: Summary,
    links: Sequence[tuple[str, str]],
    images: Sequence[np.ndarray | None],
    frame: int,
) -> Figure:
    """Draws errors by camera, errors over time, and one frame in every view.

    Args:
        rig: Cameras.
        detections: What was detected.
        found: What was made of it.
        summary: Of the same.
        links: Pairs of keypoint names to draw as lines.
        images: Of each camera at the frame, RGB [H, W, 3]; None draws no image.
        frame: Which frame.
    """
    count = len(rig.names)
    figure = Figure(figsize=(max(12, 3.2 * count), 8), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1, 1.6])
    upper, lower = parts
    left, right = upper.subplots(1, 2)
    _errors(left, rig, found, summary)
    _over_time(right, rig, detections, found)
    views = lower.subplots(1, count, squeeze=False)[0]
    pixels = np.asarray(pinhole.project(rig, np.asarray(found.points)[frame]))
    for c, axis in enumerate(views):
        _view(axis, detections, found, pixels[c], links, images[c], (frame, c))
        axis.set_title(f"{rig.names[c]}, frame {frame + 1}")
    figure.suptitle(
        f"{summary.valid_fraction:.1%} of the points valid, reprojection error "
        f"{summary.mean_px:.1f} px mean, {summary.median_px:.1f} px median",
        fontweight="bold",
    )
    if summary.parts is not None:
        text = str(summary.parts)
        lines = textwrap.wrap(f"{text[:1].upper()}{text[1:]}.", _LINE)
        figure.supxlabel("\n".join(lines), fontsize=11)
    return figure


def _errors(axis: Axes, rig: CameraRig, found: Triangulation, summary: Summary) -> None:
    error, used = np.asarray(found.reprojection_error), np.asarray(found.used_views)
    parts = [error[:, c][used[:, c]] for c in range(len(rig.names))]
    axis.boxplot(
        [p if p.size else [0.0] for p in parts], whis=(5, 95), showfliers=False
    )
    labels = [
        f"{v.camera}\n{v.used / max(v.detected, 1):.0%} used" for v in summary.views
    ]
    axis.set_xticks(range(1, len(labels) + 1), labels)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("reprojection error (px)")
    axis.set_title("Used detections; boxes are quartiles, whiskers 5 and 95 %")
    axis.grid(axis="y", alpha=0.3)


def _over_time(
    axis: Axes, rig: CameraRig, detections: Detections2D, found: Triangulation
) -> None:
    error = np.asarray(found.reprojection_error)
    used = np.asarray(found.used_views)
    count = used.sum(axis=2)
    mean = np.where(used, error, 0.0).sum(axis=2) / np.maximum(count, 1)
    times = np.arange(len(error)) / detections.rate_hz
    for c, name in enumerate(rig.names):
        axis.plot(times, np.where(count[:, c] > 0, mean[:, c], np.nan), label=name)
    axis.set_xlabel("time (s)")
    axis.set_ylabel("mean error of a view (px)")
    axis.set_title("Over time")
    axis.legend(fontsize=8, ncols=2)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)


def _view(
    axis: Axes,
    detections: Detections2D,
    found: Triangulation,
    pixels: np.ndarray,
    links: Sequence[tuple[str, str]],
    image: np.ndarray | None,
    at: tuple[int, int],
) -> None:
    frame, c = at
    names = detections.keypoint_names
    valid = np.asarray(found.valid)[frame]
    seen = np.asarray(detections.points)[frame, c]
    has = np.asarray(detections.confidence)[frame, c] > 0
    used = np.asarray(found.used_views)[frame, c]
    if image is not None:
        axis.imshow(image)
    for one, other in links:
        if one in names and other in names:
            ends = [names.index(one), names.index(other)]
            if valid[ends].all():
                axis.plot(*pixels[ends].T, color=_FOUND, lw=2)
    axis.scatter(*pixels[valid].T, s=14, color=_FOUND, label="reprojected", zorder=3)
    for which, colour, label in (
        (has & used, _SEEN, "detected, used"),
        (has & ~used, _LEFT_OUT, "detected, left out"),
    ):
        axis.scatter(
            *seen[which].T, s=22, marker="x", color=colour, label=label, zorder=4
        )
    shown = np.concatenate([pixels[valid], seen[has]])
    if len(shown):
        low, high = shown.min(axis=0), shown.max(axis=0)
        room = _MARGIN * (high - low).max()
        axis.set_xlim(low[0] - room, high[0] + room)
        axis.set_ylim(high[1] + room, low[1] - room)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)
    if c == 0:
        axis.legend(loc="lower left", fontsize=7)
