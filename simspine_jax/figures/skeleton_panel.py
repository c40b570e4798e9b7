"""A fitted skeleton beside its markers, seen along a horizontal line of sight.

An orthographic view whose vertical is the ground's Y, so that heights can be read
off; the horizontal axis runs to the viewer's right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from simspine_jax.body.model import Model
from simspine_jax.skeletons import simspine

BONE, STICK, SPINE, SEEN, ERROR = "#8a8a8a", "#c4c4c4", "#1f4e9c", "#1a1a1a", "#c8321e"
_AZIMUTH = np.deg2rad(50.0)  # line of sight from straight ahead towards the right
_MARGIN_M = 0.08


@dataclass(frozen=True, eq=False)
class Skeleton:
    """One frame: positions in ground, m.

    Attributes:
        model: Gives the tree.
        joints: Where each body is joined to its parent. Shape [B, 3].
        fitted: Model markers. Shape [M, 3].
        observed: Measured markers. Shape [M, 3].
        valid: Which of them were measured. Shape [M].
        marker_bodies: Body of each marker.
        spine: The 15 spine keypoints, or None. Shape [15, 3].
    """

    model: Model
    joints: np.ndarray
    fitted: np.ndarray
    observed: np.ndarray
    valid: np.ndarray
    marker_bodies: tuple[str, ...]
    spine: np.ndarray | None


def view_from_front_right(model: Model, rotation: np.ndarray) -> np.ndarray:
    """Returns the projection to (right, up) of a viewer ahead and to the right.

    Args:
        model: Compiled model; its first body's X axis points ahead.
        rotation: Body to ground at a few frames. Shape [T, B, 3, 3].

    Returns:
        Shape [2, 3].
    """
    ahead = np.array([1.0, 0.0])
    if model.body_names and len(rotation):
        ahead = rotation[:, 0][:, (0, 2), 0].sum(0)
    heading = np.arctan2(ahead[1], ahead[0]) if np.abs(ahead).max() > 1e-6 else 0.0
    # Y up, so that turning from X towards Z is turning to the person's right.
    sight = heading + _AZIMUTH
    return np.array([[np.sin(sight), 0.0, -np.cos(sight)], [0.0, 1.0, 0.0]])


def joint_positions(
    model: Model, rotation: np.ndarray, position: np.ndarray
) -> np.ndarray:
    """Returns each body's joint to its parent, from poses of all bodies. [T, B, 3]."""
    offset = np.asarray(model.child_translation)
    return position + np.einsum("tbij,bj->tbi", rotation, offset)


def bone_links(model: Model, bodies: Sequence[str]) -> list[tuple[int, int]]:
    """Returns body and parent indices of the tree that carries the given bodies."""
    wanted = {
        b
        for name in bodies
        if name in model.body_names
        for b in model.topology.ancestors(model.body_names.index(name))
    }
    parents = model.topology.parents
    return [(b, parents[b]) for b in sorted(wanted) if parents[b] >= 0]


def draw_row(
    axes: Sequence[Axes], skeletons: Sequence[Skeleton], view: np.ndarray
) -> None:
    """Draws skeletons side by side on one scale.

    Args:
        axes: One for each skeleton.
        skeletons: What to draw.
        view: Projection. Shape [2, 3].
    """
    boxes = [_box(s, view) for s in skeletons]
    width = max(high[0] - low[0] for low, high in boxes) / 2 + _MARGIN_M
    bottom = min(low[1] for low, _ in boxes) - _MARGIN_M
    top = max(high[1] for _, high in boxes) + _MARGIN_M
    for axis, skeleton, (low, high) in zip(axes, skeletons, boxes, strict=True):
        draw(axis, skeleton, view)
        middle = (low[0] + high[0]) / 2
        axis.set_aspect("equal")
        axis.set_xlim(middle - width, middle + width)
        axis.set_ylim(bottom, top)
        axis.set_xlabel("across the view (m)")
        axis.grid(alpha=0.2)
    axes[0].set_ylabel("height, ground Y (m)")


def draw(axis: Axes, skeleton: Skeleton, view: np.ndarray) -> None:
    """Draws one skeleton and its markers."""
    flat = lambda points: np.asarray(points) @ view.T
    bodies, fitted = flat(skeleton.joints), flat(skeleton.fitted)
    observed = flat(skeleton.observed)
    names = skeleton.model.body_names
    sticks = [
        (bodies[names.index(body)], fitted[m])
        for m, body in enumerate(skeleton.marker_bodies)
        if body in names
    ]
    bones = [
        (bodies[a], bodies[b])
        for a, b in bone_links(skeleton.model, skeleton.marker_bodies)
    ]
    axis.add_collection(LineCollection(sticks, colors=STICK, linewidths=1.5, zorder=1))
    axis.add_collection(
        LineCollection(
            bones,
            colors=BONE,
            linewidths=4,
            capstyle="round",
            zorder=2,
            label="model: joint to joint",
        )
    )
    valid = skeleton.valid
    gaps = np.stack([fitted[valid], observed[valid]], axis=1)
    axis.add_collection(
        LineCollection(
            list(gaps), colors=ERROR, linewidths=2.2, zorder=6.5, label="their distance"
        )
    )
    axis.plot(
        *fitted.T,
        "o",
        markersize=5.5,
        markerfacecolor="white",
        markeredgecolor=BONE,
        markeredgewidth=1.5,
        zorder=5,
        label="marker on the model",
    )
    axis.plot(
        *observed[valid].T,
        "x",
        markersize=5,
        color=SEEN,
        markeredgewidth=1.8,
        zorder=6,
        label="measured marker",
    )
    if skeleton.spine is not None:
        _draw_spine(axis, flat(skeleton.spine))


def _draw_spine(axis: Axes, points: np.ndarray) -> None:
    place = simspine.SPINE_NAMES.index
    links = [(points[place(a)], points[place(b)]) for a, b in simspine.SPINE_LINKS]
    axis.add_collection(
        LineCollection(links, colors=SPINE, linewidths=1.2, zorder=7, alpha=0.8)
    )
    chain = points[[place(name) for name in simspine.SPINE_CHAIN]]
    axis.plot(*chain.T, color=SPINE, linewidth=3, zorder=8)
    axis.plot(
        *points.T,
        "o",
        markersize=4.5,
        color=SPINE,
        zorder=9,
        label="15 spine keypoints",
    )


def _box(skeleton: Skeleton, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = [skeleton.fitted, skeleton.observed[skeleton.valid]]
    if skeleton.spine is not None:
        parts.append(skeleton.spine)
    points = np.concatenate(parts) @ view.T
    return points.min(0), points.max(0)
