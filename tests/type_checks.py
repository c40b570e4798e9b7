"""The run-time type checker that pytest puts around the library's functions.

Constructors are left alone: JAX rebuilds pytrees with placeholders, shapes or
``None`` in place of arrays (``jax.tree.map``, ``in_axes``, ``jax.eval_shape``),
which the annotations of their fields rightly do not allow.
"""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype

F = TypeVar("F", bound=Callable)

# An int is a float, as it is to static type checkers.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def functions(function: F) -> F:
    """Checks a function's arguments and result; leaves ``__init__`` unchecked."""
    return function if function.__name__ == "__init__" else _checked(function)
