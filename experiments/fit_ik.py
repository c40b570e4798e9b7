"""Fits the joint angles of an OpenSim model to 2D detections or to a marker trial.

Without flags: the detections of a real capture, triangulated, and the demo's model,
which is calibrated to them first (config.calibrate). Writes motion.mot,
markers_fitted.trc, marker_errors.sto, spine_markers.trc, report.png, metrics.json and
manifest.json; where it calibrates also calibrated.osim and calibration.txt; from
detections also markers.trc, points.h5, detections.h5 and overlay.png, the fitted model
over the frame in the middle.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments import (
    _app,
    _calibration,
    _ik_files,
    _point_files,
    _points,
    _trial,
)


def main(config: ConfigDict, workdir: Path) -> None:
    """Fits, diagnoses, and writes everything into the workdir."""
    with _trial.one_line_warnings():
        _fit(config, workdir)


def _fit(config: Any, workdir: Path) -> None:
    start = time.monotonic()
    _trial.say("loading")
    from simspine_jax.figures import ik_report as figure
    from simspine_jax.fitting import (
        ik,
        ik_report,
        ik_report_text,
        key_angles,
        replay,
    )
    from simspine_jax.fitting.ik_search_options import SearchOptions

    options = ik.IkOptions(
        search=SearchOptions(**_trial.given(config.search)),
        smooth=_smoothness(config.smooth),
        loss=_loss(config.loss),
        **_trial.given(config.ik),
    )
    trial = _trial.load(config, _observer(config))
    read = time.monotonic()
    trial = _calibration.held_upright(config, trial)
    calibration = _calibration.calibrated(config, trial)
    if calibration is not None:
        trial = replace(trial, model=calibration.model)
    model, trajectory = trial.model, trial.trajectory
    plan = ik.make_plan(model, trajectory.names, trial.tasks, options)
    _trial.say(f"time    {_in_time(options.smooth)}")
    _trial.say(
        f"fitting {len(plan.unknowns)} coordinates to {len(plan.marker_names)} markers "
        f"in {len(trajectory.points)} frames (the first time this compiles as well)"
    )
    loaded = time.monotonic()
    with _trial.compile_seconds() as compiled:
        solution = ik.fit_ik(model, trajectory, trial.tasks, options, _trial.Progress())
    fitted = time.monotonic()
    _trial.say(f"fitted in {fitted - loaded:.1f} s; diagnosing")
    poses = replay.body_poses(model, solution.q)
    history = ik_report_text.history(solution)
    report = ik_report.make_report(
        plan, trajectory, solution.q, solution.prior_ratio, poses
    )
    _trial.say(f"writing into {workdir}")
    _ik_files.write(workdir, model, solution, poses)
    units, seen = dict(_ik_files.UNITS), {}
    gained = _calibration.write(workdir, trial, calibration)
    if trial.points is not None:
        units |= _point_files.write(workdir, trial.points)
        seen = _point_files.metrics(trial.points.people[0]) | trial.points.metrics
        _draw_views(workdir, config, trial, poses, report)
    figure.draw(
        workdir / "report.png",
        model,
        trajectory,
        solution.motion,
        report,
        figure.Titles(trial.model_path.name, _title(trial.source)),
        poses,
        solution.covariance,
    )
    seconds = {
        "load": read - start,
        "calibrate": loaded - read,
        "fit": fitted - loaded,
        "compile": sum(compiled),
        "total": time.monotonic() - start,
    }
    numbers = _ik_files.metrics(solution, report, seconds) | gained | seen
    _app.write_metrics(workdir, numbers)
    _app.write_manifest(workdir, config, trial.files, units)
    if trial.points is not None:
        summary = trial.points.people[0].summary
        _trial.say("\ntriangulation\n" + _point_files.to_text(summary))
    _trial.say("\n" + ik_report_text.to_text(report))
    _say_swaps(trajectory, solution, model, poses)
    if solution.covariance is not None and solution.noise_m is not None:
        angles = key_angles.key_angles(solution.motion, solution.covariance)
        told = key_angles.to_text(angles, solution.noise_m, report.frame_seen)
        _trial.say("\n".join([history, "", *told] if history else ["", *told]))
    elif history:
        _trial.say(history)


def _observer(config: Any) -> Any:
    """Returns what triangulates the capture; None where the markers are in a file."""
    if not config.trc:
        settings = _points.check(config)
        return lambda config: _points.observe(config, settings)
    given = [name for name in ("calibration", "detections") if config[name]]
    if given:
        raise ValueError(
            f"config.trc names markers, and config.{given[0]} a capture to be "
            "triangulated; give one of the two"
        )
    return None


def _draw_views(
    workdir: Path, config: Any, trial: _trial.Trial, poses: Any, report: Any
) -> None:
    """Draws the fitted model over the frame in the middle, in every view."""
    from simspine_jax.figures import overlay

    points = trial.points
    assert points is not None
    frame = len(trial.trajectory.points) // 2
    images = [points.capture.image(name, frame) for name in points.rig.names]
    seen = points.people[0].detections
    overlay.save(
        workdir / "overlay.png",
        overlay.Views(points.rig, seen, images, frame, config.up),
        trial.model,
        poses,
        report.marker_names,
        report.marker_bodies,
    )


def _title(source: Path) -> str:
    """The name of a file; for a folder of detections that of the trial it is in."""
    return source.absolute().parent.name if source.is_dir() else source.name


def _say_swaps(trajectory: Any, solution: Any, model: Any, poses: Any) -> None:
    """Prints which labels seem to be exchanged."""
    from simspine_jax.fitting import label_swaps, replay

    names = solution.marker_names
    seen = [trajectory.names.index(n) for n in names]
    mine = [model.marker_names.index(n) for n in names]
    found = label_swaps.find_swaps(
        trajectory.points[:, seen],
        solution.marker_seen,
        replay.marker_points(model, poses)[:, mine],
        names,
    )
    for sentence in label_swaps.to_text(found):
        _trial.say(sentence)


def _smoothness(config: Any) -> Any:
    from simspine_jax.fitting.smoothing import Smoothness

    return None if config.of == "none" else Smoothness(**_trial.given(config))


def _loss(config: Any) -> Any:
    from simspine_jax.core.robust import RobustLoss

    return None if config.kind == "none" else RobustLoss(**_trial.given(config))


def _in_time(smooth: Any) -> str:
    if smooth is None:
        return "every frame alone"
    power = "^2" if smooth.of == "acceleration" else ""
    return (
        f"smooth {smooth.of}: {smooth.angle:g} rad/s{power}, {smooth.length:g} "
        f"m/s{power} per root hertz (--config.smooth.of=none: every frame alone)"
    )


if __name__ == "__main__":
    _app.run(main, "fit_ik")
