"""Which frames of a trial tell the lengths of segments: slow, with straight legs.

A marker that was detected is nearest to the joint where the person stands, and farthest
off where the person moves fast or bends. The rules are those of Pose2Sim's scaling,
with speeds of all markers in m/s that never run across the border of two trials.

Source: Pose2Sim (Pagnon et al. 2022), and SIMSPINE's released scaling, whose speeds
cover mixed axes of the first 13 markers and count the jump between two files as motion,
and whose angle limit is half a degree instead of 45.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.types import MarkerTrajectory


@dataclass(frozen=True)
class QuietOptions:
    """How frames are chosen.

    Attributes:
        frozen_m_s: A frame whose markers move slower than this on average holds no
            motion data (a filled gap, a person out of sight), m/s.
        fastest_share: Share of the frames, the fastest ones, that is left out.
        limit_deg: Largest mean of the flexions of knees and hips, degrees.
        least_frames: If fewer frames are below the limit, so many of the straightest.

    Raises:
        ValueError: A number out of range.
    """

    frozen_m_s: float = 1e-3
    fastest_share: float = 0.2
    limit_deg: float = 45.0
    least_frames: int = 50

    def __post_init__(self) -> None:  # noqa: D105
        for name, low, high, unit in (
            ("frozen_m_s", 0.0, 0.05, " m/s"),
            ("fastest_share", 0.0, 0.9, ""),
            ("limit_deg", 5.0, 180.0, " degrees"),
            ("least_frames", 1, 1_000_000, ""),
        ):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and low <= value <= high):
                raise ValueError(
                    f"scaling: {name} must be a number from {low:g} to {high:g}{unit}; "
                    f"it is {value!r}"
                )


@dataclass(frozen=True)
class QuietFrames:
    """The frames that were chosen.

    Attributes:
        kept: Which frames of each trial. Shape [T] each.
        counts: Frames left after each rule, by rule, beginning with all.
        notes: What was unusual, one sentence each.
    """

    kept: tuple[Bool[np.ndarray, " t"], ...]
    counts: dict[str, int]
    notes: tuple[str, ...]


def choose(
    trajectories: Sequence[MarkerTrajectory], options: QuietOptions
) -> QuietFrames:
    """Chooses frames of all trials of one person.

    Args:
        trajectories: Trials; their markers and rates may differ.
        options: The rules.

    Raises:
        ValueError: There is no trial, one has no positive rate, or no marker is seen in
            any frame.
    """
    if not trajectories:
        raise ValueError("scaling needs at least one trial of markers; found none")
    for trial in trajectories:
        if not (np.isfinite(trial.rate_hz) and trial.rate_hz > 0):
            raise ValueError(
                "scaling: the rate of a trial must be positive; it is "
                f"{trial.rate_hz} Hz"
            )
    speed = np.concatenate([mean_speed(trial) for trial in trajectories])
    angle = np.concatenate([leg_flexion(trial) for trial in trajectories])
    counts, notes = {"all": len(speed)}, []
    kept = np.concatenate(
        [np.asarray(trial.valid, bool).any(axis=1) for trial in trajectories]
    )
    if not kept.any():
        raise ValueError(
            f"scaling: no marker is seen in any of the {len(kept)} frames of "
            f"{len(trajectories)} trials"
        )
    counts["with markers"] = int(kept.sum())
    # The speed is unknown, and no reason to leave a frame out, where it stands alone.
    frozen = np.nan_to_num(speed, nan=np.inf) < options.frozen_m_s
    if (kept & ~frozen).any():
        kept &= ~frozen
    else:
        notes.append("all markers stand still in every frame, so that all are kept")
    counts["not frozen"] = int(kept.sum())
    kept = _without_fastest(kept, speed, options.fastest_share)
    counts["slow"] = int(kept.sum())
    kept = _straightest(kept, angle, options, notes)
    counts["straight"] = int(kept.sum())
    borders = np.cumsum([len(trial.points) for trial in trajectories])[:-1]
    return QuietFrames(tuple(np.split(kept, borders)), counts, tuple(notes))


def mean_speed(trial: MarkerTrajectory) -> Float[np.ndarray, " t"]:
    """Returns the mean speed of all markers seen, m/s.

    Of the steps from the frame before and to the frame after; NaN where no marker is
    seen in two consecutive frames.
    """
    points, valid = np.asarray(trial.points, float), np.asarray(trial.valid, bool)
    both = valid[1:] & valid[:-1]
    step = np.linalg.norm(np.diff(points, axis=0), axis=-1) * trial.rate_hz
    total = np.zeros(valid.shape)
    count = np.zeros(valid.shape)
    for side in (slice(1, None), slice(None, -1)):
        total[side] += np.where(both, step, 0.0)
        count[side] += both
    seen = (count > 0).sum(axis=1)
    mean = (total / np.maximum(count, 1)).sum(axis=1)
    return np.where(seen > 0, mean / np.maximum(seen, 1), np.nan)


def marker_points(trial: MarkerTrajectory, name: str) -> Float[np.ndarray, "t 3"]:
    """Returns where a marker is, m; NaN where not seen, or not in the trial."""
    if name not in trial.names:
        return np.full((len(trial.points), 3), np.nan)
    k = trial.names.index(name)
    seen = np.asarray(trial.valid, bool)[:, k, None]
    return np.where(seen, np.asarray(trial.points, float)[:, k], np.nan)


def leg_flexion(trial: MarkerTrajectory) -> Float[np.ndarray, " t"]:
    """Returns the mean flexion of both knees and hips, degrees, from markers.

    Of a knee the angle between thigh and shank, of a hip that between thigh and the
    line from hip to neck (or between the shoulders). The mean is over those that are
    seen, NaN where none is. Flexion and extension count alike.
    """
    angles = []
    neck = marker_points(trial, "Neck")
    shoulders = (
        marker_points(trial, "LShoulder") + marker_points(trial, "RShoulder")
    ) / 2
    neck = np.where(np.isnan(neck), shoulders, neck)
    for side in "LR":
        hip, knee, ankle = (
            marker_points(trial, side + joint) for joint in ("Hip", "Knee", "Ankle")
        )
        angles += [_angle(knee - hip, ankle - knee), _angle(hip - knee, neck - hip)]
    table = np.stack(angles)
    seen = np.isfinite(table)
    total = np.where(seen, table, 0.0).sum(axis=0)
    return np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), np.nan)


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the angle of vectors [T, 3], degrees, accurate near 0 too."""
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.degrees(np.arctan2(cross, (a * b).sum(axis=-1)))


