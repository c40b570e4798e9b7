"""A captured motion of some skeleton, as files of animations give it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LIMBS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")


def _roles(
    middle: Sequence[str], left: str, right: str, names: Sequence[str]
) -> dict[str, str]:
    blocks = dict(zip(("pelvis", "thorax", "head"), middle, strict=True))
    sides = {"left": left, "right": right}
    return blocks | {
        f"{side}_{role}": prefix + name
        for side, prefix in sides.items()
        for role, name in zip(LIMBS, names, strict=True)
    }


# Of each known skeleton, the joint that plays each role; for pelvis, thorax and
# head the one whose segment it is. Prefixes that end with a colon do not count.
SKELETONS: Mapping[str, Mapping[str, str]] = {
    "DeepMimic": _roles(("root", "chest", "neck"), "left_", "right_", LIMBS),
    "Mixamo": _roles(
        ("Hips", "Spine2", "Head"),
        *("Left", "Right"),
        ("UpLeg", "Leg", "Foot", "Arm", "ForeArm", "Hand"),
    ),
    "MotionBuilder": _roles(
        ("Hips", "Chest2", "Head"),
        *("Left", "Right"),
        [name.capitalize() for name in LIMBS],
    ),
}


@dataclass(frozen=True)
class Clip:
    """Joints of a skeleton over time, in OpenSim's ground: X forward, Y up, Z right.

    Attributes:
        name: Of the file, without its ending.
        joint_names: J names, parents before their children.
        positions: Joint centres, m. Shape [T, J, 3].
        rotations: Of the segment that moves with each joint, in ground, from how it
            stands in the skeleton's rest pose. Shape [T, J, 3, 3].
        rate_hz: Frames per second.
    """

    name: str
    joint_names: tuple[str, ...]
    positions: np.ndarray
    rotations: np.ndarray
    rate_hz: float


def skeleton_of(clip: Clip) -> dict[str, int]:
    """Returns the index of the joint that plays each role of ``SKELETONS``.

    Raises:
        ValueError: No known skeleton's joints are all in the clip.
    """
    names = [n.rsplit(":", 1)[-1] for n in clip.joint_names]
    for joints in SKELETONS.values():
        if set(joints.values()) <= set(names):
            return {role: names.index(n) for role, n in joints.items()}
    raise ValueError(
        f"clip {clip.name!r} is of no known skeleton ({', '.join(SKELETONS)}); its "
        f"joints are {', '.join(clip.joint_names)}"
    )
