"""How fast, and at what quality; ``ik`` is inverse kinematics against OpenSim.

Writes benchmark.json and metrics.json (the same numbers; the first with the costs by
length), cost_by_frames.png and manifest.json.
"""

import json
from pathlib import Path
from typing import Any

from experiments import _app


def main(config: Any, workdir: Path) -> None:
    """Runs the benchmark that the configuration names."""
    from experiments import _benchmark_ik, _ik_trials, _trial
    from simspine_jax.figures import cost_by_frames
    from simspine_jax.io import atomic

    if config.what != "ik":
        raise ValueError(f"there is no benchmark {config.what!r}; there is ik")
    with _trial.one_line_warnings():
        cases, comparisons, metrics, costs = _benchmark_ik.run(config, workdir)
    opensim_rate = metrics["opensim_frames_per_second"]
    cost_by_frames.save(workdir / "cost_by_frames.png", **costs, reference=opensim_rate)
    content = {**metrics, "cost_by_frames": costs}
    atomic.write_text(workdir / "benchmark.json", json.dumps(content, indent=2) + "\n")
    _app.write_manifest(workdir, config, _ik_trials.inputs_of(cases))
    _app.write_metrics(workdir, metrics)
    print(_benchmark_ik.table(comparisons, metrics))


if __name__ == "__main__":
    _app.run(main, "benchmark")
