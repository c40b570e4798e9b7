"""Speed, memory and cost by length: ``experiments.benchmark``.

``ik``, the default, takes the trials and solver settings of compare_opensim.
Expected on 2 cores: speedup at least 300, speedup_min at least 200,
objective_ratio_max at most 1.000001, peak memory below 2 GB. Ten minutes.

    python -m experiments.benchmark --config=configs/benchmark.py:ik

``triangulation`` compares with OpenCV, a loop of SVDs and, where it is installed,
aniposelib. Expected on 2 cores: ratio_svd_loop at least 20, ratio_svd_loop_host at
least 10, peak memory below 2 GB. Five minutes; ``triangulation,tiny`` takes one.

    python -m experiments.benchmark --config=configs/benchmark.py:triangulation

``capture`` compares reprojection errors on Pose2Sim's balancing capture with those of
Pose2Sim's own code. Expected: reprojection_px_mean_ours_same_views and _ours_its_rule
at most _pose2sim, over at least as many observations. Two minutes; ``capture,tiny``
takes 24 frames.

    python -m experiments.benchmark --config=configs/benchmark.py:capture

``full_size`` is 0.535 M instants of four views, from files of detections to files of
points and motion. Expected on 2 cores: seconds below 600, peak memory below 4 GB; 3 GB
of files in the workdir. ``full_size,tiny`` takes four short sequences.

    python -m experiments.benchmark --config=configs/benchmark.py:full_size
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import _capture as _capture_fields
from configs import compare_opensim


def get_config(arg: str = "") -> ConfigDict:
    """Returns the configuration; ``arg`` is empty or one of the variants above."""
    if arg in ("triangulation", "triangulation,tiny"):
        return _triangulation(tiny=arg.endswith("tiny"))
    if arg in ("capture", "capture,tiny"):
        return _capture(tiny=arg.endswith("tiny"))
    if arg in ("full_size", "full_size,tiny"):
        return _full_size(tiny=arg.endswith("tiny"))
    if arg not in ("", "ik", "tiny"):
        raise ValueError(
            f"configs/benchmark.py has no variant {arg!r}; try ik, tiny, "
            "triangulation, capture or full_size, the last three also with ,tiny"
        )
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


def _triangulation(*, tiny: bool) -> ConfigDict:
    config = ConfigDict()
    config.what = "triangulation"
    config.float64 = True  # single precision is measured as well
    config.points = 400 if tiny else 500_000
    config.keypoints = 20  # of a frame
    config.noise_px = 1.0  # SD of a pixel component
    config.wrong_share = 0.1  # of the points: one view is far off
    config.wrong_px = (30.0, 300.0)
    config.missing_share = 0.1  # of the observations
    config.seed = 7
    config.repeats = 2 if tiny else 5
    config.svd_points = 200 if tiny else 5_000  # the loop's rate is per point
    config.ransac_points = 10 if tiny else 100  # aniposelib's is slower still
    sizes = (4_096, 8_192, 16_384, 32_768, 65_536)
    config.block_points = sizes[:1] if tiny else sizes
    config.lock()
    return config


def _capture(*, tiny: bool) -> ConfigDict:
    config = ConfigDict()
    config.what = "capture"
    config.float64 = True
    _capture_fields.add(config)
    config.frames = 24 if tiny else 0  # the first so many; 0 is all
    config.left_out = ("LEye", "REye", "LEar", "REar")  # not in Pose2Sim's skeleton
    config.lock()
    return config


def _full_size(*, tiny: bool) -> ConfigDict:
    config = ConfigDict()
    config.what = "full_size"
    config.float64 = True
    config.float64_points = False  # how points are computed and stored
    # Fields of SimulationOptions: 7 subjects x 15 actions x 2 takes.
    config.simulation = ConfigDict({"takes": 2, "frames": 2550, "seed": 0})
    config.simulation.subjects = placeholder(tuple)
    config.simulation.actions = placeholder(tuple)
    config.together = 6  # sequences of a subject that are fitted at a time
    config.judged = 15  # sequences compared with their truth
    if tiny:
        config.simulation.update({"takes": 1, "frames": 60})
        config.simulation.subjects = ("S1", "S9")
        config.simulation.actions = ("Greeting", "Walking")
        config.together = 2
        config.judged = 2
    config.lock()
    return config
