"""Which coordinates the markers determine, and which a prior holds instead.

Notation: J marker Jacobian in the unknowns, w marker weights over their sum,
``H = sum_m w_m J_m^T J_m``. The marginal information on unknown k, with all others
free to adjust, is ``1 / (H^-1)_kk``; with equal noise sigma on every marker the
predicted SD of k is ``sigma sqrt((J^T J)^-1_kk)``.
"""

import numpy as np

from simspine_jax.fitting import linearised, uncertainty
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.uncertainty import IkUncertainty


def coordinate_sd(
    plan: Plan, q: np.ndarray, seen: np.ndarray, noise_m: float = 0.005
) -> np.ndarray:
    """Returns the predicted SD of every coordinate under marker noise.

    Args:
        plan: Markers and unknowns of a fit.
        q: Fitted coordinates. Shape [T, N].
        seen: Which of the plan's markers were seen. Shape [T, M].
        noise_m: SD of each marker component, m.

    Returns:
        SD, rad or m; inf where the markers do not determine the coordinate, 0 for
        locked ones. Shape [T, N].
    """
    at = linearised.at(plan, q)
    known = linearised.information(at.jacobian, seen.astype(float))
    inverse, null, scale = uncertainty.inverse_of(known)
    return IkUncertainty(
        noise_m=noise_m,
        x_covariance=noise_m**2 * inverse,
        null=null,
        scale=scale,
        data_share=np.ones_like(scale),
        slope=at.slope,
        source=linearised.sources(plan),
        solved=np.ones(len(q), bool),
    ).coordinate_sd


def determined(
    plan: Plan,
    sd: np.ndarray,
    angle_rad: float = np.deg2rad(5.0),
    length_m: float = 0.02,
) -> np.ndarray:
    """Returns whether each coordinate's SD is below 5 degrees or 20 mm. [T, N]."""
    angle = np.asarray(plan.model.coordinate_is_angle)
    return sd < np.where(angle, angle_rad, length_m)


def prior_dominance(plan: Plan, q: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Compares every coordinate task with what the markers say of its coordinate.

    Args:
        plan: Markers, unknowns and tasks of a fit.
        q: Fitted coordinates at a few frames. Shape [T, N].
        weight: Marker weights over their sum. Shape [T, M].

    Returns:
        For each task on a coordinate that markers inform at all, the curvature of
        the prior over the marginal information of the markers (median over frames).
    """
    known = linearised.information(linearised.at(plan, q).jacobian, weight)
    inverse, null, _ = uncertainty.inverse_of(known)
    open_ = np.einsum("tii->ti", null) > uncertainty.TOUCHED
    variance = np.where(open_, np.inf, np.einsum("tii->ti", inverse))
    place = {int(c): k for k, c in enumerate(plan.unknowns)}
    ratios = {}
    for c, w in zip(plan.tasked, plan.task_weights, strict=True):
        if c in place:
            with np.errstate(invalid="ignore"):
                ratio = float(np.median(w * variance[:, place[c]]))
            if np.isfinite(ratio):
                ratios[plan.model.coordinate_names[c]] = ratio
    return ratios
