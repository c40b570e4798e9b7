"""Speed of both inverse kinematics solvers on the same CPU, in one run.

Ours: frames a second over a long trial, the built-in one played to and fro with new
noise on every frame, restarts included; the median of several runs after one that
compiles. OpenSim: the wall time of its tool's solve on the built-in trial itself.
Quality: OpenSim also solves some runs of consecutive frames out of our long trial, and
both answers to those are judged alike.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import _ik_measure, _ik_trials
from experiments._ik_trials import Case
from simspine_jax.body.jacobian import marker_jacobian
from simspine_jax.body.kinematics import marker_positions
from simspine_jax.datasets import synthetic_motion
from simspine_jax.evaluation import ik_comparison
from simspine_jax.evaluation.ik_comparison import Comparison
from simspine_jax.fitting import ik
from simspine_jax.fitting.ik import IkOptions
from simspine_jax.reference import compare
from simspine_jax.reference.opensim_model import ReferenceModel


def run(
    config: Any, workdir: Path
) -> tuple[list[Case], list[Comparison], dict[str, float], dict[str, list[float]]]:
    """Measures everything.

    Args:
        config: Of ``configs/benchmark.py:ik``.
        workdir: Takes the files that OpenSim needs.

    Returns:
        The cases, the comparison of each, all metrics, and the streamed lengths
        with their seconds.
    """
    options = IkOptions(**config.ik)
    made = dict(
        noise_mm=config.noise_mm,
        seed=config.seed,
        keep_coordinate_tasks=config.keep_coordinate_tasks,
    )
    cases, comparisons, rates = [], [], {}
    for name in config.trials:
        print(f"{name}: both solvers ...", flush=True)
        case = _ik_trials.load_case(name, workdir, frames=config.frames, **made)
        comparisons.append(_compare(case, options, config))
        rates |= {f"{name}_{k}": v for k, v in _rates(case, config).items()}
        cases.append(case)
    lead = config.trials[0]
    print("compile time, in two new processes ...", flush=True)
    small = {"name": lead, "frames": config.compile_frames, **made}
    measured = _ik_measure.compile_times(small, config.ik.to_dict())
    print("streaming, in a new process ...", flush=True)
    lengths = tuple(config.stream_frames)
    streamed = _ik_measure.stream_costs(
        {"name": config.stream_trial, "frames": 0, **made}, config.ik.to_dict(), lengths
    )
    measured["peak_memory_mb"] = streamed["peak_memory_mb"]
    for frames, seconds in zip(lengths, streamed["seconds"], strict=True):
        measured[f"stream_{frames}_seconds"] = seconds
    metrics = ik_comparison.metrics(comparisons, lead) | measured | rates
    costs = {"frames": list(lengths), "seconds": streamed["seconds"]}
    return cases, comparisons, metrics, costs


def table(comparisons: list[Comparison], metrics: dict[str, float]) -> str:
    """Returns what was measured, for people."""
    lines = [ik_comparison.table(comparisons), ""]
    lines.append(f"{'poses a second':14}{'markers':>20}{'Jacobians':>24}")
    lines.append(f"{'':14}{'ours':>10}{'OpenSim':>10}{'ours':>14}{'OpenSim':>10}")
    for c in comparisons:
        of = {key: metrics[f"{c.name}_{key}"] for key in _RATES}
        lines.append(
            f"{c.name:14}{of[_RATES[0]]:10.0f}{of[_RATES[1]]:10.0f}"
            f"{of[_RATES[2]]:14.0f}{of[_RATES[3]]:10.0f}"
        )
    lines.append("")
    lines += [
        f"streamed {int(key.split('_')[1]):>9} frames in {value:8.2f} s, "
        f"{int(key.split('_')[1]) / value:8.0f} a second"
        for key, value in metrics.items()
        if key.startswith("stream_")
    ]
    lines.append(
        f"compile {metrics['compile_seconds_cold']:.1f} s cold, "
        f"{metrics['compile_seconds_cached']:.1f} s cached; "
        f"peak memory {metrics['peak_memory_mb']:.0f} MB"
    )
    return "\n".join(lines)


def _compare(case: Case, options: IkOptions, config: Any) -> Comparison:
    trial = case.trial
    # A real capture has its own noise already; a little more makes frames distinct.
    real = case.clean is trial.trajectory
    noise_mm = config.capture_noise_mm if real else config.noise_mm
    long = synthetic_motion.repeat_with_noise(
        case.clean, config.long_frames, noise_mm / 1e3, config.seed + 1
    )
    fit = lambda: ik.fit_ik(trial.model, long, trial.tasks, options)
    ours = fit()
    seconds = float(np.median([_seconds(fit) for _ in range(config.repeats)]))
    rate = config.long_frames / seconds
    theirs = compare.run_opensim(trial)
    opensim_rate = theirs.frames / theirs.seconds
    size = config.checked_frames
    parts = []
    for first in _starts(config):
        part = slice(first, first + size)
        # From time zero, because set-ups limit the time range.
        piece = replace(long.cut(part), start_s=trial.trajectory.start_s)
        short = replace(trial, trajectory=piece)
        try:
            answer = compare.run_opensim(short).q
        except ValueError as error:
            # OpenSim's optimiser gives up on some noisy frames and then drops the
            # whole run; another run takes its place.
            print(f"OpenSim failed on frames {first} to {first + size - 1}: {error}")
            continue
        kept = jax.tree.map(lambda a, part=part: a[part], ours)
        parts.append(
            compare.judge(
                short, options, kept, size / rate, answer, size / opensim_rate
            )
        )
        if len(parts) == config.checked_runs:
            break
    if not parts:
        raise ValueError(f"{case.trial.name}: OpenSim failed on every checked run")
    return ik_comparison.join(parts)


def _starts(config: Any) -> list[int]:
    """First frames of runs in random order, no two overlapping; enough for spares."""
    size = config.checked_frames
    places = np.arange(0, config.long_frames - size + 1, size)
    if len(places) < config.checked_runs:
        raise ValueError(
            f"long_frames {config.long_frames} holds {len(places)} runs of "
            f"checked_frames {size}, and checked_runs is {config.checked_runs}"
        )
    rng = np.random.default_rng(config.seed)
    spare = min(len(places), 4 * config.checked_runs)
    return [int(first) for first in rng.choice(places, spare, replace=False)]


_RATES = (
    *("marker_poses_per_second", "opensim_marker_poses_per_second"),
    *("jacobian_poses_per_second", "opensim_jacobian_poses_per_second"),
)


def _rates(case: Case, config: Any) -> dict[str, float]:
    """Poses a second; OpenSim's as called from Python, all markers of the model."""
    model, path = case.trial.model, case.trial.model_path
    swing = synthetic_motion.draw_swing(model, config.seed)
    motion = synthetic_motion.swing_motion(model, swing, config.rate_poses, 50.0)
    q = np.asarray(motion.q)
    few = q[: config.opensim_rate_poses]
    q_free = np.asarray(model.free_of(q))
    reference = ReferenceModel(path, case.trial.markers_path)
    timed = (
        (len(q), _compiled(marker_positions, model, q)),
        (len(few), lambda: reference.marker_positions(few)),
        (len(q), _compiled(marker_jacobian, model, q_free)),
        (len(few), lambda: reference.marker_jacobian(few)),
    )
    return {
        key: count / _seconds(call)
        for key, (count, call) in zip(_RATES, timed, strict=True)
    }


def _compiled(function: Callable, *arguments: object) -> Callable[[], object]:
    fast = jax.jit(function)
    call = lambda: jax.block_until_ready(fast(*arguments))
    call()
    return call


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
