"""Levenberg-Marquardt for a sequence of small problems that a prior ties along time.

Minimises ``sum_t f_t(x_t) + 1/2 sum_t sum_k s_k e_tk^2``, where e is the first or
second difference of the unknowns along time and s a stiffness. All frames are
evaluated at once. The banded system of a step is solved by conjugate gradients; their
preconditioner solves windows exactly and side by side, each with some frames of its
neighbours (additive Schwarz). The loop ends where the gradient of the whole cost
vanishes, so that the solution does not depend on the windows.

Notation: frames t, unknowns n, windows w.

Source: Nocedal and Wright, Numerical Optimization, 2006, sections 7.1 and 10.3; Toselli
and Widlund, Domain Decomposition Methods, 2005, chapter 2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from simspine_jax.core import block_banded, temporal_prior
from simspine_jax.core.block_banded import Banded
from simspine_jax.core.temporal_prior import Prior

_LEAST_DAMPING = 1e-12
_LIGHT = 1e-2
_CG_TOL, _CG_STEPS = 1e-5, 50
_CUTS = 4  # rounds of unknowns set on their limits in a step


class Frames(NamedTuple):
    """Of every frame alone.

    Attributes:
        cost: Shape [T].
        gradient: Shape [T, n].
        hessian: Gauss-Newton's, never negative. Shape [T, n, n].
        bend: What it leaves out. Shape [T, n, n].
    """

    cost: Float[Array, " t"]
    gradient: Float[Array, "t n"]
    hessian: Float[Array, "t n n"]
    bend: Float[Array, "t n n"]


@struct.dataclass
class Windows:
    """How the steps are cut: core frames of a window, frames shared on each side."""

    core: int = struct.field(pytree_node=False, default=64)
    shared: int = struct.field(pytree_node=False, default=16)


class Smoothed(NamedTuple):
    """Unknowns [T, n], evaluations, and the last step's largest change."""

    x: Float[Array, "t n"]
    steps: Array
    change: Array


class _State(NamedTuple):
    x: Array
    at: Frames
    damping: Array  # [w]
    exact: Array  # [w] the next step uses the whole Hessian
    growth: Array  # [w]
    steps: Array
    change: Array


def solve(
    evaluate: Callable[[Float[Array, "t n"]], Frames],
    start: Float[Array, "t n"],
    prior: Prior,
    lower: Float[Array, " n"],
    upper: Float[Array, " n"],
    fixed: Bool[Array, " t"],
    windows: Windows,
    max_steps: int | Array,
    tolerance: float | Array,
) -> Smoothed:
    """Returns the minimum nearest to the start.

    Args:
        evaluate: Every frame's own part, Gauss-Newton Hessian included.
        start: Unknowns; T is a multiple of ``windows.core``.
        prior: See ``Prior``.
        lower: Lower limits; -inf for none.
        upper: Upper limits.
        fixed: Frames that stay as they are.
        windows: See ``Windows``.
        max_steps: Evaluations allowed.
        tolerance: The loop ends when no unknown moves further in a step.
    """
    count = start.shape[0] // windows.core
    per_frame = lambda a: jnp.repeat(a, windows.core)
    per_window = lambda a: jnp.sum(a.reshape(count, windows.core), axis=1)

    def body(s: _State) -> _State:
        known = s.steps > 0
        pull = temporal_prior.gradient(prior, s.x)
        gradient = jnp.where(known, s.at.gradient + pull, 0.0)
        pressed = ((s.x <= lower[None]) & (gradient > 0)) | (
            (s.x >= upper[None]) & (gradient < 0)
        )
        active = ~pressed & ~fixed[:, None]
        used = per_frame(s.exact)[:, None, None]
        hessian = s.at.hessian + jnp.where(used, s.at.bend, 0.0)
        room = lower[None] - s.x, upper[None] - s.x
        step = _step_within(hessian, gradient, active, room, prior, windows, s.damping)
        failed = per_window(jnp.any(jnp.isnan(step), axis=1)) > 0
        step = jnp.where(jnp.isnan(step), 0.0, step)
        trial = jnp.clip(s.x + step, lower[None], upper[None])
        new = evaluate(trial)
        before = s.at.cost + temporal_prior.cost(prior, s.x)
        after = new.cost + temporal_prior.cost(prior, trial)
        slack = 16 * jnp.finfo(s.x.dtype).eps * per_window(jnp.abs(before))
        # Windows share their edges: one may rise while the whole falls.
        stopped = jnp.any(failed)
        falls = jnp.sum(after) <= jnp.sum(before) + jnp.sum(slack)
        better = (falls | (per_window(after) <= per_window(before) + slack)) & ~failed
        take = per_frame(better)
        mixed = jnp.where(take[:, None], trial, s.x)
        cost = jnp.where(take, new.cost, s.at.cost) + temporal_prior.cost(prior, mixed)
        whole = jnp.sum(cost) <= jnp.sum(before) + jnp.sum(slack)
        take, better = take & whole, better & whole
        at = jax.tree.map(
            lambda a, b: jnp.where(take.reshape(-1, *[1] * (a.ndim - 1)), a, b),
            new,
            s.at,
        )
        # Where the whole Hessian fails, Gauss-Newton's is tried before more damping.
        eased = jnp.maximum(s.damping / 5, _LEAST_DAMPING)
        raised = s.damping * s.growth
        kept = s.exact | (stopped & ~failed)
        moved = jnp.where(active, jnp.abs(trial - s.x), 0.0)
        return _State(
            jnp.where(take[:, None], trial, s.x),
            at,
            jnp.where(better & ~stopped, eased, jnp.where(kept, s.damping, raised)),
            jnp.where(stopped, s.exact & ~failed, better | ~s.exact),
            jnp.where(better & ~stopped, 2.0, jnp.where(kept, 1.0, 2.0) * s.growth),
            s.steps + 1,
            # A step cut short by heavy damping proves nothing.
            jnp.where(
                jnp.all(better & (s.damping < _LIGHT)) & ~stopped & (s.steps > 0),
                jnp.max(moved),
                jnp.inf,
            ),
        )

    def unfinished(s: _State) -> Array:
        stuck = jnp.all(s.damping > 1e12)
        return (s.change > tolerance) & (s.steps < max_steps) & ~stuck

    dtype, (t, n) = start.dtype, start.shape
    # Nothing is known of the start yet: the first step stays there and evaluates it.
    flat = jnp.zeros((t, n, n), dtype)
    unknown = Frames(jnp.full(t, jnp.inf, dtype), jnp.zeros((t, n), dtype), flat, flat)
    state = _State(
        start,
        unknown,
        jnp.full(count, 1e-3, dtype),
        jnp.ones(count, bool),
        jnp.full(count, 2.0, dtype),
        jnp.asarray(0),
        jnp.asarray(jnp.inf, dtype),
    )
    end = jax.lax.while_loop(unfinished, body, state)
    return Smoothed(end.x, end.steps, end.change)


