"""Fifteen actions as postures, swings about them, and captured clips.

They have the names of Human3.6M's actions and are imitations of them: a posture that a
random spline swings about, or a captured clip replayed, on the spot or along a path.

Angles are those of Pose2Sim's full-body model, rad. A name without a side stands for
both sides. The lumbar levels follow the three coordinates of L5/S1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Action:
    """How an action looks.

    Attributes:
        name: As Human3.6M has it.
        posture: Coordinates that differ from standing, rad.
        swing: Half-width of the swing about the posture, where it differs from
            ``SWING``, rad.
        tempo_s: Time between the knots of the spline, s.
        clips: Captured clips that may stand in for the posture; on top of them the
            swing is ``CLIP_SWING``.
        walks: Whether the person goes along a path; else stays on the spot.
        held: Coordinates that follow the posture even where a clip plays.
    """

    name: str
    posture: Mapping[str, float] = field(default_factory=dict)
    swing: Mapping[str, float] = field(default_factory=dict)
    tempo_s: float = 0.6
    clips: tuple[str, ...] = ()
    walks: bool = False
    held: tuple[str, ...] = ()


# Arms hang, elbows and knees a little bent.
STANDING: dict[str, float] = {
    "pelvis_tilt": 0.0,
    "pelvis_list": 0.0,
    "hip_flexion": 0.05,
    "knee_angle": 0.08,
    "arm_add": -0.15,
    "arm_flex": 0.05,
    "elbow_flex": 0.3,
}
# Of a coordinate that an action does not name.
SWING: dict[str, float] = {
    **dict.fromkeys(("pelvis_tilt", "pelvis_list"), 0.04),
    **dict.fromkeys(("hip_flexion", "hip_adduction", "hip_rotation"), 0.06),
    "knee_angle": 0.08,
    **dict.fromkeys(("ankle_angle", "subtalar_angle"), 0.05),
    "L5_S1_Flex_Ext": 0.03,
    "L5_S1_Lat_Bending": 0.015,
    "L5_S1_axial_rotation": 0.04,
    **dict.fromkeys(("neck_flexion", "neck_bending", "neck_rotation"), 0.2),
    **dict.fromkeys(("arm_flex", "arm_add", "arm_rot"), 0.2),
    "elbow_flex": 0.2,
}
# Of a coordinate, on top of a captured clip: the least that makes two takes differ.
CLIP_SWING = 0.04

_GESTURE = {"arm_flex": 0.6, "arm_add": 0.5, "arm_rot": 0.6, "elbow_flex": 0.8}
_SEAT = {
    "pelvis_tilt": 0.1,
    "hip_flexion": 1.5,
    "hip_adduction": -0.1,
    "knee_angle": 1.5,
    "L5_S1_Flex_Ext": -0.08,
}
_TO_HEAD = {"arm_flex_r": 0.9, "arm_add_r": -0.5, "arm_rot_r": 0.3, "elbow_flex_r": 2.2}
_WALK = ("walk", "test_freebvh")
_DANCE = ("dance_a", "dance_b", "punch", "jump")

ACTIONS = (
    Action("Directions", {"arm_flex": 0.4, "elbow_flex": 0.6}, _GESTURE),
    Action("Discussion", {"arm_flex": 0.3, "elbow_flex": 1.0}, _GESTURE, 0.5),
    Action(
        "Eating",
        {**_SEAT, "arm_flex": 0.5, "elbow_flex": 1.5},
        {"arm_flex_r": 0.4, "elbow_flex_r": 0.6, "neck_flexion": 0.25},
    ),
    Action(
        "Greeting",
        {"arm_flex_r": 0.8, "arm_add_r": -1.0, "elbow_flex_r": 1.2},
        {**_GESTURE, "pelvis_tilt": 0.2, "L5_S1_Flex_Ext": 0.1},
        0.5,
    ),
    Action("Phoning", _TO_HEAD, {"neck_bending": 0.3, "arm_flex_l": 0.4}, 0.9),
    Action(
        "Photo",
        {"arm_flex": 1.1, "arm_add": -0.1, "elbow_flex": 1.4},
        {"L5_S1_Flex_Ext": 0.1, "L5_S1_axial_rotation": 0.1},
        0.8,
    ),
    Action("Posing", {}, {**_GESTURE, "hip_flexion": 0.2}, 0.9, _DANCE),
    Action(
        "Purchases",
        {
            "pelvis_tilt": -0.5,
            "hip_flexion": 0.9,
            "knee_angle": 0.7,
            "L5_S1_Flex_Ext": -0.1,
            "arm_flex": 0.7,
        },
        {"pelvis_tilt": 0.4, "hip_flexion": 0.6, "knee_angle": 0.5, **_GESTURE},
        0.8,
    ),
    Action("Sitting", {**_SEAT, "elbow_flex": 1.2}, {"arm_flex": 0.4}, 1.0),
    Action(
        "SittingDown",
        {**_SEAT, "hip_flexion": 1.1, "knee_angle": 1.3},
        {"hip_flexion": 0.9, "knee_angle": 1.1, "pelvis_tilt": 0.3},
        1.5,
        ("test_mocapbank",),
    ),
    Action("Smoking", {**_SEAT, **_TO_HEAD}, {"arm_flex_r": 0.6, "elbow_flex_r": 0.6}),
    Action("Waiting", {}, {"hip_adduction": 0.12, "pelvis_list": 0.1}, 1.0),
    Action(
        "WalkDog",
        {"arm_flex_r": 0.4, "elbow_flex_r": 0.5},
        {},
        0.6,
        _WALK,
        True,
        ("arm_flex_r", "arm_add_r", "arm_rot_r", "elbow_flex_r"),
    ),
    Action("Walking", {}, {}, 0.6, (*_WALK, "run"), True),
    Action(
        "WalkTogether",
        {},
        {"neck_rotation": 0.5},
        0.6,
        _WALK,
        True,
        ("neck_flexion", "neck_bending", "neck_rotation"),
    ),
)
NAMES = tuple(action.name for action in ACTIONS)


def action_named(name: str) -> Action:
    """Returns an action.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in NAMES:
        raise ValueError(f"there is no action {name!r}; there are {', '.join(NAMES)}")
    return ACTIONS[NAMES.index(name)]


def of_coordinate(values: Mapping[str, float], coordinate: str) -> float | None:
    """Returns the value given for a coordinate or, failing that, for both sides."""
    both = coordinate.removesuffix("_r").removesuffix("_l")
    return values.get(coordinate, values.get(both))
