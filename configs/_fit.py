"""What experiments that fit one trial have in common."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def trial(tiny: bool) -> ConfigDict:
    """Returns files, frames and effort of a fit; "tiny" is the smallest run."""
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
    config.search = ConfigDict()
    for name in ("max_anchors", "body_starts", "limb_starts", "seed"):
        config.search[name] = placeholder(int)
    if tiny:
        config.ik.chunk_frames = 64
        config.search.update({"max_anchors": 2, "body_starts": 4, "limb_starts": 8})
    return config
