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
update of lambda (Madsen, Nielsen & Tingleff, Methods for Non-Linear Least Squares
Problems, 2004, eq. 2.21), box limits by active set.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from simspine_jax.core.damped_step import Limits, curved, propose

AnyArray = jax.Array | np.ndarray

CONVERGED, STALLED, MAX_STEPS, NOT_FINITE, EMPTY = 0, 1, 2, 3, 4
STATUS_TEXT = (
    "converged",
    "stalled: no step lowers the cost",
    "stopped at the step limit",
    "not finite",
    "nothing to fit",
)
# A step that should lower the cost by less than this share is a last one.
_NEAR = 1e-3


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
        least_damping: Lambda never falls below. Weak directions are curved: with too
            small a lambda steps along them fail.
        longest_step: No unknown moves further in one step (rad, m).
    """

    max_steps: int = 100
    relative_tolerance: float = 1e-7
    absolute_tolerance: float = 1e-16
    initial_damping: float = 1e-2
    tracking_damping: float = 1e-3
    least_damping: float = 0.0
    longest_step: float = float("inf")


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

    start: AnyArray
    goal: AnyArray
    run_length: AnyArray
    count: AnyArray


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
    steering: jax.typing.DTypeLike | None = None,
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
        steering: Precision of gradient and Hessian; that of the unknowns by default.
            They only steer: cost and accept test keep that of ``queue.start``.

    Returns:
        Solutions; padding keeps status EMPTY.
    """
    n_problems = queue.start.shape[0]
    first = jnp.arange(lanes, dtype=jnp.int32) * queue.run_length
    first = jnp.minimum(first, queue.count)
    begin = queue.start[jnp.minimum(first, n_problems - 1)]
    fast = jnp.dtype(steering or queue.start.dtype)
    member = (block[:, None] == jnp.arange(n_blocks)[None, :]).astype(fast)
    vacant = ~jnp.any((member > 0) & movable[:, None], axis=0)
    limits = Limits(
        lower, upper, movable, member, vacant, jnp.asarray(options.longest_step, fast)
    )

    def body(s: _State) -> _State:
        step, predicted = propose(s.x, s.at.gradient, s.at.hessian, s.damping, limits)
        done, ended, status = _finished(s, predicted, queue, limits, options)
        out = _write(s, ended, status)
        problem, start, chained, taken = _next_problem(s, ended, queue)
        fresh = s.fresh | ended
        x = jnp.where(ended[:, None], start, s.x)
        trial = jnp.where(fresh[:, None], x, s.x + step)
        trial = jnp.clip(trial, lower[None], upper[None])
        index = jnp.minimum(problem, n_problems - 1)
        new = evaluate(trial, jax.tree.map(lambda a: a[index], data))
        near = (predicted < _NEAR * s.at.cost) & ~fresh[:, None]
        new = new._replace(
            hessian=curved(new.hessian, new.gradient, s.at.gradient, step, near, limits)
        )
        at, take, better, gain = _accept(s, new, predicted, done, fresh, limits)
        damping, growth = _adapt(s, predicted, gain, better, done, options)
        anew = jnp.where(chained, options.tracking_damping, options.initial_damping)
        again = fresh[:, None]
        return _State(
            problem,
            s.next_run + taken,
            jnp.zeros_like(fresh),
            jnp.where(take, trial, x),
            at,
            jnp.where(again, anew[:, None].astype(fast), damping),
            jnp.where(again, jnp.full_like(growth, 2.0), growth),
            jnp.where(fresh, 1, s.steps + 1),
            out,
        )

    state = _initial(queue, first, begin, fast, n_blocks, options)
    unfinished = lambda s: jnp.any(s.problem < queue.count)
    return jax.lax.while_loop(unfinished, body, state).out


def _initial(queue, first, begin, fast, n_blocks, options) -> _State:
    lanes, n = begin.shape
    n_problems, dtype = queue.start.shape[0], queue.start.dtype
    return _State(
        problem=first,
        next_run=jnp.asarray(lanes, jnp.int32),
        fresh=jnp.ones((lanes,), bool),
        x=begin,
        at=Evaluation(
            jnp.zeros((lanes, n_blocks), dtype),
            jnp.zeros((lanes, n), fast),
            jnp.broadcast_to(jnp.eye(n, dtype=fast), (lanes, n, n)),
        ),
        damping=jnp.full((lanes, n_blocks), options.initial_damping, fast),
        growth=jnp.full((lanes, n_blocks), 2.0, fast),
        steps=jnp.zeros((lanes,), jnp.int32),
        out=Solutions(
            queue.start,
            jnp.full((n_problems, n_blocks), jnp.inf, dtype),
            jnp.full((n_problems,), EMPTY, jnp.int32),
            jnp.zeros((n_problems,), jnp.int32),
        ),
    )


