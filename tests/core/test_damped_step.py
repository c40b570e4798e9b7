"""The damped step within limits, against scipy on small quadratic problems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from simspine_jax.core import damped_step
from simspine_jax.core.damped_step import Limits

LANES, N = 6, 5
STEP_ATOL = 1e-8


def quadratics(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(LANES, N, N))
    return rng.normal(size=(LANES, N)), root @ root.swapaxes(1, 2) + 0.1 * np.eye(N)


def limits(lower=-np.inf, upper=np.inf, longest=np.inf, block=None) -> Limits:
    block = np.zeros(N, int) if block is None else block
    member = np.eye(block.max() + 1)[block]
    spread = lambda a: jnp.asarray(np.broadcast_to(a, (N,)).astype(float))
    return Limits(
        spread(lower),
        spread(upper),
        jnp.ones(N, bool),
        jnp.asarray(member),
        jnp.zeros(member.shape[1], bool),
        jnp.asarray(longest),
    )


def propose(g, h, bounds: Limits, damping: float = 0.0):
    x = jnp.zeros(g.shape)
    lam = jnp.full((len(g), bounds.member.shape[1]), damping)
    step, drop = damped_step.propose(x, jnp.asarray(g), jnp.asarray(h), lam, bounds)
    return np.asarray(step), np.asarray(drop)


def model_drop(g: np.ndarray, h: np.ndarray, step: np.ndarray) -> np.ndarray:
    return -np.einsum("wi,wi->w", g, step) - 0.5 * np.einsum(
        "wi,wij,wj->w", step, h, step
    )


def test_without_limits_it_is_newtons_step():
    g, h = quadratics(0)
    step, drop = propose(g, h, limits())
    np.testing.assert_allclose(
        step, -np.linalg.solve(h, g[..., None])[..., 0], atol=STEP_ATOL
    )
    np.testing.assert_allclose(drop[:, 0], model_drop(g, h, step), atol=STEP_ATOL)


def test_damping_is_scaled_by_the_diagonal():
    g, h = quadratics(1)
    step, _ = propose(g, h, limits(), damping=0.3)
    damped = h + 0.3 * np.einsum("wii->wi", h)[:, :, None] * np.eye(N)
    np.testing.assert_allclose(
        step, -np.linalg.solve(damped, g[..., None])[..., 0], atol=STEP_ATOL
    )


def test_the_others_answer_an_unknown_that_is_cut():
    """With one limit in the way the step is the exact minimum under it."""
    g, h = quadratics(2)
    free, _ = propose(g, h, limits())
    for k in range(N):
        room = np.full(N, np.inf)
        room[k] = 0.3 * np.abs(free[:, k]).min()
        step, drop = propose(g, h, limits(-room, room))
        for w in range(LANES):
            exact = optimize.minimize(
                lambda s, w=w: -model_drop(g[w : w + 1], h[w : w + 1], s[None])[0],
                np.zeros(N),
                bounds=list(zip(-room, room, strict=True)),
                options={"ftol": 1e-15, "gtol": 1e-10},
            )
            np.testing.assert_allclose(drop[w, 0], -exact.fun, rtol=1e-6)
            assert np.abs(step[w, k]) <= room[k]


def test_an_unknown_pushed_against_its_limit_stays():
    g, h = quadratics(3)
    g[:, 2] = 1.0  # downhill is down, and there is no room
    lower = np.full(N, -np.inf)
    lower[2] = 0.0
    step, _ = propose(g, h, limits(lower=lower))
    np.testing.assert_array_equal(step[:, 2], 0.0)
    rest = [0, 1, 3, 4]
    smaller = h[:, rest][:, :, rest]
    exact = -np.linalg.solve(smaller, g[:, rest][..., None])[..., 0]
    np.testing.assert_allclose(step[:, rest], exact, atol=STEP_ATOL)


def test_no_unknown_moves_further_than_allowed():
    g, h = quadratics(4)
    step, drop = propose(g, h, limits(longest=0.05))
    assert np.abs(step).max() == pytest.approx(0.05)
    np.testing.assert_allclose(drop[:, 0], model_drop(g, h, step), atol=STEP_ATOL)


def test_a_matrix_without_factor_asks_for_damping():
    g, h = quadratics(5)
    h[1] = -np.eye(N)
    step, drop = propose(g, h, limits())
    np.testing.assert_array_equal(drop[1], -1.0)
    np.testing.assert_array_equal(step[1], 0.0)
    assert (drop[[0, 2, 3, 4, 5]] > 0).all()


def test_curved_satisfies_the_secant_equation_where_curvature_is_missing():
    g, true = quadratics(6)
    bounds = limits()
    step = np.random.default_rng(7).normal(size=(LANES, N)) * 0.1
    before, after = g, g + np.einsum("wij,wj->wi", true, step)
    h = 0.6 * true  # too small, as Gauss-Newton's with large residuals
    near = jnp.asarray(np.arange(LANES) != 0)[:, None]
    mended = np.asarray(
        damped_step.curved(
            *(jnp.asarray(a) for a in (h, after, before, step)), near, bounds
        )
    )
    change = np.einsum("wij,wj->wi", mended, step)
    np.testing.assert_allclose(change[1:], (after - before)[1:], atol=STEP_ATOL)
    np.testing.assert_array_equal(mended[0], h[0])
    assert (np.linalg.eigvalsh(mended) > 0).all()


def test_curved_never_takes_curvature_away_nor_mixes_blocks():
    g, true = quadratics(8)
    block = np.array([0, 0, 1, 1, 1])
    same = block[:, None] == block[None]
    true = true * same
    step = np.random.default_rng(9).normal(size=(LANES, N)) * 0.1
    after = g + np.einsum("wij,wj->wi", true, step)
    near = jnp.ones((LANES, 2), bool)
    arrays = [jnp.asarray(a) for a in (after, g, step)]
    more = damped_step.curved(
        jnp.asarray(1.5 * true), *arrays, near, limits(block=block)
    )
    np.testing.assert_array_equal(more, 1.5 * true)
    less = np.asarray(
        damped_step.curved(jnp.asarray(0.5 * true), *arrays, near, limits(block=block))
    )
    np.testing.assert_array_equal(less[:, ~same], 0.0)
    np.testing.assert_allclose(
        np.einsum("wij,wj->wi", less, step), after - g, atol=STEP_ATOL
    )


def test_cholesky_solve():
    g, h = quadratics(10)
    solved = damped_step.cholesky_solve(
        jax.lax.linalg.cholesky(jnp.asarray(h)), jnp.asarray(g)
    )
    np.testing.assert_allclose(
        solved, np.linalg.solve(h, g[..., None])[..., 0], atol=STEP_ATOL
    )
