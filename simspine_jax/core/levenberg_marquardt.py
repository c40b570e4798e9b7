"""Batched Levenberg-Marquardt over a queue of small problems.

W lanes work through P problems in one ``while_loop``: a lane that has finished
writes its result and at once takes its next problem, so that a hard problem delays
nobody and one compilation serves any number of problems. A problem may start from
the solution of the one before it in its lane (tracking along time).

A problem may fall apart into K independent blocks (limbs, once the trunk is held):
each block then has its own cost, damping and accept test, so one lane searches all
blocks at once.

Notation: x [n] unknowns, cost ``sum_k c_k``, gradient g, Gauss-Newton
Hessian H, damping ``H + lambda_k diag(d)`` with Jacobi scaling d, and Nielsen's
update of lambda with a faster decrease (Madsen, Nielsen & Tingleff, Methods for Non-Linear Least Squares Problems, 2004,
eq. 2.21), box limits by active set.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

CONVERGED, STALLED, MAX_STEPS, NOT_FINITE, EMPTY = 0, 1, 2, 3, 4
STATUS_TEXT = (
    "converged",
    "stalled: no step lowers the cost",
    "stopped at the step limit",
    "not finite",
    "nothing to fit",
)


@struct.dataclass
class LmOptions:
    """How the loop behaves; numbers are leaves, so changing one compiles nothing.

    Attributes:
        max_steps: Evaluations allowed to one problem.
        relative_tolerance: A problem has converged when the predicted decrease is
            below this share of its cost ...
        absolute_tolerance: ... or below this (units of the cost).
        initial_damping: Lambda of a problem with a start of its own.
        tracking_damping: Lambda of a problem started from the one before it.
    """

    max_steps: int = 100
    relative_tolerance: float = 1e-7
    absolute_tolerance: float = 1e-16
    initial_damping: float = 1e-2
    tracking_damping: float = 1e-4


class Evaluation(NamedTuple):
    """What one evaluation gives.

    Attributes:
        cost: By block. Shape [W, K].
        gradient: Shape [W, n].
        hessian: Gauss-Newton's. Shape [W, n, n].
    """

    cost: Float[Array, "w k"]
    gradient: Float[Array, "w n"]
    hessian: Float[Array, "w n n"]


class Queue(NamedTuple):
    """Problems in runs; a lane takes the next run as soon as it is free.

    Attributes:
        start: Starting points; within a run only the first one's counts, the others
            start from the solution before them. Shape [P, n].
        goal: A run goes on only while its problems end below this cost; inf to
            always go on. Shape [P].
        run_length: Problems of a run (the last run may be shorter).
        count: Problems that are real; the rest of P is padding.
    """

    start: Float[Array, "p n"]
    goal: Float[Array, " p"]
    run_length: Int[Array, ""]
    count: Int[Array, ""]


class Solutions(NamedTuple):
    """Results by problem: x [P, n], cost [P, K], status [P], steps [P]."""

    x: Float[Array, "p n"]
    cost: Float[Array, "p k"]
    status: Int[Array, " p"]
    steps: Int[Array, " p"]


class _State(NamedTuple):
    problem: Array  # [w] index, == count when the lane is idle
    next_run: Array  # first run that no lane has taken
    fresh: Array  # [w] the start has not been evaluated yet
    x: Array  # [w, n]
    at: Evaluation
    damping: Array  # [w, k]
    growth: Array  # [w, k]
    steps: Array  # [w]
    out: Solutions


def solve(
    evaluate: Callable[[Float[Array, "w n"], Any], Evaluation],
    data: Any,
    queue: Queue,
    lower: Float[Array, " n"],
    upper: Float[Array, " n"],
    movable: Bool[Array, " n"],
    block: Int[Array, " n"],
    n_blocks: int,
    lanes: int,
    options: LmOptions,
) -> Solutions:
    """Minimises every problem of the queue.

    Args:
        evaluate: ``(x, data of each lane) -> Evaluation``.
        data: Pytree of arrays with a leading problem axis P.
        queue: The problems.
        lower: Lower limits; -inf for none.
        upper: Upper limits.
        movable: False holds a coordinate at its start.
        block: Block of each coordinate, below ``n_blocks``.
        n_blocks: K.
        lanes: W.
        options: See ``LmOptions``.

    Gradient and Hessian may have a lower precision than the unknowns: they only
    steer, cost and accept test are computed in the precision of ``queue.start``.

    Returns:
        Solutions; padding keeps status EMPTY.
    """
    n_problems, n = queue.start.shape
    dtype = queue.start.dtype
    first = jnp.arange(lanes, dtype=jnp.int32) * queue.run_length
    first = jnp.minimum(first, queue.count)
    begin = queue.start[jnp.minimum(first, n_problems - 1)]
    shapes = jax.eval_shape(
        evaluate, begin, jax.tree.map(lambda a: a[first], data)
    )
    fast = shapes.hessian.dtype
    member = (block[:, None] == jnp.arange(n_blocks)[None, :]).astype(fast)  # [n, k]
    vacant = ~jnp.any((member > 0) & movable[:, None], axis=0)  # [k]
    # Smallest damping: keeps the scaled matrix positive in this precision.
    floor = float(jnp.finfo(fast).eps) * 16.0
    stall = 1e-2 / float(jnp.finfo(fast).eps)

    def propose(s: _State):
        g, h = s.at.gradient, s.at.hessian
        at_bound = ((s.x <= lower[None]) & (g > 0)) | ((s.x >= upper[None]) & (g < 0))
        active = movable[None] & ~at_bound  # [w, n]
        diagonal = jnp.diagonal(h, axis1=1, axis2=2)
        top = jnp.max(diagonal, axis=1, keepdims=True)
        # Columns that barely act are damped as if they acted a little: an unseen
        # coordinate then stays where it is.
        scale = jnp.where(active, jnp.maximum(diagonal, 1e-6 * top) + 1e-30, 1.0)
        lam = jnp.matmul(s.damping, member.T)  # [w, n]
        both = active[:, :, None] & active[:, None, :]
        root = jax.lax.rsqrt(scale)
        scaled = jnp.where(both, h * root[:, :, None] * root[:, None, :], 0.0)
        idle = jnp.where(active, lam, 1.0)
        matrix = scaled + idle[:, :, None] * jnp.eye(n, dtype=fast)[None]
        rhs = jnp.where(active, -g * root, 0.0)
        chol = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
        step = cholesky_solve(chol, rhs) * root
        # Rounding can leave the matrix without a factor: more damping, then again.
        definite = jnp.all(jnp.isfinite(step), axis=1, keepdims=True)
        step = jnp.where(active & definite, step, 0.0)
        step = jnp.clip(step, (lower[None] - s.x), (upper[None] - s.x)).astype(fast)
        bent = jnp.matmul(h, step[:, :, None])[:, :, 0]
        drop = -(g * step + 0.5 * step * bent)
        drop = jnp.matmul(drop, member)  # [w, k]
        return step, jnp.where(definite, drop, -1.0)

    def body(s: _State) -> _State:
        step, predicted = propose(s)
        cost = s.at.cost
        small = predicted <= options.relative_tolerance * cost + (
            options.absolute_tolerance
        )
        # A step cut short by heavy damping or by limits proves nothing.
        settled = small & (predicted >= 0) & (s.damping <= 1e-1)
        settled = settled | vacant[None]
        stalled = s.damping > stall
        finite = jnp.all(jnp.isfinite(cost), axis=1)
        working = (s.problem < queue.count) & ~s.fresh
        over = s.steps >= options.max_steps
        ended = working & (jnp.all(settled | stalled, axis=1) | over | ~finite)
        status = jnp.where(
            ~finite,
            NOT_FINITE,
            jnp.where(
                jnp.all(settled, axis=1),
                CONVERGED,
                jnp.where(jnp.all(settled | stalled, axis=1), STALLED, MAX_STEPS),
            ),
        )
        slot = jnp.where(ended, s.problem, n_problems)
        out = Solutions(
            s.out.x.at[slot].set(s.x, mode="drop"),
            s.out.cost.at[slot].set(cost, mode="drop"),
            s.out.status.at[slot].set(status.astype(jnp.int32), mode="drop"),
            s.out.steps.at[slot].set(s.steps, mode="drop"),
        )
        following = s.problem + 1
        within = (following % queue.run_length != 0) & (following < queue.count)
        here = jnp.minimum(s.problem, n_problems - 1)
        within = within & (jnp.sum(cost, axis=1) < queue.goal[here])
        wants = ended & ~within
        order = jnp.cumsum(wants.astype(jnp.int32)) - 1
        taken = jnp.minimum((s.next_run + order) * queue.run_length, queue.count)
        problem = jnp.where(wants, taken, jnp.where(ended, following, s.problem))
        index = jnp.minimum(problem, n_problems - 1)
        chained = within & finite
        start = jnp.where(chained[:, None], s.x, queue.start[index])
        fresh = s.fresh | ended
        begin = jnp.where(ended[:, None], start, s.x)
        trial = jnp.where(fresh[:, None], begin, s.x + step)
        trial = jnp.clip(trial, lower[None], upper[None])
        new = evaluate(trial, jax.tree.map(lambda a: a[index], data))

        gain = ((cost - new.cost) / jnp.where(predicted > 0, predicted, 1.0)).astype(fast)
        better = (predicted > 0) & (gain > 1e-4) & jnp.isfinite(new.cost)
        done = settled | stalled  # a block that has settled waits for the others
        accept = fresh[:, None] | (better & ~done)  # [w, k]
        take = jnp.matmul(accept.astype(fast), member.T) > 0  # [w, n]
        both = take[:, :, None] & take[:, None, :]
        at = Evaluation(
            jnp.where(accept, new.cost, cost),
            jnp.where(take, new.gradient, s.at.gradient),
            jnp.where(both, new.hessian, s.at.hessian),
        )
        shrink = jnp.maximum(0.1, 1.0 - (2.0 * gain - 1.0) ** 3)
        lower_damping = jnp.maximum(s.damping * shrink, floor)
        raised = jnp.where(
            predicted < 0, jnp.maximum(s.damping * 10.0, 1e-3), s.damping * s.growth
        )
        damping = jnp.where(better, lower_damping, raised)
        growth = jnp.where(better | (predicted < 0), 2.0, s.growth * 2.0)
        first = jnp.where(
            chained & ended, options.tracking_damping, options.initial_damping
        )[:, None]
        damping = jnp.where(done & ~fresh[:, None], s.damping, damping)
        return _State(
            problem,
            s.next_run + jnp.sum(wants, dtype=jnp.int32),
            jnp.zeros_like(fresh),
            jnp.where(take, trial, begin),
            at,
            jnp.where(fresh[:, None], first.astype(fast), damping),
            jnp.where(fresh[:, None], jnp.full_like(growth, 2.0), growth),
            jnp.where(fresh, 1, s.steps + 1),
            out,
        )

    def unfinished(s: _State):
        return jnp.any(s.problem < queue.count)

    n_k = (lanes, n_blocks)
    empty = Solutions(
        queue.start,
        jnp.full((n_problems, n_blocks), jnp.inf, dtype),
        jnp.full((n_problems,), EMPTY, jnp.int32),
        jnp.zeros((n_problems,), jnp.int32),
    )
    state = _State(
        problem=first,
        next_run=jnp.asarray(lanes, jnp.int32),
        fresh=jnp.ones((lanes,), bool),
        x=begin,
        at=Evaluation(
            jnp.zeros(n_k, dtype),
            jnp.zeros((lanes, n), fast),
            jnp.broadcast_to(jnp.eye(n, dtype=fast), (lanes, n, n)),
        ),
        damping=jnp.full(n_k, options.initial_damping, fast),
        growth=jnp.full(n_k, 2.0, fast),
        steps=jnp.zeros((lanes,), jnp.int32),
        out=empty,
    )
    return jax.lax.while_loop(unfinished, body, state).out


def cholesky_solve(
    chol: Float[Array, "w n n"], rhs: Float[Array, "w n"]
) -> Float[Array, "w n"]:
    """Solves ``L L^T x = rhs`` for each lane."""
    y = jax.lax.linalg.triangular_solve(
        chol, rhs[:, :, None], left_side=True, lower=True
    )
    return jax.lax.linalg.triangular_solve(
        chol, y, left_side=True, lower=True, transpose_a=True
    )[:, :, 0]
