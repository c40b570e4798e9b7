"""A fitted sequence to what a data set holds: 37 keypoints, and how far to trust them.

Keypoints are those of the fitted model, which err less than triangulated ones; those of
the spine are mixed with detected ones. Where the body is known its markers stay, and
the spine is moved on to them (``spine_blend``). Then all are smoothed along time.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simspine_jax.body import spine_markers
from simspine_jax.body.model import Model
from simspine_jax.fitting import ik, ik_report, replay, spine_blend, virtual_markers
from simspine_jax.fitting.ik_report import IkReport
from simspine_jax.fitting.ik_solution import IkSolution
from simspine_jax.fitting.spine_blend import SOURCES
from simspine_jax.fitting.spine_blend_options import CHAIN, BlendOptions
from simspine_jax.fitting.trajectory_filters import FilterOptions
from simspine_jax.skeletons import simspine
from simspine_jax.types import IkTasks, MarkerTrajectory, Motion

_DOMINATES = 1.0  # curvature of a task over the markers' information


@dataclass(frozen=True)
class FinishOptions:
    """How keypoints are finished.

    Attributes:
        share: Of the fitted model in the spine's keypoints where they were detected, 0
            to 1; 0.8 (the published one) to 0.9 err least on simulated sequences.
        smoothing: Along time; None for none.
        compat: "simspine-2026" for the published blending and filter; or None.
        most_rms_m: Sequences whose markers stay farther from the model are refused, m.
    """

    share: float = 0.8
    smoothing: FilterOptions | None = spine_blend.FILTER
    compat: str | None = None
    most_rms_m: float = 0.1


@dataclass(frozen=True)
class Finished:
    """A sequence as a data set has it, T frames.

    Attributes:
        markers: ``simspine.NAMES`` in ground, m.
        source: Where each keypoint is from, as ``spine_blend.SOURCES``. [T, 37].
        motion: Joint coordinates, rad and m.
        report: Diagnosis of the fit.
        prior_dominated: Coordinates on which a task tells more than the markers.
    """

    markers: MarkerTrajectory
    source: np.ndarray
    motion: Motion
    report: IkReport
    prior_dominated: tuple[str, ...]

    def quality(self) -> dict[str, Any]:
        """Returns the report of the sequence in numbers and names, as JSON has them."""
        report = self.report
        frames = np.asarray(report.frame_seen)
        beyond = {
            name: round(float(share), 4)
            for name, share in zip(
                report.coordinate_names, report.beyond_range, strict=True
            )
            if share > 0
        }
        return {
            "frames": len(frames),
            "frames_without_markers": int((~frames).sum()),
            "marker_rms_mm": 1e3 * report.rms_m,
            "marker_max_mm": 1e3 * float(report.marker_max_m.max(initial=0.0)),
            "violations": beyond,
            "violation_rate": float(np.mean(report.beyond_range)),
            "undetermined": list(report.undetermined),
            "unmoved": list(report.unmoved),
            "prior_dominated": list(self.prior_dominated),
            "keypoints": {
                source: float((self.source == code).mean())
                for code, source in enumerate(SOURCES)
            },
        }


def finish(
    model: Model,
    observed: MarkerTrajectory,
    solution: IkSolution,
    tasks: IkTasks | None = None,
    options: FinishOptions | None = None,
    *,
    detected: MarkerTrajectory | None = None,
    known: tuple[str, ...] = (),
) -> Finished:
    """Returns keypoints, motion and report of a fitted sequence.

    Args:
        model: The model that was fitted, with its markers; where the 37 keypoints are
            among them these are taken, else those of ``spine_markers``.
        observed: The markers that were fitted, in ground, m.
        solution: The fit.
        tasks: What it followed.
        options: See ``FinishOptions``.
        detected: What keypoints may be blended with; None for the markers fitted.
        known: Markers that are the truth, so that their keypoints stay as observed.

    Raises:
        ValueError: The markers stay farther from the model than allowed, or
            ``compat`` lacks a keypoint.
    """
    options = options or FinishOptions()
    plan = ik.make_plan(model, observed.names, tasks, ik.IkOptions())
    poses = replay.body_poses(model, solution.q)
    report = ik_report.make_report(
        plan, observed, solution.q, solution.prior_ratio, poses
    )
    if not report.rms_m <= options.most_rms_m:
        raise ValueError(
            f"the fit failed: its markers are {1e3 * report.rms_m:.0f} mm (RMS) away "
            f"from the model, and {1e3 * options.most_rms_m:.0f} mm are allowed"
        )
    carrier = model if set(simspine.NAMES) <= set(model.marker_names) else None
    carrier = carrier or spine_markers.with_keypoints(model)
    whole = virtual_markers.placed_markers(carrier, solution)
    simulated = whole.only(simspine.NAMES).trajectory
    seen = _keypoints(detected or observed, solution.start_s)
    if options.compat:
        blended = spine_blend.blend_spine(
            seen, simulated, BlendOptions(compat=options.compat)
        )
    else:
        anchors = tuple(name for name in CHAIN if name in known)
        # Of what is detected only the spine is mixed; the rest is the model's.
        shares = dict.fromkeys(simspine.NAMES, 1.0)
        shares |= dict.fromkeys(CHAIN, options.share)
        shares |= dict.fromkeys(known, 0.0)
        for name in anchors:
            del shares[name]
        blended = spine_blend.blend_spine(
            seen, simulated, BlendOptions(anchors=anchors, shares=shares)
        )
    markers = blended.markers
    if options.smoothing is not None:
        markers = spine_blend.filter_blended(markers, options.smoothing, options.compat)
    # Ratios count tasks undivided; in the normalised objective the weights divide them.
    scale = float(plan.weights.sum()) if plan.normalised else 1.0
    held = [n for n, r in solution.prior_ratio.items() if r > _DOMINATES * scale]
    return Finished(
        replace(markers, weight=None),
        blended.source,
        solution.motion,
        report,
        tuple(held),
    )


def _keypoints(observed: MarkerTrajectory, start_s: float) -> MarkerTrajectory:
    """Returns the 37 keypoints in order; those not among the markers are not seen."""
    where = [
        observed.names.index(n) if n in observed.names else -1 for n in simspine.NAMES
    ]
    there = np.array(where) >= 0
    valid = np.asarray(observed.valid, bool)[:, where] & there
    points = np.where(valid[..., None], np.asarray(observed.points)[:, where], 0.0)
    return MarkerTrajectory(points, valid, simspine.NAMES, observed.rate_hz, start_s)
