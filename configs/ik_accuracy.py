"""Accuracy on made-up trials: ``experiments.ik_accuracy``.

Expected: coverage 0.94 to 0.96; smoothing_gain_before and smoothing_gain_after above
1 on each trial; displaced_ratio at most 1.5. About ten minutes on 2 cores; ``tiny``
takes one.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; ``arg`` is empty or "tiny"."""
    if arg not in ("", "tiny"):
        raise ValueError(f"configs/ik_accuracy.py has no variant {arg!r}; it has tiny")
    tiny = arg == "tiny"
    config = ConfigDict()
    config.float64 = True
    config.models = ("body25b",) if tiny else ("body25b", "lstm", "flex")
    config.noise_mm = 5.0
    config.seed = 7
    config.poses = 16 if tiny else 400  # of each model, for the coverage
    config.frames = 40 if tiny else 100
    # Of the zero-phase Butterworth filters, and of the joint fit's acceleration.
    cutoffs_hz = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    config.cutoffs_hz = (3.0,) if tiny else cutoffs_hz
    config.densities = (4.0,) if tiny else (1.0, 2.0, 4.0, 8.0, 16.0)
    config.displaced_share = 0.05
    config.displaced_m = (0.1, 0.5)
    config.loss_scale_m = 0.03  # of the Geman-McClure loss
    config.lock()
    return config
