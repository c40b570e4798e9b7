"""Forward kinematics of a compiled model, batched, with its geometric derivative.

Notation: T lanes (frames) stand last, so that every operation runs over contiguous
lanes; B bodies, M markers. A frame is [4, 3, T]: its three axes, then its origin, as
seen from the frame it is given in. ``G`` is ground, ``P`` the parent body, ``F`` the
joint frame on the parent, ``M`` the joint frame on the child, ``C`` the child body:
``X_GC = X_GP X_PF X_FM(q) X_MC``. A twist is ``(w, v)``: angular velocity, and
velocity of the point of the body that is at the ground origin, so that a point x of
the body moves with ``v + w x x``.

The CPU compiler fuses a chain of small elementwise products and then computes it
again for every element that reads it, which made this module ten times slower
(measured). It stores what goes in and out of a contraction, so that here per-lane
products stand between contractions with constants.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float

from simspine_jax.body import curves, lane_algebra
from simspine_jax.body.model import Model, Topology
from simspine_jax.types import Array

_EXACT = jax.lax.Precision.HIGHEST  # keep TF32 and bfloat16 out of rotations


@struct.dataclass
class BodyPoses:
    """Poses of all bodies in the ground frame.

    Attributes:
        rotation: Body to ground. Shape [..., B, 3, 3].
        position: Body origins, m. Shape [..., B, 3].
    """

    rotation: jax.Array
    position: jax.Array


@partial(jax.jit, inline=True)
def forward_kinematics(model: Model, q: Float[Array, "*batch n"]) -> BodyPoses:
    """Places every body of the model.

    Args:
        model: Compiled model.
        q: All coordinates in ``coordinate_names`` order, rad and m, taken as given
            (couplers are not applied; see ``Model.expand``).

    Returns:
        Poses in the ground frame, bodies in ``body_names`` order.

    Source: matches ``realizePosition`` of OpenSim 4.6 on the joints that
    ``load_model`` accepts. Its derivative in ``q`` is the geometric Jacobian.
    """
    q = jnp.asarray(q)
    x = body_transforms(model.with_dtype(q.dtype), lanes_last(q))
    x = jnp.transpose(x, (3, 0, 2, 1)).reshape(*q.shape[:-1], x.shape[0], 3, 4)
    return BodyPoses(x[..., :3], x[..., 3])


@partial(jax.jit, inline=True)
def marker_positions(
    model: Model, q: Float[Array, "*batch n"]
) -> Float[jax.Array, "*batch m 3"]:
    """Returns the markers' positions in ground, m, in ``marker_names`` order."""
    q = jnp.asarray(q)
    model = model.with_dtype(q.dtype)
    placed = place_markers(model, body_transforms(model, lanes_last(q)))  # [m, 3, t]
    shape = (*q.shape[:-1], placed.shape[0], 3)
    return jnp.transpose(placed, (2, 0, 1)).reshape(shape)


def lanes_last(q: Float[Array, "*batch n"]) -> Float[jax.Array, "n t"]:
    """Returns coordinates with all batch axes as one, last; any of them may be 0."""
    return jnp.reshape(q, (math.prod(q.shape[:-1]), q.shape[-1])).T


def place_markers(
    model: Model, x_gc: Float[Array, "b 4 3 t"]
) -> Float[jax.Array, "m 3 t"]:
    """Returns marker positions from body frames, lanes last."""
    bodies = np.asarray(model.topology.marker_bodies, int)
    offset = model.marker_offset
    if x_gc.shape[0] == 0:
        return jnp.broadcast_to(offset[:, :, None], (*offset.shape, x_gc.shape[3]))
    weight = jnp.concatenate([offset, jnp.ones_like(offset[:, :1])], axis=1)
    placed = lane_algebra.total(weight[:, :, None, None] * x_gc[bodies])
    return jnp.where((bodies < 0)[:, None, None], offset[:, :, None], placed)


@jax.custom_jvp
def body_transforms(
    model: Model, q: Float[Array, "n t"]
) -> Float[jax.Array, "b 4 3 t"]:
    """Returns the frames X_GC of all bodies, lanes last."""
    return to_bodies(model, joint_transforms(model, q).x_gm)


