"""Other markers on a compiled model."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from simspine_jax.body.model import Model
from simspine_jax.body.spec import GROUND


def with_markers(
    model: Model, markers: Mapping[str, tuple[str, tuple[float, float, float]]]
) -> Model:
    """Replaces the markers of a model.

    Args:
        model: Compiled model.
        markers: Body and offset in that body's frame (m) by marker name, taken as
            given: the model's scale factors are not applied.

    Returns:
        The model with these markers in this order.

    Raises:
        ValueError: A body that the model does not have.
    """
    bodies = {GROUND: -1, **{b: i for i, b in enumerate(model.body_names)}}
    for name, (body, _) in markers.items():
        if body not in bodies:
            raise ValueError(
                f"marker {name!r} is on body {body!r}, which the model does not have; "
                f"it has {', '.join(model.body_names)}"
            )
    offset = np.array([offset for _, offset in markers.values()], np.float64)
    return replace(
        model,
        topology=replace(
            model.topology,
            marker_names=tuple(markers),
            marker_bodies=tuple(bodies[body] for body, _ in markers.values()),
        ),
        marker_offset=offset.reshape(-1, 3),
    )
