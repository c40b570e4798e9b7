"""OpenSim's functions of coordinates, read into the package's own.

What OpenSim 4.6 does, found by running it: a LinearFunction of n arguments uses
its first n + 1 coefficients and leaves the others; functions of one variable
take the first of several coordinates; splines and broken lines go on straight
beyond their end knots, with the slope they have there.
"""

from simspine_jax.body.spec import (
    Function,
    Linear,
    PiecewiseLinear,
    Polynomial,
    Scaled,
    SimmSpline,
)
from simspine_jax.io import osim_xml
from simspine_jax.io.osim_xml import Document, Element

SPLINES = ("SimmSpline", "NaturalCubicSpline", "natCubicSpline")
SUPPORTED = (
    "Constant",
    "LinearFunction",
    "PolynomialFunction",
    "SimmSpline",
    "PiecewiseLinearFunction",
    "MultiplierFunction",
)


def find_function(document: Document, owner: Element, prop: str) -> Element | None:
    """Finds the function object that is an object's property.

    OpenSim writes it inside an element named for the property, or in its place
    with the property as its name. Another name means that OpenSim ignores it.

    Returns:
        The function; None if the property is absent; the wrapping element
        itself if that is empty.
    """
    for source in (owner, document.defaults.get(owner.tag)):
        if source is None:
            continue
        wrapper = source.find(prop)
        if wrapper is not None:
            return wrapper[0] if len(wrapper) else wrapper
        for child in source:
            if _is_object(child) and child.get("name", prop) in ("", prop):
                return child
    return None


def _is_object(element: Element) -> bool:
    """Tells an object from a simple property: types begin with a capital."""
    return element.tag[:1].isupper() or element.tag in SPLINES


def read_function(
    document: Document, element: Element, arguments: int, owner: str
) -> Function:
    """Reads a function.

    Args:
        document: The document, for its defaults and for messages.
        element: The function object.
        arguments: How many coordinates it is given.
        owner: What it belongs to, for messages.

    Returns:
        The function, of ``argument_count`` arguments: the first of those given.

    Raises:
        OsimError: A function that is not supported, or whose numbers do not fit.

    Source: OpenSim 4.6 ``Function`` and its subclasses; the ones with
    discontinuities (equal knots) are refused.
    """
    kind = element.tag
    if kind == "Constant":
        return Linear((osim_xml.number(document, element, "value", 0.0),))
    if kind == "LinearFunction":
        return _linear(document, element, arguments, owner)
    if kind == "MultiplierFunction":
        return _scaled(document, element, arguments, owner)
    if kind not in SUPPORTED + SPLINES:
        raise document.error(
            f"{owner} uses the function {kind}, which is not supported "
            f"(supported: {', '.join(SUPPORTED)})."
        )
    if arguments == 0:
        raise document.error(f"the {kind} of {owner} is given no coordinate.")
    if kind == "PolynomialFunction":
        found = osim_xml.numbers(document, element, "coefficients", (1.0,))
        if not found:
            raise document.error(f"the {kind} of {owner} has no coefficients.")
        return Polynomial(found)
    least = 2 if kind in SPLINES else 1
    x, y = _knots(document, element, owner, least)
    if len(x) == 1:
        return Linear(y)
    return SimmSpline(x, y) if kind in SPLINES else PiecewiseLinear(x, y)


def _linear(document: Document, element: Element, arguments: int, owner: str) -> Linear:
    found = osim_xml.numbers(document, element, "coefficients", (1.0, 0.0))
    if len(found) < arguments + 1:
        raise document.error(
            f"the LinearFunction of {owner} has {len(found)} coefficients, where "
            f"{arguments + 1} are needed for {arguments} coordinates."
        )
    return Linear(found[: arguments + 1])


def _scaled(document: Document, element: Element, arguments: int, owner: str) -> Scaled:
    inner = find_function(document, element, "function")
    if inner is None or inner.tag == "function":
        raise document.error(f"the MultiplierFunction of {owner} holds no function.")
    scale = osim_xml.number(document, element, "scale", 1.0)
    return Scaled(scale, read_function(document, inner, arguments, owner))


def _knots(
    document: Document, element: Element, owner: str, least: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    x = osim_xml.numbers(document, element, "x", ())
    y = osim_xml.numbers(document, element, "y", ())
    if len(x) != len(y):
        raise document.error(
            f"the {element.tag} of {owner} has {len(x)} x values and {len(y)} y "
            "values, where as many of both are needed."
        )
    if len(x) < least:
        raise document.error(
            f"the {element.tag} of {owner} has {len(x)} knots, where at least "
            f"{least} are needed."
        )
    for before, after in zip(x, x[1:], strict=False):
        if not before < after:
            raise document.error(
                f"the x values of the {element.tag} of {owner} do not increase: "
                f"{after:g} follows {before:g}."
            )
    return x, y


def argument_count(function: Function) -> int:
    """Returns how many coordinates a function depends on; 0 for a constant."""
    if isinstance(function, Scaled):
        return argument_count(function.inner)
    if isinstance(function, Linear):
        return len(function.coefficients) - 1
    return 1


def constant_value(function: Function) -> float:
    """Returns the value of a function whose ``argument_count`` is 0."""
    if isinstance(function, Scaled):
        return function.scale * constant_value(function.inner)
    if isinstance(function, Linear) and len(function.coefficients) == 1:
        return function.coefficients[0]
    raise ValueError(f"{type(function).__name__} is not a constant.")
