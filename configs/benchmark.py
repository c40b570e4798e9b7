"""Speed, memory and cost by length: ``experiments.benchmark``.

``ik``, the default, takes the trials and solver settings of compare_opensim.
Expected on 2 cores: speedup at least 300, speedup_min at least 200,
objective_ratio_max at most 1.000001, peak memory below 2 GB. Ten minutes.

    python -m experiments.benchmark --config=configs/benchmark.py:ik
"""

from ml_collections import ConfigDict

from configs import compare_opensim


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; ``arg`` is empty, "ik" or "tiny"."""
    if arg not in ("", "ik", "tiny"):
        raise ValueError(f"configs/benchmark.py has no variant {arg!r}; try ik, tiny")
    tiny = arg == "tiny"
    config = compare_opensim.get_config("tiny" if tiny else "").unlock()
    config.what = "ik"
    config.long_frames = 10_000  # of each trial, with new noise on every frame
    config.capture_noise_mm = 1.0  # added to a real capture; noise_mm to made-up ones
    config.repeats = 3
    config.checked_runs = 3  # of the long trial, given to OpenSim as well
    config.checked_frames = 20  # of each run
    config.rate_poses = 10_000
    config.opensim_rate_poses = 300
    config.stream_trial = "body25b"
    config.stream_frames = (100, 1_000, 10_000, 100_000, 1_000_000)
    if tiny:
        config.long_frames = 8
        config.repeats = 1
        config.checked_runs = 1
        config.checked_frames = 2
        config.rate_poses = 20
        config.opensim_rate_poses = 3
        config.stream_frames = (4, 8)
    config.lock()
    return config
