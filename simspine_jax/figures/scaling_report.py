"""The picture of a scaled model: factors by body, and how well markers fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Distinguishable also without colours: each has a sign of its own.
_LOOKS = {
    "unscaled": ("#9a9a9a", "|"),
    "setup": ("#d98c21", "s"),
    "lengths": ("#2f7f5f", "^"),
    "joint": ("#1f4e9c", "o"),
}
_OTHER = ("#303030", "D")
_SAME = 6  # digits in which factors of one row agree
_NAMED = 3  # bodies of a row that are named, at most
_APART = 0.22  # of a row, between methods


@dataclass(frozen=True)
class FactorRow:
    """Axes of bodies that every method scales alike.

    Attributes:
        label: Which bodies, and which of their axes if not all.
        factors: By method.
        sd: By method that gives one.
    """

    label: str
    factors: dict[str, float]
    sd: dict[str, float]


def factor_rows(
    bodies: Sequence[str],
    factors: Mapping[str, Float[np.ndarray, "b 3"]],
    sd: Mapping[str, Float[np.ndarray, "b 3"]],
) -> list[FactorRow]:
    """Puts what is scaled alike into one row; what nothing scales has none.

    Args:
        bodies: B names.
        factors: Of each body along x, y and z, by method.
        sd: Of some methods' factors.
    """
    members: dict[tuple, list[str]] = {}
    for b, body in enumerate(bodies):
        axes: dict[tuple[float, ...], str] = {}
        for axis, letter in enumerate("xyz"):
            values = tuple(
                round(float(table[b, axis]), _SAME)
                for table in (*factors.values(), *sd.values())
            )
            axes[values] = axes.get(values, "") + letter
        for values, letters in axes.items():
            if any(value != 1.0 for value in values[: len(factors)]):
                members.setdefault((letters, values), []).append(body)
    rows = []
    for (letters, values), names in members.items():
        label = ", ".join(names)
        if len(names) > _NAMED:
            label = f"{names[0]}, {names[1]} and {len(names) - 2} more"
        rows.append(
            FactorRow(
                label + ("" if letters == "xyz" else f": {' '.join(letters)}"),
                dict(zip(factors, values, strict=False)),
                dict(zip(sd, values[len(factors) :], strict=True)),
            )
        )
    return rows


def make(
    title: str,
    rows: Sequence[FactorRow],
    rms_mm: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Draws factors and marker errors.

    Args:
        title: Heading.
        rows: Factors; their SD are drawn as error bars.
        rms_mm: Marker RMS by method, by the frames that it is of, mm; a method may
            lack some.
    """
    height = max(4.5, 1.8 + 0.27 * len(rows))
    figure = Figure(figsize=(12.5, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    figure.suptitle(title)
    _factors(left, rows)
    _errors(right, rms_mm)
    return figure


def _factors(axes: Axes, rows: Sequence[FactorRow]) -> None:
    methods = list(dict.fromkeys(name for row in rows for name in row.factors))
    for k, method in enumerate(methods):
        colour, sign = _LOOKS.get(method, _OTHER)
        places = np.arange(len(rows)) + _APART * (k - (len(methods) - 1) / 2)
        sd = [row.sd.get(method, np.nan) for row in rows]
        axes.errorbar(
            [row.factors[method] for row in rows],
            places.tolist(),
            xerr=None if np.isnan(sd).all() else sd,
            fmt=sign,
            color=colour,
            markersize=5,
            linewidth=1.2,
            label=method + ("" if np.isnan(sd).all() else ", with its SD"),
        )
    for y in range(len(rows) - 1):
        axes.axhline(y + 0.5, color="0.93", linewidth=0.8, zorder=0)
    axes.axvline(1.0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set(xlabel="scale factor", title="how bodies were scaled")
    axes.legend(fontsize=9, loc="best")


def _errors(axes: Axes, rms_mm: Mapping[str, Mapping[str, float]]) -> None:
    kinds = list(dict.fromkeys(kind for each in rms_mm.values() for kind in each))
    width = 0.8 / len(kinds)
    for k, kind in enumerate(kinds):
        for x, (method, each) in enumerate(rms_mm.items()):
            if kind not in each:
                continue
            bars = axes.bar(
                x + width * (k - (len(kinds) - 1) / 2),
                each[kind],
                0.92 * width,
                color=_LOOKS.get(method, _OTHER)[0],
                alpha=1.0 - 0.5 * k / len(kinds),
                hatch="///" if k else None,
                edgecolor="white",
            )
            axes.bar_label(bars, fmt="%.1f", fontsize=9)
    axes.set_xticks(range(len(rms_mm)), list(rms_mm))
    axes.set(ylabel="marker RMS (mm)", title="how the markers fit")
    axes.margins(y=0.12)
    told = [("hatched: " if k else "plain: ") + kind for k, kind in enumerate(kinds)]
    axes.set_xlabel("\n".join(told) if len(kinds) > 1 else kinds[0], fontsize=9)
