"""Scaling of a model to a person, three ways: a set-up, segment lengths, jointly.

The default scales Pose2Sim's generic full-body model by all three and compares them on
its balancing trial (100 frames): by its set-up of OpenSim's ScaleTool from a static
trial, and by segment lengths and by joint calibration from the balancing itself.

    python -m experiments.scale_model
    python -m experiments.scale_model --config.method=setup \
        --config.scaling=Scaling_Setup.xml --config.static=standing.trc
    python -m experiments.scale_model --config.method=joint \
        --config.model=generic.osim --config.trc=trial.trc --config.setup=IK_Setup.xml

Expected: marker RMS of all frames near 32 mm unscaled, 27 mm by set-up, 26 mm by
lengths and 17 mm jointly, which moves the markers too; within two minutes on two
cores. ``tiny`` takes a few frames, to see that everything runs.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import _fit


def get_config(arg: str = "") -> ConfigDict:
    """Returns the default, or, for "tiny", the smallest run."""
    if arg not in ("", "tiny"):
        raise ValueError(f"configs/scale_model.py has no variant {arg!r}; it has tiny")
    # Model, trial and weights of the fits that judge; the demo's where no file at all
    # is given. Without a trial, setup is judged on its static trial.
    config = _fit.trial(tiny=False)
    # Each frame is judged by the best of so many searches for its pose: one may end
    # in a worse minimum, which would be blamed on the model.
    config.searches = 4
    if arg == "tiny":
        config.update({"frames": 8, "searches": 1})
    config.method = "all"  # or setup, lengths, joint: one of them, not compared
    # ScaleTool, .xml; the model and the static trial that it names stand in for those
    # that are not given.
    config.scaling = placeholder(str)
    config.static = placeholder(str)  # .trc
    # Measurements whose markers are missing scale nothing, as in OpenSim; else they
    # are refused.
    config.skip_measurements = False
    # Lengths and joint also scale from the first half of the trial alone, and are
    # judged on the second.
    config.held_out = True
    # None is the library's own value; see LengthOptions and QuietOptions.
    config.lengths = ConfigDict()
    for name in ("trimmed_share", "frozen_m_s", "fastest_share", "limit_deg"):
        config.lengths[name] = placeholder(float)
    config.lengths.least_frames = placeholder(int)
    # See CalibrationOptions.
    config.joint = ConfigDict({"move_markers": True})
    config.joint.frames = placeholder(int)
    for name in (
        *("noise_m", "frames_as_one", "offset_sd_m", "symmetry_sd", "shape_sd"),
        "size_sd",
    ):
        config.joint[name] = placeholder(float)
    return config
