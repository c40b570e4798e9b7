"""Angles of the spine against OpenSim's body poses, meshes, and hand-made curves."""

import dataclasses
import xml.etree.ElementTree as ET
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import simspine_jax as sj
from simspine_jax.body import spine, spine_angles, spine_endplates, spine_markers
from simspine_jax.body.markers import with_markers
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory, Motion

ATOL = 1e-9
SETUP = "Pose2Sim/OpenSim_Setup"
# Mesh, hub vertex of the fan, and vertices of its rim.
FANS = {
    "S1 upper": ("sacrum", 0, 10),
    "L1 upper": ("lumbar1", 116, 14),
    "T12 lower": ("thoracic12_s", 2, 14),
    "T3 upper": ("thoracic3_s", 110, 14),
}


@pytest.fixture(scope="module")
def path(pose2sim_10: Path) -> Path:
    return pose2sim_10 / SETUP / "Model_Pose2Sim_muscles_flex.osim"


@pytest.fixture(scope="module")
def flex(path: Path) -> sj.Model:
    # One set of markers and so one program for all tests.
    return with_markers(sj.load_model(path), {})


def motion_of(model: sj.Model, frames: int = 6, size: float = 0.3) -> Motion:
    shape = (frames, len(model.coordinate_names))
    q = np.random.default_rng(0).uniform(-size, size, shape)
    return Motion(q, model.coordinate_names, 50.0, 2.0)


def at_rest(model: sj.Model) -> sj.SpineAngles:
    q = np.zeros((1, len(model.coordinate_names)))
    return sj.spine_angles(model, Motion(q, model.coordinate_names, 50.0))


@pytest.fixture(scope="module")
def moved(flex: sj.Model) -> tuple[Motion, sj.SpineAngles]:
    motion = motion_of(flex)
    return motion, sj.spine_angles(flex, motion)


def fan(folder: Path, mesh: str, hub: int) -> tuple[np.ndarray, np.ndarray]:
    """Rim of a fan of triangles, and their vector area."""
    tree = ET.parse(folder / SETUP / f"Geometry/{mesh}.vtp")
    text = lambda where: (tree.find(where).text or "").split()  # type: ignore
    points = np.array(text(".//Points/DataArray"), float).reshape(-1, 3)
    flat = np.array(text(".//Polys/DataArray[@Name='connectivity']"), int)
    ends = np.array(text(".//Polys/DataArray[@Name='offsets']"), int)
    faces = [f for f in np.split(flat, ends[:-1]) if hub in f]
    rim = sorted({int(i) for f in faces for i in f} - {hub})
    area = sum(
        np.cross(points[f[1]] - points[f[0]], points[f[2]] - points[f[0]])
        for f in faces
    )
    return points[rim], np.asarray(area)


@pytest.mark.parametrize("plate", spine_endplates.PLATES)
def test_endplates_are_planes_through_the_rims_of_the_meshes(plate, pose2sim_10):
    mesh, hub, size = FANS[plate]
    rim, area = fan(pose2sim_10, mesh, hub)
    assert len(rim) == size
    away = rim - rim.mean(axis=0)
    found = np.linalg.svd(away)[2][2]
    up = found * np.sign(found[1])
    _, expected = spine_endplates.PLATES[plate]
    np.testing.assert_allclose(up, expected, atol=2e-4)  # and symmetric
    assert np.linalg.norm(expected) == pytest.approx(1.0, abs=1e-5)
    # Flat, and the area of the triangles faces the same way.
    assert np.abs(away @ up).max() < 1.25e-3
    facing = area @ up / np.linalg.norm(area)
    assert abs(facing) > np.cos(np.deg2rad(0.3))
    # Outwards: up at an upper plate, down at a lower one.
    assert facing * (1 if plate.endswith("upper") else -1) > 0


