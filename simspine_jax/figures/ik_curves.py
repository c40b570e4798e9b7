"""Key joint angles of a fitted motion over time, as far as the model has them."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from simspine_jax.fitting.ik_report import NOISE_M, IkReport
from simspine_jax.types import Motion

_VAGUE_DEG = 5.0
_LEVELS = ("L5_S1", "L4_L5", "L3_L4", "L2_L3", "L1_L2", "L1_T12")
_DARK_LIGHT = {
    "hip": ("#1f4e9c", "#7fa8e0"),
    "knee": ("#8a1c10", "#ee8a7a"),
    "elbow": ("#1c6b34", "#86c89a"),
}
# Label, colour, and the coordinates whose sum is drawn: the first set that the
# model has.
_TRUNK = (
    ("pelvis tilt", "#1a1a1a", (("pelvis_tilt",),)),
    (
        "lumbar flexion",
        "#1f4e9c",
        (tuple(f"{level}_Flex_Ext" for level in _LEVELS), ("lumbar_extension",)),
    ),
    ("neck flexion", "#e08a1e", (("neck_flexion",), ("neck_extension",))),
)
_LIMBS = tuple(
    (f"{joint} {side}", _DARK_LIGHT[joint][side == "L"], ((f"{stem}_{side.lower()}",),))
    for joint, stem in (
        ("hip", "hip_flexion"),
        ("knee", "knee_angle"),
        ("elbow", "elbow_flex"),
    )
    for side in ("R", "L")
)


@dataclass(frozen=True, eq=False)
class Curve:
    """One angle over time.

    Attributes:
        label: Its name.
        colour: Its colour.
        degrees: Values. Shape [T].
        sd_deg: Predicted SD from marker noise alone; inf where not determined.
    """

    label: str
    colour: str
    degrees: np.ndarray
    sd_deg: float

    @property
    def vague(self) -> bool:
        """Whether the markers do not determine it within 5 degrees."""
        return not self.sd_deg <= _VAGUE_DEG


def curves(
    motion: Motion, report: IkReport, wanted: tuple = _TRUNK + _LIMBS
) -> list[Curve]:
    """Returns those of the wanted curves that the motion has.

    The SD of a sum is the sum of the SDs, which is exact for coupled levels that
    turn the same way.
    """
    q, names = np.asarray(motion.q), motion.coordinate_names
    found = []
    for label, colour, choices in wanted:
        for choice in choices:
            if all(name in names for name in choice):
                at = [names.index(name) for name in choice]
                degrees = np.degrees(q[:, at].sum(1))
                kept = all(name in report.unmoved for name in choice)
                sd = np.inf if kept else np.degrees(report.coordinate_sd[at].sum())
                suffix = f" (sum of {len(at)} levels)" if len(at) > 1 else ""
                found.append(Curve(label + suffix, colour, degrees, float(sd)))
                break
    return found


def draw(trunk: Axes, limbs: Axes, motion: Motion, report: IkReport) -> None:
    """Draws the angles of trunk and limbs; those not determined faint and dashed."""
    for axis, wanted, title in (
        (trunk, _TRUNK, "Trunk"),
        (limbs, _LIMBS, "Limbs, flexion (R dark, L light)"),
    ):
        found = curves(motion, report, wanted)
        _draw(axis, found, motion.times_s, report.frame_seen)
        axis.set_title(title, fontsize=13, loc="left")
    trunk.tick_params(labelbottom=False)
    limbs.set_xlabel(
        "time (s);  ± is the SD that "
        f"{NOISE_M * 1e3:g} mm of marker noise alone would cause"
    )


def _draw(axis: Axes, found: list[Curve], times: np.ndarray, seen: np.ndarray) -> None:
    for curve in found:
        degrees = np.where(seen, curve.degrees, np.nan)
        style = {"linestyle": (0, (4, 2)), "alpha": 0.5} if curve.vague else {}
        axis.plot(times, degrees, color=curve.colour, linewidth=2.2, **style)
    axis.set_ylabel("degrees")
    axis.grid(alpha=0.25)
    if not found:
        axis.text(
            0.5,
            0.5,
            "the model has none of these",
            ha="center",
            transform=axis.transAxes,
        )
        return
    span = times[-1] - times[0] if len(times) > 1 else 1.0
    axis.set_xlim(times[0] - 0.01 * span, times[-1] + 0.01 * span)
    low, high = axis.get_ylim()
    ends = [c.degrees[-1] for c in found]
    for curve, end, y in zip(
        found, ends, spread(ends, 0.17 * (high - low), low, high), strict=True
    ):
        told = "not determined" if curve.vague else f"± {curve.sd_deg:.1f}°"
        axis.annotate(
            f"{curve.label}, {told}",
            (1.0, end),
            (1.03, y),
            xycoords=axis.get_yaxis_transform(),
            textcoords=axis.get_yaxis_transform(),
            color=curve.colour,
            va="center",
            fontsize=10,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": curve.colour, "alpha": 0.5},
        )


def spread(values, gap: float, low: float, high: float) -> np.ndarray:
    """Moves values apart to at least ``gap``, in their order, within the limits."""
    values = np.asarray(values, float)
    order = np.argsort(values, kind="stable")
    placed = values[order].copy()
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed -= max(placed[-1] - high, 0.0) if len(placed) else 0.0
    for i in range(len(placed) - 2, -1, -1):
        placed[i] = min(placed[i], placed[i + 1] - gap)
    placed += max(low - placed[0], 0.0) if len(placed) else 0.0
    result = np.empty_like(placed)
    result[order] = placed
    return result
