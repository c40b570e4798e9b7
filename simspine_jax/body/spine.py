"""Vertebral rotations, curvature and range of motion along a motion."""

import jax
import numpy as np
from flax import struct
from jaxtyping import Float

from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Model
from simspine_jax.body.spine_angles import (
    BODIES,
    DIRECTIONS,
    LEVELS,
    PoseAngles,
    pose_angles,
    require_spine,
)
from simspine_jax.types import Array, Motion

_LARGEST_PIECE = 2048  # frames; bounds memory and shares one compilation
_SMALLEST_PIECE = 128


@struct.dataclass
class RangeOfMotion:
    """What each level did; rows as the level names, columns as ``DIRECTIONS``, rad.

    Attributes:
        lowest: Shape [L, 3].
        highest: Shape [L, 3].
        p5: 5th percentile over frames. Shape [L, 3].
        p95: 95th percentile. Shape [L, 3].
    """

    lowest: np.ndarray
    highest: np.ndarray
    p5: np.ndarray
    p95: np.ndarray

    @property
    def full(self) -> np.ndarray:
        """Highest less lowest. Shape [L, 3]."""
        return self.highest - self.lowest

    @property
    def central(self) -> np.ndarray:
        """From the 5th to the 95th percentile. Shape [L, 3]."""
        return self.p95 - self.p5


@struct.dataclass
class SpineAngles:
    """Angles of the spine over time, rad: T frames, V = 8 bodies, L = 7 levels.

    Flexion is about z (extension positive), lateral bending about x (to the right
    positive), axial rotation about y (to the left positive), in this order.

    Attributes:
        level_names: From L5_S1 to the neck.
        body_names: From the sacrum to the head.
        levels: Rotation of each level relative to the body below. Shape [T, L, 3].
        ground: Rotation of each body in ground, in the same angles. Shape [T, V, 3].
        rotation: Body to ground. Shape [T, V, 3, 3].
        lla: Lumbar lordosis (Cobb): between the upper endplates of L1 and S1, seen
            along the pelvis' z axis; lordosis positive. Shape [T].
        tka: Thoracic kyphosis (Cobb): between upper T3 and lower T12, seen along the
            torso's z axis; kyphosis positive. The model's thorax is one rigid body,
            so that this is a constant of the scaled model (of all models that scale
            the torso alike in x, y and z): read ``kyphosis`` beside it. Shape [T].
        lordosis: By keypoints: Hip-Spine_01 to Spine_02-Spine_03. Shape [T].
        kyphosis: By keypoints: Spine_03-Spine_04 to Spine_05-Neck; of these only
            Spine_03 is not on the torso. Shape [T].
        constant: What the model cannot change: "tka", and levels without a free
            coordinate.
        coupled: Levels whose angles follow other levels at fixed ratios, so that
            their share of the motion says nothing of the person.
        rate_hz: Frames per second.
        start_s: Time of the first frame, s.
    """

    level_names: tuple[str, ...] = struct.field(pytree_node=False)
    body_names: tuple[str, ...] = struct.field(pytree_node=False)
    levels: Array
    ground: Array
    rotation: Array
    lla: Array
    tka: Array
    lordosis: Array
    kyphosis: Array
    constant: tuple[str, ...] = struct.field(pytree_node=False)
    coupled: tuple[str, ...] = struct.field(pytree_node=False)
    rate_hz: float = struct.field(pytree_node=False)
    start_s: float = struct.field(pytree_node=False, default=0.0)

    @property
    def times_s(self) -> np.ndarray:
        """Time of each frame, s. Shape [T]."""
        return self.start_s + np.arange(len(self.lla)) / self.rate_hz

    def range_of_motion(self) -> RangeOfMotion:
        """Returns how far each level moved in each direction.

        Raises:
            ValueError: There are no frames.
        """
        levels = np.asarray(self.levels)
        if len(levels) == 0:
            raise ValueError("a range of motion needs at least one frame; there is 0")
        p5, p95 = np.percentile(levels, [5, 95], axis=0)
        return RangeOfMotion(levels.min(axis=0), levels.max(axis=0), p5, p95)

    def to_text(self) -> str:
        """Returns the ranges of motion and curvature angles as a table in degrees."""
        return "\n".join([*_rom_lines(self), "", *_curvature_lines(self)])


