"""Fit of joint angles to a marker trial.

The default is the real balancing trial of Pose2Sim (21 markers, 100 frames) on its
scaled full-body model, with the marker weights of its set-up but without the
coordinate task of that set-up, which would hold the lumbar spine straight.

    python -m experiments.fit_ik
    python -m experiments.fit_ik --config.model=a.osim --config.trc=b.trc

Expected: marker RMS near 34 mm, within a minute on two cores. ``tiny`` fits a few
frames with few restarts, to see that everything runs; its fit is not the best one.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config(arg: str = "") -> ConfigDict:
    """Returns the default or, for "tiny", the smallest run."""
    if arg not in ("", "tiny"):
        raise ValueError(f"configs/fit_ik.py has no variant {arg!r}; it has tiny")
    tiny = arg == "tiny"
    config = ConfigDict()
    config.float64 = True
    # Files; the demo's stand in for model and trial where none is given. A set-up
    # belongs to its model: with another model the default is none, which gives
    # every shared marker weight 1.
    config.model = placeholder(str)  # .osim
    config.trc = placeholder(str)
    config.setup = placeholder(str)  # InverseKinematicsTool or IKTaskSet, .xml
    config.markers = placeholder(str)  # MarkerSet .xml, replaces the model's markers
    config.keep_coordinate_tasks = False
    config.frames = 8 if tiny else 0  # the first so many; 0 is all
    # None is the library's own value; see IkOptions and SearchOptions.
    config.ik = ConfigDict({"objective": "normalised"})
    config.ik.chunk_frames = placeholder(int)
    config.ik.noise_m = placeholder(float)  # of a marker component; else estimated
    config.ik.covariance = True  # for the 95 % intervals
    # Prior along time: acceleration, velocity, or none (every frame alone, as OpenSim
    # does); how strong, see Smoothness.
    config.smooth = ConfigDict({"of": "acceleration"})
    config.smooth.angle = placeholder(float)  # rad/s^2 per root hertz
    config.smooth.length = placeholder(float)  # m/s^2 per root hertz
    # Loss of the marker distances: none, huber or geman_mcclure; see RobustLoss.
    config.loss = ConfigDict({"kind": "none", "scale_m": 0.05})
    config.search = ConfigDict()
    for name in ("max_anchors", "body_starts", "limb_starts", "seed"):
        config.search[name] = placeholder(int)
    if tiny:
        config.ik.chunk_frames = 64
        config.search.update({"max_anchors": 2, "body_starts": 4, "limb_starts": 8})
    return config
