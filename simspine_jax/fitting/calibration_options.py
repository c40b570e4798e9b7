"""How a calibration is done."""

from dataclasses import dataclass

import numpy as np

from simspine_jax.core.robust import RobustLoss


@dataclass(frozen=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes:
        frames: Frames used at most, spread evenly over all trials.
        noise_m: Noise SD of a component of a marker of weight 1, m; None to estimate
            it from the residuals.
        frames_as_one: How many neighbouring used frames count as one, since their
            errors are alike; None to estimate it from the residuals, 1 for noise that
            is independent.
        offset_sd_m: Prior SD of a component of a marker's offset from its scaled
            place, m. Detectors' keypoints are some 20 mm from an anatomist's.
        symmetry_sd: Prior SD of the log ratio of a left to a right segment.
        shape_sd: Prior SD, beyond that of the survey's people, of each segment.
        size_sd: Prior SD, beyond the survey's, of the common size; take 0.2 for
            people that may be children.
        posture_sd_deg: SD of the total lumbar angles and of the neck's about their
            defaults, degrees; all frames together count as three at most, since one
            posture may last. Take 10 where no marker is on the spine. 0 or None for
            no such prior. Inverse kinematics never has it.
        fixed_markers: Markers whose offsets stay as the model has them.
        fixed_segments: Segments that keep the size that the model has.
        loss: Of the marker distances; None for least squares.

    Raises:
        ValueError: A value out of its range.
    """

    frames: int = 128
    noise_m: float | None = None
    frames_as_one: float | None = None
    offset_sd_m: float = 0.02
    symmetry_sd: float = 0.01
    shape_sd: float = 0.01
    size_sd: float = 0.0
    posture_sd_deg: float | None = 20.0
    fixed_markers: tuple[str, ...] = ()
    fixed_segments: tuple[str, ...] = ()
    loss: RobustLoss | None = None

    def __post_init__(self) -> None:  # noqa: D105
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1; it is {self.frames}")
        for name in ("offset_sd_m", "symmetry_sd"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} must be positive; it is {getattr(self, name)}"
                )
        for name in ("shape_sd", "size_sd"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} must not be negative; it is {getattr(self, name)}"
                )
        if self.posture_sd_deg is not None and not 0 <= self.posture_sd_deg < np.inf:
            raise ValueError(
                f"posture_sd_deg must not be negative; it is {self.posture_sd_deg}"
            )
        if self.noise_m is not None and not 0 < self.noise_m < np.inf:
            raise ValueError(f"noise_m must be positive; it is {self.noise_m}")
        if self.frames_as_one is not None and not 1 <= self.frames_as_one < np.inf:
            raise ValueError(
                f"frames_as_one must be at least 1; it is {self.frames_as_one}"
            )
