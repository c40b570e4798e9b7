"""The Kalman smoother against dense Gaussian posteriors and the prior along time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.core import kalman, temporal_prior

# One size for nearly all that is smoothed here: one compilation of each kind.
FRAMES, POINTS = 60, 3
RATE_HZ = 50.0
DENSITY = {"acceleration": 6.0, "jerk": 240.0}
NOISE_M = 0.005
POINT_ATOL_M = 1e-9
COVARIANCE_RTOL = 1e-9
NARROW_ATOL_M = 1e-4
kinds = pytest.mark.parametrize("of", ["acceleration", "jerk"])
smooth = jax.jit(kalman.smooth, static_argnames=("rate_hz", "density", "of"))


def observed(seed: int = 0, frames: int = FRAMES, points: int = POINTS):
    """Points of a smooth path, covariances that differ, and what was seen."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None, None] / RATE_HZ
    path = np.sin(2 * np.pi * time + rng.uniform(0, 6, (1, points, 3))) + 2.0
    root = NOISE_M * rng.normal(size=(frames, points, 3, 3))
    covariance = root @ np.swapaxes(root, -1, -2) + 0.1 * NOISE_M**2 * np.eye(3)
    noise = np.linalg.cholesky(covariance) @ rng.normal(size=(frames, points, 3, 1))
    seen = rng.uniform(size=(frames, points)) > 0.2
    return path, path + noise[..., 0], covariance, seen


def posterior(z, covariance, seen, of: str):
    """Mean [T, 3] and covariance [T, 3, 3] of one point, all frames at once."""
    n, frames = kalman.ORDERS[of], len(z)
    differences = np.diff(np.eye(frames), n=n, axis=0)
    variance = DENSITY[of] ** 2 / RATE_HZ ** (2 * n - 1)
    info = np.kron(differences.T @ differences / variance, np.eye(3))
    pull = np.zeros(3 * frames)
    for t in np.flatnonzero(seen):
        at = slice(3 * t, 3 * t + 3)
        told = np.linalg.inv(covariance[t])
        info[at, at] += told
        pull[at] = told @ z[t]
    spread = np.linalg.inv(info)
    blocks = spread.reshape(frames, 3, frames, 3)
    return (spread @ pull).reshape(-1, 3), np.einsum("titj->tij", blocks)


@kinds
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_points_and_covariances_equal_the_dense_posterior(of, seed):
    _, z, covariance, seen = observed(seed)
    seen[:4, 1] = seen[-3:, 1] = seen[6:14, 2] = False
    found = smooth(z, covariance, seen, RATE_HZ, DENSITY[of], of)
    assert np.asarray(found.known).all()
    for k in range(3):
        x, spread = posterior(z[:, k], covariance[:, k], seen[:, k], of)
        np.testing.assert_allclose(found.points[:, k], x, rtol=0, atol=POINT_ATOL_M)
        np.testing.assert_allclose(
            found.covariance[:, k],
            spread,
            rtol=COVARIANCE_RTOL,
            atol=COVARIANCE_RTOL * spread.max(axis=(1, 2)).min(),
        )


def test_the_acceleration_is_the_joint_problem_of_the_temporal_prior():
    _, z, covariance, seen = observed()
    told = np.where(seen[..., None, None], np.linalg.inv(covariance), 0.0)[:, 0]
    stiffness = RATE_HZ**3 / DENSITY["acceleration"] ** 2
    linked = jnp.ones(FRAMES, bool).at[jnp.array([0, -1])].set(False)
    stencil = temporal_prior.STENCILS["acceleration"]
    prior = temporal_prior.Prior(stencil, jnp.full(3, stiffness), linked)
    system = jax.jit(temporal_prior.system)(
        jnp.asarray(told), jnp.ones((FRAMES, 3), bool), prior, jnp.zeros(FRAMES)
    )
    found = smooth(
        z, covariance, seen, RATE_HZ, DENSITY["acceleration"], "acceleration"
    )
    columns = jnp.eye(3 * FRAMES).reshape(-1, FRAMES, 3)
    whole = jax.jit(jax.vmap(lambda v: temporal_prior.times(system, v)))(columns)
    spread = np.linalg.inv(np.asarray(whole).reshape(3 * FRAMES, -1))
    pull = np.einsum("tij,tj->ti", told, z[:, 0])
    x = (spread @ pull.ravel()).reshape(-1, 3)
    np.testing.assert_allclose(found.points[:, 0], x, rtol=0, atol=POINT_ATOL_M)
    spread = np.einsum("titj->tij", spread.reshape(FRAMES, 3, FRAMES, 3))
    np.testing.assert_allclose(
        found.covariance[:, 0], spread, rtol=1e-7, atol=1e-7 * spread.max()
    )


