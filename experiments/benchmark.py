"""How fast, and at what quality: ``ik``, ``triangulation``, ``capture``, ``full_size``.

``ik`` is against OpenSim. It writes benchmark.json and metrics.json (the same
numbers; the first with the costs by length), cost_by_frames.png and manifest.json.
``triangulation``, against OpenCV, a loop of SVDs and aniposelib where it is installed,
writes the same without the figure; its benchmark.json has the rates by block size.
``capture`` compares reprojection errors with Pose2Sim's, where it is installed.
``full_size`` is SIMSPINE's size from disk to disk; it also leaves the folders
detections, points and motion, and goes on in them when it was killed.
"""

import json
from pathlib import Path
from typing import Any

from experiments import _app


def main(config: Any, workdir: Path) -> None:
    """Runs the benchmark that the configuration names."""
    benchmarks = {
        "ik": _ik,
        "triangulation": _triangulation,
        "capture": _of_capture,
        "full_size": _full_size,
    }
    if config.what not in benchmarks:
        raise ValueError(
            f"there is no benchmark {config.what!r}; there are {', '.join(benchmarks)}"
        )
    benchmarks[config.what](config, workdir)


def _ik(config: Any, workdir: Path) -> None:
    from experiments import _benchmark_ik, _ik_trials, _trial
    from simspine_jax.figures import cost_by_frames

    with _trial.one_line_warnings():
        cases, comparisons, metrics, costs = _benchmark_ik.run(config, workdir)
    opensim_rate = metrics["opensim_frames_per_second"]
    cost_by_frames.save(workdir / "cost_by_frames.png", **costs, reference=opensim_rate)
    _write(workdir, metrics, cost_by_frames=costs)
    _app.write_manifest(workdir, config, _ik_trials.inputs_of(cases))
    print(_benchmark_ik.table(comparisons, metrics))


def _triangulation(config: Any, workdir: Path) -> None:
    from experiments import _benchmark_triangulation

    methods, metrics, blocks = _benchmark_triangulation.run(config)
    _write(workdir, metrics, blocks=blocks)
    _app.write_manifest(workdir, config)
    print(_benchmark_triangulation.table(methods, metrics, blocks))


def _of_capture(config: Any, workdir: Path) -> None:
    from experiments import _benchmark_capture, _trial

    with _trial.one_line_warnings():
        methods, metrics, lines, files = _benchmark_capture.run(config)
    _write(workdir, metrics)
    _app.write_manifest(workdir, config, files)
    print(_benchmark_capture.table(methods, lines))


def _full_size(config: Any, workdir: Path) -> None:
    from experiments import _benchmark_full_size, _trial

    with _trial.one_line_warnings():
        metrics, files = _benchmark_full_size.run(config, workdir)
    _write(workdir, metrics)
    _app.write_manifest(workdir, config, files)
    print(_benchmark_full_size.table(metrics))


def _write(workdir: Path, metrics: dict[str, float], **more: object) -> None:
    from simspine_jax.io import atomic

    text = json.dumps({**metrics, **more}, indent=2)
    atomic.write_text(workdir / "benchmark.json", text + "\n")
    _app.write_metrics(workdir, metrics)


if __name__ == "__main__":
    _app.run(main, "benchmark")
