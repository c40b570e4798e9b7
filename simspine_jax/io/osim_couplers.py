"""OpenSim's constraints: coordinate couplers are read, all others are refused.

A coupler whose function ignores its coordinate holds the dependent one still. A
constraint that is not enforced is left out, with a warning.
"""

import warnings

from simspine_jax.body.spec import CouplerSpec, Function, Linear, Scaled
from simspine_jax.io import osim_frames, osim_functions, osim_xml
from simspine_jax.io.osim_xml import Document, Element

KIND = "CoordinateCouplerConstraint"


def read_couplers(
    document: Document, coordinates: tuple[str, ...]
) -> tuple[CouplerSpec, ...]:
    """Reads the enforced coordinate couplers of a model, in file order.

    Args:
        document: A Model document.
        coordinates: Names of its coordinates.

    Returns:
        The couplers, ``dependent = scale_factor * function(independent)``, each
        of one independent coordinate; chains are as in the file.

    Raises:
        OsimError: Another enforced constraint, a coupler of several independent
            coordinates or of one that is not there, two couplers for one
            coordinate, or couplers that go round in a circle.

    Source: OpenSim 4.6 ``CoordinateCouplerConstraint``.
    """
    found: list[CouplerSpec] = []
    for _, element in osim_frames.components(document, "Constraint", "ConstraintSet"):
        if not osim_xml.flag(document, element, "isEnforced", True):
            warnings.warn(
                f"{document.path}: {osim_xml.label(element)} is not enforced and is "
                "left out.",
                stacklevel=2,
            )
            continue
        if element.tag != KIND:
            raise document.error(
                f"constraint '{osim_xml.name_of(element)}' is of type {element.tag}, "
                f"which is not supported (supported: {KIND})."
            )
        found.append(_coupler(document, element, coordinates))
    _check(document, found)
    return tuple(found)


def _coupler(
    document: Document, element: Element, coordinates: tuple[str, ...]
) -> CouplerSpec:
    owner = osim_xml.label(element)
    names = osim_xml.text(document, element, "independent_coordinate_names").split()
    if len(names) != 1:
        raise document.error(
            f"{owner} has {len(names)} independent coordinates"
            f"{' (' + ', '.join(names) + ')' if names else ''}, where one is supported."
        )
    dependent = osim_xml.text(document, element, "dependent_coordinate_name")
    for name in (names[0], dependent):
        if name not in coordinates:
            raise document.error(
                f"{owner} names the coordinate '{name}', which the model does not have."
            )
    prop = "coupled_coordinates_function"
    inner = osim_functions.find_function(document, element, prop)
    if inner is None or inner.tag == prop:
        raise document.error(f"{owner} has no <{prop}>.")
    function = osim_functions.read_function(document, inner, 1, owner)
    scale = osim_xml.number(document, element, "scale_factor", 1.0)
    return CouplerSpec(
        name=osim_xml.name_of(element),
        dependent=dependent,
        independents=(names[0],),
        function=_of_one(function if scale == 1.0 else Scaled(scale, function)),
    )


def _of_one(function: Function) -> Function:
    """Writes a constant as a function of one argument, as couplers have."""
    if osim_functions.argument_count(function) == 1:
        return function
    return Linear((0.0, osim_functions.constant_value(function)))


def _check(document: Document, couplers: list[CouplerSpec]) -> None:
    by_dependent: dict[str, CouplerSpec] = {}
    for coupler in couplers:
        other = by_dependent.setdefault(coupler.dependent, coupler)
        if other is not coupler:
            raise document.error(
                f"{KIND} '{other.name}' and '{coupler.name}' both set the coordinate "
                f"'{coupler.dependent}'."
            )
    for coupler in couplers:
        walked: set[str] = set()
        name = coupler.dependent
        while name in by_dependent:
            if name in walked:
                raise document.error(
                    f"the coupler {KIND} '{by_dependent[name].name}' makes the "
                    f"coordinate '{name}' depend on itself."
                )
            walked.add(name)
            name = by_dependent[name].independents[0]