def test_the_model_file_shows_those_meshes_unturned(path: Path):
    bodies = {b.get("name"): b for b in ET.parse(path).iter("Body")}
    for plate, (body, _) in spine_endplates.PLATES.items():
        shown = {m.findtext("mesh_file"): m for m in bodies[body].iter("Mesh")}
        mesh = shown[FANS[plate][0] + ".vtp"]
        scale = np.array((mesh.findtext("scale_factors") or "").split(), float)
        np.testing.assert_allclose(scale, spine_markers.GENERIC.get(body, (1.0,))[0])
        for frame in bodies[body].iter("PhysicalOffsetFrame"):
            turn = (frame.findtext("orientation") or "").split()
            np.testing.assert_array_equal(np.array(turn, float), 0.0)


def test_neutral_pose_of_the_generic_model(flex: sj.Model):
    found = at_rest(flex)
    np.testing.assert_allclose(found.levels, 0.0, atol=ATOL)
    slope = lambda p: np.degrees(np.arctan2(-p[1][0], p[1][1]))
    plates = {k: slope(v) for k, v in spine_endplates.PLATES.items()}
    lla, tka = np.degrees([found.lla[0], found.tka[0]])
    assert lla == pytest.approx(plates["L1 upper"] - plates["S1 upper"], abs=1e-9)
    assert tka == pytest.approx(plates["T12 lower"] - plates["T3 upper"], abs=1e-9)
    assert lla == pytest.approx(41.85, abs=0.01)
    assert tka == pytest.approx(46.27, abs=0.01)
    # Computed apart from this code, from the marker set and joint offsets by hand.
    assert np.degrees(found.lordosis[0]) == pytest.approx(40.0, abs=0.05)
    assert np.degrees(found.kyphosis[0]) == pytest.approx(37.2, abs=0.05)


def test_rotations_are_opensims(path: Path, moved):
    motion, found = moved
    oracle = ReferenceModel(path)
    rotation, _ = oracle.body_poses(np.asarray(motion.q))
    at = {name: rotation[:, oracle.body_names.index(name)] for name in found.body_names}
    stacked = np.stack([at[name] for name in found.body_names], axis=1)
    np.testing.assert_allclose(found.rotation, stacked, atol=ATOL)
    for v, body in enumerate(found.body_names):
        expected = Rotation.from_matrix(at[body]).as_euler("ZXY")
        np.testing.assert_allclose(found.ground[:, v], expected, atol=ATOL)
    for level, (low, high) in enumerate(
        zip(found.body_names, found.body_names[1:], strict=False)
    ):
        relative = Rotation.from_matrix(at[low]).inv() * Rotation.from_matrix(at[high])
        expected = relative.as_euler("ZXY")
        np.testing.assert_allclose(found.levels[:, level], expected, atol=ATOL)
    # Cobb's angle by planes in ground: the plates' edges in the sagittal plane.
    across = at["sacrum"][:, :, 2]
    slope = []
    for plate in ("L1 upper", "S1 upper"):
        body, normal = spine_endplates.PLATES[plate]
        edge = np.cross(at[body] @ np.array(normal), across)
        slope.append(edge / np.linalg.norm(edge, axis=1, keepdims=True))
    sine = (np.cross(slope[1], slope[0]) * across).sum(axis=1)
    angle = np.arctan2(sine, (slope[0] * slope[1]).sum(axis=1))
    np.testing.assert_allclose(found.lla, angle, atol=1e-5)  # five decimals of normals


def test_level_angles_are_the_models_coordinates(moved):
    motion, found = moved
    names = motion.coordinate_names
    for level, name in enumerate(found.level_names):
        ends = ("_Flex_Ext", "_Lat_Bending", "_axial_rotation")
        ends = ("_flexion", "_bending", "_rotation") if name == "neck" else ends
        columns = [names.index(name + end) for end in ends]
        np.testing.assert_allclose(
            found.levels[:, level], motion.q[:, columns], atol=ATOL
        )


