"""Compiles a host-side description of a model to arrays and static wiring."""

import numpy as np

from simspine_jax.body import curves
from simspine_jax.body.model import Model, Topology
from simspine_jax.body.spec import (
    GROUND,
    AxisSpec,
    CoordinateSpec,
    Linear,
    ModelError,
    ModelSpec,
)

# Files round what they say; rad or m.
_LOCK_TOLERANCE = 1e-6


def compile_model(spec: ModelSpec) -> Model:
    """Returns the compiled model, numbers as float64 NumPy arrays.

    Raises:
        ModelError: A body without a joint, a loop, an axis without a direction,
            couplers that form a circle, or a locked coordinate that one moves.
    """
    body_index = {name: i for i, name in enumerate(spec.bodies)} | {GROUND: -1}
    coordinates = [c for j in spec.joints for c in j.coordinates]
    coordinate_index = {c.name: i for i, c in enumerate(coordinates)}
    joints = {j.child: j for j in spec.joints}
    parents = tuple(
        _parent(spec, joints[b].parent if b in joints else None, b, body_index)
        for b in spec.bodies
    )
    ordered = [joints[b] for b in spec.bodies]
    axes = [a for j in ordered for a in (*j.rotations, *j.translations)]

    sources, slope, offset = [], [], []
    curve_rows, curve_args, sum_rows = [], [], []
    for axis in axes:
        source, a, b = _axis(axis, coordinate_index, curve_rows, curve_args, sum_rows)
        sources.append(source)
        slope.append(a)
        offset.append(b)
    n, n_curves = len(coordinates), len(curve_rows)
    resolved = tuple(
        -1 if kind is None else {"q": 0, "curve": n, "sum": n + n_curves}[kind] + i
        for kind, i in sources
    )
    sums = np.zeros((len(sum_rows), n))
    for row, terms in enumerate(sum_rows):
        for c, weight in terms:
            sums[row, c] += weight

    pairs, coupler_rows = _couplers(spec, coordinate_index)
    _check_locks(spec, coordinates)
    dependent = {d for d, _ in pairs}
    free = tuple(
        i for i, c in enumerate(coordinates) if not c.locked and i not in dependent
    )
    clamped = np.array([c.clamped for c in coordinates], bool)
    limits = np.array([[c.lower, c.upper] for c in coordinates], float).reshape(n, 2)
    is_coordinate = [
        kind == "q" and a == 1.0 and b == 0.0
        for (kind, _), a, b in zip(sources, slope, offset, strict=True)
    ]
    topology = Topology(
        body_names=spec.bodies,
        coordinate_names=tuple(c.name for c in coordinates),
        marker_names=tuple(m.name for m in spec.markers),
        parents=parents,
        levels=_levels(spec, parents),
        rotational=_rotational(spec),
        angular=_angular(spec),
        marker_bodies=tuple(body_index[m.body] for m in spec.markers),
        axis_sources=resolved,
        curve_coordinates=tuple(curve_args),
        sum_coordinates=tuple(tuple(sorted({c for c, _ in t})) for t in sum_rows),
        free=free,
        couplers=pairs,
    )
    b = len(spec.bodies)
    direction = _stack([_unit(spec, a) for a in axes], (b, 6, 3))
    factors = [spec.scale_factors.get(name, (1.0, 1.0, 1.0)) for name in spec.bodies]
    return Model(
        topology=topology,
        parent_rotation=_stack([j.parent_frame.rotation for j in ordered], (b, 3, 3)),
        parent_translation=_stack(
            [j.parent_frame.translation for j in ordered], (b, 3)
        ),
        child_rotation=_stack([j.child_frame.rotation for j in ordered], (b, 3, 3)),
        child_translation=_stack([j.child_frame.translation for j in ordered], (b, 3)),
        axis_direction=direction,
        axis_slope=_stack(slope, (b, 6)),
        axis_offset=_stack(offset, (b, 6)),
        axis_is_coordinate=_stack(is_coordinate, (b, 6)),
        sum_coefficients=sums,
        curves=curves.build(curve_rows),
        coupler_curves=curves.build(coupler_rows),
        default_q=np.array([c.default for c in coordinates], float),
        lower=np.where(clamped, limits[:, 0], -np.inf),
        upper=np.where(clamped, limits[:, 1], np.inf),
        range=limits,
        marker_offset=_stack([m.offset for m in spec.markers], (len(spec.markers), 3)),
        scale_factors=_stack(factors, (b, 3)),
    )


def _stack(rows: list, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rows, float).reshape(shape)


def _parent(
    spec: ModelSpec, parent: str | None, body: str, index: dict[str, int]
) -> int:
    if parent is None:
        raise ModelError(f"{spec.source}: body {body!r} is not the child of any joint")
    if parent not in index:
        raise ModelError(f"{spec.source}: the parent {parent!r} of {body!r} is no body")
    return index[parent]


