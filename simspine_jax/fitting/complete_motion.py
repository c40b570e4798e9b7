"""A motion from a file as all coordinates of a model."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.body.model import Model
from simspine_jax.types import Motion


@dataclass(frozen=True)
class CompleteMotion:
    """All coordinates of a model along a motion.

    Attributes:
        q: In ``coordinate_names`` order, rad and m. Shape [T, N].
        from_couplers: Coordinates that the motion lacks, computed by couplers.
        at_default: Coordinates that the motion lacks, at their default values.
    """

    q: Float[np.ndarray, "t n"]
    from_couplers: tuple[str, ...]
    at_default: tuple[str, ...]


def complete(model: Model, motion: Motion) -> CompleteMotion:
    """Gives every coordinate of a model a value along a motion.

    Coordinates that the motion has are taken as given, coupled ones too.

    Args:
        model: Compiled model.
        motion: Some or all of its coordinates, in any order.

    Raises:
        ValueError: The motion has coordinates that the model does not have.
    """
    names = model.coordinate_names
    other = [name for name in motion.coordinate_names if name not in names]
    if other:
        raise ValueError(
            f"{len(other)} of the motion's {len(motion.coordinate_names)} coordinates "
            f"are not the model's: {', '.join(other)}"
        )
    given = np.asarray(motion.q, float)
    default = np.asarray(model.default_q, float)
    q = np.tile(default, (len(given), 1))
    place = [names.index(name) for name in motion.coordinate_names]
    q[:, place] = given
    coupled = {dependent for dependent, _ in model.topology.couplers}
    missing = [n for n in range(len(names)) if n not in set(place)]
    filled = [n for n in missing if n in coupled]
    if filled:
        q[:, filled] = np.asarray(model.expand(model.free_of(q)))[:, filled]
    return CompleteMotion(
        q,
        tuple(names[n] for n in filled),
        tuple(names[n] for n in missing if n not in coupled),
    )
