"""The joint solver along time against dense algebra, and scipy where it has limits."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from simspine_jax.core import temporal_lm, temporal_prior
from simspine_jax.core.temporal_lm import Frames, Windows
from simspine_jax.core.temporal_prior import STENCILS, Prior

T, N = 24, 2
WINDOWS = Windows(core=8, shared=4)
EXACT = 1e-10
kinds = pytest.mark.parametrize("kind", sorted(STENCILS))


class Linear(NamedTuple):
    """Quadratic frames ``1/2 |A_t x_t - b_t|^2`` under a prior."""

    a: np.ndarray
    b: np.ndarray
    stiffness: np.ndarray
    linked: np.ndarray
    kind: str


def drawn(kind: str, seed: int = 0, trials: tuple[int, ...] = (T,)) -> Linear:
    rng = np.random.default_rng(seed)
    return Linear(
        rng.normal(size=(T, 3, N)),
        rng.normal(size=(T, 3)),
        10.0 ** rng.uniform(-1, 2, N),
        links(kind, trials),
        kind,
    )


def links(kind: str, trials: tuple[int, ...]) -> np.ndarray:
    linked = np.zeros(T, bool)
    last = np.cumsum(trials)
    linked[: last[-1]] = True
    linked[last - 1] = False
    if kind == "acceleration":
        linked[last - np.array(trials)] = False
    return linked


def differences(kind: str, linked: np.ndarray) -> np.ndarray:
    """Rows of first or second differences, written out. Shape [rows, T]."""
    rows = []
    for t in np.flatnonzero(linked):
        row = np.zeros(T)
        if kind == "velocity":
            row[t], row[t + 1] = -1, 1
        else:
            row[t - 1], row[t], row[t + 1] = 1, -2, 1
        rows.append(row)
    return np.array(rows).reshape(-1, T)


def stacked(p: Linear) -> tuple[np.ndarray, np.ndarray]:
    """Everything as one least-squares problem of all unknowns, frame by frame."""
    frames = np.zeros((3 * T, T * N))
    for t in range(T):
        frames[3 * t : 3 * t + 3, t * N : (t + 1) * N] = p.a[t]
    d = differences(p.kind, p.linked)
    prior = np.kron(d, np.diag(np.sqrt(p.stiffness)))
    return np.vstack([frames, prior]), np.r_[p.b.ravel(), np.zeros(len(prior))]


def dense(p: Linear, fixed: np.ndarray, start: np.ndarray) -> np.ndarray:
    a, b = stacked(p)
    whole, rhs = a.T @ a, a.T @ b
    x, free = start.ravel().copy(), np.repeat(~fixed, N)
    rhs = rhs - whole[:, ~free] @ x[~free]
    x[free] = np.linalg.solve(whole[np.ix_(free, free)], rhs[free])
    return x.reshape(T, N)


# The stencil is an argument like any other, so that both kinds share a compilation.
@partial(jax.jit, static_argnames="windows")
def solved(a, b, stencil, stiffness, linked, start, lower, upper, fixed, *, windows):
    def evaluate(x):
        miss = jnp.einsum("tki,ti->tk", a, x) - b
        return Frames(
            0.5 * jnp.sum(miss**2, axis=1),
            jnp.einsum("tki,tk->ti", a, miss),
            jnp.einsum("tki,tkj->tij", a, a),
            jnp.zeros((T, N, N)),
        )

    prior = Prior(stencil, stiffness, linked)
    return temporal_lm.solve(
        evaluate, start, prior, lower, upper, fixed, windows, 200, 1e-12
    )


def solution(p: Linear, windows=WINDOWS, limit=np.inf, fixed=None, start=None):
    start = np.zeros((T, N)) if start is None else start
    fixed = np.zeros(T, bool) if fixed is None else fixed
    lower, upper = np.full(N, -limit), np.full(N, limit)
    prior = (STENCILS[p.kind], p.stiffness, p.linked)
    found = solved(p.a, p.b, *prior, start, lower, upper, fixed, windows=windows)
    assert found.change <= 1e-12  # it ended because nothing moved
    return np.asarray(found.x)


@kinds
def test_quadratic_frames_have_the_dense_solution(kind):
    p = drawn(kind)
    expected = dense(p, np.zeros(T, bool), np.zeros((T, N)))
    np.testing.assert_allclose(solution(p), expected, atol=EXACT)


@kinds
def test_several_trials_in_one_are_solved_as_each_alone(kind):
    """Ends of trials stand inside and on the edges of windows; two are short."""
    p = drawn(kind, 1, (5, 3, 9, 7))
    found = solution(p)
    expected = dense(p, np.zeros(T, bool), np.zeros((T, N)))
    np.testing.assert_allclose(found, expected, atol=EXACT)
    first = slice(0, 5)  # also: nothing of the others reaches it
    a, b = np.zeros_like(p.a), np.zeros_like(p.b)
    a[first], b[first] = p.a[first], p.b[first]
    a[5:] = np.eye(3)[:, :N]
    alone = solution(p._replace(a=a, b=b))
    np.testing.assert_allclose(alone[first], found[first], atol=EXACT)


@kinds
def test_fixed_frames_stay_and_are_heeded(kind):
    p = drawn(kind, 2)
    start = np.random.default_rng(3).normal(size=(T, N))
    fixed = np.zeros(T, bool)
    fixed[[0, 1, 10, 15, 16]] = True
    found = solution(p, fixed=fixed, start=start)
    np.testing.assert_array_equal(found[fixed], start[fixed])
    np.testing.assert_allclose(found, dense(p, fixed, start), atol=EXACT)


@kinds
def test_the_start_does_not_matter(kind):
    p = drawn(kind, 4)
    start = 100 * np.random.default_rng(5).normal(size=(T, N))
    np.testing.assert_allclose(solution(p, start=start), solution(p), atol=1e-9)


@kinds
def test_limits_are_kept_and_the_rest_is_least_squares(kind):
    p = drawn(kind, 6)
    a, b = stacked(p)
    limit = 0.25
    oracle = optimize.lsq_linear(a, b, (-limit, limit), method="bvls", tol=1e-15)
    found = solution(p, limit=limit)
    held = np.abs(found) == limit
    assert 3 <= held.sum() <= 0.8 * held.size  # the case is one with and without
    np.testing.assert_allclose(found.ravel(), oracle.x, atol=1e-9)
    assert np.abs(found).max() <= limit


@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(sorted(STENCILS)),
    cut=st.integers(1, T - 1),
    limit=st.sampled_from([0.1, 0.3, 1.0, np.inf]),
    stiff=st.floats(-3, 4),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_any_linear_problem_within_limits(seed, kind, cut, limit, stiff):
    p = drawn(kind, seed, (cut, T - cut))
    p = p._replace(stiffness=10**stiff * p.stiffness)
    a, b = stacked(p)
    found = solution(p, limit=limit).ravel()
    gradient = a.T @ (a @ found - b)
    size = 1 + np.abs(a.T @ b).max()
    inside = np.abs(found) < limit
    # The conditions of a minimum within a box; the problem is convex.
    assert np.abs(gradient[inside]).max(initial=0.0) < 1e-7 * size
    assert (gradient * np.sign(found))[~inside].max(initial=0.0) < 1e-7 * size


@kinds
def test_frames_that_only_the_prior_ties_are_filled_in(kind):
    p = drawn(kind, 7)
    a = p.a.copy()
    a[6:19] = 0.0  # more than a window without any observation
    p = p._replace(a=a)
    found = solution(p)
    expected = dense(p, np.zeros(T, bool), np.zeros((T, N)))
    # Damping holds what hardly anything informs: the loop ends a little early.
    np.testing.assert_allclose(found, expected, atol=1e-8)


@kinds
def test_the_windows_do_not_change_the_solution(kind):
    p = drawn(kind, 8)
    expected = solution(p, limit=0.5)
    for core, shared in ((24, 0), (4, 1)):
        found = solution(p, windows=Windows(core, shared), limit=0.5)
        np.testing.assert_allclose(found, expected, atol=1e-9)


@kinds
def test_the_prior_gradient_is_that_of_the_summed_cost(kind):
    p = drawn(kind, 9, (4, 1, 12, 2, 5))
    prior = Prior(STENCILS[kind], jnp.asarray(p.stiffness), jnp.asarray(p.linked))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(T, N)))
    whole = lambda x: jnp.sum(temporal_prior.cost(prior, x))
    np.testing.assert_allclose(
        temporal_prior.gradient(prior, x), jax.grad(whole)(x), atol=1e-12
    )
    e = differences(kind, p.linked) @ np.asarray(x)
    cost = 0.5 * (p.stiffness * e**2).sum(axis=1)
    np.testing.assert_allclose(
        temporal_prior.cost(prior, x)[p.linked], cost, rtol=1e-12
    )
    assert not np.any(temporal_prior.cost(prior, x)[~p.linked])


@partial(jax.jit, static_argnames="windows")
def blocks_of(hessian, active, stencil, stiffness, linked, *, windows):
    prior = Prior(stencil, stiffness, linked)
    return temporal_lm.marginal_covariance(hessian, active, prior, windows)


def covariance_blocks(p: Linear, active: np.ndarray, windows: Windows) -> np.ndarray:
    hessian = np.einsum("tki,tkj->tij", p.a, p.a)
    prior = (STENCILS[p.kind], p.stiffness, p.linked)
    return np.asarray(blocks_of(hessian, active, *prior, windows=windows))


@kinds
def test_covariances_are_the_blocks_of_the_dense_inverse(kind):
    p = drawn(kind, 10, (9, 15))
    active = np.random.default_rng(1).random((T, N)) > 0.2
    a, _ = stacked(p)
    free = active.ravel()
    inverse = np.zeros((T * N, T * N))
    inverse[np.ix_(free, free)] = np.linalg.inv((a.T @ a)[np.ix_(free, free)])
    expected = np.stack(
        [inverse[t * N : t * N + N, t * N : t * N + N] for t in range(T)]
    )
    both = active[:, :, None] & active[:, None, :]
    error = lambda w: np.abs(
        np.where(both, covariance_blocks(p, active, w), 0) - expected
    ).max()
    assert error(Windows(24, 0)) < 1e-12
    assert error(Windows(4, 20)) < 1e-12
    # What windows do not share is taken for known; more shared, less error.
    errors = [error(Windows(4, shared)) for shared in (0, 2, 8)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


# A bent arm of two unit links whose tip is seen, under a prior.


def tip(x):
    return jnp.stack(
        [
            jnp.cos(x[0]) + jnp.cos(x[0] + x[1]),
            jnp.sin(x[0]) + jnp.sin(x[0] + x[1]),
        ]
    )


@jax.jit
def arm_solved(seen, stencil, stiffness, linked, start, lower, upper):
    def frame(x, y):
        cost = lambda x: 0.5 * jnp.sum((tip(x) - y) ** 2)
        j = jax.jacfwd(tip)(x)
        gauss = j.T @ j
        return Frames(cost(x), jax.grad(cost)(x), gauss, jax.hessian(cost)(x) - gauss)

    prior = Prior(stencil, stiffness, linked)
    return temporal_lm.solve(
        lambda x: jax.vmap(frame)(x, seen),
        start,
        prior,
        lower,
        upper,
        jnp.zeros(T, bool),
        WINDOWS,
        500,
        1e-11,
    )


@kinds
@pytest.mark.parametrize("limit", [np.inf, 1.0])
def test_a_nonlinear_problem_has_the_solution_of_scipy(kind, limit):
    rng = np.random.default_rng(0)
    turn = np.linspace(0, 5, T)
    truth = np.stack([0.5 * np.sin(turn), 0.9 + 0.6 * np.cos(turn)], axis=1)
    seen = np.asarray(jax.vmap(tip)(truth)) + 0.1 * rng.normal(size=(T, 2))
    stiffness, linked = np.array([0.5, 2.0]), links(kind, (11, T - 11))
    d = np.kron(differences(kind, linked), np.diag(np.sqrt(stiffness)))
    place = jax.jit(jax.vmap(tip))
    residual = lambda x: np.r_[
        (np.asarray(place(x.reshape(T, N))) - seen).ravel(), d @ x
    ]
    slope = jax.jit(jax.vmap(jax.jacfwd(tip)))

    def jacobian(x):
        blocks = np.zeros((T, 2, T, N))
        blocks[np.arange(T), :, np.arange(T)] = slope(x.reshape(T, N))
        return np.vstack([blocks.reshape(2 * T, T * N), d])

    start = np.clip(truth + 0.2 * rng.normal(size=truth.shape), -0.9, 0.9)
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-13}
    oracle = optimize.least_squares(
        residual, start.ravel(), jacobian, (-limit, limit), **tight
    )
    found = arm_solved(
        seen,
        STENCILS[kind],
        stiffness,
        linked,
        start,
        np.full(N, -limit),
        np.full(N, limit),
    )
    assert found.change <= 1e-11
    if limit < np.inf:
        assert (np.abs(found.x) == limit).any()
    # scipy's steps keep a little away from limits.
    near = 1e-8 if limit == np.inf else 1e-5
    np.testing.assert_allclose(found.x, oracle.x.reshape(T, N), atol=near)


def test_it_descends_where_the_whole_hessian_is_indefinite():
    """Near a straight arm that points away, the bend outweighs Gauss-Newton's."""
    seen = np.tile([1.2, 0.4], (T, 1))
    start = np.tile([np.pi - 0.2, 0.1], (T, 1))
    stiffness, linked = np.array([0.1, 0.1]), links("velocity", (T,))
    free = np.full(N, np.inf)
    found = arm_solved(
        seen, STENCILS["velocity"], stiffness, linked, start, -free, free
    )
    np.testing.assert_allclose(jax.vmap(tip)(found.x), seen, atol=1e-8)


def test_a_cap_on_the_steps_is_kept_and_shows():
    p = drawn("velocity", 11)
    prior = Prior(STENCILS["velocity"], jnp.asarray(p.stiffness), jnp.asarray(p.linked))

    def evaluate(x):
        return Frames(
            jnp.sum(jnp.cosh(x - 3), axis=1),
            jnp.sinh(x - 3),
            jnp.cosh(x - 3)[:, :, None] * jnp.eye(N)[None],
            jnp.zeros((T, N, N)),
        )

    free = jnp.full(N, jnp.inf)
    found = temporal_lm.solve(
        evaluate,
        jnp.zeros((T, N)),
        prior,
        -free,
        free,
        jnp.zeros(T, bool),
        WINDOWS,
        3,
        1e-12,
    )
    assert found.steps == 3
    assert found.change > 1e-12
