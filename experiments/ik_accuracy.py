"""How near fitted angles come to the truth, and whether their intervals hold it.

Three questions on made-up trials of known truth: do nominal 95 % intervals hold the
truth in 95 %; is the joint fit in time better than Butterworth-filtering the markers
first or the angles after, each at its best setting; and what do displaced markers do.
Writes accuracy.csv, metrics.json and manifest.json.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments import _app, _trial


def main(config: ConfigDict, workdir: Path) -> None:
    """Measures, prints a table, and writes it."""
    with _trial.one_line_warnings():
        _measure(config, workdir)


def _measure(config: Any, workdir: Path) -> None:
    from experiments import _ik_trials
    from simspine_jax.io import atomic

    metrics: dict[str, float] = {}
    rows, files, held, total = ["measure,value"], [], 0, 0
    for name in config.models:
        model, truth, paths = _ik_trials.true_motion(
            name, workdir, config.frames, config.seed
        )
        files += paths
        found = _coverage(model, config)
        held, total = held + found.held, total + found.judged
        share = found.held / max(found.judged, 1)
        _trial.say(
            f"{name:8} 95 % intervals hold the truth in {100 * share:.1f} % of "
            f"{found.judged}; noise estimated {found.estimated_noise_m * 1e3:.2f} mm"
        )
        metrics[f"{name}_coverage"] = share
        metrics[f"{name}_intervals"] = found.judged
        metrics |= _smoothing(name, model, truth, config)
        metrics |= _displaced(name, model, truth, config)
    metrics["coverage"] = held / max(total, 1)
    metrics["intervals"] = total
    for measure in ("smoothing_gain_before", "smoothing_gain_after"):
        metrics[measure] = min(metrics[f"{n}_{measure}"] for n in config.models)
    metrics["displaced_ratio"] = max(
        metrics[f"{n}_displaced_ratio"] for n in config.models
    )
    _trial.say(
        f"all      coverage {100 * metrics['coverage']:.1f} % of {total}; least gain "
        f"over filtering before {metrics['smoothing_gain_before']:.2f}x, after "
        f"{metrics['smoothing_gain_after']:.2f}x; displaced markers at most "
        f"{metrics['displaced_ratio']:.2f}x the clean error"
    )
    for key, value in metrics.items():
        rows.append(f"{key},{value:.6g}")
    atomic.write_text(workdir / "accuracy.csv", "\n".join(rows) + "\n")
    _app.write_metrics(workdir, metrics)
    units = {"accuracy.csv": "deg, share or ratio, as the name says"}
    _app.write_manifest(workdir, config, tuple(dict.fromkeys(files)), units)


def _coverage(model: Any, config: Any) -> Any:
    from simspine_jax.evaluation import ik_accuracy

    return ik_accuracy.coverage(model, config.poses, config.noise_mm / 1e3, config.seed)


def _smoothing(name: str, model: Any, truth: Any, config: Any) -> dict[str, float]:
    """Angle errors of the three ways to smooth, each at its best setting."""
    from simspine_jax.datasets import synthetic_motion
    from simspine_jax.evaluation import ik_accuracy as accuracy
    from simspine_jax.fitting import ik

    noise = config.noise_mm / 1e3
    trial = synthetic_motion.observe(model, truth, noise, config.seed)
    use = accuracy.judged(model, truth.q, trial, noise)
    error = lambda q: accuracy.angle_rms_deg(model, q, truth.q, use)
    options = ik.IkOptions()
    alone = ik.fit_ik(model, trial, options=options).q
    before = {
        cutoff: error(accuracy.filtered_before(model, trial, cutoff, options))
        for cutoff in _app.progress(config.cutoffs_hz, f"{name} filters")
    }
    after = {
        cutoff: error(accuracy.filtered_after(alone, cutoff, trial.rate_hz))
        for cutoff in config.cutoffs_hz
    }
    joint = {
        density: error(accuracy.jointly(model, trial, density, noise, options))
        for density in _app.progress(config.densities, f"{name} joint fits")
    }
    best = {
        label: min(errors, key=lambda at, errors=errors: errors[at])
        for label, errors in (("before", before), ("after", after), ("joint", joint))
    }
    _trial.say(
        f"{name:8} angle RMS: each frame alone {error(alone):.2f} deg, markers "
        f"filtered {before[best['before']]:.2f} (at {best['before']:g} Hz), angles "
        f"filtered {after[best['after']]:.2f} ({best['after']:g} Hz), jointly "
        f"{joint[best['joint']]:.2f} ({best['joint']:g} rad/s^2 per root hertz)"
    )
    found = {
        "alone_deg": error(alone),
        "filtered_before_deg": before[best["before"]],
        "filtered_after_deg": after[best["after"]],
        "jointly_deg": joint[best["joint"]],
        "best_density": best["joint"],
        "smoothing_gain_before": before[best["before"]] / joint[best["joint"]],
        "smoothing_gain_after": after[best["after"]] / joint[best["joint"]],
        "share_judged": float(np.mean(use)),
    }
    return {f"{name}_{key}": float(value) for key, value in found.items()}


def _displaced(name: str, model: Any, truth: Any, config: Any) -> dict[str, float]:
    """Angle errors with and without displaced markers."""
    from simspine_jax.core.robust import RobustLoss
    from simspine_jax.datasets import synthetic_motion
    from simspine_jax.evaluation import ik_accuracy as accuracy
    from simspine_jax.fitting import ik
    from simspine_jax.fitting.smoothing import Smoothness

    noise = config.noise_mm / 1e3
    clean = synthetic_motion.observe(model, truth, noise, config.seed)
    trial, moved = synthetic_motion.displaced(
        clean, config.displaced_share, config.displaced_m, config.seed
    )
    left = replace(clean, valid=clean.valid & ~moved)
    use = accuracy.judged(model, truth.q, left, noise)
    loss = RobustLoss("geman_mcclure", config.loss_scale_m)
    found = {"displaced_observations": float(moved.sum())}
    for label, smooth in (("frames", None), ("joint", Smoothness())):
        fit = lambda trial, loss, smooth=smooth: accuracy.angle_rms_deg(
            model,
            ik.fit_ik(
                model,
                trial,
                options=ik.IkOptions(
                    loss=loss,
                    smooth=smooth,
                    noise_m=noise,
                ),
            ).q,
            truth.q,
            use,
        )
        found[f"{label}_clean_deg"] = fit(clean, None)
        found[f"{label}_displaced_deg"] = fit(trial, loss)
        found[f"{label}_displaced_plain_deg"] = fit(trial, None)
    found["displaced_ratio"] = found["joint_displaced_deg"] / found["joint_clean_deg"]
    _trial.say(
        f"{name:8} {100 * config.displaced_share:g} % of the markers displaced: "
        f"jointly {found['joint_clean_deg']:.2f} deg clean, "
        f"{found['joint_displaced_deg']:.2f} with the robust loss "
        f"({found['displaced_ratio']:.2f}x), {found['joint_displaced_plain_deg']:.2f} "
        f"without; frame by frame {found['frames_clean_deg']:.2f}, "
        f"{found['frames_displaced_deg']:.2f}, "
        f"{found['frames_displaced_plain_deg']:.2f}"
    )
    return {f"{name}_{key}": value for key, value in found.items()}


if __name__ == "__main__":
    _app.run(main, "ik_accuracy")
