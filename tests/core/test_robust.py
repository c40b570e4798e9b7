"""Robust losses against their closed forms and automatic derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simspine_jax.core import robust
from simspine_jax.core.robust import RobustLoss

SCALE_M = 0.04
# Distances from far below to far above the scale, m; none at the scale itself.
DISTANCES_M = np.array([0.0, 1e-6, 0.01, 0.0399, 0.0401, 0.07, 0.5, 3.0])
losses = pytest.mark.parametrize("loss", [RobustLoss(k, SCALE_M) for k in robust.KINDS])


def closed_forms(kind: str, distance: np.ndarray, scale: float):
    """Rho and its derivative in the squared distance, as the sources write them."""
    if kind == "huber":
        near = distance <= scale
        rho = np.where(near, distance**2, 2 * scale * distance - scale**2)
        return rho, np.where(near, 1.0, scale / np.maximum(distance, scale))
    rho = distance**2 / (1 + (distance / scale) ** 2)
    return rho, 1 / (1 + (distance / scale) ** 2) ** 2


@losses
def test_rho_and_its_derivative_equal_the_closed_forms(loss):
    rho, slope = robust.apply(loss, DISTANCES_M**2)
    expected = closed_forms(loss.kind, DISTANCES_M, SCALE_M)
    np.testing.assert_allclose(rho, expected[0], rtol=1e-12)
    np.testing.assert_allclose(slope, expected[1], rtol=1e-12)


@losses
def test_the_derivative_is_that_of_rho(loss):
    rho = lambda square: robust.apply(loss, square)[0]
    square = jnp.asarray(DISTANCES_M**2)
    automatic = jax.vmap(jax.grad(rho))(square)
    # Far away the derivative is the small difference of two large terms.
    np.testing.assert_allclose(automatic, robust.apply(loss, square)[1], rtol=1e-10)


@losses
def test_the_second_derivative_is_finite_at_zero_and_far_away(loss):
    slope = lambda square: robust.apply(loss, square)[1]
    bend = jax.vmap(jax.grad(slope))(jnp.asarray([0.0, 1e-12, 1e6]))
    assert np.isfinite(bend).all()
    assert (np.asarray(bend) <= 0).all()


@losses
def test_far_below_the_scale_it_is_least_squares(loss):
    square = (SCALE_M * np.array([1e-5, 1e-4, 1e-3])) ** 2
    rho, slope = robust.apply(loss, square)
    np.testing.assert_allclose(rho, square, rtol=2e-6)
    np.testing.assert_allclose(slope, 1.0, rtol=4e-6)


def test_no_loss_is_least_squares():
    square = DISTANCES_M**2
    rho, slope = robust.apply(None, square)
    np.testing.assert_array_equal(rho, square)
    np.testing.assert_array_equal(slope, 1.0)


@given(
    kind=st.sampled_from(robust.KINDS),
    scale=st.floats(1e-3, 1.0),
    ratio=st.floats(0.0, 1e4),
)
@settings(max_examples=60, deadline=None)
def test_influence_is_bounded_and_the_weight_never_grows(kind, scale, ratio):
    """Influence is the derivative of rho in the distance, 2 d rho'."""
    distance = np.array([ratio, 1.01 * ratio + 1e-9]) * scale
    rho, slope = map(np.asarray, robust.apply(RobustLoss(kind, scale), distance**2))
    # Largest: Huber's from the scale on, Geman and McClure's at scale / sqrt(3).
    largest = {"huber": 2 * scale, "geman_mcclure": scale * 9 / 8 / np.sqrt(3)}[kind]
    assert (2 * distance * slope <= largest * (1 + 1e-12)).all()
    assert ((slope >= 0) & (slope <= 1)).all()
    assert slope[1] <= slope[0]
    assert (rho <= distance**2 * (1 + 1e-12)).all()
    assert rho[1] >= rho[0]


def test_how_far_observations_pull():
    """Far ones: with the force of one at the scale, or not at all."""
    far = np.array([1e3 * SCALE_M])
    pull = lambda kind: (
        2 * far * np.asarray(robust.apply(RobustLoss(kind, SCALE_M), far**2)[1])
    )
    np.testing.assert_allclose(pull("huber"), 2 * SCALE_M, rtol=1e-12)
    assert pull("geman_mcclure") < 1e-8 * SCALE_M
    rho, _ = robust.apply(RobustLoss("geman_mcclure", SCALE_M), far**2)
    np.testing.assert_allclose(rho, SCALE_M**2, rtol=1e-5)


@losses
def test_it_keeps_the_precision_of_the_distances(loss):
    rho, slope = robust.apply(loss, np.ones(3, np.float32))
    assert rho.dtype == slope.dtype == np.float32


def test_the_scale_may_be_an_array_with_gradients():
    distance = jnp.asarray(0.1)
    rho = lambda c: robust.apply(RobustLoss("huber", c), distance**2)[0]
    # rho = 2 c d - c^2
    np.testing.assert_allclose(
        jax.grad(rho)(jnp.asarray(SCALE_M)), 2 * (0.1 - SCALE_M), rtol=1e-12
    )


def test_bad_losses_are_one_sentence():
    with pytest.raises(ValueError, match=r"^loss 'cauchy' is not known; choose one of"):
        RobustLoss("cauchy")
    for scale in (0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"^the scale of a loss must be positive"):
            RobustLoss("huber", scale)
