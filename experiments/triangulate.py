"""Triangulates the main person, or everyone, of a calibrated multi-view capture.

Without flags: a real capture. Writes markers.trc (Y up), points.h5 (with covariances),
detections.h5, report.png, metrics.json and manifest.json; with --config.people=all
markers_1.trc and so on for each person, the main person first. Where gaps were filled,
filled.csv says which; where cameras were refined, cameras.toml has them.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import _app, _capture, _point_files, _points, _trial

_PEOPLE = ("main", "all")


def main(config: ConfigDict, workdir: Path) -> None:
    """Triangulates and writes everything into the workdir."""
    with _trial.one_line_warnings():
        _triangulate(config, workdir)


def _triangulate(config: Any, workdir: Path) -> None:
    _trial.say("loading")
    from simspine_jax.cameras import triangulation

    _capture.require_choice(config, "people", _PEOPLE)
    settings = _points.check(config)
    everyone = config.people == "all"
    points = _points.find(config, settings, everyone)
    rig, first = points.rig, points.people[0]
    start = time.monotonic()
    triangulation.triangulate(rig, first.detections, settings.triangulation)
    again = time.monotonic() - start
    _trial.say(f"writing into {workdir}")
    units = _point_files.write(workdir, points, everyone)
    numbers = {
        "points_per_second": first.found.valid.size / again,
        "seconds_first": first.seconds,
        **points.metrics,
    }
    for n, person in enumerate(points.people, start=1):
        name = f"report_{n}.png" if everyone else "report.png"
        _draw(workdir / name, points, person)
        _trial.say(_table(person.summary, f"person {n}" if everyone else ""))
        start_of_name = f"person_{n}_" if everyone else ""
        numbers |= {
            start_of_name + key: value
            for key, value in _point_files.metrics(person).items()
        }
    _app.write_metrics(workdir, numbers)
    _app.write_manifest(workdir, config, points.capture.files, units)


def _draw(path: Path, points: _points.Points, person: _points.Person) -> None:
    """Draws the report, with the frame in the middle of those with points."""
    from simspine_jax.figures import triangulation_report

    seen = np.flatnonzero(np.asarray(person.found.valid).any(axis=1))
    frame = int(seen[len(seen) // 2])
    triangulation_report.save(
        path,
        points.rig,
        person.detections,
        person.found,
        person.summary,
        points.capture.links,
        [points.capture.image(camera, frame) for camera in points.rig.names],
        frame,
    )


def _table(summary: Any, heading: str) -> str:
    lines = [
        heading,
        f"{'camera':<12} {'detected':>9} {'used':>6} {'mean':>6} {'median':>7}  px",
    ]
    lines += [
        f"{v.camera:<12} {v.detected:>9} {v.used / max(v.detected, 1):>6.1%} "
        f"{v.mean_px:>6.1f} {v.median_px:>7.1f}"
        for v in summary.views
    ]
    lines.append(_point_files.to_text(summary))
    for side, (mean, sd) in zip(("left", "right"), summary.thigh_m, strict=False):
        lines.append(f"{side} thigh {mean:.3f} m, SD {1e3 * sd:.0f} mm")
    return "\n".join(lines)


if __name__ == "__main__":
    _app.run(main, "triangulate")
