"""Differences of joint coordinates that are differences of the pose.

Whole turns are none, and neither is the other of the two Euler triples that turn a
body alike (`fitting.euler_branches`): solvers may end on either.
"""

import numpy as np
from jaxtyping import Float

from simspine_jax.body.model import Model
from simspine_jax.fitting import euler_branches


def coordinate_difference(
    model: Model, q: Float[np.ndarray, "t n"], other: Float[np.ndarray, "t n"]
) -> Float[np.ndarray, "t n"]:
    """Returns ``q - other``, the smallest that the two poses allow.

    Args:
        model: Compiled model.
        q: Coordinates, rad and m. Shape [T, N].
        other: Coordinates to compare with. Shape [T, N].

    Returns:
        Differences, angles within half a turn, rad and m. Shape [T, N].
    """
    angle = np.asarray(model.coordinate_is_angle)
    difference = _within_half_a_turn(q - other, angle)
    for triple in map(list, euler_branches.triples(model)):
        branch = q[:, triple] * [1, -1, 1] + np.pi
        turned = _within_half_a_turn(branch - other[:, triple], np.ones(3, bool))
        kept = difference[:, triple]
        closer = np.abs(turned).sum(axis=1) < np.abs(kept).sum(axis=1)
        difference[:, triple] = np.where(closer[:, None], turned, kept)
    return difference


def _within_half_a_turn(difference: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.where(
        angle, np.arctan2(np.sin(difference), np.cos(difference)), difference
    )