def marginal_covariance(
    hessian: Float[Array, "t n n"],
    active: Bool[Array, "t n"],
    prior: Prior,
    windows: Windows,
) -> Float[Array, "t n n"]:
    """Returns the blocks of the inverse of the whole Hessian that belong to frames.

    Each window is cut off from the frames that it does not share; with enough shared
    frames that is not felt.
    """
    still = jnp.zeros(hessian.shape[0], hessian.dtype)
    parts, _, _ = _cut_into_windows(
        temporal_prior.system(hessian, active, prior, still), windows
    )
    blocks = block_banded.inverse_diagonal(block_banded.factor(parts))
    return _cores(blocks, windows)


def _step_within(
    hessian: Array,
    gradient: Array,
    active: Array,
    room: tuple[Array, Array],
    prior: Prior,
    windows: Windows,
    damping: Array,
) -> Array:
    """Solves for a step that stops at limits; the other unknowns answer.

    Unknowns that would cross a limit are set on it and the rest is solved again, for
    as long as more of them cross.
    """

    def again(state):
        cut, on_limit, _, rounds = state
        bent = jnp.einsum("tij,tj->ti", hessian, cut) + temporal_prior.gradient(
            prior, cut
        )
        step = _step(
            hessian, gradient + bent, active & ~on_limit, prior, windows, damping
        )
        step = jnp.where(on_limit, cut, step)
        clipped = jnp.clip(step, *room)
        crossed = (clipped != step) & ~jnp.isnan(step) & active & ~on_limit
        cut = jnp.where(crossed, clipped, cut)
        return (
            cut,
            on_limit | crossed,
            step,
            jnp.where(jnp.any(crossed), rounds + 1, _CUTS),
        )

    zero = jnp.zeros_like(gradient)
    start = zero, jnp.zeros(zero.shape, bool), zero, jnp.asarray(0)
    return jax.lax.while_loop(lambda s: s[3] < _CUTS, again, start)[2]


def _step(
    hessian: Array,
    gradient: Array,
    active: Array,
    prior: Prior,
    windows: Windows,
    damping: Array,
) -> Array:
    """Solves the damped system; NaN in windows that are not positive definite."""
    whole = temporal_prior.system(
        hessian, active, prior, jnp.repeat(damping, windows.core)
    )
    parts, index, inside = _cut_into_windows(whole, windows)
    found = block_banded.factor(parts)

    def precondition(r: Array) -> Array:
        x = block_banded.solve(found, jnp.where(inside, r[index], 0.0))
        return jnp.zeros_like(r).at[index].add(jnp.where(inside, x, 0.0))

    rhs = jnp.where(active, -gradient, 0.0)
    step, _ = jax.scipy.sparse.linalg.cg(
        lambda v: temporal_prior.times(whole, v),
        rhs,
        tol=_CG_TOL,
        maxiter=_CG_STEPS,
        M=precondition,
    )
    bad = jnp.any(jnp.isnan(found.own), axis=(0, 2, 3))  # [w]
    return jnp.where(
        jnp.repeat(bad, windows.core)[:, None],
        jnp.nan,
        jnp.where(active & ~jnp.any(bad), step, 0.0),
    )


def _cut_into_windows(whole: Banded, windows: Windows) -> tuple[Banded, Array, Array]:
    """Returns windows with what they share, the frames they read, which are there."""
    _, t, n = whole.last.shape
    length = windows.core + 2 * windows.shared
    first = jnp.arange(t // windows.core) * windows.core - windows.shared
    frame = first[:, None] + jnp.arange(length)[None]
    inside = ((frame >= 0) & (frame < t))[:, :, None]
    index = jnp.clip(frame, 0, t - 1)
    eye = jnp.eye(n, dtype=whole.diagonal.dtype)[None, None]
    parts = Banded(
        jnp.where(inside[..., None], whole.diagonal[0][index], eye),
        jnp.where(inside & (frame >= 1)[:, :, None], whole.last[0][index], 0.0),
        jnp.where(inside & (frame >= 2)[:, :, None], whole.past[0][index], 0.0),
    )
    return parts, index, inside


def _cores(rows: Array, windows: Windows) -> Array:
    kept = rows[:, windows.shared : windows.shared + windows.core]
    return kept.reshape(-1, *rows.shape[2:])
