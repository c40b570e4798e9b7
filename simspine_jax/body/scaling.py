"""Scaling of a model's segments, differentiable in the factors."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from simspine_jax.body.model import Model
from simspine_jax.types import Array


def scale_model(
    model: Model,
    factors: Mapping[str, Sequence[float] | Array] | Array,
) -> Model:
    """Scales bodies along their own axes.

    Joint frames and markers move with the body they are fixed to; translations that
    a joint's functions make scale with its parent body, those that are a coordinate
    itself do not, but a coupler that sets such a coordinate does. Limits and default
    values stay.

    Args:
        model: Compiled model.
        factors: ``{body: (x, y, z)}``, bodies not named keep their size; or one row
            for each body. Shape [B, 3].

    Returns:
        The scaled model; its ``scale_factors`` have grown by ``factors``.

    Raises:
        ValueError: A body that the model does not have, or a wrong shape.

    Source: OpenSim 4.6 ``Model::scale``, which it equals but for three things that
    OpenSim makes depend on how a file is written: axes count at unit length; a frame
    or marker fixed to a turned offset frame scales along its body's axes, not the
    offset frame's (no difference if x, y and z scale alike); couplers of lengths may
    scale unevenly. Mass properties and muscles do not exist here.
    """
    shape = (len(model.body_names), 3)
    if isinstance(factors, Mapping):
        rows = [jnp.ones(3)] * shape[0]
        for name, row in factors.items():
            if name not in model.body_names:
                raise ValueError(
                    f"cannot scale body {name!r}: the model has "
                    f"{', '.join(model.body_names)}"
                )
            rows[model.body_names.index(name)] = jnp.asarray(row)
        table = jnp.stack(rows)
    else:
        table = jnp.asarray(factors)
    if table.shape != shape:
        raise ValueError(
            f"scale factors must have shape {shape}, one row a body; found "
            f"{table.shape}"
        )
    parents = np.asarray(model.topology.parents)
    grounded = (parents < 0)[:, None]
    above = jnp.where(grounded, 1.0, table[parents])  # [b, 3]
    bodies = np.asarray(model.topology.marker_bodies, int)
    on_ground = (bodies < 0)[:, None]
    carried = jnp.where(on_ground, 1.0, table[bodies])
    along = jnp.sum(
        jnp.abs(jnp.asarray(model.axis_direction)) * above[:, None], axis=2
    )  # [b, 6]
    sliding = jnp.arange(6)[None] >= 3
    is_coordinate = jnp.asarray(model.axis_is_coordinate) > 0
    stretch = jnp.where(is_coordinate | ~sliding | grounded, 1.0, along)
    return dataclasses.replace(
        model,
        parent_translation=model.parent_translation * above,
        child_translation=model.child_translation * table,
        axis_slope=model.axis_slope * stretch,
        axis_offset=model.axis_offset * stretch,
        coupler_curves=dataclasses.replace(
            model.coupler_curves,
            coefficients=model.coupler_curves.coefficients
            * _coupler_stretch(model, above)[:, None, None],
        ),
        marker_offset=model.marker_offset * carried,
        scale_factors=model.scale_factors * table,
    )


def _coupler_stretch(
    model: Model, above: Float[Array, "b 3"]
) -> Float[jax.Array, " couplers"]:
    """Returns the factor of each coupler: that of the length it sets, else 1."""
    squared = jnp.asarray(model.axis_direction) ** 2  # unit axes: weights that add to 1
    along = jnp.sum(squared * above[:, None], axis=2).reshape(-1)  # [6 b]
    plain = (jnp.asarray(model.axis_is_coordinate) > 0).reshape(-1)
    topology = model.topology
    rows = [jnp.ones(())]  # so that a model without couplers has a dtype
    for dependent, _ in topology.couplers:
        slides = [
            axis
            for axis, source in enumerate(topology.axis_sources)
            if source == dependent and axis % 6 >= 3
        ]
        alone = len(slides) == 1 and not topology.angular[dependent]
        rows.append(
            jnp.where(plain[slides[0]], along[slides[0]], 1.0) if alone else rows[0]
        )
    return jnp.stack(rows)[1:]
