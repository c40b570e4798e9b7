"""Smooths the pieces of a long trial one after the other, in bounded memory.

A piece is solved together with the last frames of the one before it, held as they
are, and with the first frames of the one that follows, so that all but what lies
further ahead is seen.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from simspine_jax.fitting import ik_frames, smoothing
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_problem import IkData
from simspine_jax.fitting.ik_solution import IkSolution
from simspine_jax.fitting.smoothing import Smoothness
from simspine_jax.types import MarkerTrajectory

PIECE_FRAMES = 4096  # bounds the memory of the equations
AHEAD_FRAMES = 256
_HELD = 2  # all that a second difference reaches back


def smoothed(
    plan: Plan,
    fitted: Iterable[tuple[MarkerTrajectory, IkData, IkSolution]],
    options: Smoothness,
    noise_m: float | None = None,
    *,
    covariance: bool = False,
) -> Iterator[IkSolution]:
    """Yields the smooth solution of every piece.

    Args:
        plan: Of the fit.
        fitted: Pieces of one trial as ``ik_frames.fit_pieces`` gives them.
        options: See ``Smoothness``.
        noise_m: Noise SD of a marker component, m; None to estimate it on the first
            piece.
        covariance: Whether to add the covariance.
    """
    pieces = iter(fitted)
    current = next(pieces, None)
    before: tuple[MarkerTrajectory, np.ndarray] | None = None
    while current is not None:
        following = next(pieces, None)
        piece, data, solution = current
        if noise_m is None and np.any(data.total > 0):
            noise_m = ik_frames.estimated_noise(plan, solution.q, data)
        parts = [(piece, solution.q)]
        if before is not None:
            parts.insert(0, before)
        if following is not None:
            ahead = slice(AHEAD_FRAMES)
            parts.append((following[0].cut(ahead), following[2].q[ahead]))
        first = len(before[1]) if before is not None else 0
        here = slice(first, first + len(solution.q))
        trial = _joined([p for p, _ in parts])
        q = np.concatenate([q for _, q in parts])
        still = np.arange(len(q)) < first
        known = noise_m or 1.0  # without any marker it cancels
        found = smoothing.smooth(plan, [trial], [q], options, known, [still])[0]
        if not found.change <= options.tolerance:
            warnings.warn(
                f"smoothing stopped after {found.steps} evaluations, where a "
                f"coordinate still moved by {found.change:.2g} (rad or m); allow "
                "more (max_steps) or share more frames (shared_frames)",
                UserWarning,
                stacklevel=2,
            )
        x = found.q[here][:, plan.unknowns]
        smooth_q, *terms = ik_frames.outcomes(plan, x, data)
        extra = {}
        if covariance:
            all_q = np.concatenate(
                [found.q[: here.start], smooth_q, found.q[here.stop :]]
            )
            sure = smoothing.covariance(plan, [trial], [all_q], options, known)[0]
            extra = {"covariance": sure.covariance[here], "noise_m": known}
        yield replace(
            solution, q=smooth_q, **ik_frames.costs(plan, data, terms), **extra
        )
        before = piece.cut(slice(-_HELD, None)), smooth_q[-_HELD:]
        current = following


def _joined(pieces: list[MarkerTrajectory]) -> MarkerTrajectory:
    weights = [p.weight for p in pieces if p.weight is not None]
    return replace(
        pieces[0],
        points=np.concatenate([p.points for p in pieces]),
        valid=np.concatenate([p.valid for p in pieces]),
        weight=np.concatenate(weights) if weights else None,
    )
