"""Models made of plain descriptions, and what is refused."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from simspine_jax.body.compile import compile_model
from simspine_jax.body.jacobian import marker_jacobian
from simspine_jax.body.kinematics import forward_kinematics, marker_positions
from simspine_jax.body.spec import (
    AxisSpec,
    CoordinateSpec,
    CouplerSpec,
    Frame,
    Function,
    JointSpec,
    Linear,
    MarkerSpec,
    ModelError,
    ModelSpec,
    Scaled,
    SimmSpline,
)

HERE = Frame(np.eye(3), np.zeros(3))
UP = Frame(np.eye(3), np.array([0.0, 1.0, 0.0]))
X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
STILL = Linear((0.0,))
ITSELF = Linear((1.0, 0.0))


def coordinate(name: str, default: float = 0.0, locked: bool = False) -> CoordinateSpec:
    return CoordinateSpec(name, default, -1.0, 1.0, False, locked)


def joint(parent: str, child: str, *driven: tuple[int, Function, str]) -> JointSpec:
    """A joint one up from its parent; ``driven`` are slot, function, coordinate."""
    axes = [AxisSpec(d, STILL, ()) for d in (X, Y, Z, X, Y, Z)]
    for slot, function, name in driven:
        axes[slot] = replace(axes[slot], function=function, coordinates=(name,))
    names = dict.fromkeys(name for _, _, name in driven)
    return JointSpec(
        name=f"to_{child}",
        kind="CustomJoint",
        parent=parent,
        child=child,
        parent_frame=UP,
        child_frame=HERE,
        coordinates=tuple(coordinate(name) for name in names),
        rotations=(axes[0], axes[1], axes[2]),
        translations=(axes[3], axes[4], axes[5]),
    )


ARM = ModelSpec(
    name="arm",
    source="arm.osim",
    bodies=("upper", "lower"),
    joints=(
        joint("ground", "upper", (2, ITSELF, "a")),
        joint("upper", "lower", (2, ITSELF, "b")),
    ),
    couplers=(),
    markers=(MarkerSpec("tip", "lower", (0.0, 1.0, 0.0)),),
    scale_factors={},
)


def with_coordinates(spec: ModelSpec, *found: CoordinateSpec) -> ModelSpec:
    """Replaces coordinates by those of the same name."""
    known = {c.name: c for c in found}
    return replace(
        spec,
        joints=tuple(
            replace(j, coordinates=tuple(known.get(c.name, c) for c in j.coordinates))
            for j in spec.joints
        ),
    )


def test_two_links_by_hand():
    model = compile_model(ARM)
    q = np.array([0.3, 0.5])
    tip = marker_positions(model, q)[0]
    lower = [-np.sin(0.3), 1 + np.cos(0.3), 0.0]
    expected = np.array(lower) + [-np.sin(0.8), np.cos(0.8), 0.0]
    np.testing.assert_allclose(tip, expected, atol=1e-15)
    np.testing.assert_allclose(forward_kinematics(model, q).position[1], lower)
    # A point turns about each joint: its rate is z cross (point - joint).
    along = marker_jacobian(model, q)[0]  # [3, 2]
    np.testing.assert_allclose(
        along.T, np.cross(Z, [expected - [0, 1, 0], expected - lower]), atol=1e-15
    )
    assert model.coordinate_names == model.free_coordinate_names == ("a", "b")


def test_axes_are_taken_at_unit_length():
    spec = replace(
        ARM, joints=(ARM.joints[0], joint("upper", "lower", (3, ITSELF, "b")))
    )
    long = replace(spec.joints[1].translations[0], direction=(0.0, 0.0, 5.0))
    _, *others = spec.joints[1].translations
    stretched = replace(spec.joints[1], translations=(long, *others))
    model = compile_model(replace(spec, joints=(spec.joints[0], stretched)))
    tip = marker_positions(model, np.array([0.0, 0.2]))[0]
    np.testing.assert_allclose(tip, [0.0, 3.0, 0.2])


@pytest.mark.parametrize("direction", [(0.0, 0.0, 0.0), (np.nan, 0.0, 1.0)])
@pytest.mark.parametrize("slot", [0, 2])
def test_an_axis_without_direction(direction, slot):
    turned = list(ARM.joints[1].rotations)
    turned[slot] = replace(turned[slot], direction=direction)
    first, second, third = turned
    broken = replace(ARM.joints[1], rotations=(first, second, third))
    driven = "b" if slot == 2 else "no coordinate"
    with pytest.raises(ModelError, match=f"driven by {driven} has no direction"):
        compile_model(replace(ARM, joints=(ARM.joints[0], broken)))


def test_kinds_of_coordinates():
    curve = SimmSpline((-1.0, 0.0, 1.0), (0.0, 0.1, 0.4))
    spec = ModelSpec(
        "kinds",
        "kinds.osim",
        ("body",),
        (
            joint(
                "ground",
                "body",
                (0, ITSELF, "angle"),
                (1, Linear((-1.0, 0.2)), "backwards"),
                (2, curve, "curved"),
                (3, ITSELF, "length"),
                (4, Linear((2.0, 0.0)), "geared"),
                (5, Scaled(1.0, ITSELF), "multiple"),
            ),
        ),
        (),
        (),
        {},
    )
    model = compile_model(spec)
    by_name = dict(
        zip(model.coordinate_names, model.coordinate_is_rotational, strict=True)
    )
    assert [name for name, flag in by_name.items() if flag] == ["angle", "backwards"]
    angles = dict(zip(model.coordinate_names, model.coordinate_is_angle, strict=True))
    turning = ["angle", "backwards", "curved"]
    assert [name for name, flag in angles.items() if flag] == turning


# Couplers and locks


def coupled(function: Function, *found: CoordinateSpec) -> ModelSpec:
    spec = replace(ARM, couplers=(CouplerSpec("tie", "b", ("a",), function),))
    return with_coordinates(spec, *found)


def test_coupled_and_locked_coordinates_are_not_free():
    model = compile_model(coupled(Linear((2.0, 0.1))))
    assert model.free_coordinate_names == ("a",)
    np.testing.assert_allclose(model.expand(np.array([0.3])), [0.3, 0.7])
    # A locked independent holds both.
    model = compile_model(coupled(Linear((2.0, 0.1)), coordinate("a", 0.2, True)))
    assert model.free_coordinate_names == ()
    np.testing.assert_allclose(model.expand(np.zeros((4, 0))), [[0.2, 0.5]] * 4)
    np.testing.assert_array_equal(marker_jacobian(model, np.zeros(0)).shape, (1, 3, 0))


def test_a_locked_dependent_is_refused():
    """OpenSim solves it for the independent coordinate; we say so instead."""
    with pytest.raises(ModelError, match=r"'b' is locked at 0, and coupler 'tie'"):
        compile_model(coupled(ITSELF, coordinate("b", 0.0, True)))
    both = (coordinate("a", 0.2, True), coordinate("b", 0.3, True))
    with pytest.raises(ModelError, match=r"'b' is locked at 0\.3, and coupler 'tie'"):
        compile_model(coupled(ITSELF, *both))


def test_a_lock_that_agrees_with_its_coupler():
    curve = SimmSpline((0.0, 0.1, 0.3, 0.4), (0.1, 0.4, 0.2, 0.0))
    value = float(compile_model(coupled(curve)).expand(np.array([0.2]))[1])
    both = (coordinate("a", 0.2, True), coordinate("b", round(value, 7), True))
    model = compile_model(coupled(curve, *both))
    np.testing.assert_allclose(model.expand(np.zeros(0)), [0.2, value])


def test_couplers_that_cannot_be():
    tie = CouplerSpec("tie", "b", ("a",), ITSELF)
    circle = (tie, CouplerSpec("back", "a", ("b",), ITSELF))
    with pytest.raises(ModelError, match="'tie' depends on itself"):
        compile_model(replace(ARM, couplers=circle))
    with pytest.raises(ModelError, match="'b' is coupled twice"):
        compile_model(replace(ARM, couplers=(tie, replace(tie, name="other"))))


# Trees


def test_trees_that_cannot_be():
    with pytest.raises(ModelError, match="'lower' is not the child of any joint"):
        compile_model(replace(ARM, joints=ARM.joints[:1]))
    strange = replace(ARM.joints[0], parent="nobody")
    with pytest.raises(ModelError, match="parent 'nobody' of 'upper' is no body"):
        compile_model(replace(ARM, joints=(strange, ARM.joints[1])))
    loop = replace(ARM.joints[0], parent="lower")
    with pytest.raises(ModelError, match="is part of a closed loop"):
        compile_model(replace(ARM, joints=(loop, ARM.joints[1])))


def test_models_without_coordinates_markers_or_bodies():
    weld = joint("ground", "upper")
    spec = replace(ARM, bodies=("upper",), joints=(weld,), markers=())
    on_ground = (MarkerSpec("m", "ground", (1.0, 2.0, 3.0)),)
    for bodies, joints, markers in (
        (("upper",), (weld,), ()),
        (("upper",), (weld,), (MarkerSpec("m", "upper", (1.0, 1.0, 3.0)),)),
        ((), (), on_ground),
        ((), (), ()),
    ):
        model = compile_model(
            replace(spec, bodies=bodies, joints=joints, markers=markers)
        )
        for shape in ((0,), (2, 0), (0, 0)):
            q = np.zeros(shape)
            placed = marker_positions(model, q)
            assert placed.shape == (*shape[:-1], len(markers), 3)
            if placed.size:
                np.testing.assert_allclose(
                    placed, np.broadcast_to([1.0, 2.0, 3.0], placed.shape)
                )
            assert marker_jacobian(model, q).shape == (*placed.shape, 0)
            assert forward_kinematics(model, q).position.shape[-2] == len(bodies)
            assert model.expand(q).shape == model.free_of(q).shape == shape


def test_numbers_are_leaves_and_names_are_not():
    model = compile_model(ARM)
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(model))
    longer = compile_model(
        replace(ARM, markers=(replace(ARM.markers[0], offset=(0.0, 2.0, 0.0)),))
    )
    assert jax.tree.structure(longer) == jax.tree.structure(model)
    renamed = compile_model(
        replace(ARM, markers=(replace(ARM.markers[0], name="end"),))
    )
    assert jax.tree.structure(renamed) != jax.tree.structure(model)
    single = model.with_dtype(np.float32)
    assert {x.dtype for x in jax.tree.leaves(single)} == {np.dtype(np.float32)}
