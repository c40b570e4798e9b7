"""Model files to compiled models."""

import os

from simspine_jax.body.compile import compile_model
from simspine_jax.body.model import Model
from simspine_jax.io.osim import read_osim


def load_model(
    osim_path: str | os.PathLike[str],
    markers: str | os.PathLike[str] | None = None,
) -> Model:
    """Loads an OpenSim model, document version 40000 or later, without OpenSim.

    Args:
        osim_path: The ``.osim`` file.
        markers: An OpenSim MarkerSet file whose markers replace the model's own.

    Returns:
        The compiled model, numbers as float64 NumPy arrays.

    Raises:
        FileNotFoundError: A file is not there.
        ModelError: The model cannot be used; one sentence says why.
    """
    return compile_model(read_osim(osim_path, markers))
