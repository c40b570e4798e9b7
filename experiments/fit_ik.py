"""Fits the joint angles of an OpenSim model to a marker trial.

Without flags: a real balancing trial. Writes motion.mot, markers_fitted.trc,
marker_errors.sto, spine_markers.trc, report.png, metrics.json and manifest.json.
"""

import time
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments import _app, _ik_files, _trial


def main(config: ConfigDict, workdir: Path) -> None:
    """Fits, diagnoses, and writes everything into the workdir."""
    with _trial.one_line_warnings():
        _fit(config, workdir)


def _fit(config: Any, workdir: Path) -> None:
    start = time.monotonic()
    _trial.say("loading")
    from simspine_jax.figures import ik_report as figure
    from simspine_jax.fitting import ik, ik_report, ik_report_text, replay
    from simspine_jax.fitting.ik_search_options import SearchOptions

    trial = _trial.load(config)
    model, trajectory = trial.model, trial.trajectory
    search = SearchOptions(**_trial.given(config.search))
    options = ik.IkOptions(search=search, **_trial.given(config.ik))
    plan = ik.make_plan(model, trajectory.names, trial.tasks, options)
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
    report = ik_report.make_report(
        plan, trajectory, solution.q, solution.prior_ratio, poses
    )
    _trial.say(f"writing into {workdir}")
    _ik_files.write(workdir, model, solution, poses)
    figure.draw(
        workdir / "report.png",
        model,
        trajectory,
        solution.motion,
        report,
        figure.Titles(trial.model_path.name, trial.trc_path.name),
        poses,
    )
    seconds = {
        "load": loaded - start,
        "fit": fitted - loaded,
        "compile": sum(compiled),
        "total": time.monotonic() - start,
    }
    _app.write_metrics(workdir, _ik_files.metrics(solution, report, seconds))
    _app.write_manifest(workdir, config, trial.files, _ik_files.UNITS)
    _trial.say("\n" + ik_report_text.to_text(report))


if __name__ == "__main__":
    _app.run(main, "fit_ik")
