"""Runs both inverse kinematics solvers on the same frames and judges them alike.

Both answers are evaluated by OpenSim's own kinematics, so that no difference between
the two packages' models can favour one. OpenSim's answer is never used by ours.
"""

import time
from dataclasses import replace

import numpy as np

from simspine_jax.evaluation import angle_difference
from simspine_jax.evaluation.ik_comparison import Answer, Comparison, Trial
from simspine_jax.fitting import identifiability, ik
from simspine_jax.fitting.ik import IkOptions
from simspine_jax.fitting.ik_solution import IkSolution
from simspine_jax.reference import opensim_ik, opensim_objective
from simspine_jax.reference.opensim_ik import ReferenceMotion
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.types import IkTasks, MarkerTrajectory

# A coordinate this near a limit stands at it; OpenSim stops a little short. rad, m
_AT_BOUND = 1e-4


def run_both(
    trial: Trial, options: IkOptions
) -> tuple[Comparison, IkSolution, ReferenceMotion]:
    """Solves a trial by both and compares.

    Ours is solved twice and the second is timed, without compilation; the result
    is the same.

    Args:
        trial: The trial.
        options: Ours; OpenSim takes the accuracy of the tasks.

    Returns:
        The comparison, our solution and OpenSim's.

    Raises:
        ValueError: As either solver.
    """
    ours = ik.fit_ik(trial.model, trial.trajectory, trial.tasks, options)
    start = time.perf_counter()
    ik.fit_ik(trial.model, trial.trajectory, trial.tasks, options)
    seconds = time.perf_counter() - start
    theirs = run_opensim(trial)
    comparison = judge(trial, options, ours, seconds, theirs.q, theirs.seconds)
    return comparison, ours, theirs


def run_opensim(trial: Trial) -> ReferenceMotion:
    """Solves a trial by OpenSim's tool, every frame."""
    return opensim_ik.run_inverse_kinematics(
        trial.model_path,
        trial.trajectory,
        replace(trial.tasks, time_range_s=None),
        markers=trial.markers_path,
    )


def judge(
    trial: Trial,
    options: IkOptions,
    ours: IkSolution,
    seconds: float,
    opensim_q: np.ndarray,
    opensim_seconds: float,
) -> Comparison:
    """Compares two answers to one trial.

    Args:
        trial: The trial.
        options: Options of our fit.
        ours: Our answer.
        seconds: What it took.
        opensim_q: OpenSim's answer, rad and m. Shape [T, N].
        opensim_seconds: What it took.

    Returns:
        The comparison.
    """
    reference = ReferenceModel(trial.model_path, trial.markers_path)
    model = trial.model
    names = trial.trajectory.names
    plan = ik.make_plan(model, names, trial.tasks, options)
    sd = identifiability.coordinate_sd(plan, ours.q, ours.marker_seen)
    rotational = np.asarray(model.coordinate_is_angle)
    free = np.zeros(len(rotational), bool)
    free[list(model.topology.free)] = True
    return Comparison(
        name=trial.name,
        times_s=trial.trajectory.times_s,
        coordinate_names=model.coordinate_names,
        rotational=rotational,
        free=free,
        ours=_answer(trial, reference, free, ours.q, seconds),
        opensim=_answer(trial, reference, free, opensim_q, opensim_seconds),
        own_objective=np.asarray(ours.objective_opensim),
        difference=angle_difference.coordinate_difference(model, ours.q, opensim_q),
        determined=identifiability.determined(plan, sd),
    )


def _answer(
    trial: Trial,
    reference: ReferenceModel,
    free: np.ndarray,
    q: np.ndarray,
    seconds: float,
) -> Answer:
    q = np.asarray(q, np.float64)
    seen, tasks = trial.trajectory, trial.tasks
    value = opensim_objective.objective(reference, q, seen, tasks)
    bare = tasks.without_coordinate_tasks()
    markers = opensim_objective.objective(reference, q, seen, bare)
    total = _total_weight(reference, seen, tasks)
    lower = np.where(reference.clamped, reference.ranges[:, 0], -np.inf)
    upper = np.where(reference.clamped, reference.ranges[:, 1], np.inf)
    past = np.maximum(lower - q, q - upper)[:, free]  # [T, F]
    return Answer(
        q=q,
        objective=value,
        objective_normalised=markers + (value - markers) / total,
        marker_rms=opensim_objective.marker_rms(reference, q, seen, tasks),
        constraint_violation=reference.constraint_violation(q),
        at_bounds=(past > -_AT_BOUND).sum(axis=1),
        past_bounds=np.maximum(past.max(axis=1), 0.0),
        seconds=seconds,
    )


def _total_weight(
    reference: ReferenceModel, seen: MarkerTrajectory, tasks: IkTasks
) -> np.ndarray:
    """Summed weight of the markers seen in each frame, 1 where none. Shape [T]."""
    known = set(reference.marker_names)
    weights = tasks.marker_weights
    row = np.array([weights.get(n, 0.0) if n in known else 0.0 for n in seen.names])
    weight = np.asarray(seen.valid) * row
    if seen.weight is not None:
        weight = weight * np.asarray(seen.weight)
    total = weight.sum(axis=1)
    return np.where(total > 0, total, 1.0)
