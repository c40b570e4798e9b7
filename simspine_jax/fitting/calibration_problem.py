"""Segments, marker offsets and the poses of many frames as one least-squares problem.

Notation: frame t, marker m with weight w (0 where missing) and noise SD sigma, so that
each component of a marker has variance ``sigma^2 / w``; x_t unknown coordinates of a
frame; c = (s, o) what all frames share: log ratios s of S segments and shifts o [M, 3]
of the markers from their scaled places, m, in body frames. Minus the log posterior is

    1/2 sum_tm w / sigma^2 |p_m(x_t, s, o) - observed|^2
      + 1/2 (s - mean)^T P (s - mean) + 1/2 |o|^2 / offset_sd^2
      + 1/2 sum_t |G (x_t - x_0)|^2

with x_0 the default pose and G the posture prior (``calibration_posture``); poses
have no other prior but their limits.

The derivative in the segments needs no tracing: at a given pose a marker's place is
affine in the scale factors (``scale_model``), so that a difference of two places is
exact. That in a shift is the body's rotation.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.body.jacobian import marker_jacobian
from simspine_jax.body.kinematics import forward_kinematics, marker_positions
from simspine_jax.body.model import Model
from simspine_jax.body.scaling import scale_model
from simspine_jax.core import robust
from simspine_jax.core.robust import RobustLoss
from simspine_jax.fitting import ik_problem
from simspine_jax.types import Array

_BUCKET = 64  # frames are padded to a multiple, so that few shapes are compiled


@dataclass(frozen=True, eq=False)
class Problem:
    """What is solved: T frames, M markers, n unknowns a frame, S segments, B bodies.

    Attributes:
        model: With the markers that are observed, at the scale that it came with.
        columns: Unknowns, as indices into the free coordinates.
        scales: Bodies and axes of each segment. Shape [S, B, 3].
        ratio: Size of the given model over the generic one. Shape [B, 3].
        points: Observed markers, m; 0 where missing. Shape [T, M, 3].
        weight: Their weights; 0 where missing. Shape [T, M].
        lower: Limits of the unknowns. Shape [n].
        upper: Shape [n].
        mean: Of the log ratios. Shape [S].
        precision: Of the log ratios, an inverse covariance. Shape [S, S].
        offset_precision: Of each shift, 1/m^2. Shape [M].
        neutral: Default of the unknowns. Shape [n].
        posture: Rows over their SDs, for each used frame; none without a posture
            prior. Shape [r, n].
        loss: Of the marker distances; None for least squares.
    """

    model: Model
    columns: tuple[int, ...]
    scales: np.ndarray
    ratio: np.ndarray
    points: np.ndarray
    weight: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    mean: np.ndarray
    precision: np.ndarray
    offset_precision: np.ndarray
    neutral: np.ndarray
    posture: np.ndarray
    loss: RobustLoss | None = None


class State(NamedTuple):
    """A point: log_ratio [S], shift [M, 3] m, x [T, n] rad and m."""

    log_ratio: np.ndarray
    shift: np.ndarray
    x: np.ndarray


class Linearised(NamedTuple):
    """Markers and their derivatives at a state.

    Attributes:
        points: m. Shape [T, M, 3].
        in_pose: Shape [T, M, 3, n].
        in_segment: Shape [T, M, 3, S].
        in_shift: Rotation of each marker's body. Shape [T, M, 3, 3].
    """

    points: np.ndarray
    in_pose: np.ndarray
    in_segment: np.ndarray
    in_shift: np.ndarray


def factors_of(
    scales: Bool[Array, "s b 3"],
    ratio: Float[Array, "b 3"],
    log_ratio: Float[Array, " s"],
) -> Float[jax.Array, "b 3"]:
    """Returns the factors that bring a model of the given size to the log ratios."""
    each = jnp.einsum("s,sba->ba", log_ratio, jnp.asarray(scales, log_ratio.dtype))
    return jnp.where(jnp.any(scales, axis=0), jnp.exp(each) / ratio, 1.0)


def with_segments(
    model: Model, factors: Float[Array, "b 3"], shift: Float[Array, "m 3"]
) -> Model:
    """Scales a model, then moves its markers in their bodies."""
    scaled = scale_model(model, factors)
    return replace(scaled, marker_offset=scaled.marker_offset + shift)


def linearise(problem: Problem, state: State) -> Linearised:
    """Returns the markers and their derivatives at a state."""
    frames = len(state.x)
    padded = np.zeros((-(-frames // _BUCKET) * _BUCKET, state.x.shape[1]))
    padded[:frames] = state.x
    found = _linearised(
        problem.model,
        problem.columns,
        problem.scales,
        problem.ratio,
        state.log_ratio,
        state.shift,
        padded,
    )
    return Linearised(*(np.asarray(a)[:frames] for a in jax.device_get(found)))


def frame_costs(
    problem: Problem,
    points: Float[np.ndarray, "t m 3"],
    x: Float[np.ndarray, "t n"],
    noise_m: float,
) -> Float[np.ndarray, " t"]:
    """Returns each frame's part of minus the log posterior, its posture's included."""
    square = ((points - problem.points) ** 2).sum(axis=2)
    rho = np.asarray(robust.apply(problem.loss, square)[0])
    away = (x - problem.neutral) @ problem.posture.T
    missed = (problem.weight * rho).sum(axis=1) / noise_m**2
    return 0.5 * (missed + (away**2).sum(axis=1))


def prior_cost(problem: Problem, state: State) -> float:
    """Returns the part of the shared prior in minus the log posterior."""
    away = state.log_ratio - problem.mean
    moved = (problem.offset_precision[:, None] * state.shift**2).sum()
    return 0.5 * float(away @ problem.precision @ away + moved)


def predicted_points(
    at: Linearised, state: State, other: State
) -> Float[np.ndarray, "t m 3"]:
    """Returns where the linearised markers are at another state, m."""
    step = (other.x - state.x)[:, None, :, None]
    moved = at.in_pose @ step + at.in_shift @ (other.shift - state.shift)[..., None]
    return (
        at.points + moved[..., 0] + at.in_segment @ (other.log_ratio - state.log_ratio)
    )


@jax.jit(static_argnames="columns")
def _linearised(model, columns, scales, ratio, log_ratio, shift, x):
    base = jnp.asarray(model.default_q)[np.asarray(model.topology.free, int)]
    q_free = ik_problem.place(columns, x, base)
    q = model.expand(q_free)
    factors = factors_of(scales, ratio, log_ratio)
    scaled = with_segments(model, factors, shift)
    points = marker_positions(scaled, q)

    def along(scale):
        grown = with_segments(model, factors * (1.0 + scale), shift)
        return marker_positions(grown, q) - points

    by_segment = jax.lax.map(along, scales.astype(x.dtype))  # [s, t, m, 3]
    bodies = np.asarray(model.topology.marker_bodies, int)
    rotation = forward_kinematics(scaled, q).rotation[:, bodies]
    on_ground = (bodies < 0)[None, :, None, None]
    return (
        points,
        marker_jacobian(scaled, q_free)[..., np.asarray(columns, int)],
        jnp.moveaxis(by_segment, 0, -1),
        jnp.where(on_ground, jnp.eye(3)[None, None], rotation),
    )
