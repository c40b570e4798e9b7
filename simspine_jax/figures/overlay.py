"""A fitted model drawn over what the cameras saw."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simspine_jax.body import spine_markers
from simspine_jax.body.kinematics import BodyPoses
from simspine_jax.body.model import Model
from simspine_jax.cameras import pinhole, world_axes
from simspine_jax.figures import saving, skeleton_panel
from simspine_jax.figures.skeleton_panel import Skeleton
from simspine_jax.fitting import replay
from simspine_jax.types import CameraRig, Detections2D

_MARGIN = 0.1  # around the person, of its size
_STRENGTH = 0.75  # of images against white
_project = jax.jit(pinhole.project)


@dataclass(frozen=True)
class Views:
    """What the cameras saw in one frame.

    Attributes:
        rig: Cameras.
        detections: Of all frames.
        images: Of each camera, RGB [H, W, 3]; None draws no image.
        frame: Which frame.
        up: The world's axis that points up, a key of ``world_axes.TO_GROUND``.
    """

    rig: CameraRig
    detections: Detections2D
    images: Sequence[np.ndarray | None]
    frame: int
    up: str


def save(path: str | os.PathLike[str], *args, **kwargs) -> None:
    """Draws ``make`` and saves it as a PNG file, whole or not at all."""
    figure = make(*args, **kwargs)
    saving.save(path, figure, dpi=100)


def make(
    views: Views,
    model: Model,
    poses: BodyPoses,
    marker_names: Sequence[str],
    marker_bodies: tuple[str, ...],
) -> Figure:
    """Draws the model's bones, markers and spine in every view of a frame.

    Args:
        views: What to draw over.
        model: The model that was fitted.
        poses: Its bodies in the ground frame, all frames.
        marker_names: Markers of the fit; drawn where keypoints have their names.
        marker_bodies: Body of each.
    """
    rig, frame = views.rig, views.frame
    names = views.detections.keypoint_names
    shared = [m for m, name in enumerate(marker_names) if name in names]
    parts = _points(
        model, poses, frame, [model.marker_names.index(marker_names[m]) for m in shared]
    )
    to_world = np.asarray(world_axes.TO_GROUND[views.up])  # rows turn back
    pixels = np.asarray(_project(rig, np.concatenate(parts) @ to_world))
    ends = np.cumsum([len(part) for part in parts])
    pixels = np.split(pixels, ends[:-1], axis=1)
    seen = [names.index(marker_names[m]) for m in shared]
    count = len(rig.names)
    figure = Figure(figsize=(max(12, 4 * count), 7), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for c, axis in enumerate(axes):
        skeleton = Skeleton(
            model,
            pixels[0][c],
            pixels[1][c],
            np.asarray(views.detections.points)[frame, c][seen],
            np.asarray(views.detections.confidence)[frame, c][seen] > 0,
            tuple(marker_bodies[m] for m in shared),
            pixels[2][c] if len(parts) > 2 else None,
        )
        _draw(axis, skeleton, views.images[c])
        axis.set_title(f"{rig.names[c]}, frame {frame + 1}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=11)
    return figure


def _points(
    model: Model, poses: BodyPoses, frame: int, markers: Sequence[int]
) -> list[np.ndarray]:
    """Joints, markers and, where the model has them, spine keypoints, in ground."""
    rotation = np.asarray(poses.rotation)[frame][None]
    position = np.asarray(poses.position)[frame][None]
    one = BodyPoses(rotation, position)  # pyright: ignore[reportArgumentType]
    joints = skeleton_panel.joint_positions(model, rotation, position)[0]
    parts = [joints, np.asarray(replay.marker_points(model, one))[0][list(markers)]]
    if not spine_markers.missing_bodies(model):
        parts.append(np.asarray(spine_markers.from_poses(model, one))[0])
    return parts


def _draw(axis: Axes, skeleton: Skeleton, image: np.ndarray | None) -> None:
    # Pixels are drawn as they are.
    skeleton_panel.draw(axis, skeleton, np.eye(2))
    for line in axis.lines:
        if line.get_label() == "measured marker":
            line.set_label("detected keypoint")
    shown = np.concatenate([skeleton.fitted, skeleton.observed[skeleton.valid]])
    if len(shown):
        low, high = shown.min(axis=0), shown.max(axis=0)
        room = _MARGIN * (high - low).max()
        left, top = low - room
        right, bottom = high + room
        if image is not None:
            _draw_part(axis, image, (left, right, bottom, top))
        axis.set_xlim(left, right)
        axis.set_ylim(bottom, top)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)


def _draw_part(
    axis: Axes, image: np.ndarray, box: tuple[float, float, float, float]
) -> None:
    """Draws, paler, what of an image lies in a box of left, right, bottom, top."""
    height, width = image.shape[:2]
    first_x, last_x = np.clip([int(box[0]), int(box[1]) + 2], 0, width)
    first_y, last_y = np.clip([int(box[3]), int(box[2]) + 2], 0, height)
    part = image[first_y:last_y, first_x:last_x]
    if part.size:
        pale = 255 - _STRENGTH * (255 - part.astype(np.float32))
        # Whole numbers are centres of pixels.
        extent = (first_x - 0.5, last_x - 0.5, last_y - 0.5, first_y - 0.5)
        axis.imshow(pale.astype(np.uint8), extent=extent, interpolation="nearest")
