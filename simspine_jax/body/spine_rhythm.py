"""A model whose lumbar levels may deviate from the rhythm that couples them.

Pose2Sim's model couples each lumbar level to L5-S1 by a fixed ratio, so that 3
coordinates bend 6 levels. Here ``level = ratio * L5_S1 + deviation``: the coordinate
of each level above L5-S1 becomes free and means the deviation, and the level's axis is
driven by the sum.

Notation: N coordinates, D deviations (5 levels in 3 directions).
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
from jaxtyping import Float

from simspine_jax.body import curves, spine_angles
from simspine_jax.body.model import Model

DIRECTIONS = ("Flex_Ext", "Lat_Bending", "axial_rotation")
# Far outside the prior; keeps random starts of a search near.
LIMIT_RAD = float(np.deg2rad(30.0))


@dataclass(frozen=True, eq=False)
class RhythmModel:
    """A model whose lumbar levels deviate from the rhythm.

    Attributes:
        model: To fit; a level's own coordinate is its deviation, rad.
        plain: The same body, each coordinate the angle of its own level: for what
            ``lumbar_rhythm.actual_angles`` returns.
        deviations: Names of the D deviations.
        to_plain: From coordinates of ``model`` to those of ``plain``. Shape [N, N].
        shift: Added to these. Shape [N].
    """

    model: Model
    plain: Model
    deviations: tuple[str, ...]
    to_plain: np.ndarray
    shift: np.ndarray

    def actual(self, q: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """Returns coordinates of ``plain`` from those of ``model``, rad and m."""
        return np.asarray(q) @ self.to_plain.T + self.shift


def with_rhythm_deviations(model: Model) -> RhythmModel:
    """Frees the lumbar levels of a coupled model.

    What else follows L5-S1 (the abdomen) follows the same way and takes up the sum
    of the deviations. Limits of freed levels become 30 degrees of deviation.

    Args:
        model: Pose2Sim's full-body model, couplers on; scaled or not, any markers.

    Raises:
        ValueError: A level is not coupled to L5-S1 by a straight line, or does not
            turn its joint directly.
    """
    topology, names = model.topology, model.coordinate_names
    lowest, *levels = spine_angles.LEVELS[:-1]
    n = len(names)
    to_plain, shift = np.eye(n), np.zeros(n)
    freed, followers = [], []
    for direction in DIRECTIONS:
        driver = _index(model, f"{lowest}_{direction}")
        own = [_index(model, f"{level}_{direction}") for level in levels]
        driven = {d: row for row, (d, i) in enumerate(topology.couplers) if i == driver}
        for d in own:
            if d not in driven:
                raise ValueError(
                    f"coordinate {names[d]!r} is not coupled to {names[driver]!r}, so "
                    "the model has no lumbar rhythm to deviate from"
                )
        for d, row in driven.items():
            to_plain[d] = 0.0
            to_plain[d, driver], shift[d] = _line(model, row, names[d])
            to_plain[d, own if d not in own else d] = 1.0
        freed += own
        followers += [d for d in driven if d not in own]
    rewired = [*freed, *followers]
    keep = [r for r, (d, _) in enumerate(topology.couplers) if d not in rewired]
    left = tuple(topology.couplers[r] for r in keep)
    free = lambda extra: tuple(sorted({*topology.free, *extra}))
    rest = jax.tree.map(lambda a: np.asarray(a)[keep], model.coupler_curves)
    plain = replace(
        model,
        topology=replace(topology, couplers=left, free=free(rewired)),
        coupler_curves=rest,
    )
    summed = _driven_by_sums(plain, rewired, to_plain, shift)
    return RhythmModel(
        model=replace(
            summed,
            topology=replace(summed.topology, free=free(freed)),
            default_q=_put(model.default_q, rewired, 0.0),
            lower=_put(model.lower, freed, -LIMIT_RAD),
            upper=_put(model.upper, freed, LIMIT_RAD),
            range=_put(model.range, freed, np.array([-LIMIT_RAD, LIMIT_RAD])),
        ),
        plain=plain,
        deviations=tuple(names[d] for d in freed),
        to_plain=to_plain,
        shift=shift,
    )


def _driven_by_sums(
    model: Model, coordinates: list[int], weights: np.ndarray, shift: np.ndarray
) -> Model:
    """Drives the axes of some coordinates by weighted sums of coordinates instead."""
    topology, names = model.topology, model.coordinate_names
    before = len(names) + len(topology.curve_coordinates)
    sources = np.array(topology.axis_sources)
    sums, rows = list(topology.sum_coordinates), list(model.sum_coefficients)
    offset = np.array(model.axis_offset, float).reshape(-1)
    plain = np.array(model.axis_is_coordinate, float).reshape(-1)
    slope = np.asarray(model.axis_slope).reshape(-1)
    for c in coordinates:
        at = np.flatnonzero(np.array(topology.axis_sources) == c)
        if c in topology.curve_coordinates or any(c in s for s in sums):
            raise ValueError(
                f"coordinate {names[c]!r} does not turn its joint directly, so it "
                "cannot become a deviation"
            )
        offset[at] += slope[at] * shift[c]
        plain[at] = 0.0
        sources[at] = before + len(rows)
        rows.append(weights[c])
        sums.append(tuple(np.flatnonzero(weights[c]).tolist()))
    return replace(
        model,
        topology=replace(
            topology,
            axis_sources=tuple(sources.tolist()),
            sum_coordinates=tuple(sums),
        ),
        sum_coefficients=np.array(rows).reshape(-1, len(names)),
        axis_offset=offset.reshape(np.shape(model.axis_offset)),
        axis_is_coordinate=plain.reshape(np.shape(model.axis_is_coordinate)),
    )


def _line(model: Model, row: int, name: str) -> tuple[float, float]:
    """Returns slope and intercept of a coupler."""
    table = jax.tree.map(lambda a: np.asarray(a)[row : row + 1], model.coupler_curves)
    x = np.linspace(-1.0, 1.0, 9)
    value = np.asarray(curves.evaluate(table, x[None])[0][0])
    slope, intercept = (value[-1] - value[0]) / 2, value[4]
    if not np.allclose(value, intercept + slope * x, rtol=0, atol=1e-9):
        raise ValueError(
            f"the coupler of coordinate {name!r} is not a straight line, which a "
            "lumbar rhythm must be"
        )
    return float(slope), float(intercept)


def _index(model: Model, name: str) -> int:
    if name not in model.coordinate_names:
        raise ValueError(
            f"the model has no coordinate {name!r}, which a lumbar rhythm needs; it "
            f"has {', '.join(model.coordinate_names)}"
        )
    return model.coordinate_names.index(name)


def _put(values, index: list[int], value: float | np.ndarray) -> np.ndarray:
    changed = np.array(values, float)
    changed[index] = value
    return changed
