"""Which marker determines which coordinate; what losing or adding one changes."""

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from simspine_jax.evaluation import ik_sensitivity
from simspine_jax.evaluation.ik_information import PARTS
from simspine_jax.evaluation.ik_sensitivity import Change, Sensitivity, sd_text
from simspine_jax.figures import saving

_DARK, _PALE = "#303030", "#d9d9d9"
_SMALL, _PLAIN, _LARGE = 5.5, 6.5, 7.5  # points, at the printed width of 190 mm
_WRITTEN = 0.095  # shares below this are not written into their cell
_CAP = 10.0  # longer bars end here
_DROPPED, _ADDED = 22, 8
_ROW, _COLUMN = 0.135, 0.14  # inches, of the heat map


def save(path: str | os.PathLike[str], found: Sensitivity) -> None:
    """Draws the figure into a PNG file, whole or not at all."""
    figure = make(found)
    saving.save(path, figure, dpi=300)


def make(found: Sensitivity) -> Figure:
    """Returns the figure that ``save`` writes.

    190 mm wide, and wider with more than two dozen markers.
    """
    drops, adds = len(found.drop.names), len(found.add.names)
    bars = min(drops, _DROPPED), min(adds, _ADDED)
    height = 1.0 + _ROW * max(len(found.share), sum(bars) + 5, 10)
    wide = max(4.53, 1.3 + _COLUMN * drops)
    figure = Figure(figsize=(wide + 2.95, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # pyright: ignore
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(wide, 2.95))[0]
    _heat_map(left.subplots(), found)
    if adds:
        grid = right.subplots(2, 1, height_ratios=(bars[0] + 1, bars[1] + 1))
        _bars(grid[1], found, found.add, _ADDED, gain=True)
        top = grid[0]
    else:
        top = right.subplots()
    _bars(top, found, found.drop, _DROPPED, gain=False)
    return figure


def _heat_map(axes: Axes, found: Sensitivity) -> None:
    info, share = found.found, found.share
    known = ik_sensitivity.determined(found.sd, info.angle)
    n, m = share.shape
    axes.imshow(
        np.nan_to_num(share), cmap="Greys", vmin=0, vmax=1, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for c, k in np.argwhere(share >= _WRITTEN).tolist():
        axes.text(
            k, c, f"{100 * share[c, k]:.0f}", ha="center", va="center",
            fontsize=_SMALL, color="white" if share[c, k] > 0.55 else "black",
        )  # fmt: skip
    for c in np.flatnonzero(~known).tolist():
        bar = Rectangle(
            (-0.5, c - 0.5), m, 1, facecolor="none", edgecolor="0.45",
            hatch="//////", linewidth=0, alpha=0.45,
        )  # fmt: skip
        axes.add_patch(bar)
        if np.isnan(share[c]).all():
            axes.text(
                (m - 1) / 2, c, "not determined", ha="center", va="center",
                fontsize=_SMALL, bbox={"color": "white", "pad": 0.5},
            )  # fmt: skip
    for part in PARTS:
        last = max((c for c, p in enumerate(info.parts) if p == part), default=n - 1)
        if last < n - 1:
            axes.axhline(last + 0.5, color=_DARK, linewidth=0.8)
    axes.set_xticks(range(m), info.markers[:m], rotation=90, fontsize=_PLAIN)
    axes.set_yticks(range(n), info.coordinates, fontsize=_PLAIN)
    axes.set_xticks(np.arange(m) - 0.5, minor=True)
    axes.set_yticks(np.arange(n) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.3)
    axes.tick_params(which="both", length=0, pad=2)
    right = axes.secondary_yaxis("right")
    labels = [
        _sd(sd, bool(angle)) for sd, angle in zip(found.sd, info.angle, strict=True)
    ]
    right.set_yticks(range(n), labels, fontsize=_PLAIN)
    right.tick_params(length=0, pad=2)
    for label, sure in zip(right.get_yticklabels(), known, strict=True):
        label.set_fontweight("normal" if sure else "bold")
    hatched = "" if known.all() else "\nhatched: not determined (SD above 5° or 20 mm)"
    axes.set_title(
        "Share of each marker in what is known of a coordinate, %", loc="left",
        fontsize=_LARGE, fontweight="bold",
    )  # fmt: skip
    axes.set_xlabel(
        f"right: SD at {info.noise_m * 1e3:g} mm of marker noise{hatched}",
        fontsize=_PLAIN,
    )


def _bars(
    axes: Axes, found: Sensitivity, change: Change, most: int, *, gain: bool
) -> None:
    order = change.order[:most]
    factor = np.minimum(change.largest[order], _CAP)
    places = list(range(len(order)))
    decides = change.decided[order].sum(axis=1)
    rows = zip(places, order, factor.tolist(), decides, strict=True)
    for y, k, width, count in rows:
        endless = np.isinf(change.largest[k])
        axes.barh(
            y, width - 1, left=1, height=0.7, color=_DARK if count else "0.65",
            edgecolor="white", linewidth=0, hatch="///" if endless else None,
        )  # fmt: skip
        c = change.most[k]
        angle = bool(change.angle[c])
        pair = float(change.sd_without[k, c]), float(change.sd_with[k, c])
        before, after = pair if gain else pair[::-1]
        told = f"{sd_text(before, angle)}→{_sd(after, angle)}"
        axes.text(
            1.02, y, f"{found.found.coordinates[c]} {told}",
            transform=axes.get_yaxis_transform(), va="center", fontsize=_SMALL,
        )  # fmt: skip
        if count:
            axes.text(
                width, y, f" {count}", va="center", fontsize=_PLAIN, fontweight="bold"
            )
    _scale(axes, factor.max(initial=1.0))
    axes.set_yticks(places, [change.names[k] for k in order], fontsize=_PLAIN)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.tick_params(length=2, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=_PALE, linewidth=0.5)
    axes.set_axisbelow(True)
    rest = len(change.names) - len(order)
    more = f" (the first {len(order)} of {len(change.names)})" if rest else ""
    verb = "adding" if gain else "dropping"
    axes.set_title(
        f"{verb.capitalize()} one marker{more}", loc="left", fontsize=_LARGE,
        fontweight="bold",
    )  # fmt: skip
    word = "SD now / SD with it" if gain else "SD without it / SD now"
    count = "gained" if gain else "lost; hatched: nothing left"
    axes.set_xlabel(
        f"{word}, of the coordinate named\ndark, number: coordinates {count}",
        fontsize=_PLAIN, labelpad=1,
    )  # fmt: skip


def _scale(axes: Axes, longest: float) -> None:
    if longest > 2:
        axes.set_xscale("log")
        axes.set_xlim(1, _CAP * 1.5)
        axes.set_xticks([1, 2, 5, _CAP], ["1", "2", "5", "≥10"], fontsize=_PLAIN)
        axes.set_xticks([], minor=True)
    else:
        axes.set_xlim(1, 2.1)
        axes.set_xticks([1, 1.5, 2], ["1", "1.5", "2"], fontsize=_PLAIN)


def _sd(value: float, angle: bool) -> str:
    unit = "" if not np.isfinite(value) else "°" if angle else " mm"
    return sd_text(value, angle) + unit
