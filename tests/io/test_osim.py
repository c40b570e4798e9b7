"""The .osim reader: small models written here, and the pinned ones against OpenSim."""

import math
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.body.spec import (
    GROUND,
    Linear,
    ModelError,
    ModelSpec,
    PiecewiseLinear,
    Polynomial,
    Scaled,
    SimmSpline,
)
from simspine_jax.io import osim

ATOL_M = 1e-12

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
STILL = Linear((0.0,))
DRIVEN = Linear((1.0, 0.0))


# Small documents


def body(name: str, inside: str = "") -> str:
    return f'<Body name="{name}">{inside}<mass>1</mass></Body>'


def frame(name: str, parent: str, place: str = "0 0 0", angles: str = "0 0 0") -> str:
    return (
        f'<PhysicalOffsetFrame name="{name}"><socket_parent>{parent}</socket_parent>'
        f"<translation>{place}</translation><orientation>{angles}</orientation>"
        "</PhysicalOffsetFrame>"
    )


def coordinate(name: str, inside: str = "") -> str:
    return f'<Coordinate name="{name}">{inside}</Coordinate>'


def joint(
    name: str,
    parent: str,
    child: str,
    coordinates: str = "",
    *,
    kind: str = "PinJoint",
    frames: str = "",
    inside: str = "",
) -> str:
    return (
        f'<{kind} name="{name}"><socket_parent_frame>{parent}</socket_parent_frame>'
        f"<socket_child_frame>{child}</socket_child_frame>"
        f"<coordinates>{coordinates}</coordinates><frames>{frames}</frames>"
        f"{inside}</{kind}>"
    )


def marker(name: str, parent: str, place: str = "0 0 0") -> str:
    return (
        f'<Marker name="{name}"><socket_parent_frame>{parent}</socket_parent_frame>'
        f"<location>{place}</location></Marker>"
    )


def coupler(dependent: str, independent: str, function: str, inside: str = "") -> str:
    return (
        f'<CoordinateCouplerConstraint name="set_{dependent}">{inside}'
        f"<coupled_coordinates_function>{function}</coupled_coordinates_function>"
        f"<independent_coordinate_names>{independent}</independent_coordinate_names>"
        f"<dependent_coordinate_name>{dependent}</dependent_coordinate_name>"
        "</CoordinateCouplerConstraint>"
    )


def linear(*coefficients: float, name: str = "function") -> str:
    words = " ".join(map(str, coefficients))
    return (
        f'<LinearFunction name="{name}"><coefficients>{words}</coefficients>'
        "</LinearFunction>"
    )


def axis(name: str, direction: str, coordinates: str, function: str) -> str:
    return (
        f'<TransformAxis name="{name}"><coordinates>{coordinates}</coordinates>'
        f"<axis>{direction}</axis>{function}</TransformAxis>"
    )


A = body("A")
B = body("B")
JOINT_A = joint("to_A", "/ground", "/bodyset/A", coordinate("a"))
JOINT_B = joint("to_B", "/bodyset/A", "/bodyset/B", coordinate("b"))


