"""The joint angles that people look at first, with their 95 % intervals."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.fitting.uncertainty import NORMAL_95
from simspine_jax.types import Motion

_LEVELS = ("L5_S1", "L4_L5", "L3_L4", "L2_L3", "L1_L2", "L1_T12")
# Label, and the coordinates whose sum it is: the first set that the model has.
TRUNK = (
    ("pelvis tilt", (("pelvis_tilt",),)),
    (
        "lumbar flexion",
        (tuple(f"{level}_Flex_Ext" for level in _LEVELS), ("lumbar_extension",)),
    ),
    ("neck flexion", (("neck_flexion",), ("neck_extension",))),
)
LIMBS = tuple(
    (f"{joint} {side}", ((f"{stem}_{side.lower()}",),))
    for joint, stem in (
        ("hip", "hip_flexion"),
        ("knee", "knee_angle"),
        ("elbow", "elbow_flex"),
    )
    for side in ("R", "L")
)


@dataclass(frozen=True, eq=False)
class KeyAngle:
    """One angle over time.

    Attributes:
        label: Its name.
        coordinates: Indices of the coordinates whose sum it is.
        degrees: Values. Shape [T].
        half_width_deg: Half of the 95 % interval of each frame; inf where the markers
            do not tell, None without a covariance. Shape [T].
    """

    label: str
    coordinates: tuple[int, ...]
    degrees: np.ndarray
    half_width_deg: np.ndarray | None

    @property
    def title(self) -> str:
        """The label, saying of how many levels it is a sum."""
        count = len(self.coordinates)
        return self.label + (f" (sum of {count} levels)" if count > 1 else "")


def key_angles(
    motion: Motion,
    covariance: Float[np.ndarray, "t q q"] | None = None,
    wanted: tuple = TRUNK + LIMBS,
) -> list[KeyAngle]:
    """Returns those of the wanted angles that the motion has.

    Args:
        motion: The fitted motion.
        covariance: ``IkSolution.covariance``.
        wanted: Labels and coordinates, such as ``TRUNK``.
    """
    q, names = np.asarray(motion.q), motion.coordinate_names
    found = []
    for label, choices in wanted:
        for choice in choices:
            if not all(name in names for name in choice):
                continue
            at = [names.index(name) for name in choice]
            half = None
            if covariance is not None:
                variance = covariance[:, at][:, :, at].sum(axis=(1, 2))
                half = NORMAL_95 * np.degrees(np.sqrt(np.maximum(variance, 0.0)))
            degrees = np.degrees(q[:, at].sum(axis=1))
            found.append(KeyAngle(label, tuple(at), degrees, half))
            break
    return found


def to_text(angles: list[KeyAngle], noise_m: float, seen: np.ndarray) -> list[str]:
    """Returns a table: range over time and median 95 % interval of each angle.

    Args:
        angles: As ``key_angles`` gives them, with a covariance.
        noise_m: Noise SD of a marker component that the intervals go by, m.
        seen: Frames that have a marker. Shape [T].
    """
    if not angles or not seen.any():
        return []
    width = max(len(a.title) for a in angles)
    lines = [
        f"{'key angles':<{width}}  lowest  mean  highest  95 % interval (median), deg"
    ]
    for angle in angles:
        degrees = angle.degrees[seen]
        widths = angle.half_width_deg
        half = np.inf if widths is None else float(np.median(widths[seen]))
        told = f"+/- {half:.1f}" if half < 180 else "not determined"
        lines.append(
            f"{angle.title:<{width}}  {degrees.min():6.0f}{degrees.mean():6.0f}"
            f"{degrees.max():9.0f}  {told}"
        )
    lines.append(f"(marker noise {noise_m * 1e3:.1f} mm SD a component)")
    return lines