def test_lordosis_loses_what_the_lumbar_levels_flex(flex: sj.Model):
    q = np.zeros((1, len(flex.coordinate_names)))
    for k, level in enumerate(spine_angles.LEVELS[:5]):
        q[0, flex.coordinate_names.index(f"{level}_Flex_Ext")] = -0.01 * (k + 1)
    # L1-T12 is above the plate and the pelvis below it: neither counts.
    q[0, flex.coordinate_names.index("L1_T12_Flex_Ext")] = -0.2
    q[0, flex.coordinate_names.index("pelvis_tilt")] = 0.5
    found = sj.spine_angles(flex, Motion(q, flex.coordinate_names, 50.0))
    lost = at_rest(flex).lla[0] - found.lla[0]
    assert lost == pytest.approx(0.15, abs=1e-9)


def test_what_is_constant_and_coupled_is_said(flex: sj.Model, moved):
    _, found = moved
    assert found.constant == ("tka",)
    assert np.ptp(found.tka) == 0
    # Spine_03 alone moves against the torso.
    assert 0.05 < np.ptp(found.kyphosis) < np.ptp(found.lordosis)
    assert found.coupled == ("L4_L5", "L3_L4", "L2_L3", "L1_L2", "L1_T12")
    apart = dataclasses.replace(
        flex, topology=dataclasses.replace(flex.topology, couplers=())
    )
    assert spine._fixed_and_coupled(apart) == (spine_angles.LEVELS[1:6], ())


def test_scaling_turns_plates_by_its_inverse(flex: sj.Model):
    even = at_rest(sj.scale_model(flex, dict.fromkeys(flex.body_names, (1.2,) * 3)))
    assert even.tka[0] == pytest.approx(at_rest(flex).tka[0], abs=1e-12)
    factors = np.array([1.3, 0.9, 1.1])
    found = at_rest(sj.scale_model(flex, {"torso": tuple(factors)}))
    slope = []
    for plate in ("T12 lower", "T3 upper"):
        # Stretch two directions in the plate; the normal is across both.
        normal = np.array(spine_endplates.PLATES[plate][1])
        along, side = np.cross(normal, [0, 0, 1]), np.array([0.0, 0, 1])
        turned = np.cross(side * factors, along * factors)
        slope.append(np.arctan2(-turned[0], turned[1]))
    assert found.tka[0] == pytest.approx(slope[0] - slope[1], abs=1e-9)
    assert found.lla[0] == pytest.approx(at_rest(flex).lla[0], abs=1e-12)


def test_keypoint_angles_ignore_where_the_person_stands_and_faces():
    rng = np.random.default_rng(1)
    names = simspine.SPINE_NAMES
    flat = {"Hip": (0, 0), "Spine_01": (0, 1), "Spine_02": (0, 2)}
    flat |= {"Spine_03": (-1, 3), "Spine_04": (-1, 4), "Spine_05": (-1, 5)}
    points = np.zeros((15, 3))
    for name, place in flat.items():
        points[names.index(name), :2] = place
    points[names.index("Neck"), :2] = (np.sqrt(3) - 1, 6)  # 60 degrees forwards
    points[names.index("LLatissimus")] = (-1, 4, -1)
    points[names.index("RLatissimus")] = (-1, 4, 1)
    points[names.index("Spine_02"), 2] = 0.3  # out of the plane does not count
    turn = Rotation.random(4, rng).as_matrix()
    placed = np.einsum("tij,kj->tki", turn, points) + rng.normal(size=(4, 1, 3))
    lordosis, kyphosis = spine_angles.keypoint_angles(placed, names)
    np.testing.assert_allclose(np.degrees(lordosis), 45.0, atol=1e-9)
    np.testing.assert_allclose(np.degrees(kyphosis), 60.0, atol=1e-9)
    mirrored = spine_angles.keypoint_angles(placed * [[[1, 1, -1]]], names)
    np.testing.assert_allclose(np.degrees(mirrored[0]), 45.0 * -1, atol=1e-9)


