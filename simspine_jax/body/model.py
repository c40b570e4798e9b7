"""The compiled model: static wiring apart from numbers.

``Topology`` is hashable and decides what is compiled; every number of ``Model`` is
a pytree leaf, so models of one topology (all subjects of a study) share one
compilation.

Notation: B bodies, N coordinates, M markers. Every body hangs from its parent by
one joint with six axes: three body-fixed rotations (slots 0-2), then a translation
(slots 3-5). Axis value = ``slope * source + offset``, where the source is a
coordinate, a curve of one coordinate, or a weighted sum of coordinates.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from simspine_jax.body import couplers
from simspine_jax.body.couplers import CouplerTable
from simspine_jax.body.curves import CurveTable
from simspine_jax.types import Array


@dataclass(frozen=True)
class Topology:
    """Names and wiring of a model; hashable, so static under ``jax.jit``.

    Attributes:
        body_names: In file order.
        coordinate_names: In OpenSim's own order.
        marker_names: In file order.
        parents: Parent body of each body, -1 for ground.
        levels: Bodies by depth below ground.
        rotational: Whether OpenSim calls each coordinate rotational.
        angular: Whether each coordinate drives a rotation, and so is an angle.
        marker_bodies: Body of each marker, -1 for ground.
        axis_sources: For each of the 6 B axes the index of its source among
            ``[coordinates, curves, sums]``, -1 for a constant.
        curve_coordinates: Argument of each curve.
        sum_coordinates: Coordinates in each weighted sum.
        free: Indices of the free coordinates.
        couplers: ``(dependent, independent)`` in order of evaluation.
    """

    body_names: tuple[str, ...]
    coordinate_names: tuple[str, ...]
    marker_names: tuple[str, ...]
    parents: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]
    rotational: tuple[bool, ...]
    angular: tuple[bool, ...]
    marker_bodies: tuple[int, ...]
    axis_sources: tuple[int, ...]
    curve_coordinates: tuple[int, ...]
    sum_coordinates: tuple[tuple[int, ...], ...]
    free: tuple[int, ...]
    couplers: tuple[tuple[int, int], ...]

    def ancestors(self, body: int) -> tuple[int, ...]:
        """Returns the body and all bodies between it and ground."""
        chain = []
        while body >= 0:
            chain.append(body)
            body = self.parents[body]
        return tuple(chain)


@struct.dataclass
class Model:
    """A compiled skeletal model; lengths m, angles rad, frames right-handed.

    Attributes:
        topology: Names and wiring (static).
        parent_rotation: Joint frame in the parent body. Shape [B, 3, 3].
        parent_translation: Its origin in the parent body, m. Shape [B, 3].
        child_rotation: Joint frame in the child body. Shape [B, 3, 3].
        child_translation: Its origin in the child body, m. Shape [B, 3].
        axis_direction: Unit rotation axes and translation axes. Shape [B, 6, 3].
        axis_slope: Shape [B, 6].
        axis_offset: Shape [B, 6].
        axis_is_coordinate: 1 where the axis is exactly one coordinate, which
            scaling leaves alone. Shape [B, 6].
        sum_coefficients: Weights of the sums of coordinates. Shape [G, N].
        curves: Functions of one coordinate.
        coupler_curves: Functions of the couplers, one row each.
        default_q: Default value of every coordinate. Shape [N].
        lower: Lower limit, -inf where not clamped. Shape [N].
        upper: Upper limit, +inf where not clamped. Shape [N].
        range: Range as written, whether or not it is clamped. Shape [N, 2].
        marker_offset: Marker positions in their bodies, m. Shape [M, 3].
        scale_factors: Scale applied so far to each body. Shape [B, 3].
    """

    topology: Topology = struct.field(pytree_node=False)
    parent_rotation: Array
    parent_translation: Array
    child_rotation: Array
    child_translation: Array
    axis_direction: Array
    axis_slope: Array
    axis_offset: Array
    axis_is_coordinate: Array
    sum_coefficients: Array
    curves: CurveTable
    coupler_curves: CouplerTable
    default_q: Array
    lower: Array
    upper: Array
    range: Array
    marker_offset: Array
    scale_factors: Array

    @property
    def body_names(self) -> tuple[str, ...]:
        """Body names, ground not among them."""
        return self.topology.body_names

    @property
    def coordinate_names(self) -> tuple[str, ...]:
        """Coordinate names in OpenSim's order."""
        return self.topology.coordinate_names

    @property
    def free_coordinate_names(self) -> tuple[str, ...]:
        """Names of the coordinates that are neither coupled nor locked."""
        return tuple(self.coordinate_names[i] for i in self.topology.free)

    @property
    def marker_names(self) -> tuple[str, ...]:
        """Marker names."""
        return self.topology.marker_names

    @property
    def coordinate_is_rotational(self) -> tuple[bool, ...]:
        """Whether OpenSim calls each coordinate rotational, so in degrees in files.

        False for translations, and for coupled coordinates: those that drive axes
        through curves alone, such as the angle of a patella.
        """
        return self.topology.rotational

    @property
    def coordinate_is_angle(self) -> tuple[bool, ...]:
        """Whether each coordinate is an angle (rad) rather than a length (m)."""
        return self.topology.angular

    @partial(jax.jit, inline=True)
    def expand(self, q_free: Float[Array, "*batch f"]) -> Float[jax.Array, "*batch n"]:
        """Returns all coordinates from the free ones, rad and m.

        Coupled coordinates are their function's value exactly; locked ones stand
        at their default.
        """
        q_free = jnp.asarray(q_free)
        return couplers.expand(self, q_free)

    @partial(jax.jit, inline=True)
    def free_of(self, q: Float[Array, "*batch n"]) -> Float[jax.Array, "*batch f"]:
        """Returns the free coordinates of ``q``; the left inverse of ``expand``."""
        return jnp.asarray(q)[..., np.asarray(self.topology.free, int)]

    def with_dtype(self, dtype: type | np.dtype) -> "Model":
        """Returns the same model with every number in ``dtype``."""
        return jax.tree.map(lambda x: jnp.asarray(x, dtype), self)
