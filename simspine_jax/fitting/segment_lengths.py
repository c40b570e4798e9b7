"""Scaling of a model by robust segment lengths over whole trials.

No standing trial is needed: of all frames of a person the slow ones with straight legs
are taken (``quiet_frames``), and a segment's length is the trimmed mean of the distance
of two markers in them. A body's factor is the mean of measured over model length, the
model standing in its default pose, over its pairs of both sides, alike on x, y and z.

Source: Pose2Sim's scaling (Pagnon et al. 2022) with the measurements of the scaling
set-up that SIMSPINE (arXiv 2602.20792) released.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from simspine_jax.body.model import Model
from simspine_jax.body.scaling import scale_model
from simspine_jax.fitting import body_height, quiet_frames, replay
from simspine_jax.fitting.quiet_frames import QuietFrames, QuietOptions
from simspine_jax.types import MarkerTrajectory

# A ratio outside says that the unit or a name is wrong.
_RATIOS = (0.3, 3.0)
_PAIRS_DIFFER = 0.05  # as a share; more than that is said


@dataclass(frozen=True)
class Measurement:
    """Lengths that scale some bodies.

    Attributes:
        name: What is measured.
        pairs: Markers whose distance it is.
        bodies: What it scales.
    """

    name: str
    pairs: tuple[tuple[str, str], ...]
    bodies: tuple[str, ...]


def _sides(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}_{side}" for side in "rl" for name in names)


# No marker of the spine is measured: vertebrae grow with the torso.
MEASUREMENTS = (
    Measurement(
        "torso",
        (("LShoulder", "LHip"), ("RShoulder", "RHip")),
        (*(f"lumbar{i}" for i in range(1, 6)), "torso"),
    ),
    Measurement(
        "arm",
        (("LShoulder", "LElbow"), ("RShoulder", "RElbow")),
        _sides("humerus"),
    ),
    Measurement(
        "forearm",
        (("LElbow", "LWrist"), ("RElbow", "RWrist")),
        _sides("ulna", "radius", "hand"),
    ),
    Measurement(
        "thigh", (("LHip", "LKnee"), ("RHip", "RKnee")), _sides("femur", "patella")
    ),
    Measurement("shank", (("LKnee", "LAnkle"), ("RKnee", "RAnkle")), _sides("tibia")),
    Measurement(
        "foot",
        (("LHeel", "LBigToe"), ("RHeel", "RBigToe")),
        _sides("talus", "calcn", "toes"),
    ),
    Measurement("head", (("Head", "Nose"), ("Head", "Neck")), ("head",)),
    Measurement("pelvis", (("RHip", "LHip"),), ("pelvis", "sacrum")),
)


@dataclass(frozen=True)
class LengthOptions:
    """How lengths are measured.

    Attributes:
        frames: Which frames count.
        trimmed_share: Share of a pair's lengths that is left out of their mean, half
            of it at either end.

    Raises:
        ValueError: A share out of range.
    """

    frames: QuietOptions = field(default_factory=QuietOptions)
    trimmed_share: float = 0.2

    def __post_init__(self) -> None:  # noqa: D105
        if not 0.0 <= self.trimmed_share <= 0.9:
            raise ValueError(
                "scaling: trimmed_share must be a number from 0 to 0.9; it is "
                f"{self.trimmed_share!r}"
            )


@dataclass(frozen=True)
class SegmentScaling:
    """How a model was scaled.

    Attributes:
        factors: Scale factor by body, alike on x, y and z.
        ratios: Measured over model length by measurement.
        lengths_m: Measured and model length, m, by pair of markers.
        frames_total: Frames of all trials.
        frames_kept: Frames left after each rule, by rule.
        frames_used: Frames behind each pair's length.
        height_m: Estimate of ``body_height``, m; it scales nothing.
        notes: What was left out or unusual, one sentence each.
    """

    factors: dict[str, float]
    ratios: dict[str, float]
    lengths_m: dict[tuple[str, str], tuple[float, float]]
    frames_total: int
    frames_kept: dict[str, int]
    frames_used: dict[tuple[str, str], int]
    height_m: float | None
    notes: tuple[str, ...]

    def to_text(self) -> str:
        """Says lengths, factors and surviving frames in a few lines."""
        left = ", ".join(f"{count} {rule}" for rule, count in self.frames_kept.items())
        lines = [f"frames: {left}", "pair of markers        measured  model   ratio"]
        for pair, (measured, model) in self.lengths_m.items():
            lines.append(
                f"{'-'.join(pair):<22} {measured * 1e3:6.1f} {model * 1e3:6.1f} mm "
                f"{measured / model:6.3f}"
            )
        lines += [f"{name}: factor {ratio:.3f}" for name, ratio in self.ratios.items()]
        height = "cannot be told" if self.height_m is None else f"{self.height_m:.2f} m"
        return "\n".join([*lines, f"height: {height}", *self.notes])


_Pair = tuple[str, str]


def scale_by_lengths(
    model: Model,
    trajectories: MarkerTrajectory | Sequence[MarkerTrajectory],
    options: LengthOptions | None = None,
    measurements: Sequence[Measurement] = MEASUREMENTS,
) -> tuple[Model, SegmentScaling]:
    """Scales a model to a person's segment lengths.

    Args:
        model: Whose markers are named as those of the trials.
        trajectories: All trials of one person, m.
        options: None for the defaults.
        measurements: What is measured and what it scales. Pairs that the model or
            every trial lacks, and bodies that the model lacks, are left out and said.

    Returns:
        The scaled model, and how it was scaled.

    Raises:
        ValueError: Nothing can be measured, a length is no length of a person, a body
            is in two measurements, or the trials are empty (``quiet_frames.choose``).
    """
    options = options or LengthOptions()
    one = isinstance(trajectories, MarkerTrajectory)
    trials = (trajectories,) if one else tuple(trajectories)
    _check_bodies(measurements)
    chosen = quiet_frames.choose(trials, options.frames)
    default_length = _default_lengths(model)
    notes = list(chosen.notes)
    lengths: dict[_Pair, tuple[float, float]] = {}
    used: dict[_Pair, int] = {}
    ratios: dict[str, float] = {}
    factors: dict[str, float] = {}
    for measurement in measurements:
        name = measurement.name
        for pair in measurement.pairs:
            reason = _lacking(pair, model, trials)
            samples = _samples(pair, trials, chosen)
            if reason or not len(samples):
                reason = reason or "in no frame that is kept are both seen"
                notes.append(f"{name}: {'-'.join(pair)} is left out, {reason}")
                continue
            measured = float(stats.trim_mean(samples, options.trimmed_share / 2))
            lengths[pair], used[pair] = (measured, default_length(pair)), len(samples)
        own = [body for body in measurement.bodies if body in model.body_names]
        lost = [body for body in measurement.bodies if body not in own]
        if lost:
            notes.append(f"{name}: the model has no {', '.join(lost)}")
        found = [lengths[pair] for pair in measurement.pairs if pair in lengths]
        if not found:
            notes.append(f"{name}: not measured, so that its bodies keep their size")
            continue
        ratios[name] = _mean_ratio(name, found, notes)
        factors |= dict.fromkeys(own, ratios[name])
    if not factors:
        raise ValueError(f"scaling: nothing can be measured; {'; '.join(notes)}")
    report = SegmentScaling(
        factors,
        ratios,
        lengths,
        chosen.counts["all"],
        chosen.counts,
        used,
        body_height.in_frames(trials, chosen),
        tuple(notes),
    )
    table = {body: (factor,) * 3 for body, factor in factors.items()}
    return scale_model(model, table), report


def _check_bodies(measurements: Sequence[Measurement]) -> None:
    seen: dict[str, str] = {}
    for measurement in measurements:
        for body in measurement.bodies:
            if body in seen:
                raise ValueError(
                    f"scaling: body {body!r} is scaled by both {seen[body]!r} and "
                    f"{measurement.name!r}"
                )
            seen[body] = measurement.name


def _default_lengths(model: Model) -> Callable[[_Pair], float]:
    """Returns the distance of two of the model's markers in its default pose, m."""
    q = np.asarray(model.expand(model.free_of(np.asarray(model.default_q))))[None]
    placed = replay.marker_points(model, replay.body_poses(model, q))[0]
    place = dict(zip(model.marker_names, placed, strict=True))
    return lambda pair: float(np.linalg.norm(place[pair[0]] - place[pair[1]]))