def spine_angles(model: Model, motion: Motion) -> SpineAngles:
    """Returns vertebral rotations and curvature angles along a motion.

    For derivatives use ``spine_angles.pose_angles``, which this runs in pieces.

    Args:
        model: With the bodies of Pose2Sim's full-body model, scaled or not.
        motion: In the model's coordinates; couplers are not applied.

    Returns:
        Angles of every frame, as NumPy arrays.

    Raises:
        ValueError: The model lacks a vertebra, or the motion has other coordinates.

    Source: Cobb's method on the model's endplates (``spine_endplates``); generic
    Pose2Sim model at neutral: LLA 41.9, TKA 46.3 degrees, by keypoints 40.0 and 37.2
    (SIMSPINE's figures: 33-39 and 29-37, averages by action).
    """
    require_spine(model)
    if motion.coordinate_names != model.coordinate_names:
        odd = next(
            (n for n in motion.coordinate_names if n not in model.coordinate_names),
            "in another order or number",
        )
        raise ValueError(
            f"the motion has the coordinates of another model ({odd}); the model has "
            f"{', '.join(model.coordinate_names)}"
        )
    found = _in_pieces(model, np.asarray(motion.q))
    fixed, coupled = _fixed_and_coupled(model)
    return SpineAngles(
        level_names=LEVELS,
        body_names=BODIES,
        levels=found.levels,
        ground=found.ground,
        rotation=found.rotation,
        lla=found.lla,
        tka=found.tka,
        lordosis=found.lordosis,
        kyphosis=found.kyphosis,
        constant=("tka", *fixed),
        coupled=coupled,
        rate_hz=motion.rate_hz,
        start_s=motion.start_s,
    )


_pose_angles = jax.jit(pose_angles)


def _in_pieces(model: Model, q: Float[np.ndarray, "t n"]) -> PoseAngles:
    bare = with_markers(model, {})  # models that differ in markers share a program
    fit = 1 << max(len(q) - 1, 1).bit_length()
    piece = min(_LARGEST_PIECE, max(_SMALLEST_PIECE, fit))
    parts = []
    for i in range(0, max(len(q), 1), piece):
        part = q[i : i + piece]
        padded = np.zeros((piece, q.shape[1]), q.dtype)
        padded[: len(part)] = part
        found = jax.device_get(_pose_angles(bare, padded))
        parts.append(found)
    return jax.tree.map(lambda *a: np.concatenate(a)[: len(q)], *parts)


def _fixed_and_coupled(model: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the levels that nothing moves, and those that couplers alone move."""
    dependent = {d for d, _ in model.topology.couplers}
    fixed, coupled = [], []
    for level, body in zip(LEVELS, BODIES[1:], strict=True):
        index = model.body_names.index(body)
        moving = [e for e in driven_axes(model.topology) if e.body == index]
        if not moving:
            fixed.append(level)
        elif all(e.coordinate in dependent for e in moving):
            coupled.append(level)
    return tuple(fixed), tuple(coupled)


def _rom_lines(angles: SpineAngles) -> list[str]:
    rom = angles.range_of_motion()
    heads = "".join(f"{d:>22}" for d in DIRECTIONS)
    lines = [
        f"{'range of motion, deg':<22}{heads}",
        f"{'level':<22}" + f"{'full':>13}{'5-95 %':>9}" * 3,
    ]
    full, central = np.degrees(rom.full), np.degrees(rom.central)
    for k, name in enumerate(angles.level_names):
        note = " (constant)" if name in angles.constant else ""
        note = " (coupled)" if name in angles.coupled else note
        cells = "".join(f"{full[k, d]:13.1f}{central[k, d]:9.1f}" for d in range(3))
        lines.append(f"{name + note:<22}{cells}")
    if angles.coupled:
        lines.append("(coupled: in a fixed ratio to another level, set by the model)")
    return lines


def _curvature_lines(angles: SpineAngles) -> list[str]:
    rows = (
        ("LLA, endplates L1-S1", "lla"),
        ("TKA, endplates T3-T12", "tka"),
        ("lordosis by keypoints", "lordosis"),
        ("kyphosis by keypoints", "kyphosis"),
    )
    lines = [f"{'curvature, deg':<22}{'lowest':>9}{'mean':>9}{'highest':>9}"]
    for label, name in rows:
        degrees = np.degrees(np.asarray(getattr(angles, name)))
        cells = f"{degrees.min():9.1f}{degrees.mean():9.1f}{degrees.max():9.1f}"
        note = "  constant: the model's thorax is rigid" if name == "tka" else ""
        lines.append(f"{label:<22}{cells}{note}")
    return lines