def test_trajectory_angles_go_by_what_was_seen(flex: sj.Model, moved):
    motion, found = moved
    place = jax.jit(spine_markers.spine_marker_positions)
    points = np.array(place(flex, motion.q))
    valid = np.ones(points.shape[:2], bool)
    valid[1, simspine.SPINE_NAMES.index("Neck")] = False
    valid[2, simspine.SPINE_NAMES.index("Head")] = False  # not one of the ten
    points[~valid] = 0.0
    trial = MarkerTrajectory(points, valid, simspine.SPINE_NAMES, 50.0)
    lordosis, kyphosis, seen = spine_angles.trajectory_angles(trial)
    np.testing.assert_array_equal(seen, np.arange(len(valid)) != 1)
    np.testing.assert_allclose(lordosis, np.where(seen, found.lordosis, 0), atol=ATOL)
    np.testing.assert_allclose(kyphosis, np.where(seen, found.kyphosis, 0), atol=ATOL)

    def total(moving):
        trajectory = dataclasses.replace(trial, points=moving)
        return sum(a.sum() for a in spine_angles.trajectory_angles(trajectory)[:2])

    slope = np.asarray(jax.jit(jax.grad(total))(jnp.asarray(points)))
    assert np.isfinite(slope).all()
    assert np.abs(slope[1]).max() == 0 < np.abs(slope[0]).max()


def test_derivatives_are_finite_differences(flex: sj.Model):
    q = motion_of(flex, 2).q
    rate = np.random.default_rng(2).normal(size=q.shape)
    step = 1e-6
    run = jax.jit(spine_angles.pose_angles)
    _, found = jax.jvp(lambda x: run(flex, x), (jnp.asarray(q),), (jnp.asarray(rate),))
    at = lambda x: sj.spine_angles(flex, Motion(x, flex.coordinate_names, 50.0))
    ahead, behind = at(q + step * rate), at(q - step * rate)
    for name in ("levels", "lla", "lordosis", "kyphosis", "tka"):
        expected = (getattr(ahead, name) - getattr(behind, name)) / (2 * step)
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-7)


def test_range_of_motion_and_table(flex: sj.Model, moved):
    motion, found = moved
    rom = found.range_of_motion()
    np.testing.assert_allclose(rom.full, np.ptp(found.levels, axis=0))
    at = motion.coordinate_names.index("L3_L4_Lat_Bending")
    low, high = np.percentile(motion.q[:, at], [5, 95])
    assert rom.central[2, 1] == pytest.approx(high - low, abs=ATOL)
    lines = found.to_text().splitlines()
    assert f"{np.degrees(rom.full[2, 1]):.1f}" in lines[4]
    assert "(coupled)" in lines[4]
    tka = next(line for line in lines if line.startswith("TKA"))
    assert "46.3" in tka
    assert "constant" in tka
    none = sj.spine_angles(flex, motion_of(flex, 0))
    assert none.lla.shape == (0,)
    with pytest.raises(ValueError, match="at least one frame"):
        none.range_of_motion()
    assert found.times_s[1] == pytest.approx(2.02)


def test_pieces_do_not_show(flex: sj.Model, moved, monkeypatch):
    motion, whole = moved
    monkeypatch.setattr(spine, "_LARGEST_PIECE", 128)
    twice = np.concatenate([np.zeros((126, motion.q.shape[1])), motion.q])
    pieces = sj.spine_angles(flex, motion.replace(q=twice))
    assert pieces.lla.shape == (126 + len(motion.q),)
    np.testing.assert_allclose(pieces.levels[126:], whole.levels, atol=1e-12)
    np.testing.assert_allclose(pieces.kyphosis[126:], whole.kyphosis, atol=1e-12)


def test_refusals(flex: sj.Model, pose2sim_10: Path):
    simple = sj.load_model(pose2sim_10 / SETUP / "Model_Pose2Sim_simple.osim")
    with pytest.raises(ValueError, match="no body 'lumbar5'"):
        sj.spine_angles(simple, motion_of(simple))
    with pytest.raises(ValueError, match="coordinates of another model"):
        sj.spine_angles(flex, motion_of(simple))
    with pytest.raises(ValueError, match="keypoint 'Hip'"):
        spine_angles.keypoint_angles(np.zeros((2, 1, 3)), ("Neck",))
