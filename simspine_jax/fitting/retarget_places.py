"""Where the joints of a model should be while it moves as a captured clip does.

Points of the model stand for its joints. Their places keep the model's proportions and
take directions and turns from the clip; ``retarget`` says which.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from simspine_jax.body.kinematics import forward_kinematics
from simspine_jax.body.model import Model
from simspine_jax.io.clip import LIMBS, Clip, skeleton_of

LEAD_FRAMES = 60  # that lead to a clip from standing

_SIDES = {"left": "l", "right": "r"}
_LEG = (("hip", "knee"), ("knee", "ankle"))

# Points of the model: the body whose joint with its parent is meant, whether the point
# is fixed to the parent, and its distance from the joint (m, in ground).
_MIDDLE = {
    "lumbosacral": ("lumbar5", True, (0.0, 0.0, 0.0)),
    "thoracolumbar": ("torso", True, (0.0, 0.0, 0.0)),
    "neck": ("head", True, (0.0, 0.0, 0.0)),
    "crown": ("head", False, (0.0, 0.15, 0.0)),
    "face": ("head", False, (0.1, 0.08, 0.0)),
}
_SIDED = {
    "hip": ("femur", True),
    "knee": ("tibia", True),
    "ankle": ("talus", True),
    "heel": ("calcn", False),
    "toes": ("toes", True),
    "tip": ("toes", False),
    "shoulder": ("humerus", True),
    "elbow": ("ulna", True),
    "wrist": ("hand", True),
}
_SOLE = ("heel", "toes", "tip")
_TOES_M = 0.065  # from their joint to their tip
# A point on the hinge of the elbow tells how a straight arm is turned about itself.
_HINGE_M = 0.1
# Zero where arms hang; the default pose has them out.
_HANGING = ("arm_add_l", "arm_add_r")
_MOST_FORWARDS = 0.9  # cosine


@dataclass(frozen=True)
class Pose:
    """What is taken over from a clip, or the standing model.

    Attributes:
        hips: Middle of the hips, m. Shape [T, 3].
        turns: Rotations from standing of pelvis, thorax, head and, by their upper
            joints, feet; of upper arms as the thorax sees it.
        ways: Unit vectors to knees and ankles from the joints above, as the pelvis
            sees them, and to wrists, as the upper arms do. Shape [T, 3].
    """

    hips: np.ndarray
    turns: dict[str, Rotation]
    ways: dict[str, np.ndarray]


def standing(model: Model) -> Float[np.ndarray, " n"]:
    """Returns the coordinates of the model's default pose with hanging arms."""
    q = np.array(model.default_q, float)
    for name in _HANGING:
        if name not in model.coordinate_names:
            raise ValueError(
                f"motions are retargeted to models with a coordinate {name!r}; this "
                f"one has {', '.join(model.coordinate_names)}"
            )
        q[model.coordinate_names.index(name)] = 0.0
    return q


def landmarks(
    model: Model, standing: Float[np.ndarray, " n"]
) -> dict[str, tuple[str, tuple[float, float, float]]]:
    """Returns body and offset in it (m) of every point of the model."""
    wanted = dict(_MIDDLE)
    for side, end in _SIDES.items():
        for role, (body, on_parent) in _SIDED.items():
            ahead = (_TOES_M if role == "tip" else 0.0, 0.0, 0.0)
            wanted[f"{side}_{role}"] = (f"{body}_{end}", on_parent, ahead)
        # Hanging arms bend forwards about Z.
        wanted[f"{side}_hinge"] = (f"ulna_{end}", True, (0.0, 0.0, _HINGE_M))
    turn = np.asarray(forward_kinematics(model, standing).rotation)
    found = {}
    for name, (joint, on_parent, shift) in wanted.items():
        if joint not in model.body_names:
            raise ValueError(
                f"motions are retargeted to models with a body {joint!r}; this one "
                f"has {', '.join(model.body_names)}"
            )
        body = model.body_names.index(joint)
        at, offset = body, np.asarray(model.child_translation)[body]
        if on_parent:
            at = model.topology.parents[body]
            offset = np.asarray(model.parent_translation)[body]
        place = offset + turn[at].T @ np.array(shift)
        found[name] = (model.body_names[at], tuple(place.tolist()))
    return found


