"""Computations that the compiler must not merge with what reads them.

XLA's CPU compiler fuses a chain of elementwise work into every reader, and computes
it again for each; ``optimization_barrier`` is gone before that. A branch that is only
chosen at run time is not looked into.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def stage(
    go: Array | np.ndarray | None, function: Callable[..., Any], *args: Any
) -> Any:
    """Returns ``function(*args)``, computed once whoever reads it.

    Args:
        go: True, but known at run time only: made from an argument of the jitted
            function. Zeros are returned where it is False. None: nothing is kept
            apart.
        function: From arrays to a pytree of arrays.
        args: What it takes; what it closes over counts as well.
    """
    if go is None:
        return function(*args)
    out = jax.eval_shape(function, *args)
    nothing = lambda *_: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), out)
    return jax.lax.cond(go, function, nothing, *args)