def _levels(spec: ModelSpec, parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    depth: dict[int, int] = {-1: -1}
    while len(depth) <= len(parents):
        found = {
            i: depth[p] + 1
            for i, p in enumerate(parents)
            if i not in depth and p in depth
        }
        if not found:
            lost = next(b for i, b in enumerate(spec.bodies) if i not in depth)
            raise ModelError(f"{spec.source}: body {lost!r} is part of a closed loop")
        depth |= found
    n_levels = max(depth.values()) + 1
    return tuple(
        tuple(i for i in range(len(parents)) if depth[i] == level)
        for level in range(n_levels)
    )


def _axis(
    axis: AxisSpec,
    coordinate_index: dict[str, int],
    curve_rows: list,
    curve_args: list[int],
    sum_rows: list[list[tuple[int, float]]],
) -> tuple[tuple[str | None, int], float, float]:
    """Returns (kind, index) of the axis' source, its slope and its offset."""
    scale, inner = curves.unscaled(axis.function)
    args = [coordinate_index[c] for c in axis.coordinates]
    if isinstance(inner, Linear):
        *weights, constant = inner.coefficients
        if not weights:
            return (None, 0), 0.0, scale * constant
        if len(weights) == 1:
            return ("q", args[0]), scale * weights[0], scale * constant
        sum_rows.append(list(zip(args, weights, strict=True)))
        return ("sum", len(sum_rows) - 1), scale, scale * constant
    curve_rows.append(inner)
    curve_args.append(args[0])
    return ("curve", len(curve_rows) - 1), scale, 0.0


def _couplers(
    spec: ModelSpec, index: dict[str, int]
) -> tuple[tuple[tuple[int, int], ...], list]:
    """Orders couplers so that each independent is known before it is used."""
    waiting = list(spec.couplers)
    dependents = {c.dependent for c in waiting}
    if len(dependents) < len(waiting):
        names = [c.dependent for c in waiting]
        twice = next(n for n in names if names.count(n) > 1)
        raise ModelError(f"{spec.source}: coordinate {twice!r} is coupled twice")
    pairs, rows, known = [], [], set()
    while waiting:
        ready = [
            c
            for c in waiting
            if all(i in known or i not in dependents for i in c.independents)
        ]
        if not ready:
            raise ModelError(
                f"{spec.source}: coupler {waiting[0].name!r} depends on itself"
            )
        for c in ready:
            pairs.append((index[c.dependent], index[c.independents[0]]))
            rows.append(c.function)
            known.add(c.dependent)
            waiting.remove(c)
    return tuple(pairs), rows


def _check_locks(spec: ModelSpec, coordinates: list[CoordinateSpec]) -> None:
    """Refuses couplers that move a locked coordinate, or hold it off its default.

    OpenSim then solves the coupler for the independent coordinate, or fails.
    """
    known = {c.name: c for c in coordinates}
    couplers = {c.dependent: c for c in spec.couplers}

    def standing(name: str) -> float | None:
        """The value of a coordinate that nothing can move; else None."""
        if name not in couplers:
            return known[name].default if known[name].locked else None
        argument = standing(couplers[name].independents[0])
        if argument is None:
            return None
        return curves.value(couplers[name].function, argument)

    for name, coupler in couplers.items():
        if not known[name].locked:
            continue
        value = standing(name)
        if value is None or abs(value - known[name].default) > _LOCK_TOLERANCE:
            raise ModelError(
                f"{spec.source}: coordinate {name!r} is locked at "
                f"{known[name].default:g}, and coupler {coupler.name!r} sets it too; "
                "unlock it, lock what drives it, or leave the coupler out"
            )


def _unit(spec: ModelSpec, axis: AxisSpec) -> np.ndarray:
    """Scales an axis to unit length, as Simbody does; files round theirs."""
    direction = np.asarray(axis.direction, float)
    length = np.linalg.norm(direction)
    if not (np.isfinite(length) and length > 0):
        driven = ", ".join(axis.coordinates) or "no coordinate"
        raise ModelError(
            f"{spec.source}: the axis {axis.direction} driven by {driven} has no "
            "direction"
        )
    return direction / length


def _rotational(spec: ModelSpec) -> tuple[bool, ...]:
    """Tells coordinates of OpenSim's motion type Rotational from all others.

    A coordinate is rotational or translational if an axis is a LinearFunction of it
    with slope 1 or -1 (found by running OpenSim: of several coordinates the first
    one's slope counts for all, and translations outdo rotations); else coupled.

    Source: OpenSim 4.6 ``Coordinate::getMotionType``.
    """
    return tuple(
        _plain(j.rotations, c.name) and not _plain(j.translations, c.name)
        for j in spec.joints
        for c in j.coordinates
    )


def _plain(axes: tuple[AxisSpec, AxisSpec, AxisSpec], name: str) -> bool:
    return any(
        name in a.coordinates
        and isinstance(a.function, Linear)
        and abs(a.function.coefficients[0]) == 1.0
        for a in axes
    )


def _angular(spec: ModelSpec) -> tuple[bool, ...]:
    """A coordinate is a length if it drives a translation and no rotation."""
    turning = {
        name for j in spec.joints for axis in j.rotations for name in axis.coordinates
    }
    moving = {
        name
        for j in spec.joints
        for axis in j.translations
        for name in axis.coordinates
    }
    return tuple(
        c.name in turning or c.name not in moving
        for j in spec.joints
        for c in j.coordinates
    )
