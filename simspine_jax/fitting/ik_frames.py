"""Fits the frames of a trial one by one, piece after piece.

Pieces are padded to one size, so that one compilation serves all.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from simspine_jax.core import levenberg_marquardt as lm
from simspine_jax.fitting import (
    euler_branches,
    identifiability,
    ik_prepare,
    ik_problem,
    ik_search,
    paths,
    uncertainty,
)
from simspine_jax.fitting.euler_branches import Mended
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_problem import IkData
from simspine_jax.fitting.ik_queue import Bucket
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.fitting.ik_solution import IkSolution
from simspine_jax.types import MarkerTrajectory

_OUTCOME_FRAMES = 2048
_NOISE_FRAMES = 256  # enough to estimate the noise from


def fit_pieces(
    plan: Plan,
    pieces: Iterable[MarkerTrajectory],
    bucket: Bucket,
    search: SearchOptions,
    noise_m: float | None = None,
    *,
    in_time: bool = False,
) -> Iterator[tuple[MarkerTrajectory, IkData, IkSolution]]:
    """Fits consecutive pieces of a trial; each starts from what the last one found.

    Args:
        plan: Of the fit.
        pieces: The markers.
        bucket: Padded sizes.
        search: How hard to search.
        noise_m: Noise SD of the markers; only for ``in_time``.
        in_time: Choose among poses of nearly the same cost those that go on smoothly
            (``paths``).
    """
    seed = before = raw_before = None
    ratio: dict[str, float] | None = None
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
        best = ik_search.search(problem, default, angle, spread, root, search, seed)
        if len(filled):
            seed = best.x[-1]
        fallback = default if seed is None else seed
        x = _spread_to_empty(best.x, filled, total, fallback)
        raw, *terms = outcomes(plan, x, data)
        q, mended = _mend(plan, raw, before, raw_before)
        rerouted = np.zeros(total, bool)
        if in_time and len(filled) > 1:
            noise_m = noise_m or estimated_noise(plan, q, data)
            path = paths.best_path(
                problem,
                q[filled][:, plan.unknowns],
                best.cost,
                likelihood_scale(plan, kept) / noise_m**2,
                piece.rate_hz,
                angle,
                default,
                search,
            )
            rerouted[filled] = path.changed
            x = _spread_to_empty(path.x, filled, total, fallback)
            q, *terms = outcomes(plan, x, data)
            q, again = _mend(plan, q, before, raw_before)
            mended = mended + again
        if total:
            before, raw_before = q[-1], raw[-1]
        if ratio is None and len(filled):
            few = filled[np.linspace(0, len(filled) - 1, 16).astype(int)]
            ratio = {}
            if plan.tasked:
                ratio = identifiability.prior_dominance(
                    plan, q[few], np.asarray(data.weight)[few]
                )
        status = np.full(total, lm.EMPTY, np.int32)
        status[filled] = best.status
        steps = np.zeros(total, int)
        steps[filled] = best.steps
        solution = IkSolution(
            q=q,
            **costs(plan, data, terms),
            marker_seen=np.asarray(data.weight) > 0,
            status=status,
            steps=steps,
            rerouted=rerouted,
            mended=mended,
            prior_ratios=tuple((ratio or {}).items()),
            marker_names=plan.marker_names,
            coordinate_names=plan.model.coordinate_names,
            rate_hz=piece.rate_hz,
            start_s=piece.start_s,
        )
        yield piece, data, solution


def likelihood_scale(plan: Plan, data: IkData) -> np.ndarray:
    """Returns what each frame's objective counts, in squared noise SDs. Shape [T].

    With markers of equal weight: the number of markers that the frame has.
    """
    seen = (np.asarray(data.weight) > 0).any(axis=1)
    return np.where(seen, np.asarray(data.total) / plan.weights.mean(), 0.0)


def estimated_noise(plan: Plan, q: np.ndarray, data: IkData) -> float:
    """Returns the noise SD of a marker component, m, estimated on some frames."""
    filled = np.flatnonzero(np.asarray(data.total) > 0)
    picks = np.linspace(0, len(filled) - 1, min(len(filled), _NOISE_FRAMES))
    few = filled[picks.astype(int)]
    some = jax.tree.map(lambda a: a[few], data)
    return uncertainty.of_frames(plan, q[few], some).noise_m


def outcomes(plan: Plan, x: np.ndarray, data: IkData) -> list[np.ndarray]:
    """Returns coordinates, marker part, task part and marker distances.

    In pieces of one padded size; see ``ik_problem.outcome``.
    """
    free = np.asarray(plan.model.topology.free, int)
    base = np.asarray(plan.model.default_q)[free]
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


def costs(plan: Plan, data: IkData, terms: list[np.ndarray]) -> dict[str, Any]:
    """Returns both forms of the objective and the marker errors, by field."""
    marker, task, distance = terms
    total = np.where(data.total > 0, data.total, 1.0)
    normalised = marker + (task if plan.normalised else task / total)
    opensim = marker + (task * total if plan.normalised else task)
    return {
        "objective": normalised if plan.normalised else opensim,
        "objective_opensim": opensim,
        "objective_normalised": normalised,
        "marker_error": distance,
    }


def _mend(plan: Plan, q, before, raw_before) -> tuple[np.ndarray, Mended]:
    return euler_branches.mend(plan.model, q, plan.tasked, before, raw_before)


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


_outcome = jax.jit(ik_problem.outcome, static_argnums=(1, 2))
