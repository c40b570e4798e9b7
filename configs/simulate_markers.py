"""Markers of a model along a motion.

The default is the balancing trial that Pose2Sim ships with its scaled full-body model.

    python -m experiments.simulate_markers
    python -m experiments.simulate_markers --config.model=a.osim --config.motion=b.mot

Expected: 100 frames of 21 markers and 37 keypoints, in a few seconds. ``tiny`` takes
the first few frames.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config(arg: str = "") -> ConfigDict:
    """Returns the default, or, for "tiny", the smallest run."""
    if arg not in ("", "tiny"):
        raise ValueError(
            f"configs/simulate_markers.py has no variant {arg!r}; it has tiny"
        )
    config = ConfigDict()
    config.float64 = True
    # Both or none; the demo's where none is given.
    config.model = placeholder(str)  # .osim
    config.motion = placeholder(str)  # .mot or .sto
    config.markers = placeholder(str)  # MarkerSet .xml, replaces the model's markers
    config.keypoints = True  # the 37 of SIMSPINE too, where the model has their bodies
    config.frames = 8 if arg == "tiny" else 0  # the first so many; 0 is all
    return config
