"""Points from calibrated views: ``experiments.triangulate``.

The default is the real balancing capture of Pose2Sim: four cameras, 100 frames at
60 Hz, OpenPose's 25 keypoints.

    python -m experiments.triangulate
    python -m experiments.triangulate --config.calibration=a.toml --config.detections=b

Expected: seconds on two cores once compiled. ``tiny`` takes eight frames.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config(arg: str = "") -> ConfigDict:
    """Returns the default or, for "tiny", the smallest run."""
    if arg not in ("", "tiny"):
        raise ValueError(f"configs/triangulate.py has no variant {arg!r}; it has tiny")
    config = ConfigDict()
    config.float64 = True
    # Files; the demo's stand in where none is given.
    config.calibration = placeholder(str)  # any that read_calibration takes
    config.detections = placeholder(str)  # folder with OpenPose's folder of each camera
    config.videos = placeholder(str)  # folder with <camera>.mp4, for the picture
    config.keypoints = "body_25b"  # or body_25, coco_17, halpe_26: the detector's order
    config.rate_hz = 60.0
    config.up = "z"  # the world's axis that points up: z, y or -y
    config.frames = 8 if arg == "tiny" else 0  # the first so many; 0 is all
    # Refine the cameras' places and directions on the person first (a minute, most of
    # it compiling), and take out by how many frames views lag.
    config.refine = False
    config.take_out_offsets = False
    # None is the library's own value; see TriangulationOptions.
    config.triangulation = ConfigDict()
    config.triangulation.noise_px = placeholder(float)
    config.triangulation.reach = placeholder(float)
    config.triangulation.min_views = placeholder(int)
    config.triangulation.min_confidence = placeholder(float)
    return config