def _lacking(pair: _Pair, model: Model, trials: Sequence[MarkerTrajectory]) -> str:
    """Says which marker of a pair is missing where; empty if none is."""
    for name in pair:
        if name not in model.marker_names:
            return f"the model has no marker {name}"
        if not any(name in trial.names for trial in trials):
            return f"no trial has a marker {name}"
    return ""


def _samples(
    pair: _Pair, trials: Sequence[MarkerTrajectory], chosen: QuietFrames
) -> np.ndarray:
    """Returns the distances of a pair in the frames that are kept, m."""
    lengths = []
    for trial, kept in zip(trials, chosen.kept, strict=True):
        one, two = (quiet_frames.marker_points(trial, name)[kept] for name in pair)
        lengths.append(np.linalg.norm(one - two, axis=1))
    found = np.concatenate(lengths)
    return found[np.isfinite(found)]


def _mean_ratio(
    name: str, lengths: Sequence[tuple[float, float]], notes: list[str]
) -> float:
    """Returns the mean of measured over model lengths; notes pairs that differ."""
    low, high = _RATIOS
    for measured, default in lengths:
        if not low * default <= measured <= high * default:
            raise ValueError(
                f"scaling: {name} measures {measured:.3g} m where the model has "
                f"{default:.3g} m, and {low:g} to {high:g} times that is allowed; a "
                "unit or a marker name is wrong"
            )
    each = np.array([measured / default for measured, default in lengths])
    if np.ptp(each) > _PAIRS_DIFFER * each.mean():
        told = ", ".join(f"{ratio:.3f}" for ratio in each)
        notes.append(f"{name}: its pairs differ ({told}); their mean is taken")
    return float(each.mean())
