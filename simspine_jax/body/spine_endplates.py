"""Endplates of the model's vertebrae: which way they face, by body.

The model has no endplates, so these are measured on the bone meshes that the model
shows (Pose2Sim 0.10.49, ``OpenSim_Setup/Geometry``), in the frames of the bodies that
carry them; the model file turns none of these meshes. A mesh models each plate as one
fan of triangles around a hub vertex. The plate is the plane through the rim of that
fan with the least squares of distances; the hub is left out, as plates are dished.
Hubs (vertices from 0): ``sacrum.vtp`` 0 (a rim of 10), ``lumbar1.vtp`` 116 (upper, 14),
``thoracic12_s.vtp`` 2 (lower, 14), ``thoracic3_s.vtp`` 110 (upper, 14). The rims are
flat to 1.1 mm, and the areas of the fans face the same way to 0.3 degrees. The meshes
are of one generic spine, symmetric to 0.01 degrees: x forward, y up, z right.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from simspine_jax.body import spine_markers
from simspine_jax.body.model import Model

# Body and unit normal (upwards, in the body's frame) of each plate.
PLATES = {
    "S1 upper": ("sacrum", (0.35934, 0.93321, 0.0)),
    "L1 upper": ("lumbar1", (-0.35497, 0.93488, 0.0)),
    "T12 lower": ("torso", (-0.47151, 0.88186, 0.0)),
    "T3 upper": ("torso", (0.31138, 0.95029, 0.0)),
}


def normal(model: Model, plate: str) -> Float[Array, " 3"]:
    """Returns a plate's unit normal, upwards, in the frame of its scaled body.

    Args:
        model: With the body that carries the plate.
        plate: A key of ``PLATES``.

    Source: normals of a stretched surface go by the inverse of the stretch. A body's
    stretch is its recorded scale over that of the generic model
    (``spine_markers.GENERIC``); only differences between x, y and z turn a plate.
    """
    body, direction = PLATES[plate]
    generic = spine_markers.GENERIC.get(body, (1.0,))[0]
    stretch = jnp.asarray(model.scale_factors)[model.body_names.index(body)] / generic
    turned = np.array(direction) / stretch
    return turned / jnp.linalg.norm(turned)
