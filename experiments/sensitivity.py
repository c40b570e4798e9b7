"""Tells which marker determines which angle, and what one more or less would change.

Without flags: a real balancing trial. Writes sensitivity.png, sensitivity.csv,
metrics.json and manifest.json, and prints what dropping or adding a marker does.
"""

import csv
import io
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from experiments import _app, _sensitivity_candidates, _sensitivity_text, _trial

if TYPE_CHECKING:
    from simspine_jax.evaluation.ik_sensitivity import Sensitivity

UNITS = {"sensitivity.csv": "sd: deg or mm as the unit column says; shares: 0 to 1"}
_NOISE_MM = 5.0


def main(config: ConfigDict, workdir: Path) -> None:
    """Fits, analyses, and writes everything into the workdir."""
    with _trial.one_line_warnings():
        _run(config, workdir)


def _run(config: Any, workdir: Path) -> None:
    start = time.monotonic()
    _check(config)
    _trial.say("loading")
    import jax

    from simspine_jax.evaluation import ik_information, ik_sensitivity
    from simspine_jax.figures import sensitivity as figure
    from simspine_jax.fitting import ik, ik_prepare
    from simspine_jax.fitting.ik_search_options import SearchOptions

    trial = _trial.load(config)
    model, trajectory = trial.model, trial.trajectory
    search = SearchOptions(**_trial.given(config.search))
    options = ik.IkOptions(search=search, **_trial.given(config.ik))
    plan = ik.make_plan(model, trajectory.names, trial.tasks, options)
    # Before the fit, so that a mistake does not cost a minute.
    points = _sensitivity_candidates.candidates(config, model, plan.marker_names)
    ik_information.require(plan, points)
    count = len(trajectory.points)
    _trial.say(f"fitting {count} frames (the first time this compiles as well)")
    fit = ik.fit_ik(model, trajectory, trial.tasks, options, _trial.Progress())
    fitted = time.monotonic()
    frames = sampled(np.asarray(fit.marker_seen), config.sampled_frames)
    _trial.say(f"analysing {len(frames)} frames, {len(points)} candidate markers")
    data = ik_prepare.observations(plan, trajectory)
    data = jax.tree.map(lambda a: a[frames], data)
    noise_mm = _NOISE_MM if config.noise_mm is None else config.noise_mm
    found = ik_sensitivity.analyse(
        ik_information.information(
            plan,
            np.asarray(fit.q)[frames],
            data,
            points,
            noise_mm / 1e3,
            equal=config.weights == "equal",
        )
    )
    _trial.say(f"writing into {workdir}")
    figure.save(workdir / "sensitivity.png", found)
    _write_shares(workdir / "sensitivity.csv", found)
    seconds = {"fit": fitted - start, "total": time.monotonic() - start}
    _app.write_metrics(workdir, metrics(found, seconds))
    _app.write_manifest(workdir, config, trial.files, UNITS)
    _trial.say("\n" + _sensitivity_text.to_text(found, config.weights))


def sampled(seen: np.ndarray, count: int) -> np.ndarray:
    """Returns up to so many frames spread evenly over those that have a marker.

    Args:
        seen: Whether each frame has each marker. Shape [T, M].
        count: How many.
    """
    filled = np.flatnonzero(np.asarray(seen).any(axis=1))
    picks = np.linspace(0, len(filled) - 1, min(count, len(filled)))
    return filled[np.round(picks).astype(int)]


def metrics(found: "Sensitivity", seconds: dict[str, float]) -> dict[str, float]:
    """Returns the numbers of metrics.json; a factor that is infinite is left out."""
    from simspine_jax.evaluation import ik_sensitivity

    info = found.found
    known = ik_sensitivity.determined(found.sd, info.angle)
    result: dict[str, float] = {
        "frames": len(info.rows),
        "markers": info.used,
        "candidates": len(info.markers) - info.used,
        "noise_mm": info.noise_m * 1e3,
        "coordinates": len(info.coordinates),
        "coordinates_undetermined": int((~known).sum()),
        "markers_spare_together": len(found.spare),
        "markers_indispensable": int((found.drop.decided.sum(axis=1) > 0).sum()),
    }
    for name, sd, angle in zip(info.coordinates, found.sd, info.angle, strict=True):
        key = f"sd_{name}_{'deg' if angle else 'mm'}"
        result[key] = math.degrees(sd) if angle else sd * 1e3
    for verb, change in (("drop", found.drop), ("add", found.add)):
        for k, name in enumerate(change.names):
            result[f"{verb}_{name}_decides"] = int(change.decided[k].sum())
            result[f"{verb}_{name}_factor"] = float(change.largest[k])
    result |= {f"seconds_{name}": value for name, value in seconds.items()}
    return {name: value for name, value in result.items() if math.isfinite(value)}


def _write_shares(path: Path, found: "Sensitivity") -> None:
    from simspine_jax.io import atomic

    info, out = found.found, io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["coordinate", "part", "sd", "unit", *info.markers[: info.used]])
    for c, name in enumerate(info.coordinates):
        angle = info.angle[c]
        sd = math.degrees(found.sd[c]) if angle else found.sd[c] * 1e3
        cells = [f"{x:.6g}" for x in (sd, *found.share[c])]
        unit = "deg" if angle else "mm"
        writer.writerow([name, info.parts[c], cells[0], unit, *cells[1:]])
    atomic.write_text(path, out.getvalue())


def _check(config: Any) -> None:
    if config.weights not in ("equal", "fit"):
        raise ValueError(f"config.weights is {config.weights!r}; it is equal or fit")
    if config.sampled_frames < 1:
        raise ValueError(
            f"config.sampled_frames is {config.sampled_frames}; it takes at least 1"
        )
    if config.noise_mm is not None and not config.noise_mm > 0:
        raise ValueError(f"config.noise_mm is {config.noise_mm}; it must be positive")
    _sensitivity_candidates.check(config)


if __name__ == "__main__":
    _app.run(main, "sensitivity")
