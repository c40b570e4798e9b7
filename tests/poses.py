"""Poses to compare at, and the models that tests share."""

from pathlib import Path

import numpy as np

from simspine_jax.body.model import Model


def random_poses(model: Model, count: int, seed: int = 0) -> np.ndarray:
    """Poses over each range, those wider than pi or 2 m cut to that. [count, N]."""
    widest = np.where(model.coordinate_is_angle, np.pi, 2.0)
    low, high = np.clip(np.asarray(model.range).T, -widest, widest)
    return np.random.default_rng(seed).uniform(low, high, (count, len(low)))


def osim_files(*folders: Path) -> list[Path]:
    """All model files of some folders, sorted in each."""
    return [path for folder in folders for path in sorted(folder.rglob("*.osim"))]
