"""What a calibration found, how sure it is, and a table that people can read."""

from dataclasses import dataclass

import numpy as np

from simspine_jax.body.model import Model

# The 95 % interval of what counts as determined stays within these.
RATIO_BOUND, OFFSET_BOUND_M = 0.01, 0.003


@dataclass(frozen=True, eq=False)
class Calibration:
    """A calibrated person: S segments, M observed markers, F frames.

    Attributes:
        model: Scaled, with its markers moved; unobserved markers only scaled.
        segments: Names, sides apart.
        ratio: Length of each over the generic model's. Shape [S].
        ratio_sd: Its SD, of 1. Shape [S].
        ratio_share: Share of the prior variance that the data took away. Shape [S].
        factors: What ``scale_model`` was given for the model that came in, by body.
        marker_names: The observed markers.
        offset_shift: How far each was moved from its scaled place, in its body's
            frame, m. Shape [M, 3].
        offset_sd: Its SD, m. Shape [M, 3].
        offset_share: As ``ratio_share``. Shape [M, 3].
        covariance: Of log ratios, then shifts (m), by marker and axis. [K, K].
        noise_m: Noise SD of a component of a marker of weight 1, m.
        frames_as_one: How many of the used frames count as one.
        trial: Trial that each used frame is from. Shape [F].
        frame: The frame of that trial. Shape [F].
        q: Coordinates in the used frames, rad and m. Shape [F, N].
        rms_before_m: Root mean square marker distance in the used frames with the
            model that came in, m.
        rms_after_m: With the calibrated model.
        steps: Linearisations in all.
        status: How the last solve ended.
    """

    model: Model
    segments: tuple[str, ...]
    ratio: np.ndarray
    ratio_sd: np.ndarray
    ratio_share: np.ndarray
    factors: dict[str, tuple[float, float, float]]
    marker_names: tuple[str, ...]
    offset_shift: np.ndarray
    offset_sd: np.ndarray
    offset_share: np.ndarray
    covariance: np.ndarray
    noise_m: float
    frames_as_one: float
    trial: np.ndarray
    frame: np.ndarray
    q: np.ndarray
    rms_before_m: float
    rms_after_m: float
    steps: int
    status: str

    @property
    def segment_ratio(self) -> dict[str, float]:
        """The ratios by name."""
        return dict(zip(self.segments, self.ratio.tolist(), strict=True))

    @property
    def ratio_determined(self) -> np.ndarray:
        """Whether two SDs of a ratio are within 1 %. Shape [S]."""
        return 2 * self.ratio_sd <= RATIO_BOUND * self.ratio

    @property
    def offset_determined(self) -> np.ndarray:
        """Whether two SDs of a shift are within 3 mm. Shape [M, 3]."""
        return 2 * self.offset_sd <= OFFSET_BOUND_M

    def __str__(self) -> str:
        """A table of segments and one of markers."""
        return to_text(self)


def to_text(found: Calibration) -> str:
    """Returns a table of segments, one of markers, and what they rest on."""
    trials = len(set(found.trial.tolist()))
    lines = [
        f"calibrated with {len(found.frame)} frames of {trials} "
        f"trial{'s' if trials > 1 else ''}: {found.status} after {found.steps} steps",
        f"marker RMS {1e3 * found.rms_before_m:.1f} mm before, "
        f"{1e3 * found.rms_after_m:.1f} mm after; noise of a marker's component "
        f"{1e3 * found.noise_m:.1f} mm, alike in {found.frames_as_one:.1f} used frames",
        "",
        f"{'segment':14} {'ratio':>6} {'SD':>7}  decided by",
    ]
    rows = zip(
        *(found.segments, found.ratio, found.ratio_sd),
        *(found.ratio_share, found.ratio_determined),
        strict=True,
    )
    for name, ratio, sd, share, sure in rows:
        lines.append(
            f"{name:14} {ratio:6.3f} {100 * sd:5.2f} %  {_decided(share, bool(sure))}"
        )
    lines += ["", f"{'marker':14} {'moved by (x, y, z), mm':>24}  {'SD, mm':>18}"]
    for name, shift, sd in zip(
        found.marker_names, found.offset_shift, found.offset_sd, strict=True
    ):
        moved = " ".join(f"{1e3 * v:7.1f}" for v in shift)
        sure = " ".join(f"{1e3 * v:5.1f}" for v in sd)
        lines.append(f"{name:14} {moved:>24}  {sure:>18}")
    return "\n".join(lines)


def _decided(share: float, sure: bool) -> str:
    if sure:
        return "the data (to 1 %)"
    if share >= 0.5:
        return f"mostly the data ({100 * share:.0f} %)"
    return f"mostly the prior (data {100 * share:.0f} %)"
