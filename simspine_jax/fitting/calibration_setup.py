"""From a model, markers and options to a calibration problem, and back to a model."""

import jax
import numpy as np
from jaxtyping import Float

from simspine_jax.body import segments
from simspine_jax.body.model import Model
from simspine_jax.fitting import (
    calibration_posture,
    calibration_prior,
    calibration_problem,
    ik_prepare,
)
from simspine_jax.fitting.calibration_options import CalibrationOptions
from simspine_jax.fitting.calibration_problem import Problem, State
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.types import MarkerTrajectory

_FIXED_SD = 1e-6  # of what shall not move: log ratio, m


def problem_of(
    model: Model, plan: Plan, trajectory: MarkerTrajectory, options: CalibrationOptions
) -> Problem:
    """Puts a calibration's problem together.

    Args:
        model: That came in.
        plan: Markers and unknowns of its inverse kinematics.
        trajectory: The chosen frames.
        options: See ``CalibrationOptions``.

    Raises:
        ValueError: A fixed marker or segment, or all bodies, are not known.
    """
    known = segments.of_model(model)
    for field, allowed in (
        ("fixed_markers", model.marker_names),
        ("fixed_segments", known.names),
    ):
        for name in getattr(options, field):
            if name not in allowed:
                raise ValueError(
                    f"{field} names {name!r}, which the model does not have; it has "
                    f"{', '.join(allowed)}"
                )
    ratio = segments.ratios_of(model)
    mean, covariance = calibration_prior.segment_prior(
        known.names, options.symmetry_sd, options.shape_sd, options.size_sd
    )
    precision = np.linalg.inv(covariance)
    fixed = np.isin(known.names, options.fixed_segments) / _FIXED_SD**2
    pull = precision @ mean + fixed * given_ratios(known.scales, ratio)
    precision = precision + np.diag(fixed)
    still = np.isin(plan.marker_names, options.fixed_markers)
    data = ik_prepare.observations(plan, trajectory)
    total = np.asarray(data.total)[:, None]
    index = plan.unknowns
    return Problem(
        model=jax.tree.map(lambda a: np.asarray(a, np.float64), plan.model),
        columns=plan.columns,
        scales=known.scales,
        ratio=ratio,
        points=np.asarray(data.points, np.float64),
        weight=np.asarray(data.weight * total, np.float64),
        lower=np.asarray(model.lower, np.float64)[index],
        upper=np.asarray(model.upper, np.float64)[index],
        mean=np.linalg.solve(precision, pull),
        precision=precision,
        offset_precision=np.where(still, _FIXED_SD, options.offset_sd_m) ** -2.0,
        neutral=np.asarray(model.default_q, np.float64)[index],
        posture=calibration_posture.rows(model, plan, options.posture_sd_deg),
        loss=options.loss,
    )


def given_ratios(
    scales: np.ndarray, ratio: Float[np.ndarray, "b 3"]
) -> Float[np.ndarray, " s"]:
    """Returns the log ratios that a model came with, the mean over bodies and axes."""
    return (scales * np.log(ratio)).sum(axis=(1, 2)) / scales.sum(axis=(1, 2))


def unknowns_of(problem: Problem, plan: Plan, q: np.ndarray) -> np.ndarray:
    """Returns the unknowns of all coordinates, within their limits. Shape [T, n]."""
    x = np.asarray(q, np.float64)[:, plan.unknowns]
    return np.clip(x, problem.lower, problem.upper)


def calibrated(model: Model, plan: Plan, problem: Problem, state: State) -> Model:
    """Returns the whole model at a state; markers not observed are only scaled."""
    shift = np.zeros((len(model.marker_names), 3))
    shift[[model.marker_names.index(n) for n in plan.marker_names]] = state.shift
    factors = calibration_problem.factors_of(
        problem.scales, problem.ratio, state.log_ratio
    )
    scaled = calibration_problem.with_segments(model, factors, shift)
    return jax.tree.map(np.asarray, scaled)
