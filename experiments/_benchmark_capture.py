"""Reprojection errors on a real capture against Pose2Sim's, same detections, one run.

The main person of Pose2Sim's balancing capture, without the keypoints that Pose2Sim's
skeleton lacks. All errors are by one function, OpenCV's projection with the lens that
the calibration file gives, over the observations that a method uses.

Pose2Sim drops views until a point's mean error is below a threshold. Ours is compared

* by default, which keeps nearly all observations;
* on the very views that Pose2Sim used;
* choosing no fewer observations than it used, by its rule (``_view_subsets``), and
* the same by the options: with the noise so small that only so many agree. This leaves
  points out where two sets of views contradict each other.

Rows "refined" have the cameras that were refined on this trial, so that their errors
are not of frames held out; ``refinement`` and its held-out errors stand below. In rows
"bias out" what each view adds to each keypoint was taken out of the detections.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments import _capture, _capture_peers, _view_subsets
from experiments._reprojection import Measured, judged
from simspine_jax.cameras import error_sources, held_out, refinement
from simspine_jax.cameras.refinement import RefinementOptions
from simspine_jax.cameras.triangulation import (
    Triangulation,
    TriangulationOptions,
    triangulate,
)
from simspine_jax.types import CameraRig, Detections2D

_LEAST_NOISE_PX, _HALVINGS = 0.5, 12


def run(config: Any) -> tuple[list[Measured], dict[str, float], list[str], Any]:
    """Measures everything.

    Args:
        config: Of ``configs/benchmark.py:capture``.

    Returns:
        Each method, all metrics, lines to print below the table, and the files read.
    """
    capture = _capture.load(config)
    rig = capture.rig
    seen = without_keypoints(capture.people[0], config.left_out)
    print("refining the cameras ...", flush=True)
    refined = refinement.refine(rig, seen)
    clean = refinement.without_bias(seen, refined.bias_px)
    cases = (
        ("", "", rig, seen),
        ("_refined", ", refined", refined.rig, seen),
        ("_unbiased", ", refined, bias out", refined.rig, clean),
    )
    methods, metrics = [], {}
    for end, label, cameras, what in cases:
        judge = _Judge(end, label, cameras, what)
        methods.append(judge.ours("ours", "ours", what))
        print(f"against Pose2Sim{label} ...", flush=True)
        more, numbers = _against_pose2sim(judge)
        methods += more
        metrics |= numbers
    for method in methods:
        metrics |= method.metrics()
    held = held_out.frames(len(seen.points), RefinementOptions().held_out)
    found = triangulate(refined.rig, seen)
    sources = error_sources.error_sources(refined.rig, seen, found, held)
    metrics |= {
        f"held_out_px_{what}_{name}": getattr(error, f"{what}_px")
        for name in ("before", "after", "unbiased")
        for error in (getattr(refined, name),)
        for what in ("mean", "median")
    }
    metrics |= {
        f"squared_error_share_{name}": getattr(sources, name)
        for name in ("bias", "lens", "timing")
    }
    own = metrics["own_error_px_mean_pose2sim"]
    lines = [
        _held_out(refined),
        str(sources),
        f"Pose2Sim's own mean, over points, lens left out as by default: {own:.2f}",
    ]
    return methods, metrics, lines, capture.files


def table(methods: list[Measured], lines: list[str]) -> str:
    """Returns what was measured, for people."""
    head = f"{'':44}{'mean':>7}{'median':>8}  px{'used':>8}{'':>9}{'valid':>8}"
    rows = [
        f"{m.label:44}{m.mean_px:7.2f}{m.median_px:8.2f}{m.used:12d}{m.used_share:9.1%}"
        f"{m.valid_share:8.1%}"
        for m in methods
    ]
    return "\n".join(["", head, *rows, "", *lines])


def without_keypoints(
    detections: Detections2D, left_out: tuple[str, ...]
) -> Detections2D:
    """Returns detections without some keypoints.

    Raises:
        ValueError: There is no keypoint of such a name.
    """
    names = tuple(detections.keypoint_names)
    for name in left_out:
        if name not in names:
            raise ValueError(
                f"left_out has {name!r}; the keypoints are {', '.join(names)}"
            )
    kept = [k for k, name in enumerate(names) if name not in left_out]
    return Detections2D(
        np.asarray(detections.points)[:, :, kept],
        np.asarray(detections.confidence)[:, :, kept],
        tuple(names[k] for k in kept),
        detections.rate_hz,
    )


def as_many(
    rig: CameraRig, detections: Detections2D, least: int
) -> tuple[float, Triangulation]:
    """Triangulates with the least noise, px, that leaves so many observations in use.

    Where even the estimated noise leaves fewer, that is taken.
    """
    found = lambda noise: triangulate(
        rig, detections, TriangulationOptions(noise_px=noise)
    )
    best = found(None)
    low, high = _LEAST_NOISE_PX, float(best.noise_px)
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        one = found(middle)
        if np.asarray(one.used_views).sum() >= least:
            high, best = middle, one
        else:
            low = middle
    return float(best.noise_px), best


@dataclass(frozen=True)
class _Judge:
    """Judges points of some cameras and detections; ends of names and labels."""

    end: str
    label: str
    rig: CameraRig
    detections: Detections2D

    def of(self, name: str, label: str, points: np.ndarray, used: np.ndarray):
        return judged(
            *(f"{name}{self.end}", f"{label}{self.label}"),
            *(self.rig, self.detections, points, used),
        )

    def ours(self, name: str, label: str, what: Detections2D, noise=None):
        one = triangulate(self.rig, what, TriangulationOptions(noise_px=noise))
        return self.of(name, label, _points(one), np.asarray(one.used_views))


def _against_pose2sim(judge: _Judge) -> tuple[list[Measured], dict[str, float]]:
    rig, seen = judge.rig, judge.detections
    points, used, own = _capture_peers.pose2sim(rig, seen)
    peer = judge.of("pose2sim", "Pose2Sim", points, used)
    score = np.where(used, seen.confidence, 0.0)
    chosen = Detections2D(seen.points, score, seen.keypoint_names, seen.rate_hz)
    same = judge.ours(
        *("ours_same_views", "ours, views of Pose2Sim", chosen),
        _view_subsets.ALL_AGREE_PX,
    )
    subsets = _view_subsets.all_subsets(rig, seen)
    threshold, points, used = _view_subsets.as_many(subsets, peer.used)
    ruled = judge.of("ours_its_rule", "ours, rule of Pose2Sim", points, used)
    noise, found = as_many(rig, seen, peer.used)
    small = judge.of(
        *("ours_small_noise", "ours, small noise"),
        *(_points(found), np.asarray(found.used_views)),
    )
    end = judge.end
    return [peer, same, ruled, small], {
        f"own_error_px_mean_pose2sim{end}": own,
        f"threshold_px_ours_its_rule{end}": threshold,
        f"noise_px_ours_small_noise{end}": noise,
    }


def _points(found: Triangulation) -> np.ndarray:
    return np.where(np.asarray(found.valid)[..., None], found.points, np.nan)


def _held_out(refined: refinement.Refined) -> str:
    before, after, clean = refined.before, refined.after, refined.unbiased
    return (
        f"on frames held out, where three views agree: given {before.mean_px:.2f} px "
        f"mean, {before.median_px:.2f} median; refined {after.mean_px:.2f}, "
        f"{after.median_px:.2f}; bias out {clean.mean_px:.2f}, {clean.median_px:.2f} "
        f"over {clean.agreeing:.1%} of the detections"
    )