def _body_transforms_jvp(primals, tangents):
    model, q = primals
    model_dot, q_dot = tangents
    joints = joint_transforms(model, q)
    x = to_bodies(model, joints.x_gm)
    x_dot = jnp.zeros_like(x)
    if not isinstance(q_dot, SymbolicZero):
        rate = axis_rates(model, joints.curve_slopes, q_dot)  # [b, 6, t]
        own = (axis_twists(joints) * rate[:, :, None]).sum(1)  # [b, 6, t]
        chain = jnp.asarray(ancestor_matrix(model.topology), q.dtype)
        twist = jnp.einsum("bk,kct->bct", chain, own, precision=_EXACT)
        swept = lane_algebra.cross(twist[:, None, :3], x)  # [b, 4, 3, t]
        x_dot = swept.at[:, 3].add(twist[:, 3:])
    is_zero = lambda leaf: isinstance(leaf, SymbolicZero)
    if not all(is_zero(d) for d in jax.tree.leaves(model_dot, is_leaf=is_zero)):
        dense = jax.tree.map(
            lambda a, d: jnp.zeros_like(a) if is_zero(d) else d, model, model_dot
        )
        plain = lambda m: to_bodies(m, joint_transforms(m, q).x_gm)
        x_dot = x_dot + jax.jvp(plain, (model,), (dense,))[1]
    return x, x_dot


body_transforms.defjvp(_body_transforms_jvp, symbolic_zeros=True)


@struct.dataclass
class JointTransforms:
    """What one walk through the tree gives, lanes last.

    Attributes:
        x_gm: Child-side joint frames in ground. Shape [B, 4, 3, T].
        base: Axes of the parent-side joint frames in ground. Shape [B, 3, 3, T].
        axes: The six axes of each joint in its parent-side frame. [B, 6, 3, T].
        curve_slopes: Derivative of every curve. Shape [F, T].
    """

    x_gm: jax.Array
    base: jax.Array
    axes: jax.Array
    curve_slopes: jax.Array


def joint_transforms(model: Model, q: Float[Array, "n t"]) -> JointTransforms:
    """Walks the tree by depth level; plain operations, differentiable throughout."""
    topology = model.topology
    t = q.shape[1]
    value, slopes = axis_values(model, q)  # [b, 6, t]
    if len(topology.body_names) == 0:
        none = jnp.zeros((0, 6, 3, t), q.dtype)
        return JointTransforms(none[:, :4], none[:, :3], none, slopes)
    direction = model.axis_direction  # [b, 6, 3]
    turn = lane_algebra.axis_rotations(
        direction[:, :3], value[:, :3]
    )  # [b, 3(axis), 3, 3, t]
    second = lane_algebra.product(turn[:, 0], turn[:, 1])
    third = lane_algebra.product(second, turn[:, 2])
    moved = jnp.einsum("bsi,bst->bit", direction[:, 3:], value[:, 3:], precision=_EXACT)
    # The joint's frame as rows: its axes are the columns of the rotation.
    x_fm = jnp.concatenate([jnp.swapaxes(third, 1, 2), moved[:, None]], axis=1)
    fixed = jnp.broadcast_to(direction[..., None], (*direction.shape, t))
    axes = jnp.concatenate(
        [
            fixed[:, :1],
            lane_algebra.turned(turn[:, 0], direction[:, 1])[:, None],
            lane_algebra.turned(second, direction[:, 2])[:, None],
            fixed[:, 3:],
        ],
        axis=1,
    )  # [b, 6, 3, t], in frame F
    to_base = mobile_to_fixed(model)  # [b, 4, 4]
    above = jnp.broadcast_to(
        jnp.eye(4, 3, dtype=q.dtype)[None, :, :, None], (1, 4, 3, t)
    )
    levels, bases = [], []
    place = {-1: 0}
    for level in topology.levels:
        rows = np.asarray(level)
        up = above[np.asarray([place[topology.parents[b]] for b in level])]
        base = jnp.einsum("bkj,bjit->bkit", to_base[rows], up, precision=_EXACT)
        x = lane_algebra.combine_rows(x_fm[rows], base)
        above = jnp.concatenate([x[:, :3], x[:, 3:] + base[:, 3:]], axis=1)
        place = {b: k for k, b in enumerate(level)}
        levels.append(above)
        bases.append(base[:, :3])
    back = np.argsort([b for level in topology.levels for b in level])
    return JointTransforms(
        jnp.concatenate(levels)[back], jnp.concatenate(bases)[back], axes, slopes
    )