def model(
    bodies: str = A,
    joints: str = JOINT_A,
    *,
    constraints: str = "",
    markers: str = "",
    extra: str = "",
    version: str = 'Version="40000"',
) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument {version}>
<Model name="small">
<Ground name="ground"/>
<BodySet name="bodyset"><objects>{bodies}</objects></BodySet>
<JointSet name="jointset"><objects>{joints}</objects></JointSet>
<ConstraintSet name="constraintset"><objects>{constraints}</objects></ConstraintSet>
<MarkerSet name="markerset"><objects>{markers}</objects></MarkerSet>
<ForceSet name="forceset"><objects><Muscle name="m"/></objects></ForceSet>
{extra}
</Model>
</OpenSimDocument>
"""


def marker_set(markers: str) -> str:
    return (
        '<OpenSimDocument Version="40500"><MarkerSet name="markerset"><objects>'
        f"{markers}</objects></MarkerSet></OpenSimDocument>"
    )


def custom(axes: str, coordinates: str = "") -> str:
    transform = f"<SpatialTransform>{axes}</SpatialTransform>"
    made = coordinates or coordinate("a") + coordinate("b")
    return joint(
        "to_A", "/ground", "/bodyset/A", made, kind="CustomJoint", inside=transform
    )


@pytest.fixture
def read(tmp_path):
    """Writes a document and reads it as a model."""

    def write_and_read(text: str, markers: str | None = None) -> ModelSpec:
        path = tmp_path / "small.osim"
        path.write_text(text, encoding="utf-8")
        if markers is None:
            return osim.read_osim(path)
        (tmp_path / "markers.xml").write_text(markers, encoding="utf-8")
        return osim.read_osim(path, tmp_path / "markers.xml")

    return write_and_read


def one_sentence(error: pytest.ExceptionInfo, *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    for part in ("small.osim", *parts):
        assert part in text


# Joints


@pytest.mark.parametrize(
    ("kind", "slots"),
    [
        ("WeldJoint", (None, None, None, None, None, None)),
        ("PinJoint", (None, None, 0, None, None, None)),
        ("SliderJoint", (None, None, None, 0, None, None)),
        ("PlanarJoint", (None, None, 0, 1, 2, None)),
        ("UniversalJoint", (0, 1, None, None, None, None)),
        ("GimbalJoint", (0, 1, 2, None, None, None)),
        ("BallJoint", (0, 1, 2, None, None, None)),
        ("FreeJoint", (0, 1, 2, 3, 4, 5)),
    ],
)
def test_each_fixed_joint_has_its_axes(read, kind, slots):
    count = 6 - slots.count(None)
    coordinates = "".join(coordinate(f"q{i}") for i in range(count))
    spec = read(model(A, joint("j", "/ground", "/bodyset/A", coordinates, kind=kind)))
    (found,) = spec.joints
    assert found.kind == kind
    assert [q.name for q in found.coordinates] == [f"q{i}" for i in range(count)]
    axes = (*found.rotations, *found.translations)
    for each, direction, slot in zip(axes, (X, Y, Z) * 2, slots, strict=True):
        assert each.direction == direction
        assert each.function == (STILL if slot is None else DRIVEN)
        assert each.coordinates == (() if slot is None else (f"q{slot}",))


def test_custom_joint_has_unit_axes_and_default_ones(read):
    axes = axis("rotation1", "0 0 2", "a", linear(2, 1))
    axes += axis("translation2", "0 3 4", "b", linear(1, 0))
    (found,) = read(model(A, custom(axes))).joints
    assert [r.direction for r in found.rotations] == [Z, Y, Z]
    assert [t.direction for t in found.translations] == [X, (0.0, 0.6, 0.8), Z]
    assert found.rotations[0].function == Linear((2.0, 1.0))
    assert found.rotations[0].coordinates == ("a",)
    assert found.rotations[1].function == found.translations[0].function == STILL
    assert found.translations[1].coordinates == ("b",)


def test_custom_coordinates_stand_as_the_axes_first_name_them(read):
    axes = axis("translation1", "1 0 0", "c a", linear(1, 1, 0))
    axes += axis("rotation1", "1 0 0", "b", linear(1, 0))
    given = "".join(coordinate(name) for name in "dabc")
    (found,) = read(model(A, custom(axes, given))).joints
    assert [q.name for q in found.coordinates] == ["b", "c", "a", "d"]


def test_unnamed_coordinates_get_opensims_names(read):
    text = model().replace(f"<coordinates>{coordinate('a')}</coordinates>", "")
    assert [q.name for q in read(text).joints[0].coordinates] == ["_coord_0"]


def test_joints_stay_in_file_order(read):
    spec = read(model(A + B, JOINT_B + JOINT_A))
    assert [j.name for j in spec.joints] == ["to_B", "to_A"]
    assert [(j.parent, j.child) for j in spec.joints] == [("A", "B"), (GROUND, "A")]


def test_components_come_before_the_sets(read):
    extra = f"<components>{JOINT_B}</components>"
    spec = read(model(A + B, JOINT_A, extra=extra))
    assert [j.name for j in spec.joints] == ["to_B", "to_A"]


# Functions


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ('<Constant name="function"><value>3</value></Constant>', Linear((3.0,))),
        ('<Constant name="function"/>', Linear((0.0,))),
        (linear(2, 1), Linear((2.0, 1.0))),
        (linear(2, 1, 9), Linear((2.0, 1.0))),
        (linear(2, 1, name=""), Linear((2.0, 1.0))),
        (f"<function>{linear(2, 1, name='x')}</function>", Linear((2.0, 1.0))),
        (linear(2, 1, name="other"), Linear((0.0,))),
        ("<LinearFunction/>", Linear((1.0, 0.0))),
        ("", Linear((0.0,))),
        (
            "<PolynomialFunction><coefficients>1 2 3</coefficients>"
            "</PolynomialFunction>",
            Polynomial((1.0, 2.0, 3.0)),
        ),
        (
            "<SimmSpline><x>0 1 2</x><y>3 4 5</y></SimmSpline>",
            SimmSpline((0.0, 1.0, 2.0), (3.0, 4.0, 5.0)),
        ),
        (
            "<natCubicSpline><x>0 1</x><y>3 4</y></natCubicSpline>",
            SimmSpline((0.0, 1.0), (3.0, 4.0)),
        ),
        (
            "<PiecewiseLinearFunction><x>0 1</x><y>3 4</y></PiecewiseLinearFunction>",
            PiecewiseLinear((0.0, 1.0), (3.0, 4.0)),
        ),
        (
            "<PiecewiseLinearFunction><x>0</x><y>3</y></PiecewiseLinearFunction>",
            Linear((3.0,)),
        ),
        (
            "<MultiplierFunction><function><MultiplierFunction><function>"
            f"{linear(1, 2)}</function></MultiplierFunction></function>"
            "<scale>-2</scale></MultiplierFunction>",
            Scaled(-2.0, Scaled(1.0, Linear((1.0, 2.0)))),
        ),
    ],
)
def test_each_function(read, function, expected):
    axes = axis("rotation1", "1 0 0", "a", function)
    axes += axis("rotation2", "0 1 0", "b", linear(1, 0))
    found = read(model(A, custom(axes))).joints[0].rotations[0]
    assert found.function == expected
    constant = isinstance(expected, Linear) and len(expected.coefficients) == 1
    assert found.coordinates == (() if constant else ("a",))


def test_linear_function_of_several_coordinates(read):
    axes = axis("translation1", "1 0 0", "b a", linear(2, 3, 0.5))
    found = read(model(A, custom(axes))).joints[0].translations[0]
    assert found.function == Linear((2.0, 3.0, 0.5))
    assert found.coordinates == ("b", "a")


def test_functions_of_one_variable_take_the_first_coordinate(read):
    spline = "<SimmSpline><x>0 1</x><y>3 4</y></SimmSpline>"
    axes = axis("translation1", "1 0 0", "b a", spline)
    found = read(model(A, custom(axes))).joints[0].translations[0]
    assert found.coordinates == ("b",)


def test_linear_function_without_coordinates_is_its_first_coefficient(read):
    axes = axis("rotation1", "1 0 0", "a", linear(1, 0))
    axes += axis("rotation2", "0 1 0", "", linear(0.5, 7))
    found = read(model(A, custom(axes))).joints[0].rotations[1]
    assert found.function == Linear((0.5,))
    assert found.coordinates == ()


# Frames and sockets


def rotation(x: float, y: float, z: float) -> np.ndarray:
    (cx, cy, cz), (sx, sy, sz) = np.cos([x, y, z]), np.sin([x, y, z])
    return (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )


@pytest.mark.parametrize(
    "socket", ["/bodyset/A", "../../bodyset/A", " /bodyset/A/ ", "A"]
)
def test_sockets_that_name_a_body(read, socket):
    joint_b = joint("to_B", socket, "/bodyset/B", coordinate("b"))
    found = read(model(A + B, JOINT_A + joint_b)).joints[1]
    assert found.parent == "A"
    np.testing.assert_array_equal(found.parent_frame.rotation, np.eye(3))
    np.testing.assert_array_equal(found.parent_frame.translation, np.zeros(3))


@pytest.mark.parametrize(
    "socket",
    ["inner", "./inner", "../to_A/inner", "/jointset/to_A/inner", "../../zone/part"],
)
def test_chains_of_offset_frames(read, socket):
    outer = frame("outer", "/ground", "1 2 3", "0.3 0.4 0.5")
    inner = frame("inner", "../outer", "0.1 0 0", "0 0 0.7")
    part = inner.replace('"inner"', '"part"').replace("../outer", "..")
    zone = outer.replace('"outer"', '"zone"').replace(
        "</PhysicalOffsetFrame>", f"<components>{part}</components>"
    )
    extra = f"<components>{zone}</PhysicalOffsetFrame></components>"
    frames = outer + inner
    text = joint("to_A", socket, "/bodyset/A", coordinate("a"), frames=frames)
    found = read(model(A, text, extra=extra)).joints[0]
    turn = rotation(0.3, 0.4, 0.5)
    place = found.parent_frame.translation
    assert found.parent == GROUND
    np.testing.assert_allclose(place, [1, 2, 3] + turn @ [0.1, 0, 0], atol=ATOL_M)
    np.testing.assert_allclose(
        found.parent_frame.rotation, turn @ rotation(0, 0, 0.7), atol=ATOL_M
    )


def test_joint_on_frames_of_bodies_and_of_the_ground(read):
    held = body("A", f"<components>{frame('hook', '..', '0 1 0')}</components>")
    text = joint("to_A", "/ground/peg", "/bodyset/A/hook", coordinate("a"))
    ground = f"<Ground><components>{frame('peg', '..', '2 0 0')}</components></Ground>"
    document = model(held, text).replace('<Ground name="ground"/>', ground)
    found = read(document).joints[0]
    np.testing.assert_array_equal(found.parent_frame.translation, [2, 0, 0])
    np.testing.assert_array_equal(found.child_frame.translation, [0, 1, 0])


def test_scale_factors_are_those_of_the_first_mesh(read):
    mesh = "<Mesh><scale_factors>{}</scale_factors></Mesh>"
    own = f"<attached_geometry>{mesh.format('1 2 3')}{mesh.format('9 9 9')}"
    own = body("A", own + "</attached_geometry>")
    lent = f"<attached_geometry>{mesh.format('4 5 6')}</attached_geometry>"
    lent = frame("f", "..").replace("</Phys", lent + "</Phys")
    bodies = own + body("B", f"<components>{lent}</components>") + body("C")
    joints = JOINT_A + JOINT_B + joint("to_C", "/ground", "/bodyset/C", coordinate("c"))
    assert read(model(bodies, joints)).scale_factors == {
        "A": (1.0, 2.0, 3.0),
        "B": (4.0, 5.0, 6.0),
        "C": (1.0, 1.0, 1.0),
    }


# Coordinates, defaults, couplers


def test_coordinate_values_and_their_built_in_defaults(read):
    inside = "<default_value>0.25</default_value><range>-1e-1 Inf</range>"
    inside += "<clamped> True </clamped><locked>1</locked>"
    text = joint("to_B", "/bodyset/A", "/bodyset/B", coordinate("b", inside))
    plain, given = (j.coordinates[0] for j in read(model(A + B, JOINT_A + text)).joints)
    assert (plain.default, plain.lower, plain.upper) == (0.0, -10.0, 10.0)
    assert (plain.clamped, plain.locked) == (False, False)
    assert (given.default, given.lower, given.upper) == (0.25, -0.1, math.inf)
    assert (given.clamped, given.locked) == (True, True)


def test_defaults_section_fills_what_an_object_leaves_out(read):
    extra = (
        "<defaults><Coordinate><default_value>0.3</default_value>"
        "<clamped>true</clamped></Coordinate>"
        "<PhysicalOffsetFrame><translation>1 2 3</translation></PhysicalOffsetFrame>"
        '<Marker name="default"><location>4 5 6</location></Marker></defaults>'
    )
    bare = frame("f", "/ground").replace("<translation>0 0 0</translation>", "")
    text = joint(
        "to_A",
        "f",
        "/bodyset/A",
        coordinate("a", "<clamped>false</clamped>"),
        frames=bare,
    )
    spot = marker("m", "/bodyset/A").replace("<location>0 0 0</location>", "")
    spec = read(model(A, text, markers=spot, extra=extra))
    found = spec.joints[0]
    assert found.coordinates[0].default == 0.3
    assert not found.coordinates[0].clamped
    np.testing.assert_array_equal(found.parent_frame.translation, [1, 2, 3])
    assert spec.markers[0].offset == (4.0, 5.0, 6.0)


def test_couplers_with_scale_chain_and_constant(read):
    joints = JOINT_A + JOINT_B
    joints += joint("to_C", "/bodyset/B", "/bodyset/C", coordinate("c"))
    joints += joint("to_D", "/bodyset/C", "/bodyset/D", coordinate("d"))
    constant = "<Constant><value>2</value></Constant>"
    constraints = (
        coupler("c", "b", linear(2, 1), "<scale_factor>3</scale_factor>")
        + coupler("b", "a", linear(0.5, 0))
        + coupler("d", "a", constant, "<scale_factor>-1</scale_factor>")
    )
    bodies = A + B + body("C") + body("D")
    first, second, third = read(model(bodies, joints, constraints=constraints)).couplers
    assert (first.dependent, first.independents) == ("c", ("b",))
    assert first.function == Scaled(3.0, Linear((2.0, 1.0)))
    assert (second.dependent, second.independents) == ("b", ("a",))
    assert second.function == Linear((0.5, 0.0))
    assert third.function == Linear((0.0, -2.0))


@pytest.mark.parametrize("kind", ["CoordinateCouplerConstraint", "PointConstraint"])
def test_constraints_that_are_not_enforced_are_left_out_with_a_warning(read, kind):
    off = f'<{kind} name="loose"><isEnforced>false</isEnforced></{kind}>'
    with pytest.warns(UserWarning, match=f"{kind} 'loose' is not enforced"):
        assert read(model(constraints=off)).couplers == ()


# Markers


def test_markers_are_placed_on_bodies(read):
    hook = frame("hook", "..", "0 1 0", "0 0 1.5707963267948966")
    held = body("A", f"<components>{hook}</components>")
    spots = marker("on_body", "/bodyset/A", "1 2 3")
    spots += marker("on_frame", "../../bodyset/A/hook", "1 0 0")
    spots += marker("on_ground", "/ground", "7 8 9") + marker("bare", "A")
    found = {m.name: m for m in read(model(held, markers=spots)).markers}
    assert list(found) == ["on_body", "on_frame", "on_ground", "bare"]
    assert [m.body for m in found.values()] == ["A", "A", GROUND, "A"]
    assert found["on_body"].offset == (1.0, 2.0, 3.0)
    assert found["on_ground"].offset == (7.0, 8.0, 9.0)
    np.testing.assert_allclose(found["on_frame"].offset, [0, 2, 0], atol=ATOL_M)


def test_external_markers_replace_the_models_own(read):
    own = model(markers=marker("own", "/bodyset/A"))
    found = read(own, marker_set(marker("other", "/bodyset/A", "1 2 3"))).markers
    assert [(m.name, m.body, m.offset) for m in found] == [
        ("other", "A", (1.0, 2.0, 3.0))
    ]


def test_marker_set_kept_in_a_file_beside_the_model(read, tmp_path):
    (tmp_path / "kept.xml").write_text(marker_set(marker("far", "/bodyset/A")))
    empty = '<MarkerSet name="markerset"><objects></objects></MarkerSet>'
    text = model().replace(empty, '<MarkerSet file="kept.xml"/>')
    assert [m.name for m in read(text).markers] == ["far"]


def test_read_marker_set(tmp_path):
    path = tmp_path / "set.xml"
    path.write_text(marker_set(marker("m", "../../bodyset/A", "1 2 3")))
    assert osim.read_marker_set(path) == (
        osim.MarkerEntry("m", "../../bodyset/A", (1.0, 2.0, 3.0)),
    )


def test_external_marker_on_a_body_that_is_not_there(read):
    with pytest.raises(osim.OsimError, match="markers.xml: marker 'm' is") as error:
        read(model(), marker_set(marker("m", "/bodyset/tail")))
    one_sentence(error, "'/bodyset/tail'")


def test_own_marker_on_a_body_that_is_not_there(read):
    with pytest.raises(osim.OsimError) as error:
        read(model(markers=marker("m", "/bodyset/tail")))
    one_sentence(error, "marker 'm'", "'/bodyset/tail'")


def test_marker_set_is_not_a_model_and_the_reverse(tmp_path):
    path = tmp_path / "small.osim"
    path.write_text(marker_set(""))
    with pytest.raises(osim.OsimError, match="holds <MarkerSet>") as error:
        osim.read_osim(path)
    one_sentence(error, "<Model>")
    path.write_text(model())
    with pytest.raises(osim.OsimError, match="holds <Model>") as error:
        osim.read_marker_set(path)
    one_sentence(error, "<MarkerSet>")


# Files


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.osim: there is no such file"):
        osim.read_osim(tmp_path / "gone.osim")
    with pytest.raises(FileNotFoundError, match=r"gone\.xml: there is no such file"):
        osim.read_marker_set(tmp_path / "gone.xml")


def test_malformed_xml_is_named_with_its_line_and_column(read):
    text = model().replace("</BodySet>", "</Bodyset>")
    with pytest.raises(osim.OsimError, match=r"line 5, column \d+") as error:
        read(text)
    one_sentence(error, "not well-formed XML", "mismatched tag")


def test_what_opensims_own_parser_lets_pass(tmp_path):
    path = tmp_path / "small.osim"
    odd = "<!-- a -- b --><credits>caf\xe9</credits>"
    path.write_bytes(model(extra=odd).encode("latin-1"))
    assert osim.read_osim(path).bodies == ("A",)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<Model/>", ("<Model>", "<OpenSimDocument>")),
        (model(version='Version="30516"'), ("version 30516", "older than 40000")),
        (model(version=""), ("Version",)),
        ("", ("not well-formed XML at line 1", "no element found")),
    ],
)
def test_documents_that_are_not_read(read, text, parts):
    with pytest.raises(osim.OsimError) as error:
        read(text)
    one_sentence(error, *parts)


def test_errors_are_model_errors():
    assert issubclass(osim.OsimError, ModelError)
    assert issubclass(osim.OsimError, ValueError)


# What moves a body and is not supported, or makes no sense

SPLINE = "<SimmSpline><x>{}</x><y>{}</y></SimmSpline>"
TO_A = ("to_A", "/ground", "/bodyset/A")
CHAIN = A + B, JOINT_A + JOINT_B

REFUSED = {
    "joint type": (
        model(A, joint(*TO_A, kind="EllipsoidJoint")),
        ("joint 'to_A'", "type EllipsoidJoint"),
    ),
    "scapulothoracic": (
        model(A, joint(*TO_A, kind="ScapulothoracicJoint")),
        ("joint 'to_A'", "type ScapulothoracicJoint"),
    ),
    "unknown type": (
        model(A, joint(*TO_A, kind="Hinge")),
        ("joint 'to_A'", "type Hinge"),
    ),
    "joint in a body": (
        model(body("A", f"<components>{JOINT_A}</components>"), ""),
        ("PinJoint 'to_A'", "Body 'A'"),
    ),
    "model in a model": (
        model(extra='<components><Model name="sub"/></components>'),
        ("Model 'sub'",),
    ),
    "body type": (
        model(A + '<SoftBody name="S"/>'),
        ("SoftBody 'S'",),
    ),
    "set in a file": (
        model().replace('<BodySet name="bodyset">', '<BodySet file="bodies.xml">'),
        ("BodySet", "'bodies.xml'"),
    ),
    "constraint": (
        model(constraints='<WeldConstraint name="w"/>'),
        ("constraint 'w'", "type WeldConstraint"),
    ),
    "constraint in components": (
        model(extra='<components><PointConstraint name="p"/></components>'),
        ("constraint 'p'", "type PointConstraint"),
    ),
    "function": (
        model(A, custom(axis("rotation1", "1 0 0", "a", "<GCVSpline/>"))),
        ("rotation1 of CustomJoint 'to_A'", "GCVSpline"),
    ),
    "empty function": (
        model(A, custom(axis("rotation1", "1 0 0", "a", "<function/>"))),
        ("rotation1 of CustomJoint 'to_A'", "empty"),
    ),
    "empty multiplier": (
        model(A, custom(axis("rotation1", "1 0 0", "a", "<MultiplierFunction/>"))),
        ("rotation1 of CustomJoint 'to_A'", "MultiplierFunction"),
    ),
    "spline without a coordinate": (
        model(A, custom(axis("rotation1", "1 0 0", "", SPLINE.format("0 1", "0 1")))),
        ("SimmSpline of rotation1", "no coordinate"),
    ),
    "spline of one knot": (
        model(A, custom(axis("rotation1", "1 0 0", "a", SPLINE.format("0", "1")))),
        ("SimmSpline of rotation1", "1 knots"),
    ),
    "knots that do not increase": (
        model(A, custom(axis("rotation1", "1 0 0", "a", SPLINE.format("0 0", "1 2")))),
        ("SimmSpline of rotation1", "0 follows 0"),
    ),
    "x without y": (
        model(A, custom(axis("rotation1", "1 0 0", "a", SPLINE.format("0 1", "1")))),
        ("SimmSpline of rotation1", "2 x values and 1 y values"),
    ),
    "too few coefficients": (
        model(A, custom(axis("rotation1", "1 0 0", "a", linear(1)))),
        ("LinearFunction of rotation1", "1 coefficients"),
    ),
    "polynomial of nothing": (
        model(
            A,
            custom(
                axis(
                    "rotation1",
                    "1 0 0",
                    "a",
                    "<PolynomialFunction><coefficients/></PolynomialFunction>",
                )
            ),
        ),
        ("PolynomialFunction of rotation1", "no coefficients"),
    ),
    "zero axis": (
        model(A, custom(axis("rotation1", "0 0 0", "a", linear(1, 0)))),
        ("rotation1 of CustomJoint 'to_A'", "zero"),
    ),
    "axis of another name": (
        model(A, custom(axis("rotation4", "1 0 0", "a", linear(1, 0)))),
        ("TransformAxis 'rotation4'", "CustomJoint 'to_A'"),
    ),
    "axis driven by a stranger": (
        model(A, custom(axis("rotation1", "1 0 0", "z", linear(1, 0)))),
        ("rotation1 of CustomJoint 'to_A'", "'z'"),
    ),
    "axis driven twice": (
        model(A, custom(axis("rotation1", "1 0 0", "a a", linear(1, 1, 0)))),
        ("rotation1 of CustomJoint 'to_A'", "a a"),
    ),
    "no transform": (
        model(A, joint(*TO_A, coordinate("a"), kind="CustomJoint")),
        ("CustomJoint 'to_A'", "<SpatialTransform>"),
    ),
    "too many coordinates": (
        model(A, joint(*TO_A, coordinate("a") + coordinate("b"))),
        ("PinJoint 'to_A'", "2 coordinates", "has 1"),
    ),
    "prescribed": (
        model(A, joint(*TO_A, coordinate("a", "<prescribed>true</prescribed>"))),
        ("coordinate 'a'", "prescribed"),
    ),
    "default outside of clamps": (
        model(
            A,
            joint(
                *TO_A,
                coordinate(
                    "a",
                    "<default_value>2</default_value><range>-1 1</range>"
                    "<clamped>true</clamped>",
                ),
            ),
        ),
        ("coordinate 'a'", "-1 to 1", "default value 2"),
    ),
    "not a number": (
        model(A, joint(*TO_A, coordinate("a", "<default_value>x</default_value>"))),
        ("<default_value> of Coordinate 'a'", "'x'", "1 number is"),
    ),
    "infinite": (
        model(A, joint(*TO_A, coordinate("a", "<default_value>inf</default_value>"))),
        ("<default_value> of Coordinate 'a'", "'inf'"),
    ),
    "wrong count": (
        model(A, joint(*TO_A, coordinate("a", "<range>1</range>"))),
        ("<range> of Coordinate 'a'", "'1'", "2 numbers are"),
    ),
    "not a flag": (
        model(A, joint(*TO_A, coordinate("a", "<locked>maybe</locked>"))),
        ("<locked> of Coordinate 'a'", "'maybe'"),
    ),
    "reversed joint": (
        model(A, joint("to_A", "/bodyset/A", "/ground", coordinate("a"))),
        ("PinJoint 'to_A'", "ground as its child"),
    ),
    "joint to itself": (
        model(A, joint("to_A", "/bodyset/A", "/bodyset/A", coordinate("a"))),
        ("PinJoint 'to_A'", "'A' to itself"),
    ),
    "two joints": (
        model(A, JOINT_A + joint("twin", "/ground", "/bodyset/A", coordinate("b"))),
        ("body 'A'", "'to_A' and 'twin'"),
    ),
    "no joint": (
        model(A + B, JOINT_A),
        ("body 'B'", "not the child of any joint"),
    ),
    "loop": (
        model(
            A + B, joint("to_A", "/bodyset/B", "/bodyset/A", coordinate("a")) + JOINT_B
        ),
        ("hangs from itself", "PinJoint 'to_A'"),
    ),
    "socket to nowhere": (
        model(A, joint("to_A", "/bodyset/Q", "/bodyset/A", coordinate("a"))),
        ("<socket_parent_frame> of PinJoint 'to_A'", "'/bodyset/Q'"),
    ),
    "no socket": (
        model().replace("<socket_child_frame>/bodyset/A</socket_child_frame>", ""),
        ("PinJoint 'to_A'", "<socket_child_frame>"),
    ),
    "frame to nowhere": (
        model(
            A,
            joint("to_A", "f", "/bodyset/A", coordinate("a"), frames=frame("f", "..")),
        ),
        ("<socket_parent> of PhysicalOffsetFrame 'f'", "'..'"),
    ),
    "frames in a circle": (
        model(
            A,
            joint(
                "to_A",
                "f",
                "/bodyset/A",
                coordinate("a"),
                frames=frame("f", "../g") + frame("g", "../f"),
            ),
        ),
        ("PhysicalOffsetFrame '/jointset/to_A/f'", "offset from itself"),
    ),
    "marker without a socket": (
        model(markers='<Marker name="m"/>'),
        ("Marker 'm'", "<socket_parent_frame>"),
    ),
    "two bodies of a name": (model(A + A), ("two bodies", "'A'")),
    "body called ground": (model(A + body("ground")), ("two bodies", "'ground'")),
    "two joints of a name": (
        model(A + B, JOINT_A + JOINT_B.replace("to_B", "to_A")),
        ("two joints", "'to_A'"),
    ),
    "two coordinates of a name": (
        model(A + B, JOINT_A + JOINT_B.replace(coordinate("b"), coordinate("a"))),
        ("two coordinates", "'a'"),
    ),
    "two coordinates of a joint": (
        model(A, joint(*TO_A, coordinate("a") * 2, kind="UniversalJoint")),
        ("two coordinates of UniversalJoint 'to_A'", "'a'"),
    ),
    "two markers of a name": (
        model(markers=marker("m", "/bodyset/A") * 2),
        ("two markers", "'m'"),
    ),
    "two frames of a name": (
        model(A, joint(*TO_A, coordinate("a"), frames=frame("f", "/ground") * 2)),
        ("two frames", "'/jointset/to_A/f'"),
    ),
    "coupler of two": (
        model(*CHAIN, constraints=coupler("b", "a c", linear(1, 1, 0))),
        ("CoordinateCouplerConstraint 'set_b'", "2 independent", "(a, c)"),
    ),
    "coupler of none": (
        model(*CHAIN, constraints=coupler("b", "", linear(1, 0))),
        ("CoordinateCouplerConstraint 'set_b'", "0 independent"),
    ),
    "coupler of a stranger": (
        model(*CHAIN, constraints=coupler("b", "z", linear(1, 0))),
        ("CoordinateCouplerConstraint 'set_b'", "'z'"),
    ),
    "coupler without a function": (
        model(*CHAIN, constraints=coupler("b", "a", "")),
        (
            "CoordinateCouplerConstraint 'set_b'",
            "<coupled_coordinates_function>",
        ),
    ),
    "coupled twice": (
        model(*CHAIN, constraints=coupler("b", "a", linear(1, 0)) * 2),
        ("both set the coordinate 'b'",),
    ),
    "couplers in a circle": (
        model(
            *CHAIN,
            constraints=coupler("b", "a", linear(1, 0))
            + coupler("a", "b", linear(1, 0)),
        ),
        ("CoordinateCouplerConstraint 'set_b'", "depend on itself"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_one_sentence(read, case):
    text, parts = REFUSED[case]
    with pytest.raises(osim.OsimError) as error:
        read(text)
    one_sentence(error, *parts)


# The pinned models


@pytest.fixture(scope="module")
def folders(pose2sim_04, pose2sim_08, pose2sim_10) -> list[Path]:
    return [pose2sim_04, pose2sim_08, pose2sim_10]


def test_every_pinned_model_is_read(folders):
    paths = [path for folder in folders for path in sorted(folder.rglob("*.osim"))]
    assert len(paths) >= 26
    for path in paths:
        spec = osim.read_osim(path)
        assert len(spec.bodies) == len(spec.joints) == len(spec.scale_factors)
        assert spec.source == str(path)


def test_every_pinned_marker_set_fits_the_flex_model(pose2sim_10):
    setups = pose2sim_10 / "Pose2Sim/OpenSim_Setup"
    paths = sorted(setups.glob("Markers_*.xml"))
    assert paths
    for path in paths:
        spec = osim.read_osim(setups / "Model_Pose2Sim_muscles_flex.osim", path)
        entries = osim.read_marker_set(path)
        assert [m.name for m in spec.markers] == [e.name for e in entries]
        assert [m.offset for m in spec.markers] == [e.location for e in entries]
        bodies = [e.frame.removeprefix("/bodyset/") for e in entries]
        assert [m.body for m in spec.markers] == bodies


def items(found) -> list:
    return [found.get(i) for i in range(found.getSize())]


def same_as_opensim(spec: ModelSpec, path: Path) -> None:
    """Compares names, order and coordinate values with what OpenSim reports."""
    import opensim  # noqa: TID251

    opensim.Logger.setLevelString("Off")
    theirs = opensim.Model(str(path))
    state = theirs.initSystem()
    assert spec.name == theirs.getName()
    assert list(spec.bodies) == [b.getName() for b in items(theirs.getBodySet())]
    joints = items(theirs.getJointSet())
    assert [j.name for j in spec.joints] == [j.getName() for j in joints]
    assert [j.kind for j in spec.joints] == [j.getConcreteClassName() for j in joints]
    expected = [
        (
            q.getName(),
            q.getDefaultValue(),
            q.getRangeMin(),
            q.getRangeMax(),
            q.get_clamped(),
            q.get_locked(),
        )
        for q in items(theirs.getCoordinateSet())
    ]
    coordinates = [q for j in spec.joints for q in j.coordinates]
    assert expected == [
        (q.name, q.default, q.lower, q.upper, q.clamped, q.locked) for q in coordinates
    ]
    for ours, joint_ in zip(spec.joints, joints, strict=True):
        for ours_, frame_ in (
            (ours.parent_frame, joint_.getParentFrame()),
            (ours.child_frame, joint_.getChildFrame()),
        ):
            pose = frame_.findTransformInBaseFrame()
            p, r = pose.p(), pose.R().asMat33()
            for i in range(3):
                assert ours_.translation[i] == pytest.approx(p.get(i), abs=ATOL_M)
                for k in range(3):
                    turned = pytest.approx(r.get(i, k), abs=ATOL_M)
                    assert ours_.rotation[i, k] == turned
    constraints = items(theirs.getConstraintSet())
    assert [c.name for c in spec.couplers] == [c.getName() for c in constraints]
    markers = items(theirs.getMarkerSet())
    assert [m.name for m in spec.markers] == [m.getName() for m in markers]
    for ours, point in zip(spec.markers, markers, strict=True):
        base = point.getParentFrame().findBaseFrame()
        assert ours.body == base.getName()
        placed = point.findLocationInFrame(state, base)
        assert ours.offset == pytest.approx([placed.get(i) for i in range(3)], abs=1e-9)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("pose2sim_04", "Demo/opensim/Model_Pose2Sim_Body25b.osim"),
        ("pose2sim_08", "OpenSim_Setup/Model_Pose2Sim_LSTM.osim"),
        ("pose2sim_08", "OpenSim_Setup/Model_Pose2Sim_SKEL.osim"),
        (
            "pose2sim_08",
            "S00_Demo_BatchSession/S00_P00_SingleParticipant/S00_P00_OpenSim/"
            "Model_Pose2Sim_body25b_scaled.osim",
        ),
        ("pose2sim_10", "OpenSim_Setup/Model_Pose2Sim_simple.osim"),
        ("pose2sim_10", "OpenSim_Setup/Model_Pose2Sim_muscles_flex.osim"),
    ],
)
def test_pinned_models_equal_what_opensim_reports(request, package, name):
    path = request.getfixturevalue(package) / "Pose2Sim" / name
    same_as_opensim(osim.read_osim(path), path)


def test_small_model_equals_what_opensim_reports(read, tmp_path):
    """Unsorted joints, reordered coordinates, defaults, nested frames at once."""
    axes = axis("rotation1", "0 0 2", "r", linear(1, 0))
    axes += axis("rotation2", "0 1 0", "", "")
    axes += axis("rotation3", "1 0 0", "", "")
    axes += axis("translation1", "1 0 0", "t", linear(1, 0))
    frames = frame("outer", "/bodyset/A", "1 2 3", "0.3 -0.4 2.5")
    frames += frame("inner", "../outer", "0.1 0 -0.2", "-1 0.2 0.7")
    custom_b = joint(
        "to_B",
        "inner",
        "/bodyset/B/hook",
        coordinate("t") + coordinate("r", "<locked>true</locked>"),
        kind="CustomJoint",
        frames=frames,
        inside=f"<SpatialTransform>{axes}</SpatialTransform>",
    )
    hook = frame("hook", "..", "0 1 0", "0.1 0.2 0.3")
    bodies = A + body("B", f"<components>{hook}</components>")
    text = model(
        bodies,
        custom_b + JOINT_A,
        markers=marker("m", "/bodyset/B/hook", "1 2 3") + marker("g", "/ground"),
        extra="<defaults><Coordinate><default_value>0.3</default_value>"
        "<range>-1 1</range><clamped>true</clamped></Coordinate></defaults>",
    ).replace('<Muscle name="m"/>', "")
    spec = read(text)
    assert [q.name for j in spec.joints for q in j.coordinates] == ["r", "t", "a"]
    same_as_opensim(spec, tmp_path / "small.osim")
