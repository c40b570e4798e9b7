import dataclasses
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import opensim
import pytest

import simspine_jax as sj
from simspine_jax.body import markers, spine_markers
from simspine_jax.body.kinematics import BodyPoses
from simspine_jax.body.model import Model
from simspine_jax.fitting import replay
from simspine_jax.io import marker_set
from simspine_jax.reference import opensim_load
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine, simspine_markers
from tests import plain_kinematics, poses, random_models

ATOL = 1e-9  # m, and Frobenius norm of the difference of two rotations
SAME = 1e-12


def compare(model: Model, written: Path) -> None:
    """The file's kinematics in OpenSim are the model's."""
    reference = ReferenceModel(written)
    assert reference.body_names == model.body_names
    assert reference.coordinate_names == model.coordinate_names
    assert reference.marker_names == model.marker_names
    np.testing.assert_allclose(reference.default_q, model.default_q, atol=SAME)
    q = poses.random_poses(model, 3)
    rotation, position = reference.body_poses(q)
    turned, moved = plain_kinematics.body_poses(model, q)
    assert np.linalg.norm(turned - rotation, axis=(2, 3)).max() <= ATOL
    np.testing.assert_allclose(moved, position, rtol=0, atol=ATOL)
    placed = replay.marker_points(
        model, BodyPoses(jnp.asarray(turned), jnp.asarray(moved))
    )
    theirs = reference.marker_positions(q)
    np.testing.assert_allclose(placed, theirs, rtol=0, atol=ATOL)


