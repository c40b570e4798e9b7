"""Functions of one coordinate against OpenSim's own."""

import jax
import numpy as np
import opensim
import pytest

from simspine_jax.body import curves, spec

ATOL = 1e-12


def knots(count: int, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.05, 0.8, count)) - 1.5
    return tuple(x.tolist()), tuple(rng.normal(size=count).tolist())


def theirs(function: spec.Function) -> opensim.Function:
    if isinstance(function, spec.Linear):
        return opensim.LinearFunction(opensim.ArrayDouble_(function.coefficients))
    if isinstance(function, spec.Polynomial):
        return opensim.PolynomialFunction(opensim.Vector(list(function.coefficients)))
    kinds = {
        spec.SimmSpline: opensim.SimmSpline,
        spec.PiecewiseLinear: opensim.PiecewiseLinearFunction,
    }
    made = kinds[type(function)]()
    for x, y in zip(function.x, function.y, strict=True):
        made.addPoint(x, y)
    return made


FUNCTIONS = (
    spec.Polynomial((2.0,)),
    spec.Polynomial((0.5, -1.0)),
    spec.Polynomial((0.3, -0.2, 0.7, 1.1, -0.4)),
    *(spec.SimmSpline(*knots(n, n)) for n in (2, 3, 4, 5, 9, 14)),
    *(spec.PiecewiseLinear(*knots(n, n)) for n in (2, 3, 7)),
    spec.Scaled(-1.7, spec.SimmSpline(*knots(6, 1))),
    spec.Scaled(0.5, spec.Scaled(3.0, spec.PiecewiseLinear(*knots(4, 2)))),
)


def arguments(function: spec.Function) -> np.ndarray:
    """Points in, at and far outside the knots."""
    _, inner = curves.unscaled(function)
    at = np.array(getattr(inner, "x", [0.0]))
    return np.concatenate([np.linspace(-6.0, 8.0, 57), at, at - 1e-9, at + 1e-9])


def test_one_table_of_all_kinds():
    x = np.stack([np.resize(arguments(f), 90) for f in FUNCTIONS])
    value, slope = jax.jit(curves.evaluate)(curves.build(list(FUNCTIONS)), x)
    for k, function in enumerate(FUNCTIONS):
        # OpenSim's multiplier would own, and free, what Python holds.
        scale, inner = curves.unscaled(function)
        oracle = theirs(inner)
        point = opensim.Vector(1, 0.0)
        order = opensim.StdVectorInt([0])
        for t, argument in enumerate(x[k]):
            point[0] = float(argument)
            expected = scale * oracle.calcValue(point)
            assert value[k, t] == pytest.approx(expected, rel=ATOL, abs=ATOL), function
            assert curves.value(function, argument) == pytest.approx(
                expected, rel=ATOL, abs=ATOL
            )
            if argument not in getattr(inner, "x", ()):
                expected = scale * oracle.calcDerivative(order, point)
                assert slope[k, t] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_slope_is_the_derivative():
    table = curves.build(list(FUNCTIONS))
    x = np.random.default_rng(0).uniform(-3, 5, (len(FUNCTIONS), 40))
    value = lambda x: curves.evaluate(table, x)[0]
    _, tangent = jax.jvp(value, (x,), (np.ones_like(x),))
    np.testing.assert_allclose(curves.evaluate(table, x)[1], tangent, atol=1e-12)


def test_no_curves():
    value, slope = curves.evaluate(curves.build([]), np.zeros((0, 5)))
    assert value.shape == slope.shape == (0, 5)


def test_a_single_knot_is_a_constant():
    value, slope = curves.evaluate(
        curves.build([spec.PiecewiseLinear((1.0,), (4.0,))]), np.zeros((1, 3))
    )
    np.testing.assert_array_equal(value, 4.0)
    np.testing.assert_array_equal(slope, 0.0)
