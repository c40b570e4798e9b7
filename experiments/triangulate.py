"""Triangulates the main person of a calibrated multi-view capture.

Without flags: a real capture. Writes markers.trc (Y up), points.h5 (with covariances),
detections.h5, report.png, metrics.json and manifest.json.
"""

import time
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments import _app, _capture, _trial

_UNITS = {
    "markers.trc": "m, ground frame, Y up; NaN where not valid",
    "points.h5": "m and m^2, the calibration's world; px",
    "detections.h5": "px",
}


def main(config: ConfigDict, workdir: Path) -> None:
    """Triangulates and writes everything into the workdir."""
    with _trial.one_line_warnings():
        _triangulate(config, workdir)


def _triangulate(config: Any, workdir: Path) -> None:
    _trial.say("loading")
    from simspine_jax.cameras import triangulation, world_axes
    from simspine_jax.evaluation import triangulation_summary
    from simspine_jax.figures import triangulation_report
    from simspine_jax.io import detections_h5, trc, triangulation_h5

    options = triangulation.TriangulationOptions(**_trial.given(config.triangulation))
    capture = _capture.load(config)
    rig, seen, refined = _refined(config, capture)
    start = time.monotonic()
    found = triangulation.triangulate(rig, seen, options)
    first = time.monotonic() - start
    start = time.monotonic()
    triangulation.triangulate(rig, seen, options)
    again = time.monotonic() - start
    summary = triangulation_summary.summarise(found, seen, rig.names)
    _trial.say(f"writing into {workdir}")
    trajectory = world_axes.to_trajectory(
        found, seen.keypoint_names, seen.rate_hz, config.up
    )
    trc.write_trc(workdir / "markers.trc", trajectory)
    detections_h5.write_detections(
        workdir / "detections.h5", seen, camera_names=rig.names
    )
    triangulation_h5.write_triangulation(
        workdir / "points.h5",
        found,
        keypoint_names=seen.keypoint_names,
        camera_names=rig.names,
        rate_hz=seen.rate_hz,
    )
    frame = len(seen.points) // 2
    images = [capture.image(c, frame) for c in rig.names]
    triangulation_report.save(
        workdir / "report.png",
        rig,
        seen,
        found,
        summary,
        capture.links,
        images,
        frame,
    )
    _trial.say(_table(summary))
    points = int(found.valid.size)
    _app.write_metrics(
        workdir,
        {
            "reprojection_px_mean": summary.mean_px,
            "reprojection_px_median": summary.median_px,
            "observations_used_fraction": summary.used_fraction,
            "points_valid_fraction": summary.valid_fraction,
            "noise_px": summary.noise_px,
            "points_per_second": points / again,
            "seconds_first": first,
            "people": float(capture.people),
            **refined,
            **{
                f"thigh_{side}_m_{what}": value
                for side, pair in zip("lr", summary.thigh_m, strict=False)
                for what, value in zip(("mean", "sd"), pair, strict=True)
            },
        },
    )
    _app.write_manifest(workdir, config, capture.files, _UNITS)


def _refined(config: Any, capture: Any) -> tuple[Any, Any, dict[str, float]]:
    """Returns cameras and detections to use, and what refining them gained."""
    from simspine_jax.cameras import refinement, view_offsets

    rig, seen = capture.rig, capture.detections
    gained: dict[str, float] = {}
    if config.refine:
        _trial.say("refining the cameras")
        found = refinement.refine(rig, seen)
        rig, before, after = found.rig, found.before, found.after
        gained = {
            "held_out_px_mean_before": before.mean_px,
            "held_out_px_median_before": before.median_px,
            "held_out_px_mean": after.mean_px,
            "held_out_px_median": after.median_px,
        }
        _trial.say(
            f"on frames held out {before.mean_px:.1f} px mean, "
            f"{before.median_px:.1f} median became {after.mean_px:.1f} and "
            f"{after.median_px:.1f}"
        )
    if config.take_out_offsets:
        offsets = view_offsets.estimate_offsets(rig, seen)
        _trial.say(str(offsets))
        seen = view_offsets.apply_offsets(seen, offsets.frames)
    return rig, seen, gained


def _table(summary: Any) -> str:
    lines = [
        "",
        f"{'camera':<12} {'detected':>9} {'used':>6} {'mean':>6} {'median':>7}  px",
    ]
    lines += [
        f"{v.camera:<12} {v.detected:>9} {v.used / max(v.detected, 1):>6.1%} "
        f"{v.mean_px:>6.1f} {v.median_px:>7.1f}"
        for v in summary.views
    ]
    lines.append(
        f"all: mean {summary.mean_px:.2f} px, median {summary.median_px:.2f} px over "
        f"{summary.used_fraction:.1%} of the observations; "
        f"{summary.valid_fraction:.1%} of the points valid; "
        f"noise {summary.noise_px:.1f} px a component"
    )
    for side, (mean, sd) in zip(("left", "right"), summary.thigh_m, strict=False):
        lines.append(f"{side} thigh {mean:.3f} m, SD {1e3 * sd:.0f} mm")
    return "\n".join(lines)


if __name__ == "__main__":
    _app.run(main, "triangulate")
