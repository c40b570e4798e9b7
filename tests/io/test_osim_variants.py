import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.body import markers, spine_markers
from simspine_jax.body.model import Model
from simspine_jax.io.osim_variants import write_variant
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine_markers
from tests import plain_kinematics, poses

ATOL = 1e-9
NEUTRAL_ATOL_M = 1e-12
SHARE = 0.65
LEVELS = ("L5_S1", "L4_L5", "L3_L4", "L2_L3", "L1_L2", "L1_T12")
TURNS = ("Flex_Ext", "Lat_Bending", "axial_rotation")
LUMBAR = [f"{level}_{turn}" for level in LEVELS for turn in TURNS]
ABDOMEN = ["Abs_r1", "Abs_r2", "Abs_r3"]
NECK = ["neck_flexion", "neck_bending", "neck_rotation"]
CERVICAL = [name.replace("neck", "cervical") for name in NECK]


@pytest.fixture(scope="module")
def sources(pose2sim_08: Path, pose2sim_10: Path) -> dict[str, Path]:
    def file(folder: Path, name: str) -> Path:
        return next(folder.rglob(f"Model_Pose2Sim_{name}.osim"))

    return {
        "flex": file(pose2sim_10, "muscles_flex"),
        "scaled": file(pose2sim_08, "LSTM_scaled"),  # x, y and z unlike
        "simple": file(pose2sim_10, "simple"),
    }


