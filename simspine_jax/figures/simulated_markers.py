"""The picture of simulated markers: the model at a few times, and keypoints' paths."""

import os
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simspine_jax.body import spine_markers
from simspine_jax.body.kinematics import BodyPoses
from simspine_jax.body.model import Model
from simspine_jax.figures import saving, skeleton_panel
from simspine_jax.figures.ik_report import frames_shown
from simspine_jax.figures.skeleton_panel import Skeleton
from simspine_jax.fitting import replay
from simspine_jax.skeletons import simspine

_SHOWN = ("Hip", "Spine_02", "Spine_04", "Neck", "Head")
_COLOURS = ("#0b1f45", "#1f4e9c", "#4f86c6", "#c8321e", "#e8a33d")


@dataclass(frozen=True)
class Titles:
    """Words of the figure: which model, along which motion."""

    model: str
    motion: str


def draw(
    path: str | os.PathLike[str],
    model: Model,
    poses: BodyPoses,
    times_s: np.ndarray,
    titles: Titles,
) -> None:
    """Draws a motion's markers into a PNG file, whole or not at all.

    Four poses, and the paths of some spine keypoints where the model has their bodies.

    Args:
        path: Final path.
        model: Whose markers are shown.
        poses: All bodies along the motion, in ground.
        times_s: Time of each frame, s. Shape [T].
        titles: Names for the heading.
    """
    figure = Figure(figsize=(13, 9.5), layout="constrained")
    figure.suptitle(
        f"Markers of {titles.model} along {titles.motion}, {len(times_s)} frames",
        fontsize=13,
    )
    spine = None
    if not spine_markers.missing_bodies(model):
        spine = np.asarray(spine_markers.from_poses(model, poses))
    rows = 1 if spine is None else 2
    ratios = (1.6, 1.0)[:rows]
    parts = figure.subfigures(rows, 1, squeeze=False, height_ratios=ratios)[:, 0]
    _draw_poses(parts[0], model, poses, times_s, spine)
    if spine is not None:
        heights, above = parts[1].subplots(1, 2, width_ratios=(1.6, 1))
        _draw_paths(heights, above, times_s, spine)
    saving.save(path, figure)


def _draw_poses(
    figure,
    model: Model,
    poses: BodyPoses,
    times_s: np.ndarray,
    spine: np.ndarray | None,
) -> None:
    shown = frames_shown(np.ones(len(times_s), bool))
    rotation = np.asarray(poses.rotation)[shown]
    position = np.asarray(poses.position)[shown]
    picked = BodyPoses(rotation, position)  # pyright: ignore[reportArgumentType]
    placed = replay.marker_points(model, picked)
    joints = skeleton_panel.joint_positions(model, rotation, position)
    bodies = tuple(
        model.body_names[body] if body >= 0 else "ground"
        for body in model.topology.marker_bodies
    )
    unseen = np.zeros(len(bodies), bool)
    skeletons = [
        Skeleton(
            *(model, joints[k], placed[k], placed[k], unseen, bodies),
            None if spine is None else spine[frame],
        )
        for k, frame in enumerate(shown)
    ]
    view = skeleton_panel.view_from_front_right(model, rotation)
    axes = list(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0])
    skeleton_panel.draw_row(axes, skeletons, view)
    for axis, frame in zip(axes, shown, strict=True):
        axis.set_title(f"frame {frame + 1}, {times_s[frame]:.2f} s", fontsize=11)
    # Nothing was measured here.
    told = {
        label: handle
        for handle, label in zip(*axes[0].get_legend_handles_labels(), strict=True)
        if label not in ("measured marker", "their distance")
    }
    figure.legend(
        told.values(), told.keys(), loc="outside lower center", ncols=4, fontsize=10
    )


def _draw_paths(
    heights: Axes, above: Axes, times_s: np.ndarray, spine: np.ndarray
) -> None:
    for name, colour in zip(_SHOWN, _COLOURS, strict=True):
        points = spine[:, simspine.SPINE_NAMES.index(name)]
        heights.plot(times_s, points[:, 1], color=colour, label=name)
        above.plot(points[:, 0], points[:, 2], color=colour)
        above.plot(
            *points[
                0,
                (0, 2),
            ],
            "o",
            color=colour,
            markersize=5,
        )
    heights.set(xlabel="time (s)", ylabel="height, ground Y (m)")
    heights.set_title("height of spine keypoints", fontsize=11)
    heights.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    above.set(xlabel="ground X (m)", ylabel="ground Z (m)", aspect="equal")
    above.set_title("seen from above; a dot is the first frame", fontsize=11)
    above.invert_yaxis()  # from above, Z points down where X points right
    for axis in (heights, above):
        axis.grid(alpha=0.25)
