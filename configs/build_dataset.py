"""A spine data set in the SIMSPINE formats from multi-view captures.

The default is the real capture of Pose2Sim: one person, four cameras, a balancing and a
standing trial, OpenPose's keypoints.

    python -m experiments.build_dataset
    python -m experiments.build_dataset --config.data=captures
    python -m experiments.build_dataset --config=configs/build_dataset.py:h36m \
        --config.data=Human3.6M --config.detections=detections
    python -m experiments.build_dataset --config=configs/build_dataset.py:simulated

Variants: ``h36m`` takes Human3.6M's poses (.cdf) for the body and detections for the
spine; ``simulated`` makes any number of simulated people, 2.14 M images unless told
otherwise; ``ramp`` has one sequence that bends the lumbar spine by 60 degrees;
``tiny`` is two short simulated sequences of one subject, to see that everything runs.

Stopped and started again in the same workdir, a build goes on where it stopped. Several
processes share the sequences: start each with the same flags and its own
``--config.processes.index``.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

VARIANTS = ("h36m", "simulated", "ramp", "tiny")


def get_config(arg: str = "") -> ConfigDict:
    """Returns the default or a variant."""
    if arg not in ("", *VARIANTS):
        raise ValueError(
            f"configs/build_dataset.py has no variant {arg!r}; it has "
            f"{', '.join(VARIANTS)}"
        )
    config = ConfigDict()
    config.float64 = True
    # captures, h36m or simulated.
    config.source = {"": "captures", "h36m": "h36m"}.get(arg, "simulated")
    # captures: folder with cameras/Calib_<S>.* and detections/<S>/<action>[.h5 ...];
    # None is the demo. h36m: the folder that has S1, S5, ..., or VideoPose3D's .npz.
    config.data = placeholder(str)
    config.detections = placeholder(str)  # of h36m: folder with <S>/<action>[.h5 ...]
    config.keypoints = "body_25b" if arg == "" else "coco_17"  # OpenPose's order
    config.rate_hz = 60.0 if arg == "" else 50.0
    config.up = "z"  # of captures: the calibration's axis that points up
    config.metres_per_unit = placeholder(float)
    config.test_subjects = ()  # of captures
    config.subjects = placeholder(tuple)  # only these
    # Fields of SimulationOptions; None is the library's own value.
    config.simulation = ConfigDict({"takes": 2, "frames": 2550, "seed": 0})
    config.simulation.subjects = placeholder(tuple)
    config.simulation.actions = placeholder(tuple)
    config.noise = 1.0  # of the simulated detector, over its usual one; 0 is exact
    # Lumbar flexion, in place of the action Waiting; 0 leaves that as it is.
    config.ramp_degrees = 60.0 if arg == "ramp" else 0.0
    # The generic model; None is Pose2Sim's. Its own markers and set-up, or the 37
    # keypoints, each weighed by how surely annotators place it (its OKS sigma).
    config.model = placeholder(str)
    config.setup = placeholder(str)
    config.markers = "model" if arg == "" else "keypoints"
    # joint (scales, marker places and poses together), lengths (of segments) or none;
    # from so many sequences of each subject.
    config.scale = ConfigDict({"method": "joint", "sequences": 6})
    # Of the marker distances in the fit and in joint scaling (Geman-McClure, at this
    # scale, m); 0 is least squares.
    config.loss = ConfigDict({"fit_m": 0.05, "scale_m": 0.05})
    # Lumbar levels that may leave the model's rhythm, by this SD in degrees (0 keeps
    # the rhythm); share of the neck's rotation that C7-C1 take (0: none).
    config.spine = ConfigDict({"rhythm_sd_deg": 0.0, "cervical_share": 0.0})
    # SD (degrees) of the sum of the lumbar levels, and of the neck, about the model's
    # default, in the fit; keeps wrong points from bending the spine round. 0 is none.
    config.posture_sd_deg = 45.0
    # Prior along time for the fit: acceleration, velocity or none.
    config.smooth = "acceleration" if arg in ("", "ramp") else "none"
    config.float64_points = arg in ("", "ramp", "tiny")  # else single precision
    config.share = 0.8  # of the model in spine keypoints that were detected, too
    # Blending and low-pass: "" is ours, "simspine-2026" as published.
    config.compat = ""
    config.cutoff_hz = 5.0  # of the keypoints' final low-pass; 0 is none
    config.together = 6  # sequences of a subject that are fitted at a time
    config.formats = ("h5", "npz", "parquet", "tree")
    config.judged = 15  # simulated sequences that are compared with their truth
    config.processes = ConfigDict({"coordinator": "", "count": 1, "index": 0})
    if arg == "tiny":
        config.simulation.update({"takes": 1, "frames": 60})
        config.simulation.subjects = ("S1",)
        config.simulation.actions = ("Greeting", "Walking")
        config.together = 2
        config.judged = 1
    if arg == "ramp":
        config.simulation.update({"takes": 1, "frames": 600})
        config.simulation.subjects = ("S1",)
        # The others are there to scale the subject from.
        others = ("Greeting", "Posing", "Sitting", "Walking", "Purchases")
        config.simulation.actions = ("Waiting", *others)
    config.lock()
    return config