def _finished(s: _State, predicted, queue, limits: Limits, options: LmOptions):
    """Returns blocks that are done [w, k], lanes that have ended, their status."""
    cost = s.at.cost
    small = predicted <= options.relative_tolerance * cost + options.absolute_tolerance
    # A step cut short by heavy damping or by limits proves nothing.
    settled = small & (predicted >= 0) & (s.damping <= 1e-1)
    settled = settled | limits.vacant[None]
    stalled = s.damping > 1e-2 / float(jnp.finfo(s.damping.dtype).eps)
    finite = jnp.all(jnp.isfinite(cost), axis=1)
    converged = jnp.all(settled, axis=1)
    stuck = jnp.all(settled | stalled, axis=1)
    status = jnp.where(stuck, STALLED, MAX_STEPS)
    status = jnp.where(converged, CONVERGED, status)
    status = jnp.where(finite, status, NOT_FINITE)
    working = (s.problem < queue.count) & ~s.fresh
    ended = working & (stuck | (s.steps >= options.max_steps) | ~finite)
    return settled | stalled, ended, status.astype(jnp.int32)


def _write(s: _State, ended, status) -> Solutions:
    """Puts the results of ended lanes in their place."""
    slot = jnp.where(ended, s.problem, s.out.status.shape[0])
    return Solutions(
        s.out.x.at[slot].set(s.x, mode="drop"),
        s.out.cost.at[slot].set(s.at.cost, mode="drop"),
        s.out.status.at[slot].set(status, mode="drop"),
        s.out.steps.at[slot].set(s.steps, mode="drop"),
    )


def _next_problem(s: _State, ended, queue: Queue):
    """Returns each lane's problem, its start, whether chained, and runs taken."""
    n_problems = queue.start.shape[0]
    following = s.problem + 1
    here = jnp.minimum(s.problem, n_problems - 1)
    total = jnp.sum(s.at.cost, axis=1)
    goes_on = (following % queue.run_length != 0) & (following < queue.count)
    goes_on = goes_on & ~(total >= queue.goal[here])  # NaN does not end a run
    wants = ended & ~goes_on
    order = jnp.cumsum(wants.astype(jnp.int32)) - 1
    taken = jnp.minimum((s.next_run + order) * queue.run_length, queue.count)
    problem = jnp.where(wants, taken, jnp.where(ended, following, s.problem))
    chained = ended & goes_on & jnp.isfinite(total)
    index = jnp.minimum(problem, n_problems - 1)
    start = jnp.where(chained[:, None], s.x, queue.start[index])
    return problem, start, chained, jnp.sum(wants, dtype=jnp.int32)


def _accept(s: _State, new: Evaluation, predicted, done, fresh, limits: Limits):
    """Takes the trial block by block where it lowers the cost."""
    fast = s.damping.dtype
    safe = jnp.where(predicted > 0, predicted, 1.0)
    gain = ((s.at.cost - new.cost) / safe).astype(fast)
    better = (predicted > 0) & (gain > 1e-4) & jnp.isfinite(new.cost)
    # A block that is done waits for the others.
    accept = fresh[:, None] | (better & ~done)
    take = jnp.matmul(accept.astype(fast), limits.member.T) > 0  # [w, n]
    both = take[:, :, None] & take[:, None, :]
    at = Evaluation(
        jnp.where(accept, new.cost, s.at.cost),
        jnp.where(take, new.gradient, s.at.gradient),
        jnp.where(both, new.hessian, s.at.hessian),
    )
    return at, take, better, gain


def _adapt(s: _State, predicted, gain, better, done, options: LmOptions):
    """Returns the next damping and its growth, by block."""
    # Keeps the scaled matrix positive in this precision.
    floor = jnp.maximum(
        float(jnp.finfo(s.damping.dtype).eps) * 16.0, options.least_damping
    )
    shrink = jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
    lowered = jnp.maximum(s.damping * shrink, floor).astype(s.damping.dtype)
    failed = predicted < 0
    raised = jnp.where(
        failed, jnp.maximum(s.damping * 10.0, 1e-3), s.damping * s.growth
    )
    damping = jnp.where(better, lowered, raised)
    growth = jnp.where(better | failed, 2.0, s.growth * 2.0)
    return jnp.where(done, s.damping, damping), growth
