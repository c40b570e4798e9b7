"""Coordinate couplers by substitution: dependent = f(independent), exactly.

Coupled coordinates never become unknowns, so that no constrained optimiser is
needed and the constraint error is zero (design decision 3). Couplers may chain.
"""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from simspine_jax.body import curves
from simspine_jax.body.curves import CurveTable
from simspine_jax.types import Array

if TYPE_CHECKING:
    from simspine_jax.body.model import Model, Topology

CouplerTable = CurveTable


def expand(
    model: "Model", q_free: Float[Array, "*batch f"]
) -> Float[jax.Array, "*batch n"]:
    """Returns all coordinates from the free ones."""
    batch = q_free.shape[:-1]
    model = model.with_dtype(q_free.dtype)
    lanes = q_free.reshape(math.prod(batch), q_free.shape[-1]).T
    q, _ = expand_lanes(model, lanes)
    return q.T.reshape(*batch, q.shape[0])


def expand_lanes(
    model: "Model", q_free: Float[Array, "f t"]
) -> tuple[Float[jax.Array, "n t"], Float[jax.Array, "n t"]]:
    """Expands free coordinates, lanes last.

    Returns:
        All coordinates, and the derivative of each with respect to the one free
        coordinate that drives it (``driving_free``); 0 for locked ones.
    """
    topology = model.topology
    t = q_free.shape[1]
    dependent = {d for d, _ in topology.couplers}
    fixed = [
        c
        for c in range(len(topology.coordinate_names))
        if c not in dependent and c not in topology.free
    ]
    at_default = model.default_q[np.asarray(fixed, int)][:, None]
    q = jnp.concatenate([q_free, jnp.broadcast_to(at_default, (len(fixed), t))])
    slopes = jnp.concatenate(
        [jnp.ones_like(q_free), jnp.zeros((len(fixed), t), q_free.dtype)]
    )
    order = [*topology.free, *fixed]
    for rows, members in coupler_groups(topology.couplers):
        arguments = np.asarray([order.index(i) for _, i in members])
        table = jax.tree.map(lambda x, rows=rows: x[rows], model.coupler_curves)
        value, slope = curves.evaluate(table, q[arguments])
        slopes = jnp.concatenate([slopes, slope * slopes[arguments]])
        q = jnp.concatenate([q, value])
        order += [d for d, _ in members]
    back = np.argsort(np.asarray(order, int))
    return q[back], slopes[back]


def driving_free(topology: "Topology") -> dict[int, int]:
    """Returns for each coordinate that can move the free one that drives it."""
    root = {c: i for i, c in enumerate(topology.free)}
    for dependent, independent in topology.couplers:
        if independent in root:
            root[dependent] = root[independent]
    return root


def coupler_groups(
    pairs: tuple[tuple[int, int], ...],
) -> list[tuple[np.ndarray, list[tuple[int, int]]]]:
    """Splits ordered couplers into runs that do not depend on one another.

    Returns:
        For each run the rows of the coupler table and their pairs.
    """
    groups: list[tuple[list[int], list[tuple[int, int]]]] = []
    made: set[int] = set()
    for row, (dependent, independent) in enumerate(pairs):
        if not groups or independent in made:
            groups.append(([], []))
            made = set()
        groups[-1][0].append(row)
        groups[-1][1].append((dependent, independent))
        made.add(dependent)
    return [(np.asarray(rows), members) for rows, members in groups]