def read(stand: Mapping[str, np.ndarray], clip: Clip) -> Pose:
    """Returns the poses of a clip behind those that lead to it from standing."""
    roles = skeleton_of(clip)
    at = {role: clip.positions[:, j] for role, j in roles.items()}
    turned = lambda role: Rotation.from_matrix(clip.rotations[:, roles[role]])
    turns = {role: turned(role) for role in ("pelvis", "thorax", "head")}
    ways, start = {}, {}
    for side in _SIDES:
        hip, knee, ankle, shoulder, elbow, wrist, hinge = (
            f"{side}_{role}" for role in (*LIMBS, "hinge")
        )
        turns[ankle] = turned(ankle)
        arm = at[elbow] - at[shoulder]
        rest = _unit(turned(shoulder).inv().apply(arm))
        if np.abs(rest[:, 0]).max() > _MOST_FORWARDS:
            raise ValueError(
                f"clip {clip.name!r}: the {side} arm points forwards or backwards in "
                "the rest pose, so that it does not tell how the elbow bends; it must "
                "hang or be held out"
            )
        axis = turned(shoulder).apply(np.cross(rest, [1.0, 0.0, 0.0]))
        hanging = _axes(stand[elbow] - stand[shoulder], stand[hinge] - stand[elbow])
        turns[shoulder] = turns["thorax"].inv() * _axes(arm, axis) * hanging.inv()
        seen = (turns["thorax"] * turns[shoulder]).inv()
        for by, a, b in (
            (turns["pelvis"].inv(), hip, knee),
            (turns["pelvis"].inv(), knee, ankle),
            (seen, elbow, wrist),
        ):
            ways[b] = by.apply(_unit(at[b] - at[a]))
            start[b] = _unit(stand[b] - stand[a])
    legs = [(f"{s}_{a}", f"{s}_{b}") for s in _SIDES for a, b in _LEG]
    ratio = sum(np.linalg.norm(stand[b] - stand[a]) for a, b in legs) / sum(
        np.linalg.norm(at[b] - at[a], axis=1).mean() for a, b in legs
    )
    hips = (at["left_hip"] + at["right_hip"]) / 2 * ratio
    share = np.arange(LEAD_FRAMES)[:, None] / LEAD_FRAMES
    mix = lambda a, b: np.concatenate([(1 - share) * a + share * b[:1], b])
    lead = lambda turn: Rotation.from_rotvec(share * turn[0].as_rotvec())
    return Pose(
        mix(stand["hips"], hips),
        {r: Rotation.concatenate([lead(turn), turn]) for r, turn in turns.items()},
        {b: _unit(mix(start[b], way)) for b, way in ways.items()},
    )


def placed(
    stand: Mapping[str, np.ndarray], pose: Pose
) -> dict[str, Float[np.ndarray, "t 3"]]:
    """Returns where the points should be in every frame, m."""
    new = {"hips": pose.hips}

    def turn(by: Rotation, a: str, *others: str) -> None:
        for b in others:
            new[b] = new[a] + by.apply(stand[b] - stand[a])

    def point(by: Rotation, a: str, b: str) -> None:
        length = np.linalg.norm(stand[b] - stand[a])
        new[b] = new[a] + length * by.apply(pose.ways[b])

    pelvis, thorax = pose.turns["pelvis"], pose.turns["thorax"]
    bend = (pelvis.inv() * thorax).as_rotvec()
    turn(pelvis, "hips", "left_hip", "right_hip", "lumbosacral")
    turn(pelvis * Rotation.from_rotvec(bend / 2), "lumbosacral", "thoracolumbar")
    turn(thorax, "thoracolumbar", "neck", "left_shoulder", "right_shoulder")
    turn(pose.turns["head"], "neck", "crown", "face")
    for side in _SIDES:
        hip, knee, ankle, shoulder, elbow, wrist, *tips = (
            f"{side}_{role}" for role in (*LIMBS, "hinge", *_SOLE)
        )
        point(pelvis, hip, knee)
        point(pelvis, knee, ankle)
        arm = thorax * pose.turns[shoulder]
        turn(arm, shoulder, elbow, tips[0])
        point(arm, elbow, wrist)
        turn(pose.turns[ankle], ankle, *tips[1:])
    soles = [f"{side}_{tip}" for side in _SIDES for tip in _SOLE]
    lowest = min(new[n][LEAD_FRAMES:, 1].min() for n in soles)
    lift = [0.0, min(stand[n][1] for n in soles) - lowest, 0.0]
    # Neither is a point to fit: the one is none, the other shows the lumbar bend.
    return {n: p + lift for n, p in new.items() if n not in ("hips", "thoracolumbar")}


def _axes(along: np.ndarray, hinge: np.ndarray) -> Rotation:
    """Returns rotations whose first axis is along a bone and third along its hinge."""
    x = _unit(along)
    z = _unit(hinge - (hinge * x).sum(-1, keepdims=True) * x)
    return Rotation.from_matrix(np.stack([x, np.cross(z, x), z], axis=-1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
