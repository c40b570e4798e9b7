"""A fit linearised at its poses: marker Jacobians in the unknowns, and couplers.

Computed in pieces of one padded size, so that one compilation serves all.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from simspine_jax.body import couplers
from simspine_jax.body.jacobian import marker_jacobian
from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_problem import IkData

_PIECE = 256
FIXED, UNMOVED = -1, -2


class Linearised(NamedTuple):
    """T frames, M markers, n unknowns, N coordinates.

    Attributes:
        jacobian: Of the markers in the unknowns. Shape [T, M, 3, n].
        points: The markers, m. Shape [T, M, 3].
        slope: Derivative of each coordinate in its unknown. Shape [T, N].
    """

    jacobian: np.ndarray
    points: np.ndarray
    slope: np.ndarray


def at(
    plan: Plan, q: Float[np.ndarray, "t q"], model: Model | None = None
) -> Linearised:
    """Linearises at poses.

    Args:
        plan: Of the fit.
        q: Coordinates, rad and m.
        model: The fitted model with any markers; None for those of the fit.
    """
    model = plan.model if model is None else model
    rows = np.asarray(q[:, np.asarray(model.topology.free, int)], plan.dtype)
    parts = []
    for i in range(0, max(len(rows), 1), _PIECE):
        part = rows[i : i + _PIECE]
        padded = np.zeros((_PIECE, rows.shape[1]), rows.dtype)
        padded[: len(part)] = part
        found = jax.device_get(_in_free(model, padded))
        parts.append([np.asarray(a, np.float64)[: len(part)] for a in found])
    jacobian, points, slope = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Linearised(jacobian[..., np.asarray(plan.columns, int)], points, slope)


def sources(plan: Plan) -> Int[np.ndarray, " q"]:
    """Returns the unknown that drives each coordinate.

    ``FIXED`` where nothing does, ``UNMOVED`` for a free coordinate, and what it
    drives, that moves no marker.
    """
    topology = plan.model.topology
    place = {c: k for k, c in enumerate(plan.columns)}
    root = couplers.driving_free(topology)
    source = [
        place.get(root[c], UNMOVED) if c in root else FIXED
        for c in range(len(topology.coordinate_names))
    ]
    return np.asarray(source, int)


def information(
    jacobian: Float[np.ndarray, "t m 3 n"], weight: Float[np.ndarray, "t m"]
) -> Float[np.ndarray, "t n n"]:
    """Returns ``sum_m w_m J_m^T J_m``."""
    root = np.sqrt(weight)[:, :, None, None]
    flat = (jacobian * root).reshape(len(jacobian), -1, jacobian.shape[-1])
    return flat.transpose(0, 2, 1) @ flat


def tasks(
    plan: Plan,
    q: Float[np.ndarray, "t q"],
    data: IkData,
    slope: Float[np.ndarray, "t q"],
    source: Int[np.ndarray, " q"],
) -> tuple[Float[np.ndarray, "t n"], Float[np.ndarray, "t n"]]:
    """Returns curvature, which is diagonal, and gradient of the coordinate tasks."""
    curvature = np.zeros((len(q), len(plan.columns)))
    gradient = curvature.copy()
    for k, c in enumerate(plan.tasked):
        if source[c] >= 0:
            weight = np.asarray(data.task_weight)[:, k] * slope[:, c]
            miss = q[:, c] - np.asarray(data.task_target)[:, k]
            curvature[:, source[c]] += weight * slope[:, c]
            gradient[:, source[c]] += weight * miss
    return curvature, gradient


@jax.jit
def _in_free(model: Model, q_free: jax.Array) -> tuple[jax.Array, ...]:
    q, slopes = couplers.expand_lanes(model, q_free.T)
    return marker_jacobian(model, q_free), marker_positions(model, q.T), slopes.T
