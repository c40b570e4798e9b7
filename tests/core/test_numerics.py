import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.core import numerics

FLOAT64_ATOL = 1e-15
FLOAT32_ATOL = 3e-7


@pytest.mark.parametrize("size", [1e-300, 1e-20, 1e-8, 1e-3, 1, 10, 1e3, 1e5])
def test_sincos_in_float64(size: float):
    x = np.random.default_rng(0).uniform(-size, size, 20_000)
    x[:3] = -size, 0.0, size
    sine, cosine = jax.jit(numerics.sincos)(x)
    np.testing.assert_allclose(sine, np.sin(x), rtol=1e-15, atol=FLOAT64_ATOL)
    np.testing.assert_allclose(cosine, np.cos(x), rtol=0, atol=FLOAT64_ATOL)


def test_sincos_near_multiples_of_a_quarter_turn():
    k = np.arange(-64_000, 64_000, 7)
    x = np.concatenate([k * np.pi / 2, np.nextafter(k * np.pi / 4, 9e9), k * np.pi / 4])
    sine, cosine = numerics.sincos(jnp.asarray(x))
    np.testing.assert_allclose(sine, np.sin(x), rtol=0, atol=FLOAT64_ATOL)
    np.testing.assert_allclose(cosine, np.cos(x), rtol=0, atol=FLOAT64_ATOL)
    np.testing.assert_allclose(sine**2 + cosine**2, 1.0, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1, 10, 1e3])
def test_sincos_in_float32(size: float):
    x = np.random.default_rng(1).uniform(-size, size, 20_000).astype(np.float32)
    sine, cosine = numerics.sincos(jnp.asarray(x))
    assert sine.dtype == cosine.dtype == np.float32
    exact = x.astype(np.float64)
    np.testing.assert_allclose(sine, np.sin(exact), rtol=0, atol=FLOAT32_ATOL)
    np.testing.assert_allclose(cosine, np.cos(exact), rtol=0, atol=FLOAT32_ATOL)


def test_sincos_at_exact_points():
    sine, cosine = numerics.sincos(jnp.zeros(3))
    np.testing.assert_array_equal(sine, 0.0)
    np.testing.assert_array_equal(cosine, 1.0)


def test_derivatives_of_sincos():
    x = jnp.concatenate([jnp.linspace(-7.0, 7.0, 101), jnp.arange(-4, 5) * jnp.pi / 4])
    both = lambda x: jnp.stack(numerics.sincos(x))
    exact = np.stack([np.cos(x), -np.sin(x)])
    value, slope = jax.jvp(both, (x,), (jnp.ones_like(x),))
    np.testing.assert_allclose(slope, exact, rtol=0, atol=1e-14)
    back = jax.vjp(both, x)[1](jnp.ones_like(value))[0]
    np.testing.assert_allclose(back, exact.sum(axis=0), rtol=0, atol=1e-14)


def test_safe_norm():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0], [1e-160, 0.0]])
    np.testing.assert_allclose(numerics.safe_norm(x)[:2], [5.0, 0.0])
    assert numerics.safe_norm(x, keepdims=True).shape == (3, 1)
    slope = jax.grad(lambda x: numerics.safe_norm(x).sum())(x)
    np.testing.assert_allclose(slope[:2], [[0.6, 0.8], [0.0, 0.0]])
    assert np.isfinite(slope).all()
