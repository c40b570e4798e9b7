"""Forward kinematics in plain NumPy, one body at a time: nothing to compile.

For tests of files, which meet many models and a few poses of each.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from simspine_jax.body.model import Model


def body_poses(model: Model, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places every body; q [T, N] to rotation [T, B, 3, 3] and position [T, B, 3]."""
    topology = model.topology
    bodies = len(topology.body_names)
    rotation, position = np.empty((len(q), bodies, 3, 3)), np.empty((len(q), bodies, 3))
    curves = [
        _curve(model, i, q[:, c]) for i, c in enumerate(topology.curve_coordinates)
    ]
    sums = q @ np.asarray(model.sum_coefficients).T
    columns = [*q.T, *curves, *sums.T, np.zeros(len(q))]  # -1: a constant
    source = np.stack([columns[i] for i in topology.axis_sources])  # [6 B, T]
    value = source.reshape(bodies, 6, len(q)) * np.asarray(model.axis_slope)[..., None]
    value = value + np.asarray(model.axis_offset)[..., None]
    axes = np.asarray(model.axis_direction)
    for b in (b for level in topology.levels for b in level):
        a = topology.parents[b]
        base = np.eye(3)[None] if a < 0 else rotation[:, a]
        origin = np.zeros((1, 3)) if a < 0 else position[:, a]
        origin = origin + base @ model.parent_translation[b]
        base = base @ model.parent_rotation[b]
        origin = origin + np.einsum("tij,kj,kt->ti", base, axes[b, 3:], value[b, 3:])
        for axis, angle in zip(axes[b, :3], value[b, :3], strict=True):
            base = base @ Rotation.from_rotvec(angle[:, None] * axis).as_matrix()
        rotation[:, b] = base @ np.asarray(model.child_rotation[b]).T
        position[:, b] = origin - rotation[:, b] @ model.child_translation[b]
    return rotation, position


def _curve(model: Model, i: int, x: np.ndarray) -> np.ndarray:
    table = model.curves
    piece = np.searchsorted(np.asarray(table.breaks[i]), x, side="right")
    c = np.asarray(table.coefficients[i])[piece]
    u = x - np.asarray(table.origins[i])[piece]
    return (c * u[:, None] ** np.arange(c.shape[1])).sum(axis=1)
