"""Compile time, memory and cost by length of our inverse kinematics, measured apart.

Each measurement is a fresh process that never loads OpenSim:
``python -m experiments._ik_measure JSON`` does one and prints its result as JSON.

Compile time is the wall time of the first ``fit_ik`` on a few frames of a trial less
that of a second, equal call: tracing, lowering, compiling or reading the cache,
and whatever else happens once. "Cold" starts with an empty cache of compiled programs,
"cached" with what the cold process left there. Memory is the largest resident
set of the process, with Python, JAX and all. Streamed trials are repeated with
new noise on every frame, and their motion is dropped, not written.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_PIECE_FRAMES = 4096


def compile_times(trial: dict[str, Any], ik: dict[str, Any]) -> dict[str, float]:
    """Measures compile time, cold and cached, and memory.

    Args:
        trial: Name of the trial and the arguments of ``_ik_trials.load_case``.
        ik: Fields of ``IkOptions``.

    Returns:
        ``compile_seconds_cold``, ``compile_seconds_cached`` and ``peak_memory_mb``.
    """
    job = {"job": "compile", "trial": trial, "ik": ik}
    with tempfile.TemporaryDirectory() as cache:
        cold = _in_new_process(job, cache)
        cached = _in_new_process(job, cache)
    return {
        "compile_seconds_cold": cold["first_less_second_seconds"],
        "compile_seconds_cached": cached["first_less_second_seconds"],
        "peak_memory_mb": max(cold["peak_memory_mb"], cached["peak_memory_mb"]),
    }


def stream_costs(
    trial: dict[str, Any], ik: dict[str, Any], frame_counts: tuple[int, ...]
) -> dict[str, Any]:
    """Measures the seconds of ``fit_ik_stream`` by frames, and its memory.

    Args:
        trial: As in ``compile_times``.
        ik: As in ``compile_times``.
        frame_counts: Lengths to stream.

    Returns:
        ``seconds``, one number for each length, and ``peak_memory_mb``.
    """
    job = {"job": "stream", "trial": trial, "ik": ik, "frames": list(frame_counts)}
    return _in_new_process(job, None)


def _in_new_process(job: dict[str, Any], cache: str | None) -> dict[str, Any]:
    environment = dict(os.environ)
    if cache is not None:
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        environment["SIMSPINE_JAX_CACHE"] = cache
    command = [sys.executable, "-m", "experiments._ik_measure", json.dumps(job)]
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the measuring process ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory_mb() -> float:
    """Returns the largest resident set of this process so far, MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; ru_maxrss would count the parent's memory, too.
        line = next(x for x in status.read_text().splitlines() if "VmHWM" in x)
        return int(line.split()[1]) * 1024 / 1e6
    bytes_in_unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * bytes_in_unit / 1e6


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Does one measurement in this process."""
    import warnings

    from experiments import _ik_trials
    from simspine_jax.fitting.ik import IkOptions, PriorDominanceWarning

    warnings.simplefilter("ignore", PriorDominanceWarning)  # The parent has said it.
    with tempfile.TemporaryDirectory() as folder:
        case = _ik_trials.load_case(folder=Path(folder), **job["trial"])
    options = IkOptions(**job["ik"])
    measure = {"compile": _measure_compile, "stream": _measure_stream}[job["job"]]
    found = measure(case, options, job)
    return {**found, "peak_memory_mb": peak_memory_mb()}


def _measure_compile(case, options, job) -> dict[str, float]:
    from simspine_jax.fitting.ik import fit_ik

    trial, seconds = case.trial, []
    for _ in range(2):
        start = time.perf_counter()
        fit_ik(trial.model, trial.trajectory, trial.tasks, options)
        seconds.append(time.perf_counter() - start)
    return {"first_less_second_seconds": seconds[0] - seconds[1]}


def _measure_stream(case, options, job) -> dict[str, list[float]]:
    from experiments import _app
    from simspine_jax.datasets import synthetic_motion
    from simspine_jax.fitting.ik import fit_ik_stream

    noise_m, seed = job["trial"]["noise_mm"] / 1e3, job["trial"]["seed"]

    def stream(frames: int) -> float:
        pieces = synthetic_motion.repeated_pieces(
            case.clean, frames, noise_m, seed, _PIECE_FRAMES
        )
        count = -(-frames // _PIECE_FRAMES)
        shown = _app.progress(pieces, f"streaming {frames} frames", count)
        start = time.perf_counter()
        done = fit_ik_stream(
            case.trial.model, shown, _Dropped(), case.trial.tasks, options
        )
        seconds = time.perf_counter() - start
        if done != frames:
            raise RuntimeError(f"{done} of {frames} frames were fitted")
        return seconds

    stream(min(job["frames"]))  # Compiles.
    return {"seconds": [stream(frames) for frames in job["frames"]]}


class _Dropped:
    """A writer that keeps nothing."""

    def write(self, motion: object) -> None:
        """Drops one piece."""


if __name__ == "__main__":
    from ml_collections import ConfigDict

    from experiments import _app

    _app._set_up_jax(ConfigDict({"float64": True}))
    print(json.dumps(main(json.loads(sys.argv[1]))))
