"""Small random OpenSim models that cover every joint, function and coupler.

``seed % 5`` chooses the topology (tree, joint and function kinds, knot counts,
couplers, locks, markers on each body); the seed chooses every number.
"""

import dataclasses
import itertools
import pathlib
import xml.etree.ElementTree as ET

import numpy as np

SEEDS = range(30)

_AXES = ("rotation1", "rotation2", "rotation3")
_AXES += ("translation1", "translation2", "translation3")


@dataclasses.dataclass(frozen=True)
class Joint:
    """A joint: ``axes`` are a Custom joint's six "function:coordinates"."""

    kind: str
    parent: str
    child: str
    axes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Coupler:
    """``dependent = function(independents)``; coordinates are "<child>_<number>"."""

    dependent: str
    independents: tuple[str, ...]
    function: str
    enforced: bool = True


@dataclasses.dataclass(frozen=True)
class Topology:
    """What all models of one ``seed % 5`` share; joints stand in file order.

    Functions: C constant, L linear, LL linear of two coordinates, P<n> polynomial
    of n coefficients, S<n> SimmSpline and W<n> piecewise linear of n knots, M<f>
    multiple of f.
    """

    joints: tuple[Joint, ...]
    couplers: tuple[Coupler, ...] = ()
    locked: tuple[str, ...] = ()
    clamped: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class RandomModel:
    """What was written."""

    path: pathlib.Path
    topology: int
    body_names: tuple[str, ...]
    coordinate_names: tuple[str, ...]
    marker_names: tuple[str, ...]
    kinds: frozenset[str]


TOPOLOGIES = (
    Topology(  # every kind of joint
        (
            Joint("Free", "ground", "a"),
            Joint("Ball", "a", "b"),
            Joint("Gimbal", "b", "c"),
            Joint("Universal", "a", "d"),
            Joint("Pin", "d", "e"),
            Joint("Slider", "e", "f"),
            Joint("Planar", "c", "g"),
            Joint("Weld", "g", "h"),
            Joint("Custom", "h", "i", ("L:0", "L:1", "L:2", "C", "C", "C")),
            Joint("Pin", "h", "j"),
        ),
        (Coupler("j_0", ("e_0",), "L"),),
        locked=("f_0",),
        clamped=("c_1", "e_0"),
    ),
    Topology(  # every kind of function
        (
            Joint("Custom", "ground", "a", ("L:2", "L:0", "L:1", "L:3", "L:4", "L:5")),
            Joint("Custom", "a", "b", ("S5:0", "P4:0", "C", "S7:0", "W4:0", "P2:0")),
            Joint("Custom", "a", "c", ("LL:0,1", "P3:1", "W5:0", "MS4:1", "ML:0", "C")),
            Joint("Custom", "c", "d", ("MW3:0", "MP3:0", "MC", "C", "LL:0,1", "S2:1")),
            Joint("Custom", "b", "e", ("L:0", "C", "C", "S3:0", "S6:0", "MMS3:0")),
            Joint("Weld", "e", "f"),
        ),
        clamped=("b_0", "c_1"),
        locked=("a_5",),
    ),
    Topology(  # every kind of coupler, chained and not in tree order
        (
            Joint("Planar", "ground", "a"),
            Joint("Pin", "a", "b"),
            Joint("Pin", "b", "c"),
            Joint("Universal", "c", "d"),
            Joint("Custom", "d", "e", ("L:0", "L:1", "L:2", "L:3", "L:4", "L:5")),
            Joint("Slider", "b", "f"),
            Joint("Gimbal", "f", "g"),
        ),
        (
            Coupler("d_1", ("c_0",), "S5"),
            Coupler("c_0", ("b_0",), "P4"),
            Coupler("b_0", ("g_1",), "L"),
            Coupler("e_3", ("e_0",), "W4"),
            Coupler("e_4", ("e_0",), "MS4"),
            Coupler("f_0", ("e_2",), "MP3"),
            Coupler("g_2", ("g_0",), "L", enforced=False),
        ),
        locked=("d_0",),
        clamped=("g_1", "e_0"),
    ),
    Topology(  # several roots, joints before those of their parents
        (
            Joint("Pin", "c", "d"),
            Joint("Ball", "b", "c"),
            Joint("Custom", "f", "g", ("L:1", "S4:0", "C", "L:2", "P3:0", "W3:1")),
            Joint("Free", "ground", "b"),
            Joint("Weld", "c", "e"),
            Joint("Slider", "ground", "f"),
            Joint("Universal", "c", "h"),
            Joint("Planar", "g", "a"),
        ),
        (Coupler("d_0", ("g_2",), "S3"), Coupler("h_0", ("d_0",), "L")),
        locked=("a_1", "b_4"),
        clamped=("h_1",),
    ),
    Topology(  # a spine: a long chain whose levels follow the lowest
        (
            Joint("Custom", "ground", "p", ("L:0", "L:1", "L:2", "L:3", "L:4", "L:5")),
            Joint("Weld", "p", "s"),
            *(
                Joint("Custom", low, high, ("L:0", "L:1", "L:2", "C", "C", "C"))
                for low, high in itertools.pairwise(("s", "v1", "v2", "v3", "v4"))
            ),
            Joint("Custom", "v4", "n", ("L:0", "L:1", "L:2", "S5:0", "P3:0", "C")),
        ),
        tuple(
            Coupler(f"{high}_{k}", (f"{low}_{k}",), kind)
            for (low, high, kind) in (
                ("v1", "v2", "L"),
                ("v1", "v3", "L"),
                ("v3", "v4", "P3"),
            )
            for k in range(3)
        ),
        locked=("n_2",),
        clamped=("v1_2", "n_0"),
    ),
)

