"""Inverse kinematics: markers over time to joint coordinates.

``fit_ik`` for a trial in memory, ``fit_ik_stream`` for any length in bounded memory.
Both cut time into chunks of one padded size, so that one compilation serves all.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from simspine_jax.body.model import Model
from simspine_jax.core import levenberg_marquardt as lm
from simspine_jax.core.robust import RobustLoss
from simspine_jax.fitting import (
    euler_branches,
    identifiability,
    ik_prepare,
    ik_problem,
    ik_search,
    unwrap,
)
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_queue import Bucket
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.fitting.ik_solution import IkSolution, concatenate
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
    """

    objective: str = "normalised"
    search: SearchOptions = field(default_factory=SearchOptions)
    chunk_frames: int = 16384
    lanes: int = 0
    warn_prior_ratio: float = 1.0
    loss: RobustLoss | None = None


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
        the pose of the nearest fitted frame.

    Raises:
        ValueError: No marker in common, or a task on an unknown coordinate.

    Warns:
        PriorDominanceWarning: A task's curvature outweighs the markers' information
            on its coordinate, which then hardly moves.

    Source: the objective of OpenSim 4.6 ``InverseKinematicsSolver`` (see
    ``ik_problem``). It differs in the solver: couplers are substituted, every frame
    is searched globally, and frames are solved together.
    """
    options = options or IkOptions()
    plan = make_plan(model, trajectory.names, tasks, options)
    parts, done, total = [], 0, trajectory.points.shape[0]
    pieces = pieces_of(trajectory, options.chunk_frames)
    for part in _fit_pieces(plan, pieces, options):
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

    def cut() -> Iterator[MarkerTrajectory]:
        yield from pieces_of(head, options.chunk_frames)
        for piece in pieces:
            yield from pieces_of(piece, options.chunk_frames)

    frames = 0
    for part in _fit_pieces(plan, cut(), options):
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
        part = slice(i, i + frames)
        weight = None if trajectory.weight is None else trajectory.weight[part]
        yield replace(
            trajectory,
            points=trajectory.points[part],
            valid=trajectory.valid[part],
            weight=weight,
            start_s=trajectory.start_s + i / trajectory.rate_hz,
        )


def _fit_pieces(
    plan: Plan, pieces: Iterable[MarkerTrajectory], options: IkOptions
) -> Iterator[IkSolution]:
    """Fits pieces in order; each starts from what the one before it found."""
    seed = before = None
    ratio: dict[str, float] | None = None
    bucket = _bucket(options)
    angle, spread, root = ik_prepare.starting_ranges(plan)
    lower = np.asarray(plan.model.lower)[plan.unknowns]
    upper = np.asarray(plan.model.upper)[plan.unknowns]
    default = np.clip(np.asarray(plan.model.default_q)[plan.unknowns], lower, upper)
    for piece in pieces:
        data = ik_prepare.observations(plan, piece)
        total = len(data.points)
        filled = np.flatnonzero(data.weight.sum(axis=1) > 0)
        kept = jax.tree.map(lambda a, at=filled: a[at], data)
        problem = ik_prepare.chunk_problem(plan, kept, bucket)
        best = ik_search.search(
            problem, default, angle, spread, root, options.search, seed
        )
        if len(filled):
            seed = best.x[-1]
        x = _spread_to_empty(best.x, filled, total, default if seed is None else seed)
        q, *terms = _outcomes(plan, problem.base, x, data)
        q = euler_branches.follow(plan.model, q, plan.tasked, before)
        q = unwrap.unwrap(plan.model, q, plan.tasked, before)
        if total:
            before = q[-1]
        if ratio is None and len(filled):
            few = filled[np.linspace(0, len(filled) - 1, 16).astype(int)]
            ratio = {}
            if plan.tasked:
                ratio = identifiability.prior_dominance(
                    plan, q[few], np.asarray(data.weight)[few]
                )
            _warn(plan, ratio, options)
        status = np.full(total, lm.EMPTY, np.int32)
        status[filled] = best.status
        steps = np.zeros(total, int)
        steps[filled] = best.steps
        yield _solution(plan, piece, data, q, terms, status, steps, ratio or {})


_OUTCOME_FRAMES = 2048


def _outcomes(plan: Plan, base: np.ndarray, x: np.ndarray, data) -> list[np.ndarray]:
    """Returns coordinates and what they cost, in pieces of one padded size."""
    parts = []
    for i in range(0, max(len(x), 1), _OUTCOME_FRAMES):
        part = slice(i, i + _OUTCOME_FRAMES)
        count = len(x[part])
        rows = np.zeros((_OUTCOME_FRAMES, x.shape[1]), x.dtype)
        rows[:count] = x[part]
        seen = ik_prepare.padded(
            jax.tree.map(lambda a, part=part: a[part], data), _OUTCOME_FRAMES
        )
        out = _outcome(
            plan.model, plan.columns, plan.tasked, base, rows, seen, plan.loss
        )
        parts.append([np.asarray(a)[:count] for a in jax.device_get(out)])
    return [np.concatenate(p) for p in zip(*parts, strict=True)]


def _spread_to_empty(
    x: np.ndarray, filled: np.ndarray, total: int, fallback: np.ndarray
) -> np.ndarray:
    """Gives frames without markers the unknowns of the nearest frame that has."""
    if len(filled) == 0:
        return np.tile(fallback, (total, 1))
    place = np.searchsorted(filled, np.arange(total)).clip(0, len(filled) - 1)
    left = np.maximum(place - 1, 0)
    frames = np.arange(total)
    closer = np.abs(filled[left] - frames) < np.abs(filled[place] - frames)
    return x[np.where(closer, left, place)]


def _solution(plan, piece, data, q, terms, status, steps, ratio) -> IkSolution:
    marker, task, distance = terms
    total = np.where(data.total > 0, data.total, 1.0)
    normalised = marker + (task if plan.normalised else task / total)
    opensim = marker + (task * total if plan.normalised else task)
    return IkSolution(
        q=q,
        objective=normalised if plan.normalised else opensim,
        objective_opensim=opensim,
        objective_normalised=normalised,
        marker_error=distance,
        marker_seen=data.weight > 0,
        status=status,
        steps=steps,
        prior_ratios=tuple(ratio.items()),
        marker_names=plan.marker_names,
        coordinate_names=plan.model.coordinate_names,
        rate_hz=piece.rate_hz,
        start_s=piece.start_s,
    )


_outcome = jax.jit(ik_problem.outcome, static_argnums=(1, 2))


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
