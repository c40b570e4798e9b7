"""Two inverse kinematics solvers on the same frames: what differs, in numbers.

Notation: T frames, N coordinates. "Ours" is this package, "OpenSim" the reference;
ratios are ours over OpenSim's, frame by frame.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from simspine_jax.body.model import Model
from simspine_jax.io import atomic
from simspine_jax.types import IkTasks, MarkerTrajectory

_MM = 1e3


@dataclass(frozen=True)
class Trial:
    """One trial, as both solvers take it.

    Attributes:
        name: For tables.
        model: The compiled model, with the markers of the trial.
        model_path: The same model for OpenSim.
        markers_path: MarkerSet file for OpenSim, where the model's own differ.
        trajectory: Observed markers.
        tasks: What both follow.
    """

    name: str
    model: Model
    model_path: Path
    markers_path: Path | None
    trajectory: MarkerTrajectory
    tasks: IkTasks


@dataclass(frozen=True)
class Answer:
    """One solver's answer, judged by OpenSim's kinematics.

    Attributes:
        q: Coordinates, rad and m. Shape [T, N].
        objective: OpenSim's objective, m^2 and rad^2. Shape [T].
        objective_normalised: The normalised form of it. Shape [T].
        marker_rms: RMS of the marker distances, m. Shape [T].
        constraint_violation: Largest coupler error, rad or m. Shape [T].
        at_bounds: Clamped free coordinates at a limit, or past it. Shape [T].
        past_bounds: Largest excess over a limit, rad or m. Shape [T].
        seconds: Wall time of the solve.
    """

    q: np.ndarray
    objective: np.ndarray
    objective_normalised: np.ndarray
    marker_rms: np.ndarray
    constraint_violation: np.ndarray
    at_bounds: np.ndarray
    past_bounds: np.ndarray
    seconds: float

    @property
    def frames_per_second(self) -> float:
        """Frames solved in a second of wall time."""
        return len(self.q) / self.seconds


@dataclass(frozen=True)
class Comparison:
    """Both answers to one trial.

    Attributes:
        name: Of the trial.
        times_s: Time of each frame, s. Shape [T].
        coordinate_names: N names.
        rotational: Whether a coordinate is an angle. Shape [N].
        free: Whether it is neither coupled nor locked. Shape [N].
        ours: This package's answer.
        opensim: OpenSim's answer.
        own_objective: The objective as this package's own kinematics have it. [T].
        difference: Ours minus OpenSim's, rad and m; angles within half a turn, and by
            the nearer of two equal Euler triples. Shape [T, N].
        determined: Whether the markers determine the coordinate. Shape [T, N].
    """

    name: str
    times_s: np.ndarray
    coordinate_names: tuple[str, ...]
    rotational: np.ndarray
    free: np.ndarray
    ours: Answer
    opensim: Answer
    own_objective: np.ndarray
    difference: np.ndarray
    determined: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Our objective over OpenSim's. Shape [T]."""
        return self.ours.objective / self.opensim.objective

    def angles(self, determined: bool) -> np.ndarray:
        """Size of the differences of free angles, rad, of one kind. Shape [D]."""
        kind = self.determined == determined
        kept = kind & self.free & self.rotational
        return np.abs(self.difference)[kept]


def join(parts: Sequence[Comparison]) -> Comparison:
    """Joins comparisons of consecutive parts of one trial; times spent add up."""
    rows = ("times_s", "own_objective", "difference", "determined")
    return replace(
        parts[0],
        ours=_joined([p.ours for p in parts]),
        opensim=_joined([p.opensim for p in parts]),
        **{key: np.concatenate([getattr(p, key) for p in parts]) for key in rows},
    )


def metrics(comparisons: Sequence[Comparison], lead: str) -> dict[str, float]:
    """Returns the figures of a set of comparisons.

    Args:
        comparisons: One for each trial.
        lead: Name of the trial that speed and marker distances are quoted of.

    Returns:
        Numbers by name: over all frames of all trials, of the leading trial, and
        of every trial with its name in front.

    Raises:
        ValueError: No comparison has the name ``lead``.
    """
    by_name = {c.name: pair_metrics(c) for c in comparisons}
    if lead not in by_name:
        raise ValueError(f"no trial is called {lead!r}; there is {', '.join(by_name)}")
    ratio = np.concatenate([c.ratio for c in comparisons])
    shared = ("marker_rms_mm", "opensim_marker_rms_mm", "frames_per_second")
    shared += ("opensim_frames_per_second", "speedup")
    whole = {
        "objective_ratio_max": float(ratio.max()),
        "objective_ratio_median": float(np.median(ratio)),
        **{key: by_name[lead][key] for key in shared},
        "speedup_min": min(pair["speedup"] for pair in by_name.values()),
        "frames": len(ratio),
        "frames_above_opensim": int((ratio > 1 + 1e-6).sum()),
    }
    for name, pair in by_name.items():
        whole |= {f"{name}_{key}": value for key, value in pair.items()}
    return whole