def _without_fastest(kept: np.ndarray, speed: np.ndarray, share: float) -> np.ndarray:
    """Returns the kept frames without the fastest share of those of known speed."""
    known = np.flatnonzero(kept & np.isfinite(speed))
    fastest = known[np.argsort(-speed[known], kind="stable")[: int(share * len(known))]]
    left = kept.copy()
    left[fastest] = False
    return left


def _straightest(
    kept: np.ndarray, angle: np.ndarray, options: QuietOptions, notes: list[str]
) -> np.ndarray:
    known = kept & np.isfinite(angle)
    if not known.any():
        notes.append(
            "no frame has the markers of a leg (hip, knee, ankle), so that frames with "
            "bent legs are not left out"
        )
        return kept
    straight = known & (np.nan_to_num(angle, nan=np.inf) < options.limit_deg)
    wanted = min(options.least_frames, int(known.sum()))
    found = int(straight.sum())
    if found >= wanted:
        return straight
    places = np.flatnonzero(known)
    best = places[np.argsort(angle[places], kind="stable")[:wanted]]
    notes.append(
        f"{found} frames have a mean hip and knee flexion below {options.limit_deg:g} "
        f"degrees, so that the {wanted} straightest are taken, up to "
        f"{angle[best].max():.0f} degrees"
    )
    return np.isin(np.arange(len(kept)), best)
