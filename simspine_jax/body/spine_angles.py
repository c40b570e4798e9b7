"""Angles of the spine at given poses, in JAX and differentiable.

Notation: a rotation is ``R = Rz(flexion) Rx(bending) Ry(axial)``, the order of the
model's own joints; x forward, y up, z right, so that extension (+z), bending to the
right (+x) and turning to the left (+y) are positive. Vertebra v stands on the one
before it: ``R_level = R_below^T R_v``.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Bool, Float

from simspine_jax.body import spine_endplates, spine_markers
from simspine_jax.body.kinematics import BodyPoses, forward_kinematics
from simspine_jax.body.model import Model
from simspine_jax.skeletons import simspine
from simspine_jax.types import Array, MarkerTrajectory

BODIES = (
    "sacrum",
    "lumbar5",
    "lumbar4",
    "lumbar3",
    "lumbar2",
    "lumbar1",
    "torso",
    "head",
)
LEVELS = ("L5_S1", "L4_L5", "L3_L4", "L2_L3", "L1_L2", "L1_T12", "neck")
DIRECTIONS = ("flexion", "lateral bending", "axial rotation")
_CURVES = {"lordosis": ("Hip", "Spine_01", "Spine_02", "Spine_03")}
_CURVES |= {"kyphosis": ("Spine_03", "Spine_04", "Spine_05", "Neck")}
_SIDES = ("LLatissimus", "RLatissimus")
_EXACT = jax.lax.Precision.HIGHEST


@struct.dataclass
class PoseAngles:
    """Angles at poses, rad; see ``spine.SpineAngles``.

    Attributes:
        rotation: Of ``BODIES`` to ground. Shape [..., 8, 3, 3].
        ground: Flexion, lateral bending, axial rotation of these. Shape [..., 8, 3].
        levels: The same of ``LEVELS``, each relative to below. Shape [..., 7, 3].
        lla: Lordosis between the upper plates of L1 and S1. Shape [...].
        tka: Kyphosis between upper T3 and lower T12. Shape [...].
        lordosis: Of the keypoints of the lumbar spine. Shape [...].
        kyphosis: Of the keypoints of the thoracic spine. Shape [...].
    """

    rotation: jax.Array
    ground: jax.Array
    levels: jax.Array
    lla: jax.Array
    tka: jax.Array
    lordosis: jax.Array
    kyphosis: jax.Array


def require_spine(model: Model) -> None:
    """Refuses a model without separate lumbar vertebrae.

    Raises:
        ValueError: The model lacks one of ``BODIES``, or one that carries a keypoint.
    """
    missing = [body for body in BODIES if body not in model.body_names]
    if missing:
        raise ValueError(
            f"the model has no body {missing[0]!r}, which the angles of the spine "
            f"need; it has {', '.join(model.body_names)}"
        )
    spine_markers.require_bodies(model)


@partial(jax.jit, inline=True)
def pose_angles(model: Model, q: Float[Array, "*batch n"]) -> PoseAngles:
    """Returns the angles of the spine at poses.

    Args:
        model: With the bodies of Pose2Sim's full-body model.
        q: All coordinates in ``coordinate_names`` order, rad and m.

    Raises:
        ValueError: The model lacks one of the bodies.
    """
    require_spine(model)
    return of_poses(model, forward_kinematics(model, jnp.asarray(q)))


def of_poses(model: Model, poses: BodyPoses) -> PoseAngles:
    """Returns the angles of the spine of bodies already posed."""
    index = np.array([model.body_names.index(body) for body in BODIES])
    rotation = jnp.asarray(poses.rotation)[..., index, :, :]
    below, above = rotation[..., :-1, :, :], rotation[..., 1:, :, :]
    relative = jnp.einsum("...ji,...jk->...ik", below, above, precision=_EXACT)
    normal = {
        plate: spine_endplates.normal(model, plate).astype(rotation.dtype)
        for plate in spine_endplates.PLATES
    }
    l1, sacrum = (rotation[..., BODIES.index(b), :, :] for b in ("lumbar1", "sacrum"))
    upper = jnp.einsum("...ij,j->...i", l1, normal["L1 upper"], precision=_EXACT)
    upper = jnp.einsum("...ji,...j->...i", sacrum, upper, precision=_EXACT)
    lla = _slope(upper) - _slope(normal["S1 upper"])
    thorax = _slope(normal["T12 lower"]) - _slope(normal["T3 upper"])
    points = spine_markers.from_poses(model, poses)
    lordosis, kyphosis = keypoint_angles(points, simspine.SPINE_NAMES)
    return PoseAngles(
        rotation=rotation,
        ground=zxy_angles(rotation),
        levels=zxy_angles(relative),
        lla=lla,
        tka=jnp.broadcast_to(thorax, lla.shape),
        lordosis=lordosis,
        kyphosis=kyphosis,
    )


def zxy_angles(rotation: Float[Array, "*batch 3 3"]) -> Float[jax.Array, "*batch 3"]:
    """Returns ``(z, x, y)`` of ``Rz(z) Rx(x) Ry(y)``, rad; x within 90 degrees."""
    r = jnp.asarray(rotation)
    level = jnp.hypot(r[..., 2, 0], r[..., 2, 2])
    return jnp.stack(
        [
            jnp.arctan2(-r[..., 0, 1], r[..., 1, 1]),
            jnp.arctan2(r[..., 2, 1], level),
            jnp.arctan2(-r[..., 2, 0], r[..., 2, 2]),
        ],
        axis=-1,
    )


def keypoint_angles(
    points: Float[Array, "*batch k 3"], names: tuple[str, ...]
) -> tuple[Float[jax.Array, "*batch"], Float[jax.Array, "*batch"]]:
    """Returns lordosis and kyphosis of spine keypoints, rad.

    Lordosis is the angle from Hip-Spine_01 to Spine_02-Spine_03, kyphosis that from
    Spine_03-Spine_04 to Spine_05-Neck, both in the plane across the line from
    LLatissimus to RLatissimus and positive where the spine curves as usual.

    Args:
        points: Of a model, observed or predicted, any unit.
        names: What they are; the ten keypoints named above among them.

    Raises:
        ValueError: A keypoint that it needs is not among the names.
    """
    wanted = dict.fromkeys((*_CURVES["lordosis"], *_CURVES["kyphosis"], *_SIDES))
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"the curvature of the spine needs keypoint {missing[0]!r}, which is not "
            f"among {', '.join(names)}"
        )
    at = {name: jnp.asarray(points)[..., names.index(name), :] for name in wanted}
    across = at["RLatissimus"] - at["LLatissimus"]
    across = across / jnp.linalg.norm(across, axis=-1, keepdims=True)

    def turn(curve: str) -> jax.Array:
        a, b, c, d = (at[name] for name in _CURVES[curve])
        first, last = (
            v - (v * across).sum(-1, keepdims=True) * across for v in (b - a, d - c)
        )
        sine = (jnp.cross(first, last) * across).sum(-1)
        return jnp.arctan2(sine, (first * last).sum(-1))

    return turn("lordosis"), -turn("kyphosis")


def trajectory_angles(
    trajectory: MarkerTrajectory,
) -> tuple[Float[jax.Array, " t"], Float[jax.Array, " t"], Bool[np.ndarray, " t"]]:
    """Returns ``keypoint_angles`` of a trajectory, and where all ten were seen.

    Angles are 0 where one of the keypoints was not seen.

    Raises:
        ValueError: A keypoint that it needs is not among the names.
    """
    wanted = (*_CURVES["lordosis"], *_CURVES["kyphosis"], *_SIDES)
    at = [trajectory.names.index(n) for n in wanted if n in trajectory.names]
    seen = np.asarray(np.all(np.asarray(trajectory.valid)[:, at], axis=1))
    # Stand-ins without a zero length keep derivatives finite where nothing was seen.
    stand_in = np.arange(3 * len(trajectory.names)).reshape(1, -1, 3) ** 2.0
    points = jnp.where(seen[:, None, None], jnp.asarray(trajectory.points), stand_in)
    lordosis, kyphosis = keypoint_angles(points, trajectory.names)
    return jnp.where(seen, lordosis, 0.0), jnp.where(seen, kyphosis, 0.0), seen


def _slope(normal: Float[jax.Array, "*batch 3"]) -> Float[jax.Array, "*batch"]:
    """Returns how far a plate's front stands above its back in the sagittal plane."""
    return jnp.arctan2(-normal[..., 0], normal[..., 1])
