"""Poses carried along time: each frame near the pose before it.

Where markers leave a direction nearly open, such as the twist of a straight arm, the
pose of a frame alone wanders with the noise. A carried pose minimises the frame's
cost plus ``1/2 sum_k (x_k - x_k')^2 / s^2`` with x' the pose carried from its
neighbour and s what a coordinate moves in a frame, so that open directions stay.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from simspine_jax.core import damped_step
from simspine_jax.core.damped_step import Limits
from simspine_jax.fitting import ik_problem
from simspine_jax.fitting.ik_queue import Problem

_STEPS = 5  # evaluations a frame
_DAMPING = 1e-3
_LEAST_LANES = 8


def track(
    problem: Problem,
    frames: Int[np.ndarray, "s r"],
    start: Float[np.ndarray, "s n"],
    scale: Float[np.ndarray, " t"],
    step_sd: float,
) -> tuple[Float[np.ndarray, "s r n"], Float[np.ndarray, "s r"]]:
    """Carries poses along time.

    Args:
        problem: The chunk.
        frames: Frames that each pose is carried through, in this order.
        start: Poses to start from.
        scale: Times the cost: the negative logarithm of the likelihood.
        step_sd: What a coordinate moves in a frame, rad and m.

    Returns:
        Poses, and the scaled cost of each for its frame alone.
    """
    count = len(start)
    lanes = max(_LEAST_LANES, 1 << (count - 1).bit_length())
    x = np.zeros((lanes, start.shape[1]), start.dtype)
    x[:count] = start
    at = np.zeros((lanes, frames.shape[1]), np.int32)
    at[:count] = frames
    padded = np.zeros(problem.bucket.frames, start.dtype)
    padded[: len(scale)] = scale
    out = _track(
        problem.solver_model,
        problem.base,
        problem.data,
        at.T,
        x,
        padded,
        step_sd**-2,
        problem.lower,
        problem.upper,
        problem.loss,
        columns=problem.columns,
        tasked=problem.tasked,
    )
    poses, cost = (np.asarray(a)[:, :count] for a in jax.device_get(out))
    return poses.transpose(1, 0, 2), cost.T


@partial(jax.jit, static_argnames=("columns", "tasked"))
def _track(
    model,
    base,
    data,
    frames,
    start,
    scale,
    pull,
    lower,
    upper,
    loss,
    *,
    columns: tuple[int, ...],
    tasked: tuple[int, ...],
) -> tuple[jax.Array, jax.Array]:
    base, n = jnp.asarray(base), start.shape[1]
    lanes, dtype = start.shape[0], start.dtype
    markers = data.points.shape[1]
    blocks = ik_problem.single_block(markers, len(tasked), dtype)
    limits = Limits(
        jnp.asarray(lower),
        jnp.asarray(upper),
        jnp.ones(n, bool),
        jnp.ones((n, 1), dtype),
        jnp.zeros(1, bool),
        jnp.asarray(jnp.inf, dtype),
    )

    def frame(x: jax.Array, at: jax.Array):
        seen = jax.tree.map(lambda a: jnp.asarray(a)[at], data)
        count = scale[at]

        def step(_, state):
            x_at, best, lowest, alone = state
            found = ik_problem.evaluate(
                model, columns, tasked, blocks, base, x_at, seen, loss, dtype
            )
            own = found.cost[:, 0] * count
            cost = own + 0.5 * pull * jnp.sum((x_at - x) ** 2, axis=1)
            better = cost < lowest
            best = jnp.where(better[:, None], x_at, best)
            alone = jnp.where(better, own, alone)
            gradient = found.gradient * count[:, None] + pull * (x_at - x)
            hessian = found.hessian * count[:, None, None]
            hessian = hessian + pull * jnp.eye(n, dtype=dtype)[None]
            damping = jnp.full((lanes, 1), _DAMPING, dtype)
            move, _ = damped_step.propose(x_at, gradient, hessian, damping, limits)
            x_at = jnp.clip(x_at + move, limits.lower[None], limits.upper[None])
            return x_at, best, jnp.where(better, cost, lowest), alone

        far = jnp.full(lanes, jnp.inf, dtype)
        _, best, _, alone = jax.lax.fori_loop(0, _STEPS, step, (x, x, far, far))
        return best, (best, alone)

    return jax.lax.scan(frame, start, frames)[1]
