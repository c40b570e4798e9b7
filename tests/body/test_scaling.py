"""Scaled models against OpenSim's Model.scale."""

import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import jax
import numpy as np
import opensim
import pytest

from simspine_jax.body import kinematics
from simspine_jax.body.model import Model
from simspine_jax.body.scaling import scale_model
from simspine_jax.io import marker_set
from simspine_jax.io.load import load_model
from simspine_jax.reference import opensim_load
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine_markers
from tests import poses, random_models

ATOL = 1e-9
COUPLER_ATOL = 1e-9


def scaled_by_opensim(
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    markers: Path | None,
    factors: dict[str, np.ndarray],
) -> ReferenceModel:
    """OpenSim's own scaling, kept in memory: files round what they say."""
    model = opensim_load.load(path, markers)
    state = model.initSystem()
    scales = opensim.ScaleSet()
    for body, row in factors.items():
        scale = opensim.Scale()
        scale.setSegmentName(body)
        scale.setScaleFactors(opensim.Vec3(*(float(x) for x in row)))
        scale.setApply(True)
        scales.cloneAndAppend(scale)
    model.scale(state, scales, False)
    monkeypatch.setattr(opensim_load, "load", lambda *_: model)
    try:
        return ReferenceModel(path)
    finally:
        monkeypatch.undo()


def compare(scaled: Model, reference: ReferenceModel) -> None:
    q = poses.random_poses(scaled, 3)
    rotation, position = reference.body_poses(q)
    bodies = kinematics.forward_kinematics(scaled, q)
    np.testing.assert_allclose(bodies.rotation, rotation, rtol=0, atol=ATOL)
    np.testing.assert_allclose(bodies.position, position, rtol=0, atol=ATOL)
    placed = kinematics.marker_positions(scaled, q)
    np.testing.assert_allclose(placed, reference.marker_positions(q), atol=ATOL)
    assembled = reference.assemble(q)
    expanded = scaled.expand(scaled.free_of(assembled))
    np.testing.assert_allclose(expanded, assembled, rtol=0, atol=COUPLER_ATOL)
    np.testing.assert_array_equal(scaled.default_q, reference.default_q)
    np.testing.assert_array_equal(scaled.range, reference.ranges)


@pytest.mark.parametrize("name", ["Body25b", "muscles_flex"])
def test_pinned_models(
    name: str, pose2sim_08: Path, pose2sim_10: Path, tmp_path: Path, monkeypatch
):
    folder, markers = pose2sim_08, None
    if name == "muscles_flex":
        folder, markers = pose2sim_10, tmp_path / "markers.xml"
        marker_set.write_marker_set(markers, simspine_markers.MARKERS)
    path = folder / f"Pose2Sim/OpenSim_Setup/Model_Pose2Sim_{name}.osim"
    model = load_model(path, markers)
    rng = np.random.default_rng(0)
    table = rng.uniform(0.7, 1.4, (len(model.body_names), 3))
    factors = dict(zip(model.body_names, table, strict=True))
    reference = scaled_by_opensim(monkeypatch, path, markers, factors)
    scaled = scale_model(model, table)
    compare(scaled, reference)
    np.testing.assert_allclose(scaled.scale_factors, model.scale_factors * table)
    assert scaled.topology == model.topology


@pytest.mark.parametrize("seed", range(5))
def test_random_models(seed: int, tmp_path: Path, monkeypatch):
    """Axes written at unit length, and x, y and z alike: see ``scale_model``."""
    path = tmp_path / "random.osim"
    random_models.write_random_model(seed, path)
    document = ET.parse(path)
    for axis in document.iter("axis"):
        direction = np.array((axis.text or "").split(), float)
        direction /= np.linalg.norm(direction)
        axis.text = " ".join(repr(float(x)) for x in direction)
    document.write(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is not enforced and is left out")
        model = load_model(path)
    rng = np.random.default_rng(seed)
    rows = np.tile(rng.uniform(0.7, 1.4, (len(model.body_names), 1)), 3)
    factors = dict(zip(model.body_names, rows, strict=True))
    reference = scaled_by_opensim(monkeypatch, path, None, factors)
    compare(scale_model(model, factors), reference)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("models") / "random.osim"
    random_models.write_random_model(3, path)
    return load_model(path)


def test_bodies_not_named_keep_their_size(model: Model):
    table = np.ones((len(model.body_names), 3))
    table[model.body_names.index("c")] = 1.0, 2.0, 0.5
    by_name = scale_model(model, {"c": (1.0, 2.0, 0.5)})
    jax.tree.map(np.testing.assert_array_equal, by_name, scale_model(model, table))


def test_twice_is_the_product(model: Model):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.8, 1.2, (2, len(model.body_names), 3))
    twice, once = scale_model(scale_model(model, a), b), scale_model(model, a * b)
    # Slanted translations take a mean of the factors, which is no product.
    for field in ("parent_translation", "child_translation", "marker_offset"):
        np.testing.assert_allclose(getattr(twice, field), getattr(once, field))
    np.testing.assert_allclose(twice.scale_factors, once.scale_factors)
    same = scale_model(model, np.ones_like(a))
    np.testing.assert_allclose(same.marker_offset, model.marker_offset)


def test_input_stays_as_it_was(model: Model):
    before = np.array(model.parent_translation)
    scale_model(model, np.full((len(model.body_names), 3), 2.0))
    np.testing.assert_array_equal(model.parent_translation, before)


def test_what_does_not_fit_is_one_sentence(model: Model):
    with pytest.raises(ValueError, match=r"cannot scale body 'hip': the model has"):
        scale_model(model, {"hip": (1.0, 1.0, 1.0)})
    with pytest.raises(
        ValueError, match=r"shape \(8, 3\), one row a body; found \(3,\)"
    ):
        scale_model(model, np.ones(3))
