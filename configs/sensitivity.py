"""Which marker determines which angle, and what one more or one less would change.

The default is the real balancing trial of Pose2Sim (21 markers, 100 frames) on its
scaled full-body model; candidates to add are the model's other markers, SIMSPINE's
spine landmarks and a point in front of every long segment.

    python -m experiments.sensitivity
    python -m experiments.sensitivity --config.model=a.osim --config.trc=b.trc
    python -m experiments.sensitivity --config.points="C7 torso -0.05 0.41 0"

Expected: within half a minute on two cores. ``tiny`` fits a few frames with few
restarts, to see that everything runs.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import _fit


def get_config(arg: str = "") -> ConfigDict:
    """Returns the default or, for "tiny", the smallest run."""
    if arg not in ("", "tiny"):
        raise ValueError(f"configs/sensitivity.py has no variant {arg!r}; it has tiny")
    tiny = arg == "tiny"
    config = _fit.trial(tiny)
    config.sampled_frames = 4 if tiny else 24  # spread evenly over those fitted
    config.noise_mm = placeholder(float)  # SD of a marker component; None is 5 mm
    # "equal": every marker has this noise. "fit": its variance is the noise's, times
    # the mean weight over the marker's weight.
    config.weights = "equal"
    # Where candidates come from: "model" (markers that the trial lacks), "spine"
    # (SIMSPINE's landmarks) and "segments" (in front of long ones), comma-separated.
    config.candidates = "model,spine" if tiny else "model,spine,segments"
    # More of them: "name body x y z; ..." with the offset in the body's frame, m.
    config.points = placeholder(str)
    return config
