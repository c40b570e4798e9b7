"""Packages that only some data formats need, imported when they are."""

import importlib
from typing import Any

EXTRA = "datasets"


def load(module: str, purpose: str) -> Any:
    """Imports an optional package.

    Args:
        module: Its import name.
        purpose: What needs it, such as "reading .cdf files".

    Raises:
        ValueError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ValueError(
            f"{purpose} needs the package {error.name}, which is not installed; "
            f"pip install 'simspine-jax[{EXTRA}]'"
        ) from None
