"""A weak prior on the posture of the trunk and the neck.

A pelvis tilted and a lumbar spine flexed by the same constant look like markers that
sit elsewhere on their bodies. Where no marker is on the spine nothing else tells them
apart, so each frame expects the lumbar and neck angles near those of the default pose.
"""

import jax
import numpy as np
from jaxtyping import Float

from simspine_jax.body import spine_angles
from simspine_jax.body.model import Model
from simspine_jax.fitting.ik_prepare import Plan

# Angles, each the sum of coordinates of which a model may lack some.
ANGLES = (
    *(
        tuple(f"{level}_{axis}" for level in spine_angles.LEVELS)
        for axis in ("Flex_Ext", "Lat_Bending", "axial_rotation")
    ),
    *((name,) for name in ("neck_flexion", "neck_bending", "neck_rotation")),
)

# SD of the posture, degrees, with markers on the spine and without.
WITH_SPINE_DEG, WITHOUT_SPINE_DEG = 20.0, 10.0
_ON_SPINE = ("Spine_01", "Spine_02", "Spine_03", "Spine_04", "Spine_05")


def usual_sd_deg(names: tuple[str, ...]) -> float:
    """Returns an SD that suits the markers: less where none of them is on the spine."""
    return WITH_SPINE_DEG if set(_ON_SPINE) & set(names) else WITHOUT_SPINE_DEG


def rows(model: Model, plan: Plan, sd_deg: float | None) -> Float[np.ndarray, "r n"]:
    """Returns what turns unknowns into angles over their SD.

    The angles are the neck's and the sums of the lumbar levels'; levels follow the
    coordinate that drives them by the slope of their coupler at the default pose.

    Args:
        model: That came in.
        plan: Its unknowns.
        sd_deg: SD of an angle in one frame, degrees; None or 0 for no prior.

    Returns:
        One row for each angle that the unknowns move; none where the model lacks
        the coordinates.
    """
    if not sd_deg:
        return np.zeros((0, len(plan.columns)))
    free = np.asarray(model.topology.free, int)
    base = np.asarray(model.default_q, float)[free]
    moved = np.asarray(jax.jacfwd(model.expand)(base))[:, list(plan.columns)]
    place = {name: k for k, name in enumerate(model.coordinate_names)}
    angles = np.array(
        [moved[[place[n] for n in some if n in place]].sum(axis=0) for some in ANGLES]
    )
    return angles[angles.any(axis=1)] / np.deg2rad(sd_deg)
