"""Keypoints of SpineTrack, which are SIMSPINE's 37 in another order.

The first 26 are Halpe-26. Source: the data set description of SpinePose.
"""

from simspine_jax.skeletons import simspine

_HALPE = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("head", "neck", "hip"),
    *("left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe"),
    *("left_heel", "right_heel"),
)
NAMES = (
    *_HALPE,
    *("spine_01", "spine_02", "spine_03", "spine_04", "spine_05"),
    *("left_latissimus", "right_latissimus", "left_clavicle", "right_clavicle"),
    *("neck_02", "neck_03"),
)


def simspine_name(name: str) -> str:
    """Returns the SIMSPINE keypoint that a SpineTrack keypoint is.

    Raises:
        ValueError: SpineTrack has no such keypoint.
    """
    if name not in NAMES:
        raise ValueError(
            f"SpineTrack has no keypoint {name!r}; it has {', '.join(NAMES)}"
        )
    side, _, rest = name.partition("_")
    if side not in ("left", "right"):
        return name.capitalize()
    return side[0].upper() + "".join(part.capitalize() for part in rest.split("_"))


# Index into NAMES of each of SIMSPINE's keypoints.
SIMSPINE_ORDER = tuple(
    [simspine_name(name) for name in NAMES].index(name) for name in simspine.NAMES
)
