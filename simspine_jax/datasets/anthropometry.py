"""Simulated subjects: body proportions of real people on a generic model.

A body's scale factor is the person's measurement over the same measurement of the
people of whom the generic model is a mean: men as tall as it is.

Source: ANSUR II for the measurements (``io.ansur``); the height of the generic
full-body model is 1.70 m (Rajagopal et al. 2016). ANSUR measures at the skin, so that
only ratios of its measurements are used, and of few that follow the bones.
"""

from dataclasses import dataclass

import numpy as np

from simspine_jax.body import segments
from simspine_jax.body.model import Model
from simspine_jax.body.scaling import scale_model
from simspine_jax.io.ansur import Measurements

_GENERIC_STATURE_M, _AS_TALL_M = 1.70, 0.01

# Length of a segment: one measurement, or the difference of two.
_SEGMENTS: dict[str, tuple[str, ...]] = {
    "trunk": ("cervicaleheight", "trochanterionheight"),
    "shoulders": ("biacromialbreadth",),
    "pelvis": ("bicristalbreadth",),
    "thigh": ("trochanterionheight", "lateralfemoralepicondyleheight"),
    "shank": ("lateralfemoralepicondyleheight", "lateralmalleolusheight"),
    "ankle": ("lateralmalleolusheight",),
    "foot": ("footlength",),
    "foot_breadth": ("footbreadthhorizontal",),
    "upper_arm": ("acromionradialelength",),
    "forearm": ("radialestylionlength",),
    "hand": ("handlength",),
    "head_length": ("headlength",),
    "head_height": ("tragiontopofhead",),
    "head_breadth": ("headbreadth",),
}


@dataclass(frozen=True)
class Person:
    """A person of the survey.

    Attributes:
        index: Row of the survey.
        male: As the survey says.
        stature_m: Height, m.
        mass_kg: Body mass, kg.
        factors: Scale factors along X, Y and Z, by body of the full-body model.
    """

    index: int
    male: bool
    stature_m: float
    mass_kg: float
    factors: dict[str, tuple[float, float, float]]


def draw_person(survey: Measurements, seed: int | tuple[int, ...]) -> Person:
    """Draws a real person of the survey, everybody being equally likely.

    Args:
        survey: The people.
        seed: Of the draw.

    Raises:
        ValueError: The survey has no men as tall as the generic model.
    """
    alike = _like_the_generic_model(survey)
    index = int(np.random.default_rng(seed).integers(len(survey)))
    ratio = {
        name: float(lengths[index] / lengths[alike].mean())
        for name, lengths in ((n, _length(survey, n)) for n in _SEGMENTS)
    }
    factors = {
        body: (ratio[x], ratio[y], ratio[z])
        for (x, y, z), bodies in segments.BODIES.items()
        for body in bodies
    }
    return Person(
        index,
        bool(survey.male[index]),
        float(survey.length_m["stature"][index]),
        float(survey.mass_kg[index]),
        factors,
    )


def scaled_to(model: Model, person: Person) -> Model:
    """Returns the generic full-body model in a person's proportions.

    Bodies that the model does not have are passed over.
    """
    own = {b: f for b, f in person.factors.items() if b in model.body_names}
    return scale_model(model, own)


def _like_the_generic_model(survey: Measurements) -> np.ndarray:
    away = np.abs(survey.length_m["stature"] - _GENERIC_STATURE_M)
    alike = survey.male & (away <= _AS_TALL_M)
    if not alike.any():
        raise ValueError(
            f"the survey has no man of {_GENERIC_STATURE_M} m within {_AS_TALL_M} m, "
            "the height of the generic model, among its "
            f"{len(survey)} people"
        )
    return alike


def _length(survey: Measurements, segment: str) -> np.ndarray:
    upper, *lower = _SEGMENTS[segment]
    return survey.length_m[upper] - sum(survey.length_m[name] for name in lower)
