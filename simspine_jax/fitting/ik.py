"""Inverse kinematics: markers over time to joint coordinates.

``fit_ik`` for a trial in memory, ``fit_ik_stream`` for any length in bounded memory.
Both cut time into chunks of one padded size, so that one compilation serves all.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from simspine_jax.body.model import Model
from simspine_jax.core.robust import RobustLoss
from simspine_jax.fitting import (
    ik_frames,
    ik_prepare,
    smooth_pieces,
    smoothing,
    uncertainty,
)
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_queue import Bucket
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.fitting.ik_solution import EMPTY, IkSolution, concatenate
from simspine_jax.fitting.smoothing import Smoothness
from simspine_jax.types import IkTasks, MarkerTrajectory, Motion


class PriorDominanceWarning(UserWarning):
    """A coordinate task outweighs what the markers say of its coordinate."""


@dataclass(frozen=True)
class IkOptions:
    """How to fit.

    Attributes:
        objective: "opensim" (coordinate terms not divided by the marker weights, for
            parity) or "normalised" (both on the same footing, for use).
        search: How hard the global search tries.
        chunk_frames: Frames solved together, also the padded size of a call.
        lanes: Problems in work at once in one call; 0 for 32 on a CPU, 2048 on an
            accelerator.
        warn_prior_ratio: Warn when a task's curvature exceeds this multiple of the
            markers' marginal information on its coordinate.
        loss: Of the marker distances, so that displaced or swapped markers do not
            decide; None for least squares.
        smooth: Fit all frames jointly under a prior along time; None to fit every
            frame alone, as OpenSim does.
        covariance: Whether the solution carries the covariance of its coordinates.
        noise_m: Noise SD of a marker component, m, for covariance and smoothing;
            None to estimate it from the residuals of the first chunk.
    """

    objective: str = "normalised"
    search: SearchOptions = field(default_factory=SearchOptions)
    chunk_frames: int = 16384
    lanes: int = 0
    warn_prior_ratio: float = 1.0
    loss: RobustLoss | None = None
    smooth: Smoothness | None = None
    covariance: bool = False
    noise_m: float | None = None


def fit_ik(
    model: Model,
    trajectory: MarkerTrajectory,
    tasks: IkTasks | None = None,
    options: IkOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> IkSolution:
    """Fits joint coordinates to a marker trial.

    Args:
        model: Compiled model.
        trajectory: Markers, m, in the model's ground frame.
        tasks: Weights and coordinate tasks; None for every marker that model and
            trajectory share with weight 1 and no coordinate task.
        options: See ``IkOptions``.
        progress: Called with the frames done and the frames in all.

    Returns:
        The fit. A frame without any marker keeps status "nothing to fit" and takes
        the pose of the nearest fitted frame, or the one that the prior along time
        gives it.

    Raises:
        ValueError: No marker in common or none with a weight, a task on an unknown
            coordinate, a smooth fit asked of a trial without a rate, or too few
            markers to estimate the noise.

    Warns:
        PriorDominanceWarning: A task's curvature outweighs the markers' information
            on its coordinate, which then hardly moves.

    Source: the objective of OpenSim 4.6 ``InverseKinematicsSolver`` (see
    ``ik_problem``). It differs in the solver: couplers are substituted, every frame
    is searched globally, and frames are solved together.
    """
    options = options or IkOptions()
    plan = make_plan(model, trajectory.names, tasks, options)
    if options.smooth is not None:
        smoothing.require_rate(trajectory.rate_hz)
    parts, done, total = [], 0, trajectory.points.shape[0]
    for part in _fit_pieces(plan, [trajectory], options):
        parts.append(part)
        done += len(part.q)
        if progress is not None:
            progress(done, total)
    return concatenate(parts)


@runtime_checkable
class MotionWriter(Protocol):
    """Takes the fitted motion piece by piece."""

    def write(self, motion: Motion) -> None:
        """Appends one piece."""


def fit_ik_stream(
    model: Model,
    reader: Iterable,  # no item type: a checker that looks inside would use it up
    writer: MotionWriter,
    tasks: IkTasks | None = None,
    options: IkOptions | None = None,
    progress: Callable[[IkSolution], None] | None = None,
) -> int:
    """Fits a trial of any length in bounded memory.

    Args:
        model: Compiled model.
        reader: Consecutive pieces of one trial, such as ``io.streams.TrcReader``.
        writer: Takes the motion of each piece, such as ``io.streams.MotWriter``.
        tasks: As in ``fit_ik``.
        options: As in ``fit_ik``.
        progress: Called with the solution of each piece.

    Returns:
        The number of frames.

    Raises:
        ValueError: As in ``fit_ik``.
    """
    options = options or IkOptions()
    pieces = iter(reader)
    head = next(pieces, None)
    if head is None:
        return 0
    plan = make_plan(model, head.names, tasks, options)
    if options.smooth is not None:
        smoothing.require_rate(head.rate_hz)
    frames = 0
    for part in _fit_pieces(plan, chain([head], pieces), options):
        writer.write(part.motion)
        frames += len(part.q)
        if progress is not None:
            progress(part)
    return frames


def _bucket(options: IkOptions) -> Bucket:
    on_cpu = jax.default_backend() == "cpu"
    return Bucket(
        options.chunk_frames,
        options.chunk_frames,
        options.lanes or (32 if on_cpu else 2048),
    )


def make_plan(
    model: Model,
    names: tuple[str, ...],
    tasks: IkTasks | None,
    options: IkOptions,
) -> Plan:
    """Returns what stays the same for all frames of a fit."""
    dtype = np.dtype(jnp.result_type(float))
    return ik_prepare.plan(
        model, tuple(names), tasks, options.objective, dtype, options.loss
    )


def pieces_of(trajectory: MarkerTrajectory, frames: int) -> Iterator[MarkerTrajectory]:
    """Cuts a trajectory into consecutive pieces of at most ``frames`` frames."""
    for i in range(0, max(len(trajectory.points), 1), frames):
        yield trajectory.cut(slice(i, i + frames))


def _fit_pieces(
    plan: Plan, pieces: Iterable[MarkerTrajectory], options: IkOptions
) -> Iterator[IkSolution]:
    """Fits pieces in order, smooths them and adds their covariance, as asked."""
    smooth, noise_m = options.smooth, options.noise_m
    most = options.chunk_frames
    if smooth is not None:
        most = min(most, smooth_pieces.PIECE_FRAMES)
    cut = (part for piece in pieces for part in pieces_of(piece, most))
    fitted = ik_frames.fit_pieces(
        plan,
        cut,
        _bucket(options),
        options.search,
        noise_m,
        in_time=smooth is not None,
    )
    if smooth is not None:
        found = smooth_pieces.smoothed(
            plan, fitted, smooth, noise_m, covariance=options.covariance
        )
    else:
        found = _each_alone(plan, fitted, options)
    warned = False
    for part in found:
        if not warned and not np.all(part.status == EMPTY):
            _warn(plan, part.prior_ratio, options)
            warned = True
        yield part


def _each_alone(plan: Plan, fitted, options: IkOptions) -> Iterator[IkSolution]:
    """Adds the covariance of frames fitted one by one."""
    noise_m = options.noise_m
    for _, data, part in fitted:
        if options.covariance:
            if noise_m is None and np.any(data.total > 0):
                noise_m = ik_frames.estimated_noise(plan, part.q, data)
            sure = uncertainty.of_frames(plan, part.q, data, noise_m or 1.0)
            yield replace(part, covariance=sure.covariance, noise_m=noise_m)
        else:
            yield part


def _warn(plan: Plan, ratio: dict[str, float], options: IkOptions) -> None:
    scale = float(plan.weights.sum()) if plan.normalised else 1.0
    for name, value in ratio.items():
        strength = value / scale
        if strength > options.warn_prior_ratio:
            warnings.warn(
                f"the task on {name} holds it {strength:.3g} times more strongly than "
                "the markers do, so it will hardly move from its target; lower its "
                "weight or drop it (docs/label-audit.md)",
                PriorDominanceWarning,
                stacklevel=4,
            )
