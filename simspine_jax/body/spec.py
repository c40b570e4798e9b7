"""What a skeletal model file says, before it is compiled to arrays.

Plain host-side descriptions, independent of any file format. Every joint is
three body-fixed rotations followed by a translation (OpenSim's
``SpatialTransform``); simpler joint kinds are special cases of it.

Notation: ``T_parent`` takes points of the joint's parent frame to the parent
body, ``T_child`` points of the joint's child frame to the child body. Lengths
are metres, angles radians, rotations 3x3 matrices that act on columns.
"""

from dataclasses import dataclass

import numpy as np

GROUND = "ground"


class ModelError(ValueError):
    """A model that cannot be used; the message is one sentence for its user."""


@dataclass(frozen=True)
class Linear:
    """``sum_i coefficients[i] x_i + coefficients[-1]``; Constant has one entry."""

    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Polynomial:
    """``sum_i coefficients[i] x^(n-i)``, highest power first."""

    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class SimmSpline:
    """OpenSim's SimmSpline through the knots, linear outside them."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class PiecewiseLinear:
    """Straight lines between the knots, continued outside them."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Scaled:
    """``scale`` times an inner function; OpenSim's MultiplierFunction."""

    scale: float
    inner: "Function"


Function = Linear | Polynomial | SimmSpline | PiecewiseLinear | Scaled


@dataclass(frozen=True)
class Frame:
    """A pose relative to a base frame: rotation [3, 3] and translation [3], m."""

    rotation: np.ndarray
    translation: np.ndarray


@dataclass(frozen=True)
class CoordinateSpec:
    """One generalised coordinate, rad or m."""

    name: str
    default: float
    lower: float
    upper: float
    clamped: bool
    locked: bool


@dataclass(frozen=True)
class AxisSpec:
    """One of a joint's six axes: direction [3] and the function that drives it.

    ``coordinates`` names the function's arguments; none for a constant.
    """

    direction: tuple[float, float, float]
    function: Function
    coordinates: tuple[str, ...]


@dataclass(frozen=True)
class JointSpec:
    """One joint; ``child`` moves relative to ``parent``."""

    name: str
    kind: str
    parent: str
    child: str
    parent_frame: Frame
    child_frame: Frame
    coordinates: tuple[CoordinateSpec, ...]
    rotations: tuple[AxisSpec, AxisSpec, AxisSpec]
    translations: tuple[AxisSpec, AxisSpec, AxisSpec]


@dataclass(frozen=True)
class CouplerSpec:
    """``dependent = function(independents)``, enforced exactly."""

    name: str
    dependent: str
    independents: tuple[str, ...]
    function: Function


@dataclass(frozen=True)
class MarkerSpec:
    """A point fixed to a body; offset in the body frame, m."""

    name: str
    body: str
    offset: tuple[float, float, float]


@dataclass(frozen=True)
class ModelSpec:
    """A whole model.

    Attributes:
        name: The model's own name.
        source: Where it came from, for messages.
        bodies: Body names in file order, ground not among them.
        joints: Joints in file order; their coordinates, in this order, are the
            model's coordinates.
        couplers: Enforced couplers.
        markers: Markers in file order.
        scale_factors: Scale already applied to a body's geometry, by body name.
    """

    name: str
    source: str
    bodies: tuple[str, ...]
    joints: tuple[JointSpec, ...]
    couplers: tuple[CouplerSpec, ...]
    markers: tuple[MarkerSpec, ...]
    scale_factors: dict[str, tuple[float, float, float]]
