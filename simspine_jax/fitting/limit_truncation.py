"""What limits make impossible, taken out of the covariance of a fit."""

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from simspine_jax.fitting.ik_prepare import Plan


def within_limits(
    plan: Plan,
    q: Float[np.ndarray, "t q"],
    gradient: Float[np.ndarray, "t n"],
    inverse: Float[np.ndarray, "t n n"],
    covariance: Float[np.ndarray, "t n n"],
) -> Float[np.ndarray, "t n n"]:
    """Returns the covariance without what limits make impossible.

    The error of an unknown near a limit, or pressed against it, is a normal cut
    there; the others answer as in a Kalman update, one limit after the other. The
    further beyond its limit the markers would have an unknown, the surer it is there.

    Args:
        plan: Of the fit.
        q: Fitted coordinates, rad and m.
        gradient: Of the objective in the unknowns.
        inverse: Of its curvature.
        covariance: Of the unknowns, were there no limits.
    """
    model, x = plan.model, q[:, plan.unknowns]
    lower = np.asarray(model.lower)[plan.unknowns]
    upper = np.asarray(model.upper)[plan.unknowns]
    pressed = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
    beyond = np.einsum("tij,tj->ti", inverse, np.where(pressed, gradient, 0.0))
    room = np.where(pressed, -np.abs(beyond), np.minimum(x - lower, upper - x))
    result = covariance.copy()
    for k in np.flatnonzero(np.isfinite(room).all(axis=0)):
        at = np.flatnonzero(result[:, k, k] > 0)
        column, own = result[at, :, k], result[at, k, k]
        left = _cut_moment(room[at, k] / np.sqrt(own))
        shrink = column[:, :, None] * column[:, None, :] / own[:, None, None]
        result[at] -= (1 - left)[:, None, None] * shrink
    return result


def _cut_moment(room: np.ndarray) -> np.ndarray:
    """Second moment of the error of a unit normal's mode under one limit.

    Args:
        room: Distance of the normal's mean from the limit in SDs, negative beyond it;
            the mode is then the limit.
    """
    hazard = np.exp(norm.logpdf(room) - norm.logcdf(room))
    inside = 1 - room * hazard
    return np.clip(np.where(room >= 0, inside, 1 + room**2 + room * hazard), 1e-12, 1)