@kinds
def test_what_stands_in_missing_frames_is_not_used(of):
    _, z, covariance, seen = observed()
    hidden = np.where(seen[..., None], z, np.nan)
    unknown = np.where(seen[..., None, None], covariance, np.nan)
    expected = smooth(z, covariance, seen, RATE_HZ, DENSITY[of], of)
    found = smooth(hidden, unknown, seen, RATE_HZ, DENSITY[of], of)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@kinds
def test_points_seen_too_rarely_are_not_known(of):
    n = kalman.ORDERS[of]
    _, z, covariance, _ = observed()
    seen = np.zeros((FRAMES, POINTS), bool)
    seen[3 : 3 + n - 1, 1] = seen[5 : 5 + 2 * n : 2, 2] = True
    found = smooth(z, covariance, seen, RATE_HZ, DENSITY[of], of)
    np.testing.assert_array_equal(found.known, [False, False, True])
    assert not np.asarray(found.points)[:, :2].any()
    assert not np.asarray(found.covariance)[:, :2].any()
    assert np.isfinite(found.points).all()


@kinds
def test_a_polynomial_of_lower_degree_is_kept_and_carried_on(of):
    n = kalman.ORDERS[of]
    _, _, covariance, seen = observed()
    seen[:3] = seen[-3:] = False
    powers = np.linspace(-1, 1, FRAMES)[:, None] ** np.arange(n)
    truth = np.einsum(
        "td,dkc->tkc", powers, np.random.default_rng(4).normal(size=(n, 3, 3))
    )
    found = smooth(truth, covariance, seen, RATE_HZ, DENSITY[of], of)
    np.testing.assert_allclose(found.points, truth, rtol=0, atol=POINT_ATOL_M)


@kinds
def test_time_reversed_points_are_smoothed_alike(of):
    _, z, covariance, seen = observed()
    found = smooth(z, covariance, seen, RATE_HZ, DENSITY[of], of)
    other = smooth(z[::-1], covariance[::-1], seen[::-1], RATE_HZ, DENSITY[of], of)
    np.testing.assert_allclose(other.points[::-1], found.points, atol=POINT_ATOL_M)
    np.testing.assert_allclose(
        other.covariance[::-1], found.covariance, rtol=1e-8, atol=1e-12
    )


@kinds
def test_noise_falls_and_the_covariances_say_by_how_much(of):
    path, z, covariance, _ = observed()
    seen = np.ones(path.shape[:2], bool)
    found = smooth(z, covariance, seen, RATE_HZ, DENSITY[of], of)
    error = np.asarray(found.points) - path
    assert (error**2).mean() < 0.5 * ((z - path) ** 2).mean()
    # Mahalanobis distances of three components have mean 3 if the spread is right.
    whole = np.linalg.solve(np.asarray(found.covariance), error[..., None])[..., 0]
    assert 1.5 < (error * whole).sum(-1).mean() < 4.0