# Coordinates of each kind of joint: r rotation, t translation.
_COORDINATES = {
    "Weld": "",
    "Pin": "r",
    "Slider": "t",
    "Planar": "rtt",
    "Universal": "rr",
    "Gimbal": "rrr",
    "Ball": "rrr",
    "Free": "rrrttt",
}


def write_random_model(seed: int, path: str | pathlib.Path) -> RandomModel:
    """Writes the model of one seed as an .osim file and says what is in it."""
    path = pathlib.Path(path)
    number = seed % len(TOPOLOGIES)
    return _Writer(TOPOLOGIES[number], number, seed).write(path)


class _Writer:
    """Builds one document; ``_shape`` draws by topology, ``_rng`` by seed."""

    def __init__(self, topology: Topology, number: int, seed: int):
        self._topology, self._number = topology, number
        self._shape = np.random.default_rng(number)
        self._rng = np.random.default_rng([7, seed])
        self._coordinates: list[str] = []
        self._markers: list[str] = []

    def write(self, path: pathlib.Path) -> RandomModel:
        document = ET.Element("OpenSimDocument", Version="40600")
        model = ET.SubElement(document, "Model", name=f"random_{self._number}")
        children = [joint.child for joint in self._topology.joints]
        bodies = tuple(self._shape.permutation(children).tolist())
        ground = ET.SubElement(model, "Ground", name="ground")
        self._body_frames(ground)
        objects = self._set(model, "BodySet", "bodyset")
        for name in bodies:
            body = ET.SubElement(objects, "Body", name=name)
            self._body_frames(body)
            self._text(body, "mass", 1.0)
            self._text(body, "mass_center", *self._vector(0.1))
            self._text(body, "inertia", 1, 1, 1, 0, 0, 0)
        objects = self._set(model, "JointSet", "jointset")
        for joint in self._topology.joints:
            self._joint(objects, joint)
        objects = self._set(model, "ConstraintSet", "constraintset")
        for coupler in self._topology.couplers:
            self._coupler(objects, coupler)
        objects = self._set(model, "MarkerSet", "markerset")
        for name in ("ground", *bodies):
            self._body_markers(objects, name)
        ET.indent(document, "\t")
        ET.ElementTree(document).write(path, encoding="UTF-8", xml_declaration=True)
        return RandomModel(
            path,
            self._number,
            bodies,
            tuple(self._coordinates),
            tuple(self._markers),
            frozenset(element.tag for element in document.iter()),
        )

    # Elements

    def _set(self, model: ET.Element, tag: str, name: str) -> ET.Element:
        return ET.SubElement(ET.SubElement(model, tag, name=name), "objects")

    def _text(self, parent: ET.Element, tag: str, *values: float | str) -> None:
        words = [v if isinstance(v, str) else repr(float(v)) for v in values]
        ET.SubElement(parent, tag).text = " ".join(words)

    def _vector(self, size: float) -> list[float]:
        return self._rng.uniform(-size, size, 3).tolist()

    def _offset_frame(self, parent: ET.Element, name: str, socket: str) -> None:
        frame = ET.SubElement(parent, "PhysicalOffsetFrame", name=name)
        self._text(frame, "socket_parent", socket)
        self._text(frame, "translation", *self._vector(0.3))
        self._text(frame, "orientation", *self._vector(1.5))

    def _body_frames(self, body: ET.Element) -> None:
        """Every body carries a plate, and a rim fixed to the plate."""
        components = ET.SubElement(body, "components")
        self._offset_frame(components, "plate", "..")
        self._offset_frame(components, "rim", "../plate")

    # Joints

    def _joint(self, objects: ET.Element, joint: Joint) -> None:
        name = f"to_{joint.child}"
        element = ET.SubElement(objects, f"{joint.kind}Joint", name=name)
        frames = ET.Element("frames")
        for side, body in (("parent", joint.parent), ("child", joint.child)):
            socket = self._joint_socket(frames, f"/jointset/{name}", side, body)
            self._text(element, f"socket_{side}_frame", socket)
        custom = joint.kind == "Custom"
        kinds = _custom_coordinates(joint.axes) if custom else _COORDINATES[joint.kind]
        if kinds:
            coordinates = ET.SubElement(element, "coordinates")
            for k, kind in enumerate(kinds):
                self._coordinate(coordinates, f"{joint.child}_{k}", kind)
            # OpenSim's order: a Custom joint's coordinates as its axes first use them.
            used = "".join(axis.partition(":")[2] + "," for axis in joint.axes)
            order = dict.fromkeys(filter(None, used.split(","))) or range(len(kinds))
            self._coordinates += [f"{joint.child}_{k}" for k in order]
        if len(frames):
            element.append(frames)
        if custom:
            self._spatial_transform(element, joint)

    def _joint_socket(self, frames: ET.Element, path: str, side: str, body: str) -> str:
        """Path of a joint's frame, with its offset frames written to ``frames``."""
        base = "/ground" if body == "ground" else f"/bodyset/{body}"
        base += self._shape.choice(["", "", "/plate", "/rim"])
        style = self._shape.choice(["bare", "offset", "absolute", "nested"])
        if style == "bare":
            return base
        self._offset_frame(frames, f"{side}_offset", base)
        if style == "offset":
            return f"{side}_offset"
        if style == "absolute":
            return f"{path}/{side}_offset"
        self._offset_frame(frames, f"{side}_inner", f"../{side}_offset")
        return f"{side}_inner"

    def _coordinate(self, parent: ET.Element, name: str, kind: str) -> None:
        # Under 1.3 rad the angles of Ball and Free joints stay off their singularity.
        low, high = -self._rng.uniform(0.3, 1.3), self._rng.uniform(0.3, 1.3)
        element = ET.SubElement(parent, "Coordinate", name=name)
        size = 0.5 if kind == "r" else 0.2
        self._text(element, "default_value", self._rng.uniform(low, high) * size)
        self._text(element, "range", low, high)
        for flag in ("clamped", "locked"):
            word = "true" if name in getattr(self._topology, flag) else "false"
            self._text(element, flag, word)

    def _spatial_transform(self, element: ET.Element, joint: Joint) -> None:
        transform = ET.SubElement(element, "SpatialTransform")
        # Unit and orthogonal no more, yet far from parallel.
        skewed = np.tile(np.eye(3), (2, 1)) + self._rng.uniform(-0.3, 0.3, (6, 3))
        for tag, text, direction in zip(_AXES, joint.axes, skewed, strict=True):
            function, _, columns = text.partition(":")
            names = [f"{joint.child}_{k}" for k in columns.split(",") if k]
            axis = ET.SubElement(transform, "TransformAxis", name=tag)
            self._text(axis, "coordinates", *names)
            self._text(axis, "axis", *direction.tolist())
            axis.append(self._function(function, "function"))

    # Functions, couplers, markers

    def _function(self, code: str, name: str | None = None) -> ET.Element:
        tags = {"C": "Constant", "L": "LinearFunction", "P": "PolynomialFunction"}
        tags |= {"S": "SimmSpline", "W": "PiecewiseLinearFunction"}
        tags |= {"M": "MultiplierFunction"}
        element = ET.Element(tags[code[0]], {"name": name} if name else {})
        draw = self._rng.uniform
        if code[0] == "C":
            self._text(element, "value", draw(-0.4, 0.4))
        elif code[0] == "L":
            self._text(element, "coefficients", *draw(-1.2, 1.2, len(code) + 1))
        elif code[0] == "P":
            self._text(element, "coefficients", *draw(-0.4, 0.4, int(code[1:])))
        elif code[0] == "M":
            inner = self._function(code[1:])
            ET.SubElement(element, "function").append(inner)
            self._text(element, "scale", draw(-1.5, 1.5))
        else:
            count = int(code[1:])
            # Short of the ranges, so that poses fall outside the knots too.
            x = np.linspace(-0.8, 0.8, count) + draw(-0.1, 0.1, count)
            self._text(element, "x", *x)
            self._text(element, "y", *draw(-0.4, 0.4, count))
        return element

    def _coupler(self, objects: ET.Element, coupler: Coupler) -> None:
        name = f"couple_{coupler.dependent}"
        element = ET.SubElement(objects, "CoordinateCouplerConstraint", name=name)
        self._text(element, "isEnforced", "true" if coupler.enforced else "false")
        tag = "coupled_coordinates_function"
        ET.SubElement(element, tag).append(self._function(coupler.function))
        self._text(element, "independent_coordinate_names", *coupler.independents)
        self._text(element, "dependent_coordinate_name", coupler.dependent)

    def _body_markers(self, objects: ET.Element, body: str) -> None:
        base = "/ground" if body == "ground" else f"/bodyset/{body}"
        for k in range(self._shape.integers(1, 4)):
            name = f"{body}_marker_{k}"
            self._markers.append(name)
            frame = base + self._shape.choice(["", "", "/plate", "/rim"])
            marker = ET.SubElement(objects, "Marker", name=name)
            self._text(marker, "socket_parent_frame", frame)
            self._text(marker, "location", *self._vector(0.2))
            self._text(marker, "fixed", "true" if k else "false")


def _custom_coordinates(axes: tuple[str, ...]) -> str:
    """Kind of each coordinate of a Custom joint: r where any rotation uses it."""
    users: dict[int, str] = {}
    for axis, text in zip(_AXES, axes, strict=True):
        for k in text.partition(":")[2].split(","):
            if k:
                users.setdefault(int(k), axis[0])
    return "".join(users[k] for k in sorted(users))
