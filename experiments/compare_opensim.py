"""Our inverse kinematics and OpenSim's on the same frames, judged alike.

Both follow the same set-up, coordinate tasks included; both start cold; both answers
are evaluated by OpenSim's own kinematics. Writes comparison.png, frames.csv (one row a
frame), both motions of every trial, manifest.json and metrics.json.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments import _app


def main(config: Any, workdir: Path) -> None:
    """Compares the solvers on every trial of the configuration."""
    from experiments import _ik_measure, _ik_trials, _trial
    from simspine_jax.evaluation import ik_comparison
    from simspine_jax.figures import compare_opensim as figure
    from simspine_jax.fitting.ik import IkOptions
    from simspine_jax.io import storage
    from simspine_jax.reference import compare

    options = IkOptions(**config.ik)
    made = dict(
        noise_mm=config.noise_mm,
        seed=config.seed,
        keep_coordinate_tasks=config.keep_coordinate_tasks,
    )
    cases, comparisons = [], []
    with _trial.one_line_warnings():
        for name in config.trials:
            case = _ik_trials.load_case(name, workdir, frames=config.frames, **made)
            trial = case.trial
            count = len(trial.trajectory.points)
            print(f"{name}: {count} frames by both solvers ...", flush=True)
            comparison, ours, theirs = compare.run_both(trial, options)
            for suffix, q in (("", ours.q), ("_opensim", theirs.q)):
                storage.write_mot(
                    workdir / f"{name}{suffix}.mot",
                    replace(ours.motion, q=q),
                    coordinate_is_rotational=trial.model.coordinate_is_rotational,
                )
            cases.append(case)
            comparisons.append(comparison)
    print("compile time, in two new processes ...", flush=True)
    lead = config.trials[0]
    measured = _ik_measure.compile_times(
        {"name": lead, "frames": config.compile_frames, **made}, config.ik.to_dict()
    )
    metrics = ik_comparison.metrics(comparisons, lead) | measured
    ik_comparison.write_frames(workdir / "frames.csv", comparisons)
    figure.save(workdir / "comparison.png", comparisons)
    units = {"q": "rad, m", "objective": "m^2, rad^2", "marker_rms_m": "m"}
    _app.write_manifest(workdir, config, _ik_trials.inputs_of(cases), units)
    _app.write_metrics(workdir, metrics)
    print(ik_comparison.table(comparisons))
    print(
        f"compile {measured['compile_seconds_cold']:.1f} s cold, "
        f"{measured['compile_seconds_cached']:.1f} s cached; "
        f"memory {measured['peak_memory_mb']:.0f} MB; {workdir / 'comparison.png'}"
    )


if __name__ == "__main__":
    _app.run(main, "compare_opensim")