@kinds
def test_a_sine_at_the_stated_frequency_is_lowered_to_half_the_power(of):
    n = kalman.ORDERS[of]
    rate = ((2**0.5 - 1) * (DENSITY[of] / NOISE_M) ** 2 * RATE_HZ) ** (0.5 / n)
    # The sine whose differences over dt are as large as its derivatives should be.
    turn = 2 * np.arcsin(rate / (2 * RATE_HZ)) * np.arange(FRAMES)
    z = np.broadcast_to(np.sin(turn)[:, None, None], (FRAMES, POINTS, 3))
    covariance = np.broadcast_to(NOISE_M**2 * np.eye(3), (FRAMES, POINTS, 3, 3))
    seen = np.ones((FRAMES, POINTS), bool)
    found = smooth(z, covariance, seen, RATE_HZ, DENSITY[of], of).points
    both = np.stack([np.sin(turn), np.cos(turn)], axis=1)
    middle = slice(20, 40)
    left = np.linalg.lstsq(both[middle], np.asarray(found)[middle, 0, 0], rcond=None)
    np.testing.assert_allclose(left[0], [1 / np.sqrt(2), 0.0], atol=2e-3)


@kinds
def test_covariances_grow_into_gaps(of):
    _, z, covariance, _ = observed()
    seen = np.ones((FRAMES, POINTS), bool)
    seen[-6:] = False
    found = smooth(z, covariance, seen, RATE_HZ, DENSITY[of], of)
    spread = np.trace(np.asarray(found.covariance), axis1=2, axis2=3)
    assert (np.diff(spread[-7:], axis=0) > 0).all()


@kinds
def test_single_precision_is_enough(of):
    _, z, covariance, seen = observed()
    seen[20:35] = False
    exact = smooth(z, covariance, seen, RATE_HZ, DENSITY[of], of)
    narrow = [np.asarray(a, np.float32) for a in (z, covariance)]
    found = smooth(*narrow, seen, RATE_HZ, DENSITY[of], of)
    assert found.points.dtype == found.covariance.dtype == np.float32
    np.testing.assert_allclose(found.points, exact.points, rtol=0, atol=NARROW_ATOL_M)
    spread = np.asarray(found.covariance)
    np.testing.assert_allclose(
        spread, exact.covariance, rtol=2e-2, atol=2e-2 * NOISE_M**2
    )
    assert np.linalg.eigvalsh(spread).min() > 0


def test_gradients_by_points_covariances_and_density():
    _, z, covariance, seen = observed(0, 7, 1)
    rng = np.random.default_rng(1)
    unit = rng.normal(size=z.shape)

    def value(z, log_density, stretch):
        spread = covariance * jnp.exp(stretch)
        spread = jnp.where(seen[..., None, None], spread, jnp.nan)
        density = jnp.exp(log_density)
        found = kalman.smooth(z, spread, jnp.asarray(seen), RATE_HZ, density, "jerk")
        return jnp.sum(found.points * unit) + jnp.sum(found.covariance) / NOISE_M

    start = z, np.log(DENSITY["jerk"]), np.zeros((*seen.shape, 1, 1))
    at = tuple(jnp.asarray(part, float) for part in start)
    both = jax.jit(jax.value_and_grad(value, (0, 1, 2)))
    _, slope = both(*at)
    for k, part in enumerate(at):
        way = jnp.asarray(rng.normal(size=part.shape))
        around = [(*at[:k], part + step * way, *at[k + 1 :]) for step in (-1e-4, 1e-4)]
        low, high = (float(both(*place)[0]) for place in around)
        along = float(jnp.sum(slope[k] * way))
        assert along == pytest.approx((high - low) / 2e-4, rel=1e-6)


def test_bad_input_is_one_sentence():
    z, covariance, seen = np.zeros((4, 1, 3)), np.zeros((4, 1, 3, 3)), np.ones((4, 1))
    given = jnp.asarray(z), jnp.asarray(covariance), jnp.asarray(seen, bool)
    with pytest.raises(ValueError, match=r"^a Kalman smoother of the 'snap' is not"):
        kalman.smooth(*given, RATE_HZ, 1.0, "snap")
    for rate_hz, density in ((0.0, 1.0), (float("nan"), 1.0), (50.0, -1.0)):
        with pytest.raises(ValueError, match=r"of a Kalman smoother must be positive"):
            kalman.smooth(*given, rate_hz, density)