def read_back(model: Model, written: Path, pictured: bool = True) -> None:
    """``load_model`` gives the same model; bodies without a mesh forget their scale."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is not enforced and is left out")
        again = sj.load_model(written)
    assert again.topology == model.topology
    mesh = [
        pictured and body.find(".//Mesh") is not None
        for body in ET.parse(written).iter("Body")
    ]
    np.testing.assert_allclose(
        again.scale_factors, np.where(np.array(mesh)[:, None], model.scale_factors, 1.0)
    )
    again = dataclasses.replace(again, scale_factors=model.scale_factors)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=SAME, atol=SAME),
        again,
        model,
    )


def some_factors(model: Model, seed: int) -> np.ndarray:
    shape = (len(model.body_names), 3)
    return np.random.default_rng(seed).uniform(0.7, 1.4, shape)


def file(folder: Path, name: str) -> Path:
    return next(folder.rglob(f"Model_Pose2Sim_{name}.osim"))


@pytest.mark.parametrize("name", ["Body25b", "LSTM_scaled", "muscles_flex", "simple"])
def test_scaled_and_calibrated_models(
    name: str, pose2sim_08: Path, pose2sim_10: Path, tmp_path: Path
):
    source = file(
        pose2sim_08 if name in ("Body25b", "LSTM_scaled") else pose2sim_10, name
    )
    model = sj.load_model(source)
    scaled = sj.scale_model(model, some_factors(model, 0))
    rng = np.random.default_rng(1)
    if name == "muscles_flex":  # a file without markers
        scaled = spine_markers.with_keypoints(scaled)
        assert scaled.marker_names == simspine.NAMES
    else:
        shift = rng.normal(0, 0.02, np.shape(scaled.marker_offset))
        scaled = dataclasses.replace(scaled, marker_offset=scaled.marker_offset + shift)
    sj.write_osim(tmp_path / "scaled.osim", source, scaled, name="subject")
    read_back(scaled, tmp_path / "scaled.osim")
    compare(scaled, tmp_path / "scaled.osim")
    content = ET.parse(tmp_path / "scaled.osim").getroot()[0]
    assert content.get("name") == "subject"
    assert [p.name for p in tmp_path.iterdir()] == ["scaled.osim"]


@pytest.mark.parametrize("seed", range(5))
def test_random_models(seed: int, tmp_path: Path):
    """Nested and shared frames, every function, couplers of lengths, ground frames."""
    random_models.write_random_model(seed, tmp_path / "source.osim")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is not enforced and is left out")
        model = sj.load_model(tmp_path / "source.osim")
        scaled = sj.scale_model(model, some_factors(model, seed))
        sj.write_osim(tmp_path / "scaled.osim", tmp_path / "source.osim", scaled)
    read_back(scaled, tmp_path / "scaled.osim")
    compare(scaled, tmp_path / "scaled.osim")


def test_joint_centres_defaults_ranges_and_locks_of_ones_own(tmp_path: Path):
    """What scaling does not explain: frames that others share must not move along."""
    random_models.write_random_model(3, tmp_path / "source.osim")
    model = jax.tree.map(np.array, sj.load_model(tmp_path / "source.osim"))
    rng = np.random.default_rng(0)
    free = model.topology.free
    model.default_q[free[0]] += 0.01
    model.range[free[1]] *= 1.5
    for place in (model.parent_translation, model.child_translation):
        place[:] += rng.normal(0, 0.01, place.shape)
    topology = dataclasses.replace(model.topology, free=free[:-1])
    model = dataclasses.replace(model, topology=topology)
    sj.write_osim(tmp_path / "changed.osim", tmp_path / "source.osim", model)
    read_back(model, tmp_path / "changed.osim")
    compare(model, tmp_path / "changed.osim")
    # Once more, from the file that already has such frames.
    model.parent_translation[:] += 0.01
    sj.write_osim(tmp_path / "changed.osim", tmp_path / "changed.osim", model)
    read_back(model, tmp_path / "changed.osim")


def test_twice_through_files_is_the_product(pose2sim_08: Path, tmp_path: Path):
    source = file(pose2sim_08, "LSTM_scaled")
    model = sj.load_model(source)
    a, b = some_factors(model, 0), some_factors(model, 1)
    sj.write_osim(tmp_path / "a.osim", source, sj.scale_model(model, a))
    once = sj.load_model(tmp_path / "a.osim")
    sj.write_osim(tmp_path / "b.osim", tmp_path / "a.osim", sj.scale_model(once, b))
    read_back(sj.scale_model(once, b), tmp_path / "b.osim")


def points(model: opensim.Model) -> dict[str, np.ndarray]:
    """Places of all muscle path points and wrap objects, in their frames."""
    found = {}
    for item in model.getComponentsList():
        place = opensim.PathPoint.safeDownCast(item)
        wrap = opensim.WrapObject.safeDownCast(item)
        if place is not None:
            found[item.getAbsolutePathString()] = place.get_location().to_numpy()
        elif wrap is not None:
            found[item.getAbsolutePathString()] = wrap.get_translation().to_numpy()
    return found


def test_muscle_points_and_wraps_move_as_in_opensim(pose2sim_10: Path, tmp_path: Path):
    source = file(pose2sim_10, "muscles_flex")
    ours = sj.load_model(source)
    table = some_factors(ours, 2)
    sj.write_osim(tmp_path / "scaled.osim", source, sj.scale_model(ours, table))
    opensim_load.quiet()
    model = opensim.Model(str(source))
    state = model.initSystem()
    scales = opensim.ScaleSet()
    for body, row in zip(ours.body_names, table, strict=True):
        scale = opensim.Scale()
        scale.setSegmentName(body)
        scale.setScaleFactors(opensim.Vec3(*row.tolist()))
        scale.setApply(True)
        scales.cloneAndAppend(scale)
    model.scale(state, scales, False)
    theirs = points(model)
    written = opensim.Model(str(tmp_path / "scaled.osim"))
    written.finalizeConnections()
    found = points(written)
    assert found.keys() == theirs.keys()
    assert len(found) > 900
    for path, place in theirs.items():
        np.testing.assert_allclose(found[path], place, atol=SAME, err_msg=path)


def test_what_is_not_the_models_stays(pose2sim_08: Path, tmp_path: Path):
    """Written unchanged, a file says what it said, element by element."""
    source = file(pose2sim_08, "Body25b")
    sj.write_osim(tmp_path / "same.osim", source, sj.load_model(source))

    def said(path: Path) -> list[tuple[str, dict[str, str], str]]:
        content = ET.parse(path).getroot()[0]
        content.remove(content.findall("MarkerSet")[0])
        return [(e.tag, e.attrib, (e.text or "").strip()) for e in content.iter()]

    assert said(tmp_path / "same.osim") == said(source)


def test_a_marker_set_in_another_file_is_brought_in(pose2sim_10: Path, tmp_path: Path):
    document = ET.parse(file(pose2sim_10, "simple"))
    kept = document.getroot()[0].find("MarkerSet")
    assert kept is not None
    kept.clear()
    kept.set("file", "markers.xml")
    document.write(tmp_path / "source.osim")
    places = {"tip": ("hand_r", (0.1, 0.2, 0.3)), "floor": ("ground", (1.0, 0.0, 0.0))}
    marker_set.write_marker_set(tmp_path / "markers.xml", places)
    model = sj.load_model(tmp_path / "source.osim")
    sj.write_osim(tmp_path / "written.osim", tmp_path / "source.osim", model)
    (tmp_path / "markers.xml").unlink()
    read_back(model, tmp_path / "written.osim")


def test_refusals(pose2sim_08: Path, pose2sim_10: Path, tmp_path: Path):
    source, other = file(pose2sim_08, "Body25b"), file(pose2sim_10, "simple")
    model, simple = sj.load_model(source), sj.load_model(other)
    out = tmp_path / "out.osim"
    with pytest.raises(ValueError, match="the bodies of the model are not those of .*"):
        sj.write_osim(out, other, model)
    lone = dataclasses.replace(model.topology, couplers=model.topology.couplers[1:])
    with pytest.raises(ValueError, match="the couplers of the model are not those"):
        sj.write_osim(out, source, dataclasses.replace(model, topology=lone))
    bent = dataclasses.replace(
        model,
        curves=dataclasses.replace(model.curves, breaks=model.curves.breaks + 0.01),
    )
    with pytest.raises(ValueError, match=r"out.osim: the model's curves differs"):
        sj.write_osim(out, source, bent)
    outside = np.array(simple.default_q)
    outside[simple.coordinate_names.index("neck_flexion")] = 3.0
    with pytest.raises(
        ValueError, match=r"out.osim: coordinate 'neck_flexion' is clamp"
    ):
        sj.write_osim(out, other, dataclasses.replace(simple, default_q=outside))
    with pytest.raises(FileNotFoundError):
        sj.write_osim(out, tmp_path / "nothing.osim", model)
    with pytest.raises(FileNotFoundError):
        sj.write_osim(tmp_path / "no" / "out.osim", source, model)
    assert not list(tmp_path.iterdir())


def test_input_stays_and_float32_is_taken(pose2sim_10: Path, tmp_path: Path):
    source = file(pose2sim_10, "simple")
    model = markers.with_markers(
        sj.load_model(source), {"a": simspine_markers.MARKERS["RElbow"]}
    )
    scaled = sj.scale_model(model, {"humerus_r": (1.1, 1.2, 0.9)})
    before = jax.tree.map(np.array, scaled)
    sj.write_osim(tmp_path / "64.osim", source, scaled)
    sj.write_osim(tmp_path / "32.osim", source, scaled.with_dtype(np.float32))
    jax.tree.map(np.testing.assert_array_equal, scaled, before)
    found = [sj.load_model(tmp_path / f"{bits}.osim") for bits in (32, 64)]
    np.testing.assert_allclose(
        found[0].parent_translation, found[1].parent_translation, atol=1e-6
    )
    assert "_centre" not in (tmp_path / "32.osim").read_text(encoding="utf-8")
