"""Figures to files."""

import os

from matplotlib.figure import Figure

from simspine_jax.io.atomic import atomic_path


def save(path: str | os.PathLike[str], figure: Figure, dpi: int = 110) -> None:
    """Saves a figure as a PNG file, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