@pytest.fixture(scope="module")
def variants(sources: dict[str, Path], tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("variants")
    asked = {
        "lumbar": ("flex", {"free_lumbar": True}),
        "neck": ("scaled", {"cervical_share": SHARE}),
        "both": ("flex", {"free_lumbar": True, "cervical_share": SHARE}),
    }
    for name, (source, options) in asked.items():
        write_variant(folder / f"{name}.osim", sources[source], **options)
    return {name: folder / f"{name}.osim" for name in asked}


def at(model: Model, **values: float) -> np.ndarray:
    """All coordinates for some free ones, the others 0. Shape [1, N]."""
    q = np.zeros(len(model.coordinate_names))
    for name, value in values.items():
        q[model.coordinate_names.index(name)] = value
    return np.asarray(model.expand(model.free_of(q)))[None]


def placed(model: Model, q: np.ndarray, points: dict) -> np.ndarray:
    """Points of bodies in ground, m. Shape [K, 3]."""
    rotation, position = plain_kinematics.body_poses(model, q)
    bodies = [model.body_names.index(body) for body, _ in points.values()]
    offset = np.array([offset for _, offset in points.values()])
    return np.einsum("kij,kj->ki", rotation[0, bodies], offset) + position[0, bodies]


def keypoints(model: Model) -> dict[str, tuple[str, np.ndarray]]:
    marked = spine_markers.with_keypoints(model)
    bodies = [model.body_names[b] for b in marked.topology.marker_bodies]
    places = zip(bodies, np.asarray(marked.marker_offset), strict=True)
    return dict(zip(marked.marker_names, places, strict=True))


@pytest.mark.parametrize("name", ["lumbar", "neck", "both"])
def test_opensim_loads_each_and_agrees(name: str, variants: dict[str, Path]):
    model, reference = sj.load_model(variants[name]), ReferenceModel(variants[name])
    assert reference.body_names == model.body_names
    assert reference.coordinate_names == model.coordinate_names
    np.testing.assert_array_equal(reference.default_q, model.default_q)
    np.testing.assert_array_equal(reference.ranges, model.range)
    raw = poses.random_poses(model, 2)
    for q in (raw, reference.assemble(raw / 4)):
        turned, moved = plain_kinematics.body_poses(model, q)
        rotation, position = reference.body_poses(q)
        assert np.linalg.norm(turned - rotation, axis=(2, 3)).max() <= ATOL
        np.testing.assert_allclose(moved, position, rtol=0, atol=ATOL)
    np.testing.assert_allclose(model.expand(model.free_of(q)), q, rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", ["lumbar", "both"])
def test_all_lumbar_coordinates_are_free(name: str, variants: dict[str, Path], sources):
    model, source = sj.load_model(variants[name]), sj.load_model(sources["flex"])
    free = set(model.free_coordinate_names)
    assert set(LUMBAR) <= free
    assert not free & set(ABDOMEN)  # locked
    cervical = set(CERVICAL) if name == "both" else set()
    names = model.coordinate_names
    coupled = {names[dependent] for dependent, _ in model.topology.couplers}
    assert coupled == {"knee_angle_r_beta", "knee_angle_l_beta"} | cervical
    assert free == set(source.free_coordinate_names) | set(LUMBAR)
    rows = [names.index(n) for n in LUMBAR]
    theirs = [source.coordinate_names.index(n) for n in LUMBAR]
    np.testing.assert_array_equal(model.range[rows], source.range[theirs])
    assert np.all(np.isinf(model.lower[rows[3:]]))
    # Each level turns by itself.
    thorax = {"t": ("torso", (0.0, 0.4, 0.0))}
    still = placed(model, at(model), thorax)
    for coordinate in LUMBAR:
        moved = placed(model, at(model, **{coordinate: 0.1}), thorax)
        assert np.linalg.norm(moved - still) > (0.0 if "axial" in coordinate else 0.02)


def test_freeing_the_lumbar_levels_changes_nothing_else(
    variants: dict[str, Path], sources: dict[str, Path]
):
    model, source = sj.load_model(variants["lumbar"]), sj.load_model(sources["flex"])
    assert model.coordinate_names == source.coordinate_names
    q = poses.random_poses(source, 2)
    for ours, theirs in zip(
        plain_kinematics.body_poses(model, q),
        plain_kinematics.body_poses(source, q),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)

    def said(path: Path) -> list[tuple[str, dict[str, str], str]]:
        content = ET.parse(path).getroot()[0]
        objects = content.find("ConstraintSet/objects")
        assert objects is not None
        for item in list(objects):
            dependent = item.findtext("dependent_coordinate_name", "")
            if dependent in LUMBAR + ABDOMEN:
                objects.remove(item)
        for item in content.iter("Coordinate"):
            if item.get("name") in ABDOMEN:
                item.find("locked").text = ""  # pyright: ignore
        return [(e.tag, e.attrib, (e.text or "").strip()) for e in content.iter()]

    assert said(variants["lumbar"]) == said(sources["flex"])


@pytest.mark.parametrize("name", ["neck", "both"])
def test_neutral_nothing_moves(name: str, variants, sources: dict[str, Path]):
    model = sj.load_model(variants[name])
    source = sj.load_model(sources["scaled" if name == "neck" else "flex"])
    found = dict(zip(model.body_names, zip(*_first(model), strict=True), strict=True))
    before = dict(
        zip(source.body_names, zip(*_first(source), strict=True), strict=True)
    )
    assert found.keys() == before.keys() | {"cervical"}
    before["cervical"] = before["torso"]
    for body, pose in before.items():
        for ours, theirs in zip(found[body], pose, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=NEUTRAL_ATOL_M)
    # The keypoints stand where they stood, on other bodies.
    ours, theirs = keypoints(model), keypoints(source)
    moved = {k for k in ours if ours[k][0] != theirs[k][0]}
    assert moved == {"Neck_02", "Neck_03"}
    np.testing.assert_allclose(
        placed(model, at(model), ours),
        placed(source, at(source), theirs),
        rtol=0,
        atol=NEUTRAL_ATOL_M,
    )
    same = model.body_names.index("torso"), model.body_names.index("cervical")
    factors = np.asarray(model.scale_factors)
    np.testing.assert_array_equal(factors[same[0]], factors[same[1]])
    torso = source.body_names.index("torso")
    np.testing.assert_array_equal(factors[same[0]], source.scale_factors[torso])


def _first(model: Model) -> tuple[np.ndarray, np.ndarray]:
    rotation, position = plain_kinematics.body_poses(model, at(model))
    return rotation[0], position[0]


@pytest.mark.parametrize("name", ["neck", "both"])
def test_flexion_takes_the_neck_forward_more_the_higher(name: str, variants):
    model = sj.load_model(variants[name])
    points = keypoints(model)
    names = ["Spine_05", "Neck", "Neck_02", "Neck_03", "Head"]
    points = {name: points[name] for name in names}
    still = placed(model, at(model), points)
    # Bent forward, the crown comes forward.
    bent = placed(model, at(model, neck_flexion=-0.2), points) - still
    np.testing.assert_allclose(bent[:2], 0.0, atol=NEUTRAL_ATOL_M)
    assert np.all(np.diff(bent[1:, 0]) > 2e-3)
    back = placed(model, at(model, neck_flexion=0.2), points) - still
    assert np.all(np.diff(back[1:, 0]) < -2e-3)


@pytest.mark.parametrize("turn", range(3))
def test_the_heads_rotation_is_shared(turn: int, variants, sources: dict[str, Path]):
    """By the share; the head's range against the torso is what it was."""
    model, source = sj.load_model(variants["neck"]), sj.load_model(sources["scaled"])
    total = 0.3
    q = at(model, **{NECK[turn]: (1 - SHARE) * total})[0]
    lower = model.coordinate_names.index(CERVICAL[turn])
    np.testing.assert_allclose(q[lower], SHARE * total)
    rotation, _ = plain_kinematics.body_poses(model, q[None])
    whole, _ = plain_kinematics.body_poses(source, at(source, **{NECK[turn]: total}))
    ours = rotation[0, model.body_names.index("head")]
    theirs = whole[0, source.body_names.index("head")]
    np.testing.assert_allclose(ours, theirs, atol=NEUTRAL_ATOL_M)
    upper = model.coordinate_names.index(NECK[turn])
    old = source.range[source.coordinate_names.index(NECK[turn])]
    np.testing.assert_allclose(model.range[upper] + model.range[lower], old)
    np.testing.assert_allclose(model.upper[upper], (1 - SHARE) * old[1])


def test_the_new_joint_is_in_front_of_the_seventh_vertebra(variants):
    model = sj.load_model(variants["both"])
    b = model.body_names.index("cervical")
    x, y, z = model.parent_translation[b]
    neck = simspine_markers.MARKERS["Neck"][1]
    assert (y, z) == (neck[1], 0.0)
    np.testing.assert_allclose(x - neck[0], 0.0158, atol=5e-5)


def test_markers_of_the_file_follow(sources: dict[str, Path], tmp_path: Path):
    model = markers.with_markers(
        sj.load_model(sources["scaled"]), simspine_markers.MARKERS
    )
    sj.write_osim(tmp_path / "marked.osim", sources["scaled"], model)
    write_variant(tmp_path / "neck.osim", tmp_path / "marked.osim", cervical_share=0.5)
    found = sj.load_model(tmp_path / "neck.osim")
    bodies = dict(zip(found.marker_names, found.topology.marker_bodies, strict=True))
    cervical = found.body_names.index("cervical")
    on = {name for name, body in bodies.items() if body == cervical}
    assert on == {"Neck_02", "Neck_03"}
    np.testing.assert_array_equal(found.marker_offset, model.marker_offset)


def test_variants_scale_and_are_written_as_any_model(variants, tmp_path: Path):
    model = sj.load_model(variants["both"])
    rng = np.random.default_rng(0)
    table = rng.uniform(0.8, 1.2, (len(model.body_names), 3))
    scaled = spine_markers.with_keypoints(sj.scale_model(model, table))
    sj.write_osim(tmp_path / "scaled.osim", variants["both"], scaled)
    reference = ReferenceModel(tmp_path / "scaled.osim")
    q = poses.random_poses(scaled, 1)
    points = {
        name: (scaled.body_names[body], scaled.marker_offset[i])
        for i, (name, body) in enumerate(
            zip(scaled.marker_names, scaled.topology.marker_bodies, strict=True)
        )
    }
    theirs = reference.marker_positions(q)[0]
    np.testing.assert_allclose(placed(scaled, q, points), theirs, rtol=0, atol=ATOL)


def test_refusals(sources, variants, tmp_path: Path):
    out = tmp_path / "out.osim"
    with pytest.raises(ValueError, match=r"^nothing is asked for: set free_lumbar"):
        write_variant(out, sources["flex"])
    for share in (0.0, 1.0, -0.2, float("nan")):
        with pytest.raises(ValueError, match=r"must lie between 0 and 1; found"):
            write_variant(out, sources["flex"], cervical_share=share)
    with pytest.raises(ValueError, match=r"has no coordinate 'L1_L2_Flex_Ext', so"):
        write_variant(out, sources["simple"], free_lumbar=True)
    with pytest.raises(ValueError, match=r"the model has no body 'lumbar5'"):
        write_variant(out, sources["simple"], cervical_share=0.5)
    with pytest.raises(ValueError, match=r"no coupler ties a lumbar level"):
        write_variant(out, variants["lumbar"], free_lumbar=True)
    with pytest.raises(ValueError, match=r"has a body 'cervical' already"):
        write_variant(out, variants["neck"], cervical_share=0.5)
    with pytest.raises(FileNotFoundError):
        write_variant(out, tmp_path / "nothing.osim", free_lumbar=True)
    assert not list(tmp_path.iterdir())


def test_a_neck_of_another_kind_is_refused(sources, tmp_path: Path):
    text = sources["scaled"].read_text(encoding="utf-8")
    (tmp_path / "odd.osim").write_text(text.replace("neck_bending", "nodding"))
    with pytest.raises(ValueError, match=r"the head does not hang on the torso by a"):
        write_variant(tmp_path / "o.osim", tmp_path / "odd.osim", cervical_share=0.5)
    bare = text.replace("cerv", "thor")
    (tmp_path / "bare.osim").write_text(bare)
    with pytest.raises(ValueError, match=r"the torso has no mesh of a cervical"):
        write_variant(tmp_path / "o.osim", tmp_path / "bare.osim", cervical_share=0.5)
