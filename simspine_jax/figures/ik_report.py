"""The picture of a fit: skeleton and markers, errors over time, joint angles."""

import os
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simspine_jax.body import spine_markers
from simspine_jax.body.kinematics import BodyPoses
from simspine_jax.body.model import Model
from simspine_jax.figures import ik_curves, saving, skeleton_panel
from simspine_jax.figures.skeleton_panel import Skeleton
from simspine_jax.fitting import replay
from simspine_jax.fitting.ik_report import IkReport
from simspine_jax.types import MarkerTrajectory, Motion

# Greys and colours that differ in lightness too, so that they survive a photocopy.
DARK, PALE, RED, BLUE = "#1a1a1a", "#9a9a9a", "#c8321e", "#1f4e9c"
_BARS = 10
_FRAMES_SHOWN = 4


@dataclass(frozen=True)
class Titles:
    """Words of the figure: what was fitted, to what."""

    model: str
    trial: str


def draw(
    path: str | os.PathLike[str],
    model: Model,
    trajectory: MarkerTrajectory,
    motion: Motion,
    report: IkReport,
    titles: Titles,
    poses: BodyPoses | None = None,
    covariance: np.ndarray | None = None,
) -> None:
    """Draws the report of a fit into a PNG file, whole or not at all.

    Args:
        path: Final path.
        model: The model that was fitted.
        trajectory: The markers it was fitted to.
        motion: The fitted motion.
        report: Its report.
        titles: Names for the heading.
        poses: Body poses along the motion if they are known already.
        covariance: ``IkSolution.covariance``, for the 95 % intervals of the angles.
    """
    figure = make(model, trajectory, motion, report, titles, poses, covariance)
    saving.save(path, figure)


def make(
    model: Model,
    trajectory: MarkerTrajectory,
    motion: Motion,
    report: IkReport,
    titles: Titles,
    poses: BodyPoses | None = None,
    covariance: np.ndarray | None = None,
) -> Figure:
    """Returns the figure that ``draw`` saves; arguments as there."""
    q = np.asarray(motion.q)
    poses = replay.body_poses(model, q) if poses is None else poses
    figure = Figure(figsize=(16, 10), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # pyright: ignore
    figure.suptitle(
        f"Inverse kinematics of {titles.trial} with {titles.model}: "
        f"marker RMS {report.rms_m * 1e3:.1f} mm over {len(q)} frames",
        fontsize=15,
        fontweight="bold",
    )
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.5, 1))[:, 0]
    _draw_skeletons(top, model, trajectory, poses, report)
    grid = bottom.add_gridspec(2, 3, width_ratios=(1, 0.95, 1.25))
    _draw_error(bottom.add_subplot(grid[:, 0]), motion.times_s, report)
    _draw_origin(bottom.add_subplot(grid[:, 1]), report)
    trunk, limbs = bottom.add_subplot(grid[0, 2]), bottom.add_subplot(grid[1, 2])
    ik_curves.draw(trunk, limbs, motion, report, covariance)
    return figure


def frames_shown(seen: np.ndarray, count: int = _FRAMES_SHOWN) -> np.ndarray:
    """Returns frames spread over those that have a marker."""
    filled = np.flatnonzero(seen) if seen.any() else np.arange(len(seen))
    picks = np.linspace(0, len(filled) - 1, min(count, len(filled)))
    return filled[np.round(picks).astype(int)]


def _draw_skeletons(
    figure,
    model: Model,
    trajectory: MarkerTrajectory,
    poses: BodyPoses,
    report: IkReport,
) -> None:
    shown = frames_shown(report.frame_seen)
    rotation = np.asarray(poses.rotation)[shown]
    position = np.asarray(poses.position)[shown]
    picked = BodyPoses(rotation, position)  # pyright: ignore[reportArgumentType]
    fitted = replay.marker_points(model, picked)
    joints = skeleton_panel.joint_positions(model, rotation, position)
    spine = None
    if not spine_markers.missing_bodies(model):
        spine = np.asarray(spine_markers.from_poses(model, picked))
    places = [trajectory.names.index(n) for n in report.marker_names]
    mine = [model.marker_names.index(n) for n in report.marker_names]
    view = skeleton_panel.view_from_front_right(model, rotation)
    skeletons = [
        Skeleton(
            model,
            joints[k],
            fitted[k][mine],
            np.asarray(trajectory.points)[frame][places],
            np.asarray(trajectory.valid)[frame][places],
            report.marker_bodies,
            None if spine is None else spine[k],
        )
        for k, frame in enumerate(shown)
    ]
    axes = list(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0])
    skeleton_panel.draw_row(axes, skeletons, view)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=11)
    times = trajectory.times_s[shown]
    for axis, frame, time in zip(axes, shown, times, strict=True):
        rms = report.frame_rms_m[frame] * 1e3
        axis.set_title(
            f"frame {frame + 1}, {time:.2f} s, RMS {rms:.1f} mm", fontsize=12
        )


def _draw_error(axis: Axes, times: np.ndarray, report: IkReport) -> None:
    rms = np.where(report.frame_seen, report.frame_rms_m * 1e3, np.nan)
    worst = np.where(report.frame_seen, report.frame_max_m * 1e3, np.nan)
    axis.fill_between(times, rms, worst, color=PALE, alpha=0.35, linewidth=0)
    axis.plot(
        times, worst, color=PALE, linewidth=1.5, label="worst marker of the frame"
    )
    axis.plot(times, rms, color=DARK, linewidth=2.5, label="RMS of all markers")
    if not report.frame_seen.all():
        axis.fill_between(
            times,
            0,
            1,
            where=~report.frame_seen,
            step="mid",
            color=RED,
            alpha=0.25,
            transform=axis.get_xaxis_transform(),
            label="no marker seen",
        )
    axis.set(xlabel="time (s)", ylabel="distance, model to measured marker (mm)")
    axis.set_ylim(bottom=0)
    axis.margins(x=0.01)
    axis.set_title("Marker error over time", fontsize=13, loc="left")
    axis.grid(alpha=0.25)
    axis.legend(loc="lower left", framealpha=0.9)


def _draw_origin(axis: Axes, report: IkReport) -> None:
    order = report.worst[:_BARS]
    share = 100 * report.error_share[order]
    constant = share * report.offset_share[order]
    place = np.arange(len(order))
    axis.barh(place, constant, color=BLUE, label="constant in its body")
    axis.barh(
        place,
        share - constant,
        left=constant,
        color="#f0b040",
        label="frame to frame",
    )
    for y, m, end in zip(place.tolist(), order, share, strict=True):
        rms = report.marker_rms_m[m] * 1e3
        axis.text(
            end, y, f" {rms:.0f} mm" if rms >= 1 else f" {rms:.2g} mm", va="center"
        )
    axis.set_yticks(place, [report.marker_names[m] for m in order])
    axis.invert_yaxis()
    axis.set_xlim(right=max(share.max(initial=0.0), 1e-9) * 1.35)
    axis.set_xlabel("share of the weighted squared error (%)")
    explained = 100 * report.offset_share_of_all
    axis.set_title(
        f"Where it comes from: {explained:.0f} % is constant", fontsize=13, loc="left"
    )
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="lower right", fontsize=9, handlelength=1.2, framealpha=0.9)
