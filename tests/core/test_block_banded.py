"""Block-banded factor, solution and inverse against dense linear algebra."""

import jax
import numpy as np
import pytest

from simspine_jax.core import block_banded
from simspine_jax.core.block_banded import Banded

RTOL = 1e-10


def random_system(windows: int, frames: int, n: int, seed: int = 0) -> Banded:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(windows, frames, n, n))
    diagonal = root @ root.transpose(0, 1, 3, 2) + 8 * np.eye(n)
    last, past = rng.uniform(-2, 2, (2, windows, frames, n))
    return Banded(*map(jax.numpy.asarray, (diagonal, last, past)))


def dense(matrix: Banded) -> np.ndarray:
    windows, frames, n = matrix.last.shape
    full = np.zeros((windows, frames * n, frames * n))
    for w in range(windows):
        for t in range(frames):
            at = slice(t * n, (t + 1) * n)
            full[w, at, at] = matrix.diagonal[w, t]
            for k, side in ((1, matrix.last), (2, matrix.past)):
                if t >= k:
                    before = slice((t - k) * n, (t - k + 1) * n)
                    full[w, at, before] = full[w, before, at] = np.diag(side[w, t])
    return full


@pytest.mark.parametrize(("windows", "frames", "n"), [(3, 7, 4), (1, 1, 3), (2, 2, 2)])
def test_solution_and_inverse_equal_dense_algebra(windows, frames, n):
    matrix = random_system(windows, frames, n)
    full = dense(matrix)
    assert np.linalg.eigvalsh(full).min() > 0
    found = jax.jit(block_banded.factor)(matrix)
    rhs = np.random.default_rng(1).normal(size=(windows, frames, n))
    x = jax.jit(block_banded.solve)(found, rhs)
    expected = np.linalg.solve(full, rhs.reshape(windows, -1, 1))
    np.testing.assert_allclose(x, expected.reshape(rhs.shape), rtol=RTOL, atol=1e-12)
    inverse = np.linalg.inv(full)
    blocks = jax.jit(block_banded.inverse_diagonal)(found)
    for t in range(frames):
        at = slice(t * n, (t + 1) * n)
        np.testing.assert_allclose(
            blocks[:, t], inverse[:, at, at], rtol=RTOL, atol=1e-12
        )


def test_an_indefinite_matrix_gives_no_factor():
    matrix = random_system(1, 4, 2)
    matrix = matrix._replace(diagonal=matrix.diagonal.at[0, 2].multiply(-1.0))
    assert np.isnan(block_banded.factor(matrix).own[2]).any()
