"""Which coordinates the markers determine, and which a prior holds instead.

Notation: J marker Jacobian in the unknowns, w marker weights over their sum,
``H = sum_m w_m J_m^T J_m``. The marginal information on unknown k, with all others
free to adjust, is ``1 / (H^-1)_kk``; with equal noise sigma on every marker the
predicted SD of k is ``sigma sqrt((J^T J)^-1_kk)``.
"""

import jax
import numpy as np

from simspine_jax.body import couplers
from simspine_jax.body.jacobian import marker_jacobian
from simspine_jax.body.markers import with_markers
from simspine_jax.fitting.ik_prepare import Plan

_RANK = 1e-10  # eigenvalues of the scaled information below this share are null
_jacobian = jax.jit(marker_jacobian)
_expand_lanes = jax.jit(couplers.expand_lanes)


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
    model = plan.model
    jacobian = _columns(plan, q) * seen[:, :, None, None]
    flat = jacobian.reshape(len(q), -1, jacobian.shape[-1])
    variance = _inverse_diagonal(np.matmul(flat.transpose(0, 2, 1), flat))
    sd = np.zeros(q.shape)
    sd[:, plan.unknowns] = noise_m * np.sqrt(variance)
    still = set(model.topology.free) - set(plan.unknowns.tolist())
    sd[:, sorted(still)] = np.inf
    free = np.asarray(model.topology.free, int)
    _, slope = _expand_lanes(
        with_markers(model, {}), np.asarray(q[:, free], plan.dtype).T
    )
    root = couplers.driving_free(model.topology)
    for dependent, _ in model.topology.couplers:
        if dependent in root:
            size = np.abs(np.asarray(slope[dependent]))
            driving = sd[:, free[root[dependent]]]
            # A coupler that is flat there holds its coordinate, whatever drives it.
            sd[:, dependent] = np.where(size > 0, driving, 0.0) * size
    return sd


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
    root = np.sqrt(weight)[:, :, None, None]
    jacobian = _columns(plan, q) * root
    flat = jacobian.reshape(len(q), -1, jacobian.shape[-1])
    variance = _inverse_diagonal(np.matmul(flat.transpose(0, 2, 1), flat))
    place = {int(c): k for k, c in enumerate(plan.unknowns)}
    ratios = {}
    for c, w in zip(plan.tasked, plan.task_weights, strict=True):
        if c in place:
            with np.errstate(invalid="ignore"):
                ratio = float(np.median(w * variance[:, place[c]]))
            if np.isfinite(ratio):
                ratios[plan.model.coordinate_names[c]] = ratio
    return ratios


def _columns(plan: Plan, q: np.ndarray) -> np.ndarray:
    """Marker Jacobian in the unknowns. Shape [T, M, 3, n]."""
    free = np.asarray(plan.model.topology.free, int)
    q_free = np.asarray(q[:, free], plan.dtype)
    full = np.asarray(_jacobian(plan.model, q_free), np.float64)
    return full[..., np.asarray(plan.columns, int)]


def _inverse_diagonal(information: np.ndarray) -> np.ndarray:
    """Diagonal of the inverse, inf on what the null space touches. [T, n]."""
    scale = np.sqrt(np.einsum("tii->ti", information))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = information / scale[:, :, None] / scale[:, None, :]
    value, vector = np.linalg.eigh(scaled)
    null = value < _RANK * value[:, -1:]
    inverse = np.where(null, 0.0, 1.0 / np.where(null, 1.0, value))
    diagonal = np.einsum("tik,tk->ti", vector**2, inverse) / scale**2
    touched = np.einsum("tik,tk->ti", vector**2, null.astype(float)) > 1e-6
    return np.where(touched, np.inf, diagonal)
