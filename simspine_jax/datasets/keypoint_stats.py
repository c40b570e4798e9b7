"""Mean and spread of every keypoint over a training set, as MMPose normalises by them.

Four pickles, each a dict of ``mean`` and ``std`` [K, 3 or 2]: ``joint3d_stats`` in the
cameras' frames (m), ``joint2d_stats`` in their images (px), and ``joint3d_rel_stats``
and ``joint2d_rel_stats`` of the same less the root, whose own row stays absolute.

What is not known has no place and is not counted: a 3D keypoint that is missing, a 2D
keypoint that is not in the image, and of the relative ones also those whose root is
not. The published statistics count all rows. A standard deviation is that of the
population, as NumPy's.

Source: the statistics that SIMSPINE's preprocessing writes; rows are joined by Chan,
Golub and LeVeque's (1979) formula, so that any number of them fits in memory.
"""

import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.datasets.simspine_npz import ROOT, SpineNpz
from simspine_jax.io.atomic import atomic_path

Stats = dict[str, dict[str, np.ndarray]]
_ROWS = 1 << 15
_PROTOCOL = 4


@dataclass(frozen=True)
class Moments:
    """Sums of rows that further rows can be added to.

    Attributes:
        count: Rows counted. Shape [K, 1].
        mean: Their mean. Shape [K, D].
        squares: Sum of squared distances from it. Shape [K, D].
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray


def moments(
    values: Float[np.ndarray, "n k d"], counted: Bool[np.ndarray, "n k"]
) -> Moments:
    """Returns the sums of some rows, float64; those not counted may be anything."""
    weight = counted[..., None]
    values = np.where(weight, values, 0.0).astype(np.float64)
    count = weight.sum(axis=0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    return Moments(count, mean, (np.where(weight, values - mean, 0.0) ** 2).sum(axis=0))


def joined(a: Moments, b: Moments) -> Moments:
    """Returns the sums of the rows of both."""
    count = a.count + b.count
    share = b.count / np.maximum(count, 1)
    apart = b.mean - a.mean
    return Moments(
        count,
        a.mean + apart * share,
        a.squares + b.squares + apart**2 * a.count * share,
    )


def npz_stats(data: SpineNpz) -> Stats:
    """Returns the four statistics of a file, by the names of their pickles.

    Raises:
        ValueError: A keypoint is nowhere seen, so that it has none.
    """
    root = data.names.index(ROOT)
    sums: dict[str, Moments] = {}
    for values, counted, kind in _pieces(data):
        both = counted & counted[:, root : root + 1]
        # The root keeps its own place, and the others are relative to it.
        relative = values - values[:, root : root + 1]
        relative[:, root] = values[:, root]
        for name, found in (
            (f"joint{kind}_stats", moments(values, counted)),
            (f"joint{kind}_rel_stats", moments(relative, both)),
        ):
            sums[name] = joined(sums[name], found) if name in sums else found
    if not sums:
        raise ValueError(f"{data.path}: there is no row to take statistics of")
    for name, found in sums.items():
        for keypoint, count in zip(data.names, found.count[:, 0], strict=True):
            if not count:
                raise ValueError(
                    f"{data.path}: {keypoint} is in no row, so {name} has no mean of it"
                )
    return {
        name: {"mean": found.mean, "std": np.sqrt(found.squares / found.count)}
        for name, found in sums.items()
    }


def write_stats(
    folder: str | os.PathLike[str], stats: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """Writes each of the statistics as ``<name>.pkl``, whole or not at all.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    for name, values in stats.items():
        plain = {key: np.asarray(array) for key, array in values.items()}
        with atomic_path(Path(folder) / f"{name}.pkl") as temporary:
            temporary.write_bytes(pickle.dumps(plain, protocol=_PROTOCOL))


def _pieces(data: SpineNpz) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Yields coordinates [n, K, D], which of them count, and "3d" or "2d"."""
    for first in range(0, len(data.arrays["S"]), _ROWS):
        for name, kind in (("S", "3d"), ("part", "2d")):
            rows = np.asarray(data.arrays[name][first : first + _ROWS], np.float64)
            yield rows[..., :-1], rows[..., -1] > 0, kind
