"""Key joint angles of a fitted motion over time, as far as the model has them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from simspine_jax.fitting.ik_report import NOISE_M, IkReport
from simspine_jax.fitting.key_angles import LIMBS, TRUNK, KeyAngle, key_angles
from simspine_jax.types import Motion

_VAGUE_DEG = 5.0
_WIDEST_DEG = 90.0  # a wider interval is not drawn
_COLOURS = {
    "pelvis tilt": "#1a1a1a",
    "lumbar flexion": "#1f4e9c",
    "neck flexion": "#e08a1e",
    "hip R": "#1f4e9c",
    "hip L": "#7fa8e0",
    "knee R": "#8a1c10",
    "knee L": "#ee8a7a",
    "elbow R": "#1c6b34",
    "elbow L": "#86c89a",
}


@dataclass(frozen=True, eq=False)
class Curve:
    """One angle over time.

    Attributes:
        angle: The angle and its 95 % interval.
        sd_deg: Predicted SD of a frame alone from marker noise; inf where not
            determined.
    """

    angle: KeyAngle
    sd_deg: float

    @property
    def vague(self) -> bool:
        """Whether the markers do not determine it within 5 degrees."""
        return not self.sd_deg <= _VAGUE_DEG

    @property
    def told(self) -> str:
        """How sure it is, in a few words."""
        half = self.angle.half_width_deg
        if half is None:
            return "not determined" if self.vague else f"± {self.sd_deg:.1f}°"
        width = float(np.median(half))
        return f"± {width:.1f}°" if width < _WIDEST_DEG else "not determined"


def curves(
    motion: Motion,
    report: IkReport,
    wanted: tuple = TRUNK + LIMBS,
    covariance: Float[np.ndarray, "t q q"] | None = None,
) -> list[Curve]:
    """Returns those of the wanted curves that the motion has.

    The SD of a sum is the sum of the SDs, which is exact for coupled levels that
    turn the same way.
    """
    found = []
    for angle in key_angles(motion, covariance, wanted):
        at = list(angle.coordinates)
        kept = all(motion.coordinate_names[c] in report.unmoved for c in at)
        sd = np.inf if kept else np.degrees(report.coordinate_sd[at].sum())
        found.append(Curve(angle, float(sd)))
    return found


def draw(
    trunk: Axes,
    limbs: Axes,
    motion: Motion,
    report: IkReport,
    covariance: Float[np.ndarray, "t q q"] | None = None,
) -> None:
    """Draws the angles of trunk and limbs with their 95 % intervals.

    Angles that no frame alone determines are faint and dashed.
    """
    for axis, wanted, title in (
        (trunk, TRUNK, "Trunk"),
        (limbs, LIMBS, "Limbs, flexion (R dark, L light)"),
    ):
        found = curves(motion, report, wanted, covariance)
        _draw(axis, found, motion.times_s, report.frame_seen)
        axis.set_title(title, fontsize=13, loc="left")
    trunk.tick_params(labelbottom=False)
    limbs.set_xlabel(
        "time (s);  ± and bands: 95 % intervals"
        if covariance is not None
        else f"time (s);  ± is the SD that {NOISE_M * 1e3:g} mm of marker noise alone "
        "would cause"
    )


def _draw(axis: Axes, found: list[Curve], times: np.ndarray, seen: np.ndarray) -> None:
    for curve in found:
        angle, colour = curve.angle, _COLOURS[curve.angle.label]
        degrees = np.where(seen, angle.degrees, np.nan)
        style = {"linestyle": (0, (4, 2)), "alpha": 0.5} if curve.vague else {}
        axis.plot(times, degrees, color=colour, linewidth=2.2, **style)
        half = angle.half_width_deg
        if half is not None:
            wide = np.where(half < _WIDEST_DEG, half, np.nan)
            axis.fill_between(
                times,
                degrees - wide,
                degrees + wide,
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
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
    ends = [c.angle.degrees[-1] for c in found]
    for curve, end, y in zip(
        found, ends, spread(ends, 0.17 * (high - low), low, high), strict=True
    ):
        colour = _COLOURS[curve.angle.label]
        axis.annotate(
            f"{curve.angle.title}, {curve.told}",
            (1.0, end),
            (1.03, y),
            xycoords=axis.get_yaxis_transform(),
            textcoords=axis.get_yaxis_transform(),
            color=colour,
            va="center",
            fontsize=10,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.5},
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
