"""Segments of a person, and which bodies of the full-body model they scale.

A segment is a length that people differ in, such as that of the thigh. Its ratio to
the generic model's scales some bodies along some of their axes. Limbs have a left and
a right segment, as ``thigh_l`` and ``thigh_r``.
"""

from typing import NamedTuple

import numpy as np

from simspine_jax.body.model import Model

# All segments; those of the limbs exist twice.
SEGMENTS = (
    *("trunk", "shoulders", "pelvis", "thigh", "shank", "ankle", "foot"),
    *("foot_breadth", "upper_arm", "forearm", "hand"),
    *("head_length", "head_height", "head_breadth"),
)

_Axes = tuple[str, str, str]
# Segments that scale a body along X (forward), Y (up) and Z (right); l and r alike.
BODIES: dict[_Axes, tuple[str, ...]] = {
    ("pelvis", "pelvis", "pelvis"): ("pelvis", "sacrum"),
    ("trunk", "trunk", "trunk"): (*(f"lumbar{i}" for i in range(1, 6)), "Abdomen"),
    ("trunk", "trunk", "shoulders"): ("torso",),
    ("head_length", "head_height", "head_breadth"): ("head",),
    ("thigh", "thigh", "thigh"): ("femur_r", "femur_l", "patella_r", "patella_l"),
    ("shank", "shank", "shank"): ("tibia_r", "tibia_l"),
    ("foot", "ankle", "foot_breadth"): tuple(
        f"{bone}_{side}" for bone in ("talus", "calcn", "toes") for side in "rl"
    ),
    ("upper_arm", "upper_arm", "upper_arm"): ("humerus_r", "humerus_l"),
    ("forearm", "forearm", "forearm"): ("ulna_r", "ulna_l", "radius_r", "radius_l"),
    ("hand", "hand", "hand"): ("hand_r", "hand_l"),
}

# Scale factors that the generic model's own file records, where they are not 1.
GENERIC_FACTOR = {
    **dict.fromkeys((f"lumbar{i}" for i in range(1, 6)), 0.93),
    "torso": 0.89,
    **dict.fromkeys(("hand_r", "hand_l"), 0.85),
}


class ModelSegments(NamedTuple):
    """The segments of a model.

    Attributes:
        names: S segments, sides apart.
        scales: Whether a segment scales a body along an axis; a body that no segment
            scales has none. Shape [S, B, 3].
    """

    names: tuple[str, ...]
    scales: np.ndarray


def of_model(model: Model) -> ModelSegments:
    """Returns the segments of the bodies that a model has.

    Bodies of other names belong to no segment and keep their size.

    Raises:
        ValueError: None of the model's bodies is known.
    """
    pairs = [
        (_sided(segment, body), body, axis)
        for axes, bodies in BODIES.items()
        for body in bodies
        if body in model.body_names
        for axis, segment in enumerate(axes)
    ]
    if not pairs:
        known = ", ".join(body for bodies in BODIES.values() for body in bodies)
        raise ValueError(
            f"the model has no body whose segment is known; it has "
            f"{', '.join(model.body_names) or 'none'}, and known are {known}"
        )
    names = tuple(dict.fromkeys(name for name, _, _ in pairs))
    scales = np.zeros((len(names), len(model.body_names), 3), bool)
    for name, body, axis in pairs:
        scales[names.index(name), model.body_names.index(body), axis] = True
    return ModelSegments(names, scales)


def ratios_of(model: Model) -> np.ndarray:
    """Returns the size of each body over the generic model's, by axis. Shape [B, 3].

    A body whose recorded factor is exactly 1 counts as never scaled, also where the
    generic model's own file records another factor.
    """
    generic = np.array([GENERIC_FACTOR.get(body, 1.0) for body in model.body_names])
    factor = np.asarray(model.scale_factors, np.float64)
    return np.where(factor == 1.0, 1.0, factor / generic.reshape(-1, 1))


def side_of(name: str) -> tuple[str, str]:
    """Returns a segment's name without its side, and "l", "r" or ""."""
    return (name[:-2], name[-1]) if name.endswith(("_l", "_r")) else (name, "")


def _sided(segment: str, body: str) -> str:
    side = side_of(body)[1]
    return f"{segment}_{side}" if side else segment
