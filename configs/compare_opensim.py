"""Both inverse kinematics solvers on three trials: ``experiments.compare_opensim``.

Expected: objective_ratio_max at most 1.000001, and a warning about L5_S1_Flex_Ext, to
which the set-ups' coordinate tasks are verbatim. Two minutes on 2 cores, most of it
OpenSim; ``tiny`` takes a few frames of one trial.

    python -m experiments.compare_opensim
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; ``arg`` is empty or "tiny"."""
    if arg not in ("", "tiny"):
        raise ValueError(f"configs/compare_opensim.py has no variant {arg!r}; try tiny")
    config = ConfigDict()
    config.trials = ("body25b", "lstm", "flex")
    config.frames = 0  # of each trial; 0 means all
    config.noise_mm = 5.0  # on the components of the markers that are made up
    config.seed = 0
    config.keep_coordinate_tasks = True
    config.ik = dict(objective="opensim")
    config.compile_frames = 20
    config.float64 = True
    if arg == "tiny":
        config.trials = ("body25b",)
        config.frames = 4
        config.compile_frames = 4
    config.lock()
    return config
