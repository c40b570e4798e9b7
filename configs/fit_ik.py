"""Fit of joint angles to 2D detections or to a marker trial.

The default is the real balancing capture of Pose2Sim (four cameras, 100 frames):
OpenPose's keypoints are triangulated; its scaled full-body model is calibrated to them
and fitted, with the marker weights of its set-up but without the coordinate task of
that set-up, which would hold the lumbar spine straight.

    python -m experiments.fit_ik
    python -m experiments.fit_ik --config.model=a.osim --config.calibration=b.toml \
        --config.detections=c
    python -m experiments.fit_ik --config.model=a.osim --config.trc=b.trc

Expected: marker RMS near 15 mm, within a minute on two cores. ``markers`` fits the
markers that Pose2Sim triangulated from the same capture. ``tiny`` fits a few frames
with few restarts, to see that everything runs; its fit is not the best one.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import _capture, _fit


def get_config(arg: str = "") -> ConfigDict:
    """Returns the default, "markers", or, for "tiny", the smallest run."""
    if arg not in ("", "markers", "tiny"):
        raise ValueError(
            f"configs/fit_ik.py has no variant {arg!r}; it has markers, tiny"
        )
    config = _fit.trial(tiny=arg == "tiny")
    # A trial of markers; else the capture below. "demo" is the built-in trial.
    config.trc = "demo" if arg == "markers" else placeholder(str)
    _capture.add(config)
    # Whether the model's scales and marker places are fitted to the trial first; None
    # is yes for the demo's model and no for yours.
    config.calibrate = placeholder(bool)
    # SD (degrees) of the sum of the lumbar levels, and of the neck, about the default
    # pose; 0 is no prior. None is 45 for the demo's model and 0 for yours.
    config.posture_sd_deg = placeholder(float)
    config.ik.noise_m = placeholder(float)  # of a marker component; else estimated
    config.ik.covariance = True  # for the 95 % intervals
    # Prior along time: acceleration, velocity, or none (every frame alone, as OpenSim
    # does); how strong, see Smoothness.
    config.smooth = ConfigDict({"of": "acceleration"})
    config.smooth.angle = placeholder(float)  # rad/s^2 per root hertz
    config.smooth.length = placeholder(float)  # m/s^2 per root hertz
    # Loss of the marker distances: none, huber or geman_mcclure; see RobustLoss.
    config.loss = ConfigDict({"kind": "none", "scale_m": 0.05})
    return config
