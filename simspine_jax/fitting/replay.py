"""Body poses along a fitted motion, in pieces of one padded size."""

import jax
import numpy as np
from jaxtyping import Float

from simspine_jax.body.kinematics import BodyPoses, forward_kinematics
from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Model

_LARGEST_PIECE = 4096  # frames; bounds memory and shares one compilation
_SMALLEST_PIECE = 128
_forward = jax.jit(forward_kinematics)


def body_poses(model: Model, q: Float[np.ndarray, "t n"]) -> BodyPoses:
    """Places every body in every frame.

    Args:
        model: Compiled model.
        q: All coordinates, rad and m. Shape [T, N].

    Returns:
        Poses in ground as NumPy arrays, [T, B, 3, 3] and [T, B, 3] m.
    """
    q = np.asarray(q)
    piece = min(_LARGEST_PIECE, max(_SMALLEST_PIECE, 1 << (len(q) - 1).bit_length()))
    bodies = len(model.body_names)
    rotation = np.empty((len(q), bodies, 3, 3), q.dtype)
    position = np.empty((len(q), bodies, 3), q.dtype)
    # Models that differ in their markers only share the compilation.
    bare = with_markers(model, {})
    for i in range(0, len(q), piece):
        part = q[i : i + piece]
        padded = np.concatenate(
            [part, np.zeros((piece - len(part), q.shape[1]), q.dtype)]
        )
        poses = _forward(bare, padded)
        rotation[i : i + piece] = np.asarray(poses.rotation)[: len(part)]
        position[i : i + piece] = np.asarray(poses.position)[: len(part)]
    return BodyPoses(rotation, position)  # pyright: ignore[reportArgumentType]


def marker_points(model: Model, poses: BodyPoses) -> Float[np.ndarray, "t m 3"]:
    """Returns the model's markers on posed bodies, m in ground. Shape [T, M, 3]."""
    bodies = np.asarray(model.topology.marker_bodies, int)
    offset = np.asarray(model.marker_offset)
    rotation, position = np.asarray(poses.rotation), np.asarray(poses.position)
    placed = np.einsum("tmij,mj->tmi", rotation[:, bodies], offset)
    return np.where((bodies < 0)[:, None], offset, placed + position[:, bodies])
