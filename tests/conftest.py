"""Settings and inputs of the whole suite: CPU, float64, no window, own caches."""

import os
import shutil
import tempfile
from pathlib import Path

_COMPILED = "SIMSPINE_JAX_TEST_CACHE"
# Before jax is imported. Workers of pytest-xdist inherit what is set here, so that
# all of them, and the experiments they start, share one cache of compiled programs.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["MPLBACKEND"] = "Agg"
_OWNS_CACHE = _COMPILED not in os.environ
if _OWNS_CACHE:
    os.environ[_COMPILED] = tempfile.mkdtemp(prefix="simspine_jax-tests-")
os.environ["SIMSPINE_JAX_CACHE"] = os.environ[_COMPILED]
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ[_COMPILED]

import jax  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

# `type_checks` is named in pyproject.toml, and must be there before the library is.
from tests import type_checks  # noqa: E402, F401
from third_party import fetch  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
flags.FLAGS.mark_as_parsed()


def pytest_unconfigure() -> None:
    if _OWNS_CACHE:
        shutil.rmtree(os.environ.pop(_COMPILED), ignore_errors=True)


@pytest.fixture(scope="session")
def pose2sim_04() -> Path:
    """Folder of the files used of pose2sim 0.4.15."""
    return fetch.fetch("pose2sim-0.4.15")


@pytest.fixture(scope="session")
def pose2sim_08() -> Path:
    """Folder of the files used of pose2sim 0.8.4."""
    return fetch.fetch("pose2sim-0.8.4")


@pytest.fixture(scope="session")
def pose2sim_10() -> Path:
    """Folder of the files used of pose2sim 0.10.49."""
    return fetch.fetch("pose2sim-0.10.49")
