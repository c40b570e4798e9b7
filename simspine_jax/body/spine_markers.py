"""SIMSPINE's keypoints as virtual markers on the bodies of a model."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from simspine_jax.body import markers
from simspine_jax.body.kinematics import BodyPoses, forward_kinematics
from simspine_jax.body.model import Model
from simspine_jax.skeletons import simspine, simspine_markers

# Body, and place in its frame (m), of each. The points of the neck below the skull
# sit on the torso, so that only Head and Nose follow the neck.
PLACES = tuple(simspine_markers.MARKERS[name] for name in simspine.SPINE_NAMES)
# The same of all 37.
_ALL = {**simspine_markers.MARKERS, **simspine_markers.FACE}

# Of the generic model that the places refer to (Pose2Sim's full-body model), by body:
# the scale factors its own file records, and where its joint to the parent lies, m.
# Other releases of it have the head's origin elsewhere, so that places count from
# the joint.
GENERIC = {
    "pelvis": (1.0, (0.0, 0.0, 0.0)),
    "lumbar5": (0.93, (0.0, 0.0, 0.0)),
    "lumbar3": (0.93, (-0.0006, -0.0012, 0.0)),
    "lumbar1": (0.93, (0.0014, -0.0038, 0.0)),
    "torso": (0.89, (-0.0129, 0.1154, 0.0)),
    "head": (1.0, (0.0, 0.03, 0.0)),
}

# A body of its own for C7 to C1, which some models have (``io.osim_variants``), and the
# keypoints that sit on it there. Neutral, its frame is that of the torso.
CERVICAL = "cervical"
ON_CERVICAL = ("Neck_02", "Neck_03")


def _cervical_centre() -> simspine_markers.Offset:
    """Centre of its joint in the generic torso, m: as high as C7's keypoint.

    In the sagittal plane, on the straight line through the keypoints of C4 and C1,
    which lie near the middle of their vertebrae or in front; C7's lies 16 mm behind it.
    """
    (x2, y2, _), (x3, y3, _) = (simspine_markers.MARKERS[n][1] for n in ON_CERVICAL)
    height = simspine_markers.MARKERS["Neck"][1][1]
    return (x2 + (height - y2) * (x3 - x2) / (y3 - y2), height, 0.0)


_CERVICAL_CENTRE = _cervical_centre()
_GENERIC = {**GENERIC, CERVICAL: (GENERIC["torso"][0], _CERVICAL_CENTRE)}


def missing_bodies(model: Model) -> tuple[str, ...]:
    """Returns the bodies that carry spine markers and that the model lacks."""
    needed = dict.fromkeys(body for body, _ in PLACES)
    return tuple(body for body in needed if body not in model.body_names)


def spine_marker_positions(
    model: Model, q: Float[Array | np.ndarray, "*batch n"]
) -> Float[Array, "*batch 15 3"]:
    """Places the 15 spine keypoints.

    Args:
        model: A model with the bodies of SIMSPINE's spine.
        q: All coordinates in ``coordinate_names`` order, rad and m.

    Returns:
        Positions in ground, m, in the order of ``simspine.SPINE_NAMES``.

    Raises:
        ValueError: The model lacks one of the bodies.

    Source: SIMSPINE's marker set. A body's scale is its recorded factor over the
    one recorded in the generic model, where it is not 1 (0.89 at the torso).
    """
    require_bodies(model)
    return from_poses(model, forward_kinematics(model, jnp.asarray(q)))


def from_poses(model: Model, poses: BodyPoses) -> Float[Array, "*batch 15 3"]:
    """Places the 15 spine keypoints on bodies already posed.

    Args:
        model: Whose poses; gives each body's scale factors.
        poses: All bodies of the model.

    Returns:
        As ``spine_marker_positions``.

    Raises:
        ValueError: The model lacks one of the bodies.
    """
    require_bodies(model)
    places = tuple(_on_bodies(model, name) for name in simspine.SPINE_NAMES)
    bodies = np.array([model.body_names.index(body) for body, _ in places])
    rotation = jnp.asarray(poses.rotation)[..., bodies, :, :]
    offset = _offsets(model, places).astype(rotation.dtype)
    turned = jnp.einsum(
        "...kij,kj->...ki", rotation, offset, precision=jax.lax.Precision.HIGHEST
    )
    return turned + jnp.asarray(poses.position)[..., bodies, :]


def with_keypoints(model: Model) -> Model:
    """Replaces a model's markers by SIMSPINE's 37 keypoints.

    Args:
        model: With the bodies of Pose2Sim's full-body model, scaled or not.

    Returns:
        The model; its markers are ``simspine.NAMES``, in that order.

    Raises:
        ValueError: The model lacks one of the bodies.
    """
    places = {name: _on_bodies(model, name) for name in simspine.NAMES}
    require_bodies(model)
    marked = markers.with_markers(model, places)
    return replace(marked, marker_offset=_offsets(model, tuple(places.values())))


def cervical_centre(model: Model) -> Float[Array, "3"]:
    """Returns where the joint of C7 with T1 lies in the torso, m, scaled as it is.

    Raises:
        ValueError: The model lacks one of the bodies of the spine.
    """
    require_bodies(model)
    return _offsets(model, (("torso", _CERVICAL_CENTRE),))[0]


def _on_bodies(model: Model, name: str) -> tuple[str, simspine_markers.Offset]:
    """Returns the body that carries a keypoint in this model, and the place."""
    body, offset = _ALL[name]
    own = name in ON_CERVICAL and CERVICAL in model.body_names
    return (CERVICAL if own else body, offset)


def _offsets(
    model: Model, places: tuple[tuple[str, simspine_markers.Offset], ...]
) -> Float[Array, "k 3"]:
    """Returns places on the model's own bodies, m, scaled as these are."""
    bodies = np.array([model.body_names.index(body) for body, _ in places])
    generic = [_GENERIC.get(body) for body, _ in places]
    factor = np.array([1.0 if g is None else g[0] for g in generic])[:, None]
    joint = np.array([(0.0, 0.0, 0.0) if g is None else g[1] for g in generic])
    at_joint = np.array([g is not None for g in generic])[:, None]
    scale = jnp.asarray(model.scale_factors)[bodies] / factor
    away = np.array([offset for _, offset in places]) - joint
    begin = jnp.where(at_joint, jnp.asarray(model.child_translation)[bodies], 0.0)
    return begin + scale * away


def require_bodies(model: Model) -> None:
    """Refuses a model that cannot carry the spine keypoints.

    Raises:
        ValueError: The model lacks one of the bodies.
    """
    missing = missing_bodies(model)
    if missing:
        raise ValueError(
            f"the model has no body {missing[0]!r}, which carries one of the 15 spine "
            f"keypoints; it has {', '.join(model.body_names)}"
        )