def pair_metrics(comparison: Comparison) -> dict[str, float]:
    """Returns the figures of one trial."""
    ours, theirs = comparison.ours, comparison.opensim
    fps, opensim_fps = ours.frames_per_second, theirs.frames_per_second
    agreement = np.abs(comparison.own_objective - ours.objective) / ours.objective
    found = {
        "frames": len(comparison.ratio),
        "objective_ratio_max": float(comparison.ratio.max()),
        "objective_ratio_median": float(np.median(comparison.ratio)),
        "objective_agreement": float(agreement.max()),
        "marker_rms_mm": _rms(ours.marker_rms) * _MM,
        "opensim_marker_rms_mm": _rms(theirs.marker_rms) * _MM,
        "constraint_violation_max": float(ours.constraint_violation.max()),
        "opensim_constraint_violation_max": float(theirs.constraint_violation.max()),
        "at_bounds_mean": float(ours.at_bounds.mean()),
        "opensim_at_bounds_mean": float(theirs.at_bounds.mean()),
        "past_bounds_max": float(ours.past_bounds.max()),
        "opensim_past_bounds_max": float(theirs.past_bounds.max()),
        "frames_per_second": fps,
        "opensim_frames_per_second": opensim_fps,
        "speedup": fps / opensim_fps,
    }
    for kind, flag in (("determined", True), ("undetermined", False)):
        angles = np.rad2deg(comparison.angles(flag))
        if len(angles):
            found[f"angle_{kind}_median_deg"] = float(np.median(angles))
            found[f"angle_{kind}_max_deg"] = float(angles.max())
    return found


def table(comparisons: Sequence[Comparison]) -> str:
    """Returns a short table of the comparisons, for people."""
    lines = [
        f"{'':10}{'':>7}{'objective ratio':>19}{'marker RMS, mm':>17}"
        f"{'frames a second':>19}{'':>9}{'angle difference, deg':>30}",
        f"{'trial':10}{'frames':>7}{'max':>11}{'median':>8}{'ours':>9}{'OpenSim':>8}"
        f"{'ours':>11}{'OpenSim':>8}{'speedup':>9}"
        f"{'determined':>15}{'not':>15}",
    ]
    for c in comparisons:
        m = pair_metrics(c)
        lines.append(
            f"{c.name:10}{len(c.ratio):7d}{m['objective_ratio_max']:11.7f}"
            f"{m['objective_ratio_median']:8.4f}{m['marker_rms_mm']:9.3f}"
            f"{m['opensim_marker_rms_mm']:8.3f}{m['frames_per_second']:11.1f}"
            f"{m['opensim_frames_per_second']:8.1f}{m['speedup']:8.0f}x"
            f"{_range(m, 'determined'):>15}{_range(m, 'undetermined'):>15}"
        )
    return "\n".join([*lines, "(angle differences: median / largest)"])


def write_frames(
    path: str | os.PathLike[str], comparisons: Sequence[Comparison]
) -> None:
    """Writes one row for each frame of each trial as CSV; units are in the header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [frame_columns(c) for c in comparisons]
    writer.writerow(["trial", *columns[0]])
    for comparison, table_ in zip(comparisons, columns, strict=True):
        for row in zip(*table_.values(), strict=True):
            writer.writerow([comparison.name, *(f"{x:.12g}" for x in row)])
    atomic.write_text(path, out.getvalue())


def frame_columns(comparison: Comparison) -> Mapping[str, np.ndarray]:
    """Returns the quantities of each frame by name, each of shape [T]."""
    columns = {"time_s": comparison.times_s, "objective_ratio": comparison.ratio}
    both = (("", comparison.ours), ("opensim_", comparison.opensim))
    for prefix, answer in both:
        columns |= {
            f"{prefix}objective": answer.objective,
            f"{prefix}objective_normalised": answer.objective_normalised,
            f"{prefix}marker_rms_m": answer.marker_rms,
            f"{prefix}constraint_violation": answer.constraint_violation,
            f"{prefix}at_bounds": answer.at_bounds,
            f"{prefix}past_bounds": answer.past_bounds,
        }
    angles = comparison.free & comparison.rotational
    size = np.rad2deg(np.abs(comparison.difference))
    for kind, flag in (("determined", True), ("undetermined", False)):
        kept = (comparison.determined == flag) & angles
        columns[f"angle_{kind}_max_deg"] = np.where(kept, size, 0.0).max(axis=1)
    return columns


def _joined(parts: Sequence[Answer]) -> Answer:
    keys = [field.name for field in fields(Answer) if field.name != "seconds"]
    rows = {key: np.concatenate([getattr(p, key) for p in parts]) for key in keys}
    return Answer(**rows, seconds=sum(p.seconds for p in parts))


def _range(found: Mapping[str, float], kind: str) -> str:
    if f"angle_{kind}_median_deg" not in found:
        return "-"
    middle, most = found[f"angle_{kind}_median_deg"], found[f"angle_{kind}_max_deg"]
    return f"{middle:.2f} / {most:.1f}"


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
