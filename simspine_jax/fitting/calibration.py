"""Joint calibration of a person: body scales, marker offsets and poses together.

A scaled model and its marker places are found from any motion, without a static pose
and without measured lengths: what is the same in all frames separates from what moves.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simspine_jax.body import segments
from simspine_jax.body.model import Model
from simspine_jax.fitting import (
    calibration_frames,
    calibration_noise,
    calibration_problem,
    calibration_setup,
    calibration_solve,
    ik,
)
from simspine_jax.fitting.calibration_frames import Chosen
from simspine_jax.fitting.calibration_options import (
    CalibrationOptions,
)
from simspine_jax.fitting.calibration_problem import Problem, State
from simspine_jax.fitting.calibration_result import Calibration
from simspine_jax.fitting.calibration_solve import Solution
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.types import IkTasks, MarkerTrajectory

# At first shapes and offsets hardly leave their prior, so that a wrong pose of the
# start is not explained by a wrong body.
_FIRST_NOISE_M = 0.1
_ROUNDS = 10  # of noise estimates and new searches of the poses
_SEARCHES = 3
_SAME_NOISE = 0.03  # relative
_ROUGH, _FINE = 0.1, 1e-3  # tolerances of a solve
# A person who is bent is so in all frames, which are not so many proofs against it.
_POSTURES = 3
_BETTER = 0.003  # share by which another pose must fit better


def calibrate(
    model: Model,
    trajectory: MarkerTrajectory | Sequence[MarkerTrajectory],
    tasks: IkTasks | None = None,
    options: CalibrationOptions | None = None,
) -> Calibration:
    """Finds a person's segment lengths and marker offsets from markers in motion.

    Args:
        model: With the bodies of the full-body model, scaled or not: only a start.
        trajectory: One trial, or several of the same person.
        tasks: Marker weights, which are taken as inverse variances; coordinate tasks
            only guide the search for poses. None for every marker that is shared,
            with weight 1.
        options: See ``CalibrationOptions``.

    Returns:
        The scaled model with its markers moved, and how sure all of it is.

    Raises:
        ValueError: No trial, no marker in common, no body or name that is known, or
            too few markers to estimate the noise.

    Source: the bilevel fit of scales, offsets and poses by Werling et al. 2023
    (AddBiomechanics), here as one problem with a posterior covariance.
    """
    options = options or CalibrationOptions()
    trials = [trajectory] if isinstance(trajectory, MarkerTrajectory) else trajectory
    weights = None if tasks is None else tasks.without_coordinate_tasks()
    chosen = calibration_frames.choose(model, trials, weights, options.frames)
    plan = ik.make_plan(model, chosen.trajectory.names, weights, ik.IkOptions())
    problem = calibration_setup.problem_of(model, plan, chosen.trajectory, options)
    first = ik.fit_ik(model, chosen.trajectory, tasks)
    state = State(
        calibration_setup.given_ratios(problem.scales, problem.ratio),
        np.zeros((len(plan.marker_names), 3)),
        calibration_setup.unknowns_of(problem, plan, first.q),
    )
    solution, noise = _alternate(model, plan, problem, chosen, tasks, state, options)
    covariance = calibration_solve.posterior(
        _weighed(problem, noise), solution.state, noise.shared
    )[0]
    return _result(model, plan, problem, chosen, first, solution, noise, covariance)


class _Noise(NamedTuple):
    """SD of a component, m, and how many frames count as one."""

    noise_m: float
    frames_as_one: float

    @property
    def shared(self) -> float:
        """SD that independent frames would have to tell as much, m."""
        return self.noise_m * self.frames_as_one**0.5


def _alternate(
    model: Model,
    plan: Plan,
    problem: Problem,
    chosen: Chosen,
    tasks: IkTasks | None,
    state: State,
    options: CalibrationOptions,
) -> tuple[Solution, _Noise]:
    """Solves, estimates the noise and searches for better poses, until all agree."""
    noise = _Noise(_FIRST_NOISE_M, options.frames_as_one or 1.0)
    steps, searches, settled = 0, 0, False
    for _ in range(_ROUNDS):
        fine = settled or searches >= _SEARCHES
        solution = calibration_solve.solve(
            _weighed(problem, noise), state, noise.shared, _FINE if fine else _ROUGH
        )
        state, steps = solution.state, steps + solution.steps
        found = _estimated(problem, chosen, solution, noise, options)
        same = abs(found.shared / noise.shared - 1) < _SAME_NOISE
        if settled and same:
            break
        noise = found
        settled = same or searches == 0
        if settled and searches < _SEARCHES:
            better = _searched(model, plan, problem, chosen, tasks, solution, noise)
            searches += 1
            settled = better is None and same
            state = state if better is None else better
    return solution._replace(steps=steps), noise


def _estimated(
    problem: Problem,
    chosen: Chosen,
    solution: Solution,
    noise: _Noise,
    options: CalibrationOptions,
) -> _Noise:
    noise_m, together = options.noise_m, options.frames_as_one
    if noise_m is None:
        used = calibration_solve.posterior(
            _weighed(problem, noise), solution.state, noise.shared
        )[1]
        noise_m = calibration_noise.noise_of(problem, solution.points, used)
    if together is None:
        together = calibration_noise.frames_as_one(
            problem, solution.points, chosen.trial
        )
    return _Noise(noise_m, together)


def _weighed(problem: Problem, noise: _Noise) -> Problem:
    """Returns the problem where all frames count as a few postures at most."""
    share = min(1 / noise.frames_as_one, _POSTURES / len(problem.points))
    return replace(problem, posture=problem.posture * share**0.5)


def _searched(
    model: Model,
    plan: Plan,
    problem: Problem,
    chosen: Chosen,
    tasks: IkTasks | None,
    solution: Solution,
    noise: _Noise,
) -> State | None:
    """Fits the poses anew with the calibrated model; None if no frame gains."""
    calibrated = calibration_setup.calibrated(model, plan, problem, solution.state)
    again = ik.fit_ik(calibrated, chosen.trajectory, tasks)
    other = solution.state._replace(
        x=calibration_setup.unknowns_of(problem, plan, again.q)
    )
    points = calibration_problem.linearise(problem, other).points
    cost = lambda points, x: calibration_problem.frame_costs(
        _weighed(problem, noise), points, x, noise.shared
    )
    before = cost(solution.points, solution.state.x)
    gains = cost(points, other.x) < (1 - _BETTER) * before
    if not gains.any():
        return None
    return other._replace(x=np.where(gains[:, None], other.x, solution.state.x))


def _result(
    model: Model,
    plan: Plan,
    problem: Problem,
    chosen: Chosen,
    first: ik.IkSolution,
    solution: Solution,
    noise: _Noise,
    covariance: np.ndarray,
) -> Calibration:
    state = solution.state
    names = segments.of_model(model).names
    ratio = np.exp(state.log_ratio)
    sd = np.sqrt(np.diag(covariance))
    before = np.sqrt(np.diag(np.linalg.inv(problem.precision)))
    offset_sd = sd[len(names) :].reshape(-1, 3)
    factors = np.asarray(
        calibration_problem.factors_of(problem.scales, problem.ratio, state.log_ratio)
    )
    q = np.array(first.q)
    q_free = np.array(model.free_of(q))
    q_free[:, list(plan.columns)] = state.x
    seen = problem.weight > 0
    square = ((solution.points - problem.points) ** 2).sum(axis=2)
    return Calibration(
        model=calibration_setup.calibrated(model, plan, problem, state),
        segments=names,
        ratio=ratio,
        ratio_sd=ratio * sd[: len(names)],
        ratio_share=1 - (sd[: len(names)] / before) ** 2,
        factors={
            body: tuple(row)
            for body, row in zip(model.body_names, factors.tolist(), strict=True)
        },
        marker_names=plan.marker_names,
        offset_shift=state.shift,
        offset_sd=offset_sd,
        offset_share=1 - offset_sd**2 * problem.offset_precision[:, None],
        covariance=covariance,
        noise_m=noise.noise_m,
        frames_as_one=noise.frames_as_one,
        trial=chosen.trial,
        frame=chosen.frame,
        q=np.asarray(model.expand(q_free)),
        rms_before_m=float(np.sqrt((first.marker_error**2).sum() / seen.sum())),
        rms_after_m=float(np.sqrt((square * seen).sum() / seen.sum())),
        steps=solution.steps,
        status=solution.status,
    )