def mobile_to_fixed(model: Model) -> Float[jax.Array, "b 4 4"]:
    """Returns the matrix from rows of the joint above to rows of frame F."""
    parents = np.asarray(model.topology.parents)
    grounded = (parents < 0)[:, None, None]
    eye = jnp.eye(3, dtype=model.parent_rotation.dtype)[None]
    turn = jnp.where(grounded, eye, model.child_rotation[parents])
    shift = jnp.where(grounded[:, :, 0], 0.0, model.child_translation[parents])
    rotation = jnp.einsum("bji,bjk->bki", turn, model.parent_rotation, precision=_EXACT)
    away = model.parent_translation - shift
    origin = jnp.einsum("bji,bj->bi", turn, away, precision=_EXACT)
    return lane_algebra.row_matrix(rotation, origin)


def to_bodies(
    model: Model, x_gm: Float[Array, "b 4 3 t"]
) -> Float[jax.Array, "b 4 3 t"]:
    """Returns X_GC = X_GM X_MC."""
    child = model.child_rotation
    back = -jnp.einsum("bji,bj->bi", child, model.child_translation, precision=_EXACT)
    matrix = lane_algebra.row_matrix(child, back)
    return jnp.einsum("bkj,bjit->bkit", matrix, x_gm, precision=_EXACT)


def axis_twists(
    joints: JointTransforms, centre: Float[Array, "1 3 t"] | None = None
) -> Float[jax.Array, "b 6 6 t"]:
    """Returns the twist of every axis; slots, then components.

    Velocities are those of the body's point at the ground origin, or at ``centre``.
    """
    ground = lane_algebra.combine_rows(joints.axes, joints.base)  # [b, 6, 3, t]
    turning, sliding = ground[:, :3], ground[:, 3:]
    origin = joints.x_gm[:, None, 3]
    moment = lane_algebra.cross(
        origin if centre is None else origin - centre[None], turning
    )
    return jnp.concatenate(
        [
            jnp.concatenate([turning, moment], axis=2),
            jnp.concatenate([jnp.zeros_like(sliding), sliding], axis=2),
        ],
        axis=1,
    )


def axis_values(
    model: Model, q: Float[Array, "n t"]
) -> tuple[Float[jax.Array, "b 6 t"], Float[jax.Array, "f t"]]:
    """Returns the six axis values of every joint and the slopes of the curves."""
    arguments = q[np.asarray(model.topology.curve_coordinates, int)]
    value, slopes = curves.evaluate(model.curves, arguments)
    return _combine(model, q, value) + model.axis_offset[:, :, None], slopes


def axis_rates(
    model: Model, slopes: Float[Array, "f t"], q_dot: Float[Array, "n t"]
) -> Float[jax.Array, "b 6 t"]:
    """Returns the rate of the axis values when coordinates move with ``q_dot``."""
    arguments = q_dot[np.asarray(model.topology.curve_coordinates, int)]
    return _combine(model, q_dot, slopes * arguments)


def _combine(
    model: Model, q: Float[Array, "n t"], curve: Float[Array, "f t"]
) -> Float[jax.Array, "b 6 t"]:
    index = np.asarray(model.topology.axis_sources, int)
    sums = jnp.matmul(model.sum_coefficients, q, precision=_EXACT)
    # A row of zeros stands last for axes without a source (index -1).
    none = jnp.zeros((1, q.shape[1]), q.dtype)
    sources = jnp.concatenate([q, curve, sums, none])
    picked = sources[index].reshape(len(index) // 6, 6, q.shape[1])
    return picked * model.axis_slope[:, :, None]


def ancestor_matrix(topology: Topology) -> np.ndarray:
    """Returns 1 where the column's body carries the row's body. Shape [B, B]."""
    n = len(topology.body_names)
    chain = np.zeros((n, n))
    for b in range(n):
        chain[b, list(topology.ancestors(b))] = 1.0
    return chain
