"""Solves a calibration: Levenberg-Marquardt with the poses eliminated.

Notation: as in ``calibration_problem``; K = S + 3 M shared unknowns. The Gauss-Newton
matrix is bordered: a block [n, n] for each frame, and a border to the shared block
[K, K]. With the frames eliminated the shared block is ``C - sum_t B_t^T A_t^-1 B_t``
(Schur complement), and its inverse is the posterior covariance of what is shared, the
uncertainty of all poses included. Limits of coordinates by active set.

Source: bundle adjustment (Triggs et al., Bundle Adjustment - A Modern Synthesis, 2000,
section 6.1); damping after Nielsen, as in ``core.levenberg_marquardt``.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from simspine_jax.core import robust
from simspine_jax.fitting import calibration_problem as problem_of
from simspine_jax.fitting.calibration_problem import Linearised, Problem, State

# What no marker determines of a pose is known to half a turn (or 3 m).
_POSE_SD = np.pi
_SMALL = 24  # rows
_LEAST_DAMPING, _LARGEST_DAMPING = 1e-9, 1e8
# A frame is damped more where it misses this share of the decrease that was predicted.
_POOR = 0.5

CONVERGED, MAX_STEPS = "converged", "stopped at the step limit"
STALLED = "stalled: no step lowers the cost"


class Solution(NamedTuple):
    """Where a solve ended.

    Attributes:
        state: The unknowns.
        points: The markers there, m. Shape [T, M, 3].
        cost: Minus the log posterior, up to a constant.
        steps: Linearisations.
        status: Why it ended.
    """

    state: State
    points: np.ndarray
    cost: float
    steps: int
    status: str


class _Normal(NamedTuple):
    """The bordered Gauss-Newton system; limits are taken into account.

    Attributes:
        pose: Blocks of the frames, with the posture prior. Shape [T, n, n].
        border: Shape [T, n, K].
        shared: With the prior. Shape [K, K].
        pose_gradient: Shape [T, n].
        gradient: Shape [K].
        held: Coordinates at a limit that the gradient pushes on. Shape [T, n].
    """

    pose: np.ndarray
    border: np.ndarray
    shared: np.ndarray
    pose_gradient: np.ndarray
    gradient: np.ndarray
    held: np.ndarray


def solve(
    problem: Problem,
    start: State,
    noise_m: float,
    tolerance: float = 1e-3,
    max_steps: int = 100,
) -> Solution:
    """Minimises minus the log posterior from a start.

    Args:
        problem: What is solved.
        start: Where to start; poses within their limits.
        noise_m: Noise SD of a component of a marker of weight 1, m.
        tolerance: Decrease of minus the log posterior below which a step is a last
            one; 1e-3 moves what is shared by less than a twentieth of its SD.
        max_steps: Linearisations allowed.
    """
    state, damping, growth = start, 1e-3, 2.0
    by_frame = np.full(len(start.x), 1e-3)
    at = problem_of.linearise(problem, state)
    costs = problem_of.frame_costs(problem, at.points, state.x, noise_m)
    here = costs.sum() + problem_of.prior_cost(problem, state)
    system = _normal(problem, state, at, noise_m)
    for step in range(1, max_steps + 1):
        trial, clipped = _moved(problem, state, *_step(system, damping, by_frame))
        ahead = problem_of.predicted_points(at, state, trial)
        guess = problem_of.frame_costs(problem, ahead, trial.x, noise_m)
        prior = problem_of.prior_cost(problem, trial)
        predicted = here - guess.sum() - prior
        # Below zero it is no convergence: limits cut the step short.
        if abs(predicted) < tolerance and damping < 1.0:
            return Solution(state, at.points, here, step, CONVERGED)
        there = problem_of.linearise(problem, trial)
        found = problem_of.frame_costs(problem, there.points, trial.x, noise_m)
        gain = (here - found.sum() - prior) / predicted if predicted > 0 else -1.0
        # One frame whose pose is open must not hold all others back.
        share = max(predicted, 0.0) / len(costs)
        poor = found - guess > _POOR * np.maximum(costs - guess, share)
        poor = poor | (clipped & (guess > costs))
        raised = np.where(poor, np.maximum(10 * by_frame, 1e-2), by_frame)
        by_frame = np.minimum(raised, _LARGEST_DAMPING)
        if gain > 1e-4:
            state, at, costs, here = trial, there, found, found.sum() + prior
            system = _normal(problem, state, at, noise_m)
            damping *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
            damping, growth = max(damping, _LEAST_DAMPING), 2.0
            by_frame = np.where(poor, by_frame, by_frame / 4)
            by_frame = np.maximum(by_frame, _LEAST_DAMPING)
        elif not poor.any() or by_frame[poor].min() == _LARGEST_DAMPING:
            damping, growth = damping * growth, growth * 2.0
        if damping > _LARGEST_DAMPING:
            return Solution(state, at.points, here, step, STALLED)
    return Solution(state, at.points, here, max_steps, MAX_STEPS)


def posterior(
    problem: Problem, state: State, noise_m: float
) -> tuple[Float[np.ndarray, "k k"], float]:
    """Returns the covariance of what is shared, and the data's degrees of freedom used.

    Coordinates at their limits count as free, so that the covariance errs on the wide
    side. The second number is how many of the unknowns the data determine, poses and
    shared ones: the trace of the hat matrix.
    """
    at = problem_of.linearise(problem, state)
    system = _normal(problem, state, at, noise_m, limits=False)
    prior = np.eye(system.pose.shape[1]) / _POSE_SD**2
    pose = np.linalg.inv(system.pose + prior)
    prior = prior + problem.posture.T @ problem.posture
    solved = pose @ system.border
    covariance = _inverse(system.shared - _product(system.border, solved))
    # The trace of the covariance times the prior is what the prior determines.
    s = len(problem.mean)
    given = np.sum(covariance[:s, :s] * problem.precision)
    given += np.diag(covariance)[s:] @ np.repeat(problem.offset_precision, 3)
    given += np.sum(pose * prior) + np.sum((solved @ covariance) * (prior @ solved))
    unknowns = len(covariance) + state.x.size - system.held.sum()
    return covariance, float(unknowns - given)


def _normal(
    problem: Problem, state: State, at: Linearised, noise_m: float, limits: bool = True
) -> _Normal:
    frames, markers, _, n = at.in_pose.shape
    s = len(problem.mean)
    miss = at.points - problem.points
    factor = np.asarray(robust.apply(problem.loss, (miss**2).sum(axis=2))[1])
    weight = problem.weight * factor / noise_m**2  # [t, m]
    root = np.sqrt(weight)[:, :, None, None]
    flat = lambda a: (a * root).reshape(frames, 3 * markers, -1)
    pose, segment, miss = flat(at.in_pose), flat(at.in_segment), flat(miss[..., None])
    turn = at.in_shift * root  # [t, m, 3, 3]
    # A shift moves its own marker only.
    by_marker = lambda a: np.matmul(
        a.reshape(frames, markers, 3, -1).transpose(0, 1, 3, 2), turn
    )  # [t, m, ., 3]
    to_shift = by_marker(pose).transpose(0, 2, 1, 3).reshape(frames, n, -1)
    border = np.concatenate([pose.transpose(0, 2, 1) @ segment, to_shift], axis=2)
    corner = by_marker(segment).sum(axis=0).transpose(1, 0, 2).reshape(s, -1)
    columns = segment.reshape(-1, s)
    shift_information = np.repeat(weight.sum(axis=0) + problem.offset_precision, 3)
    shared = np.block(
        [
            [columns.T @ columns + problem.precision, corner],
            [corner.T, np.diag(shift_information)],
        ]
    )
    pull = problem.precision @ (state.log_ratio - problem.mean)
    tug = by_marker(miss).sum(axis=0).reshape(-1)
    tug = tug + (problem.offset_precision[:, None] * state.shift).reshape(-1)
    gradient = np.concatenate([columns.T @ miss.reshape(-1) + pull, tug])
    pose_gradient = (pose.transpose(0, 2, 1) @ miss)[..., 0]
    information = pose.transpose(0, 2, 1) @ pose + problem.posture.T @ problem.posture
    away = (state.x - problem.neutral) @ problem.posture.T
    pose_gradient = pose_gradient + away @ problem.posture
    held = ((state.x <= problem.lower) & (pose_gradient > 0)) | (
        (state.x >= problem.upper) & (pose_gradient < 0)
    )
    if limits:
        loose = (~held).astype(float)
        information = information * loose[:, :, None] * loose[:, None]
        border = border * loose[:, :, None]
        pose_gradient = pose_gradient * loose
    return _Normal(information, border, shared, pose_gradient, gradient, held)


def _step(
    system: _Normal, damping: float, by_frame: Float[np.ndarray, " t"]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps of what is shared and of the poses."""
    each = np.arange(system.pose.shape[1])
    pose = system.pose.copy()
    pose[:, each, each] *= 1 + by_frame[:, None]
    pose[:, each, each] += 1 / _POSE_SD**2
    shared = system.shared + damping * np.diag(np.diag(system.shared))
    right = np.concatenate([system.border, system.pose_gradient[..., None]], axis=2)
    solved = np.linalg.solve(pose, right)
    back = _product(system.border, solved)
    step = -_inverse(shared - back[:, :-1]) @ (system.gradient - back[:, -1])
    return step, -(solved[..., -1] + solved[..., :-1] @ step)


