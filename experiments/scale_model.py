"""Scales an OpenSim model to a person, by one of three ways, or by all to compare them.

Without flags: Pose2Sim's generic model, by its set-up of OpenSim's ScaleTool, by
segment lengths, and by joint calibration. Writes scaled.osim (scaled_setup.osim,
scaled_lengths.osim and scaled_joint.osim where all are compared), factors.csv,
scaling.txt, report.png, metrics.json and manifest.json.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from experiments import (
    _app,
    _scaling_inputs,
    _scaling_methods,
    _scaling_text,
    _trial,
)

if TYPE_CHECKING:
    from experiments._scaling_inputs import Inputs, Options
    from experiments._scaling_methods import Scaled
    from simspine_jax import MarkerTrajectory, Model

_MODELS = ("scaled", *(f"scaled_{name}" for name in _scaling_inputs.METHODS))
_ALL, _HELD_OUT = "all frames", "second half, lengths and joint from the first alone"


def main(config: ConfigDict, workdir: Path) -> None:
    """Scales, judges, and writes everything into the workdir."""
    with _trial.one_line_warnings():
        _scale(config, workdir)


def _scale(config: Any, workdir: Path) -> None:
    start = time.monotonic()
    options = _scaling_inputs.check(config)
    inputs = _scaling_inputs.load(config, options)
    trial = inputs.trial
    found: dict[str, Scaled] = {}
    seconds = {}
    for method in options.methods:
        begun = time.monotonic()
        _trial.say(f"scaling: {method}")
        found[method] = _scaling_methods.scale(
            method, inputs, options, trial.trajectory
        )
        seconds[f"seconds_{method}"] = time.monotonic() - begun
    rms_mm = _judge(inputs, options, found)
    _trial.say(f"writing into {workdir}")
    _write(workdir, config, inputs, found, rms_mm)
    metrics: dict[str, float] = {"frames": len(trial.trajectory.points)}
    for name, each in rms_mm.items():
        metrics[f"rms_mm_{name}"] = each[_ALL]
        if _HELD_OUT in each:
            metrics[f"rms_mm_{name}_held_out"] = each[_HELD_OUT]
    metrics |= {f"frames_{name}": scaled.frames for name, scaled in found.items()}
    metrics |= seconds | {"seconds_total": time.monotonic() - start}
    _app.write_metrics(workdir, metrics)


def _judge(
    inputs: "Inputs", options: "Options", found: "dict[str, Scaled]"
) -> dict[str, dict[str, float]]:
    """Returns the marker RMS of fits of the trial, mm, by model and by frames."""
    trial = inputs.trial
    models = {"unscaled": trial.model, **{n: s.model for n, s in found.items()}}
    halves = _scaling_inputs.halves(inputs) if options.held_out else None
    rms_mm = {}
    for name, model in models.items():
        _trial.say(f"judging: {name}")
        squares, seen = _squares(model, inputs, options, trial.trajectory)
        rms_mm[name] = {_ALL: _rms_mm(squares, seen)}
        if halves is None:
            continue
        first, second = halves
        if name in ("lengths", "joint"):
            half = _scaling_methods.scale(name, inputs, options, first)
            squares, seen = _squares(half.model, inputs, options, second)
        else:  # The trial had no part in these.
            middle = len(first.points)
            squares, seen = squares[middle:], seen[middle:]
        rms_mm[name][_HELD_OUT] = _rms_mm(squares, seen)
    return rms_mm


def _squares(
    model: "Model", inputs: "Inputs", options: "Options", trajectory: "MarkerTrajectory"
) -> tuple[np.ndarray, np.ndarray]:
    """Fits every frame alone; returns squared distances, m^2, and what was seen."""
    from simspine_jax.fitting import ik

    best = None
    for how in options.searches:
        fit = ik.fit_ik(model, trajectory, inputs.trial.tasks, how)
        squares, objective = np.square(fit.marker_error), np.asarray(fit.objective)
        if best is None:
            best = squares, objective, np.asarray(fit.marker_seen)
            continue
        better = objective < best[1]
        best = (
            np.where(better[:, None], squares, best[0]),
            np.where(better, objective, best[1]),
            best[2],
        )
    assert best is not None
    return best[0], best[2]


def _rms_mm(squares: np.ndarray, seen: np.ndarray) -> float:
    return 1e3 * float(np.sqrt(squares[seen].mean())) if seen.any() else 0.0


def _write(
    workdir: Path,
    config: Any,
    inputs: "Inputs",
    found: "dict[str, Scaled]",
    rms_mm: dict[str, dict[str, float]],
) -> None:
    from simspine_jax.figures import saving, scaling_report
    from simspine_jax.io import atomic, osim_write

    trial = inputs.trial
    bodies = trial.model.body_names
    units = {"factors.csv": "ratio, of the model that was scaled"}
    for name in _MODELS:
        method = config.method if name == "scaled" else name.removeprefix("scaled_")
        path = workdir / f"{name}.osim"
        if method not in found or (name == "scaled") == (config.method == "all"):
            path.unlink(missing_ok=True)  # of a run before
            continue
        osim_write.write_osim(
            path,
            trial.model_path,
            found[method].model,
            name=inputs.setup.name if inputs.setup else None,
        )
        units[path.name] = "m and rad, as OpenSim has them"
    sd = {name: s.sd for name, s in found.items() if s.sd is not None}
    rows = scaling_report.factor_rows(
        bodies, {name: s.factors for name, s in found.items()}, sd
    )
    atomic.write_text(workdir / "factors.csv", _scaling_text.factors_csv(bodies, found))
    told = _scaling_text.summary(inputs, found, rms_mm, rows)
    details = _scaling_text.details(found)
    atomic.write_text(workdir / "scaling.txt", f"{told}\n\n{details}\n")
    title = f"{trial.model_path.name} scaled, judged on {trial.source.name}"
    figure = scaling_report.make(title, rows, rms_mm)
    saving.save(workdir / "report.png", figure)
    _app.write_manifest(workdir, config, inputs.files, units)
    _trial.say("\n" + told)


if __name__ == "__main__":
    _app.run(main, "scale_model")
