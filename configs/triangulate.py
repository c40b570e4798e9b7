"""Points from calibrated views: ``experiments.triangulate``.

The default is the real balancing capture of Pose2Sim: four cameras, 100 frames at
60 Hz, OpenPose's 25 keypoints. The points are as triangulated; filters come on request.

    python -m experiments.triangulate
    python -m experiments.triangulate --config.calibration=a.toml --config.detections=b
    python -m experiments.triangulate --config.filter.method=butterworth

Expected: seconds on two cores once compiled. ``tiny`` takes eight frames.
"""

from ml_collections import ConfigDict

from configs import _capture


def get_config(arg: str = "") -> ConfigDict:
    """Returns the default or, for "tiny", the smallest run."""
    if arg not in ("", "tiny"):
        raise ValueError(f"configs/triangulate.py has no variant {arg!r}; it has tiny")
    config = ConfigDict()
    config.float64 = True
    config.frames = 8 if arg == "tiny" else 0  # the first so many; 0 is all
    # main: the person seen longest, by most views, best and largest. all: everyone
    # that two views see, markers_<n>.trc and points_<n>.h5 each.
    config.people = "main"
    _capture.add(config)
    return config
