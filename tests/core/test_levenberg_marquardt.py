"""The batched solver against scipy on small classic problems."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from simspine_jax.core import levenberg_marquardt as lm

COST_ATOL = 1e-12
X_ATOL = 1e-6
TIGHT = lm.LmOptions(max_steps=400, relative_tolerance=1e-14, absolute_tolerance=1e-20)


def rosenbrock(x, data):
    return jnp.stack([10 * (x[1] - x[0] ** 2), data - x[0]])


def exponential(x, data):
    """Fits ``a exp(b t)``; data are eight observations."""
    t = jnp.arange(8) / 8
    return x[0] * jnp.exp(x[1] * t) - data


def powell(x, data):
    """Powell's singular function: its Hessian vanishes at the minimum."""
    return jnp.stack(
        [
            x[0] + 10 * x[1] - data,
            jnp.sqrt(5.0) * (x[2] - x[3]),
            (x[1] - 2 * x[2]) ** 2,
            jnp.sqrt(10.0) * (x[0] - x[3]) ** 2,
        ]
    )


def evaluation(residual: Callable) -> Callable:
    """One block: cost, gradient and Gauss-Newton Hessian of a residual."""

    def one(x, data):
        r = residual(x, data)
        jacobian = jax.jacfwd(residual)(x, data)
        return lm.Evaluation(0.5 * (r @ r)[None], jacobian.T @ r, jacobian.T @ jacobian)

    return jax.vmap(one)


def solve(
    evaluate: Callable,
    data: np.ndarray,
    start: np.ndarray,
    *,
    lower=-np.inf,
    upper=np.inf,
    movable: np.ndarray | None = None,
    block: np.ndarray | None = None,
    run_length: int = 1,
    count: int | None = None,
    lanes: int = 3,
    options: lm.LmOptions = TIGHT,
) -> lm.Solutions:
    p, n = start.shape
    movable = np.ones(n, bool) if movable is None else movable
    block = np.zeros(n, np.int32) if block is None else block
    queue = lm.Queue(
        start=jnp.asarray(start),
        goal=jnp.full(p, jnp.inf),
        run_length=jnp.asarray(run_length, jnp.int32),
        count=jnp.asarray(p if count is None else count, jnp.int32),
    )
    limits = (jnp.broadcast_to(jnp.asarray(b, float), (n,)) for b in (lower, upper))
    out = lm.solve(
        evaluate,
        jnp.asarray(data),
        queue,
        *limits,
        jnp.asarray(movable),
        jnp.asarray(block),
        int(block.max()) + 1,
        lanes,
        options,
    )
    return jax.tree.map(np.asarray, out)


def scipy_minimum(residual, data, start, lower=-np.inf, upper=np.inf):
    function = jax.jit(lambda x: residual(x, data))
    jacobian = jax.jit(jax.jacfwd(lambda x: residual(x, data)))
    bounds = (np.broadcast_to(lower, start.shape), np.broadcast_to(upper, start.shape))
    return optimize.least_squares(
        lambda x: np.asarray(function(x)),
        np.clip(start, *bounds),
        lambda x: np.asarray(jacobian(x)),
        bounds=bounds,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
        max_nfev=2000,
    )


