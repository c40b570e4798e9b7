"""Where a marker could be added: the model's own, SIMSPINE's, and before segments."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from simspine_jax import Model
    from simspine_jax.evaluation.ik_information import Points

_SOURCES = ("model", "spine", "segments")
_LONG_M, _FRONT_M = 0.1, 0.05  # a long segment, and how far in front of it


def check(config: Any) -> None:
    """Refuses sources of candidates that are not known.

    Args:
        config: Field ``candidates``.

    Raises:
        ValueError: There is another one.
    """
    for part in config.candidates.split(","):
        if part.strip() and part.strip() not in _SOURCES:
            raise ValueError(
                f"config.candidates names {part.strip()!r}; it knows "
                f"{', '.join(_SOURCES)}"
            )


def candidates(config: Any, model: "Model", used: tuple[str, ...]) -> "Points":
    """Returns the points that could become markers: body and offset by name.

    Args:
        config: Fields ``candidates`` and ``points``.
        model: The model; SIMSPINE's landmarks need the bodies of its spine.
        used: Markers of the trial.
    """
    from simspine_jax.body import spine_markers

    wanted = [part.strip() for part in config.candidates.split(",") if part.strip()]
    found: dict = {}
    if "model" in wanted:
        places = zip(model.topology.marker_bodies, model.marker_offset, strict=True)
        for name, (body, offset) in zip(model.marker_names, places, strict=True):
            if body >= 0:
                found[name] = (model.body_names[body], _triple(offset))
    if "spine" in wanted and not spine_markers.missing_bodies(model):
        found = {**_landmarks(model), **found}
    if "segments" in wanted:
        found = {**_fronts(model, used), **found}
    found = {name: place for name, place in found.items() if name not in used}
    return found | _points(config.points or "")


def _landmarks(model: "Model") -> dict:
    """SIMSPINE's points of trunk and head, scaled as ``spine_markers`` does."""
    from simspine_jax.body.spine_markers import GENERIC
    from simspine_jax.skeletons.simspine_markers import MARKERS

    found = {}
    for name, (body, place) in MARKERS.items():
        if body in GENERIC:
            b = model.body_names.index(body)
            factor, joint = GENERIC[body]
            scale = np.asarray(model.scale_factors)[b] / factor
            away = scale * (np.array(place) - joint)
            found[name] = (body, _triple(np.asarray(model.child_translation)[b] + away))
    return found


def _fronts(model: "Model", used: tuple[str, ...]) -> dict:
    """5 cm in front (X) of the middle of every long segment that carries a marker."""
    from simspine_jax.body.jacobian import driven_axes

    topology = model.topology
    moved = {entry.body for entry in driven_axes(topology)}
    ends = [topology.marker_bodies[model.marker_names.index(n)] for n in used]
    carrying = {b for end in ends for b in topology.ancestors(end)}
    found = {}
    for b in sorted(carrying & moved):
        start = np.asarray(model.child_translation)[b]
        children = [c for c, parent in enumerate(topology.parents) if parent == b]
        axes = [np.asarray(model.parent_translation)[c] - start for c in children]
        axis = max(axes, key=np.linalg.norm, default=np.zeros(3))
        if np.linalg.norm(axis) > _LONG_M:
            middle = start + axis / 2 + [_FRONT_M, 0.0, 0.0]
            found[f"{topology.body_names[b]} front"] = (
                topology.body_names[b],
                _triple(middle),
            )
    return found


def _points(text: str) -> dict:
    found = {}
    for item in filter(None, (part.strip() for part in text.split(";"))):
        try:
            name, body, *numbers = item.split()
            x, y, z = map(float, numbers)
        except ValueError:
            raise ValueError(
                f"config.points has {item!r}; a point is a name, a body and three "
                "numbers in metres, such as 'C7 torso -0.05 0.41 0'"
            ) from None
        found[name] = (body, (x, y, z))
    return found


def _triple(offset: Any) -> tuple[float, float, float]:
    x, y, z = np.asarray(offset, float).tolist()
    return x, y, z