def _moved(
    problem: Problem, state: State, shared: np.ndarray, poses: np.ndarray
) -> tuple[State, np.ndarray]:
    """Returns the state after a step, and in which frames a limit cut it short."""
    s = len(problem.mean)
    x = np.clip(state.x + poses, problem.lower, problem.upper)
    moved = State(
        state.log_ratio + shared[:s], state.shift + shared[s:].reshape(-1, 3), x
    )
    return moved, (x != state.x + poses).any(axis=1)


def _product(
    left: Float[np.ndarray, "t n k"], right: Float[np.ndarray, "t n j"]
) -> Float[np.ndarray, "k j"]:
    """Returns the sum of ``left^T right`` over the frames."""
    return left.reshape(-1, left.shape[2]).T @ right.reshape(-1, right.shape[2])


def _inverse(matrix: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """Inverts a positive matrix of mixed units."""
    scale = 1 / np.sqrt(np.diag(matrix))
    return _block_inverse(matrix * scale[:, None] * scale) * scale[:, None] * scale


def _block_inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverts by halves: on large matrices LAPACK's threads cost more than they give.

    One inverse of 140 rows took 7 ms in one thread, and up to 400 ms in two on a
    machine with other work.
    """
    k = len(matrix) // 2
    if k < _SMALL:
        return np.linalg.inv(matrix)
    first = _block_inverse(matrix[:k, :k])
    across = first @ matrix[:k, k:]
    last = _block_inverse(matrix[k:, k:] - matrix[k:, :k] @ across)
    corner = across @ last
    return np.block([[first + corner @ across.T, -corner], [-corner.T, last]])