PROBLEMS = {
    "rosenbrock": (
        rosenbrock,
        np.linspace(0.5, 2.0, 7),
        np.random.default_rng(0).normal(size=(7, 2)) * 2,
    ),
    "exponential": (
        exponential,
        np.exp(-1.5 * np.arange(8) / 8)
        + 0.05 * np.random.default_rng(1).normal(size=(5, 8)),
        np.random.default_rng(2).normal(size=(5, 2)),
    ),
    "powell": (
        powell,
        np.array([0.0, 0.5, 1.0]),
        np.tile([3.0, -1.0, 0.0, 1.0], (3, 1)),
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_against_scipy(name: str):
    residual, data, start = PROBLEMS[name]
    out = solve(evaluation(residual), data, start)
    assert set(out.status) <= {lm.CONVERGED, lm.STALLED}
    for k in range(len(start)):
        exact = scipy_minimum(residual, data[k], start[k])
        np.testing.assert_allclose(
            out.cost[k, 0], exact.cost, rtol=1e-9, atol=COST_ATOL
        )
        if name != "powell":
            np.testing.assert_allclose(out.x[k], exact.x, atol=X_ATOL)


@pytest.mark.parametrize("name", ["rosenbrock", "exponential"])
def test_bounds_against_scipy(name: str):
    residual, data, start = PROBLEMS[name]
    lower, upper = np.array([-0.5, -1.0]), np.array([0.8, 0.4])
    out = solve(evaluation(residual), data, start, lower=lower, upper=upper)
    active = 0
    for k in range(len(start)):
        exact = scipy_minimum(residual, data[k], start[k], lower, upper)
        np.testing.assert_allclose(out.cost[k, 0], exact.cost, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(out.x[k], exact.x, atol=1e-4)
        active += int(((out.x[k] == lower) | (out.x[k] == upper)).any())
    assert ((out.x >= lower) & (out.x <= upper)).all()
    assert active >= 3
    # What was reported is what the function says there.
    again = evaluation(residual)(jnp.asarray(out.x), jnp.asarray(data)).cost
    # A cost near zero is the square of rounding errors.
    np.testing.assert_allclose(out.cost, again, rtol=1e-12, atol=1e-30)


def test_fixed_bound_and_unmovable_coordinates_stay():
    residual, data, start = PROBLEMS["rosenbrock"]
    out = solve(evaluation(residual), data, start, movable=np.array([True, False]))
    np.testing.assert_array_equal(out.x[:, 1], start[:, 1])
    assert (out.x[:, 0] != start[:, 0]).all()
    out = solve(
        evaluation(residual),
        data,
        start,
        lower=np.array([-9.0, 0.25]),
        upper=np.array([9.0, 0.25]),
    )
    np.testing.assert_array_equal(out.x[:, 1], 0.25)


@pytest.mark.parametrize("lanes", [1, 2, 5, 16])
def test_lanes_do_not_matter(lanes: int):
    residual, data, start = PROBLEMS["rosenbrock"]
    alone = solve(evaluation(residual), data, start, lanes=7)
    out = solve(evaluation(residual), data, start, lanes=lanes)
    np.testing.assert_allclose(out.x, alone.x, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(out.steps, alone.steps)
    again = solve(evaluation(residual), data, start, lanes=lanes)
    jax.tree.map(np.testing.assert_array_equal, out, again)


def test_order_does_not_matter():
    residual, data, start = PROBLEMS["exponential"]
    order = np.array([3, 1, 4, 0, 2])
    out = solve(evaluation(residual), data, start, lanes=2)
    other = solve(evaluation(residual), data[order], start[order], lanes=2)
    np.testing.assert_allclose(other.x, out.x[order], rtol=1e-12, atol=1e-12)


def test_padding_is_left_alone_and_counts_share_a_compilation():
    residual, data, start = PROBLEMS["rosenbrock"]
    traces = 0

    def evaluate(x, data):
        nonlocal traces
        traces += 1
        return evaluation(residual)(x, data)

    run = jax.jit(lambda count: _jitted(evaluate, data, start, count))
    full = run(7)
    before = traces
    for count in (0, 1, 4):
        out = jax.tree.map(np.asarray, run(count))
        np.testing.assert_array_equal(out.status[count:], lm.EMPTY)
        np.testing.assert_array_equal(out.x[count:], start[count:])
        np.testing.assert_array_equal(out.steps[count:], 0)
        np.testing.assert_allclose(out.x[:count], full.x[:count], atol=1e-12)
    assert traces == before


def _jitted(evaluate, data, start, count):
    queue = lm.Queue(
        start=jnp.asarray(start),
        goal=jnp.full(len(start), jnp.inf),
        run_length=jnp.asarray(1, jnp.int32),
        count=jnp.asarray(count, jnp.int32),
    )
    n = start.shape[1]
    return lm.solve(
        evaluate,
        jnp.asarray(data),
        queue,
        jnp.full(n, -jnp.inf),
        jnp.full(n, jnp.inf),
        jnp.ones(n, bool),
        jnp.zeros(n, jnp.int32),
        1,
        3,
        TIGHT,
    )


def test_runs_start_from_the_problem_before():
    """A slowly moving target: tracked, each problem takes a step or two."""
    data = np.linspace(0.5, 0.6, 12)
    start = np.tile([-1.2, 1.0], (12, 1))
    cold = solve(evaluation(rosenbrock), data, start)
    for lanes in (1, 2, 3):
        tracked = solve(evaluation(rosenbrock), data, start, run_length=4, lanes=lanes)
        np.testing.assert_allclose(tracked.x[:, 0], data, atol=X_ATOL)
        first = np.arange(12) % 4 == 0
        np.testing.assert_array_equal(tracked.steps[first], cold.steps[first])
        assert tracked.steps[~first].max() < cold.steps[~first].min()
    # A last run that is shorter.
    short = solve(evaluation(rosenbrock), data, start, run_length=5)
    np.testing.assert_allclose(short.x[:, 0], data, atol=X_ATOL)


def test_blocks_are_solved_apart():
    """Two problems side by side: one block each gives what each alone gives."""
    residual, data, start = PROBLEMS["rosenbrock"]
    one = evaluation(residual)

    def evaluate(x, data):
        left, right = one(x[:, ::2], data), one(x[:, 1::2], 3.0 - data)
        hessian = jnp.zeros((*x.shape, 4)).at[:, ::2, ::2].set(left.hessian)
        return lm.Evaluation(
            jnp.concatenate([left.cost, right.cost], axis=1),
            jnp.zeros_like(x)
            .at[:, ::2]
            .set(left.gradient)
            .at[:, 1::2]
            .set(right.gradient),
            hessian.at[:, 1::2, 1::2].set(right.hessian),
        )

    both = np.stack([start, start[::-1]], axis=2).reshape(7, 4)
    out = solve(evaluate, data, both, block=np.array([0, 1, 0, 1], np.int32))
    assert out.cost.shape == (7, 2)
    for side, target, begin in ((0, data, start), (1, 3.0 - data, start[::-1])):
        alone = solve(one, target, begin)
        np.testing.assert_allclose(out.x[:, side::2], alone.x, atol=1e-7)
        np.testing.assert_allclose(out.cost[:, side], alone.cost[:, 0], atol=COST_ATOL)


def test_nan_ends_a_lane_and_no_other():
    residual, data, start = PROBLEMS["rosenbrock"]
    broken = data.copy()
    broken[[1, 4]] = np.nan
    out = solve(evaluation(residual), broken, start, lanes=2)
    np.testing.assert_array_equal(np.flatnonzero(out.status == lm.NOT_FINITE), [1, 4])
    sound = np.isfinite(broken)
    exact = solve(evaluation(residual), data, start, lanes=2)
    np.testing.assert_allclose(out.x[sound], exact.x[sound], atol=1e-12)
    # In a run the problem after it starts afresh.
    out = solve(evaluation(residual), broken, start, run_length=7, lanes=1)
    np.testing.assert_allclose(out.x[sound, 0], data[sound], atol=X_ATOL)


def test_a_wall_of_nan_is_stepped_around():
    """Trial points that are not finite are refused, not fatal."""

    def residual(x, data):
        return jnp.stack([jnp.log(x[0]) - data, x[1] - 1.0])

    out = solve(evaluation(residual), np.array([-3.0]), np.array([[2.0, 0.0]]))
    np.testing.assert_allclose(out.x[0], [np.exp(-3.0), 1.0], atol=X_ATOL)


def test_step_limit_has_its_status():
    residual, data, start = PROBLEMS["rosenbrock"]
    out = solve(evaluation(residual), data, start, options=TIGHT.replace(max_steps=3))
    assert (out.status == lm.MAX_STEPS).any()
    assert out.steps.max() <= 4
    worse = 0.5 * np.sum(np.asarray(jax.vmap(residual)(start, data)) ** 2, axis=1)
    assert (out.cost[:, 0] <= worse).all()
    assert lm.STATUS_TEXT[lm.MAX_STEPS].startswith("stopped")


def test_single_precision_steers_double_precision():
    """Gradient and Hessian in float32 still reach a float64 minimum."""
    residual, data, start = PROBLEMS["rosenbrock"]

    def evaluate(x, data):
        exact = evaluation(residual)(x, data)
        return lm.Evaluation(
            exact.cost,
            exact.gradient.astype(jnp.float32),
            exact.hessian.astype(jnp.float32),
        )

    out = solve(evaluate, data, start)
    np.testing.assert_allclose(out.x[:, 0], data, atol=1e-5)
    assert out.cost.dtype == np.float64
    assert out.cost.max() < 1e-12
