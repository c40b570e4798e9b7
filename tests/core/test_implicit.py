"""Gradients of minima, against optimistix and against solving again."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from simspine_jax.core import implicit

LANES, N = 4, 3
PARITY = 1e-8
FINITE_DIFFERENCE_RTOL = 1e-5


def objective(theta, x):
    """A minimum that depends on theta nonlinearly, residuals not zero. [w]"""
    a, b = theta
    bend = 0.3 * (jnp.sin(x[:, :1] * a[:, :1]) + x[:, 1:2] ** 2 - b[:, :1])
    line = x - a - 0.3 * b
    return 0.5 * jnp.sum(bend**2, 1) + 0.5 * jnp.sum(line**2, 1)


def slope_of(theta, x):
    return jax.grad(lambda x: objective(theta, x).sum())(x)


@pytest.fixture(scope="module")
def theta() -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=(LANES, N))) for _ in range(2))


def minimum(theta, held=None, start=None):
    """A minimum with gradients, solved by Newton steps."""
    held = jnp.zeros((LANES, N), bool) if held is None else held
    start = jax.lax.stop_gradient(theta[0]) if start is None else start
    still = jax.lax.stop_gradient(theta)
    x = implicit.polished(partial(slope_of, still), start, held, 30)
    return implicit.at_minimum(partial(slope_of, theta), x, held)


def by_optimistix(theta):
    def residual(x, theta):
        a, b = theta
        bend = 0.3 * (jnp.sin(x[0] * a[0]) + x[1] ** 2 - b[0])
        return jnp.concatenate([bend[None], x - a - 0.3 * b])

    def one(a, b):
        found = optx.minimise(
            lambda x, t: 0.5 * jnp.sum(residual(x, t) ** 2),
            optx.BFGS(rtol=1e-13, atol=1e-13),
            a,
            args=(a, b),
            max_steps=2000,
            adjoint=optx.ImplicitAdjoint(),
        )
        return found.value

    return jax.vmap(one)(*theta)


def test_equals_optimistix(theta):
    ours, theirs = minimum(theta), by_optimistix(theta)
    np.testing.assert_allclose(ours, theirs, atol=PARITY)
    loss = lambda solver: lambda theta: jnp.sum(jnp.cos(2.0 * solver(theta)))
    for a, b in zip(
        jax.grad(loss(minimum))(theta),
        jax.grad(loss(by_optimistix))(theta),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=PARITY)


def test_equals_solving_again(theta):
    rng = np.random.default_rng(1)
    way = tuple(jnp.asarray(rng.normal(size=a.shape)) for a in theta)
    _, slope = jax.jvp(minimum, (theta,), (way,))
    step = 1e-5
    moved = [
        minimum(jax.tree.map(lambda a, v, s=s: a + s * step * v, theta, way))
        for s in (1, -1)
    ]
    again = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(slope, again, rtol=FINITE_DIFFERENCE_RTOL, atol=1e-9)


def test_forward_equals_backward_and_jit(theta):
    forward = jax.jacfwd(minimum)(theta)
    backward = jax.jit(jax.jacrev(minimum))(theta)
    for a, b in zip(forward, backward, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_vmap_over_problems(theta):
    many = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a, -a]), theta)
    mapped = jax.jacrev(lambda t: jax.vmap(minimum)(t).sum())(many)
    for k in range(3):
        single = jax.grad(lambda t: minimum(t).sum())(
            jax.tree.map(lambda a, k=k: a[k], many)
        )
        for a, b in zip(mapped, single, strict=True):
            np.testing.assert_allclose(a[k], b, atol=1e-12)


def test_held_unknowns_stay_and_have_no_gradient(theta):
    held = jnp.zeros((LANES, N), bool).at[:, 1].set(True)
    start = jnp.ones((LANES, N)) * 0.3
    x = minimum(theta, held, start)
    np.testing.assert_array_equal(x[:, 1], 0.3)
    slope = jax.jacrev(lambda t: minimum(t, held, start)[:, 1])(theta)
    for part in slope:
        np.testing.assert_array_equal(part, 0.0)
    np.testing.assert_allclose(slope_of(theta, x)[:, [0, 2]], 0.0, atol=1e-12)


def test_a_direction_without_curvature_gets_the_smallest_derivative():
    """Only the sum of both unknowns is determined: each takes half of it."""

    def solved(theta):
        sum_of = lambda t: lambda x: jnp.tile(x[:, :1] + x[:, 1:] - t[:, None], 2)
        held = jnp.zeros((2, 2), bool)
        x = implicit.polished(
            sum_of(jax.lax.stop_gradient(theta)), jnp.zeros((2, 2)), held
        )
        return implicit.at_minimum(sum_of(theta), x, held)

    theta = jnp.array([1.0, -2.0])
    np.testing.assert_allclose(solved(theta), theta[:, None] * np.full((1, 2), 0.5))
    slope = jax.jacrev(solved)(theta)  # [w, n, w]
    np.testing.assert_allclose(
        slope, np.einsum("wv,n->wnv", np.eye(2), [0.5, 0.5]), atol=1e-12
    )


def test_hessian_blocks(theta):
    x = jnp.asarray(np.random.default_rng(2).normal(size=(LANES, N)))
    dense = jax.hessian(lambda y: jnp.sum(objective(theta, y)))(x)
    blocks = implicit.hessian_blocks(partial(slope_of, theta), x)
    np.testing.assert_allclose(
        blocks, np.einsum("wiwj->wij", np.asarray(dense)), atol=1e-12
    )
