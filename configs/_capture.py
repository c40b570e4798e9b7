"""What experiments that triangulate a capture have in common."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def add(config: ConfigDict) -> None:
    """Adds files, mending of detections, triangulation and filter of a capture."""
    # Files; the demo's stand in where neither calibration nor detections are given.
    config.calibration = placeholder(str)  # any that read_calibration takes
    config.metres_per_unit = placeholder(float)  # where the calibration does not say
    # Folder with OpenPose's folder of each camera, COCO's .json, MMPose's .npz (and
    # which sequence of it) or our own .h5.
    config.detections = placeholder(str)
    config.sequence = placeholder(str)
    config.videos = placeholder(str)  # folder with <camera>.mp4, for the picture
    config.keypoints = "body_25b"  # or body_25, coco_17, halpe_26: OpenPose's order
    config.rate_hz = 60.0
    config.up = "z"  # the world's axis that points up: z, y or -y
    # Left and right exchanged in single views, and views that lag, are looked for and
    # said; True mends them. Refining moves the cameras' places and directions to fit
    # the main person (a minute, most of it compiling).
    config.repair_sides = False
    config.refine = False
    config.take_out_offsets = False
    # None is the library's own value; see TriangulationOptions.
    config.triangulation = ConfigDict()
    config.triangulation.noise_px = placeholder(float)
    config.triangulation.reach = placeholder(float)
    config.triangulation.min_views = placeholder(int)
    config.triangulation.min_confidence = placeholder(float)
    # Of the points in time: none, butterworth, gcv or kalman, and the longest gap that
    # is filled, frames. None is the library's own value; see FilterOptions.
    config.filter = ConfigDict({"method": "none", "fill_frames": 0})
    config.filter.fill_method = placeholder(str)  # linear, cubic or pchip
    config.filter.cutoff_hz = placeholder(float)  # of butterworth
    config.filter.order = placeholder(int)  # of butterworth, one pass
    config.filter.degree = placeholder(int)  # of gcv, 3 or 5
    config.filter.of = placeholder(str)  # of kalman, acceleration or jerk
    config.filter.density = placeholder(float)  # of kalman
