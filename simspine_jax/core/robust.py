"""Losses that do not let a few wild observations decide.

Notation: d the distance of an observation, c the scale of the loss, both m. A loss
replaces d^2 by ``rho(d^2)``, which equals d^2 for d far below c; its derivative is the
factor by which the observation's weight shrinks.

Source: Huber, Robust Estimation of a Location Parameter, 1964; Geman and McClure,
Statistical Methods for Tomographic Image Restoration, 1987; in the form of Barron,
A General and Adaptive Robust Loss Function, 2019.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

KINDS = ("huber", "geman_mcclure")


@struct.dataclass
class RobustLoss:
    """How observations far from the model count.

    Attributes:
        kind: "huber" (a far observation pulls with the force of one at the scale) or
            "geman_mcclure" (a far one pulls hardly at all).
        scale_m: Distance from which an observation counts as far, m; about twice
            the largest error that is expected of a good one.

    Raises:
        ValueError: Another kind, or a scale that is not positive.
    """

    kind: str = struct.field(pytree_node=False, default="huber")
    scale_m: float | Array = 0.05

    def __post_init__(self) -> None:  # noqa: D105
        if self.kind not in KINDS:
            raise ValueError(f"loss {self.kind!r} is not known; choose one of {KINDS}")
        if isinstance(self.scale_m, int | float) and not self.scale_m > 0:
            raise ValueError(
                f"the scale of a loss must be positive; it is {self.scale_m} m"
            )


def apply(
    loss: RobustLoss | None, square: Float[Array | np.ndarray, "*n"]
) -> tuple[Float[jax.Array, "*n"], Float[jax.Array, "*n"]]:
    """Returns ``rho`` and its derivative.

    Args:
        loss: None for least squares.
        square: Squared distances, m^2.
    """
    square = jnp.asarray(square)
    if loss is None:
        return square, jnp.ones_like(square)
    limit = jnp.asarray(loss.scale_m, square.dtype) ** 2
    if loss.kind == "huber":
        far = square > limit
        ratio = jnp.sqrt(limit / jnp.where(far, square, limit))
        return jnp.where(far, 2 * square * ratio - limit, square), ratio
    ratio = limit / (limit + square)
    return square * ratio, ratio**2
