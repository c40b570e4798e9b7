"""Markers along a motion against OpenSim, and inputs that cannot be used."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import simspine_jax as sj
from configs import simulate_markers as configuration
from experiments import simulate_markers
from simspine_jax.fitting import complete_motion
from simspine_jax.io import storage
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine, simspine_markers
from tests import refusals

FK_ATOL_M = 1e-9
COUPLER_ATOL = 1e-8  # OpenSim assembles to 1e-11 in its own units
FILES = {
    *("markers.trc", "keypoints.trc", "report.png", "metrics.json", "manifest.json"),
}


def tiny(**fields) -> ConfigDict:
    config = configuration.get_config("tiny")
    config.update(fields)
    return config


@pytest.fixture(scope="module")
def paths() -> tuple[Path, Path]:
    return simulate_markers._paths(tiny())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    simulate_markers.main(tiny(), folder)
    return folder


@pytest.fixture(scope="module")
def reference(paths) -> ReferenceModel:
    return ReferenceModel(paths[0])


@pytest.fixture(scope="module")
def motion(paths) -> sj.Motion:
    """The first frames of the demo, read without our model."""
    whole = sj.read_mot(paths[1])
    return whole.replace(q=whole.q[:8])


def test_all_files_are_written(run):
    assert {path.name for path in run.iterdir()} == FILES
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["frames"], metrics["markers"], metrics["keypoints"]) == (8, 21, 37)
    assert metrics["coordinates_from_couplers"] == 0
    manifest = json.loads((run / "manifest.json").read_text())
    assert len(manifest["inputs"]) == 2
    assert set(manifest["units"]) == {"markers.trc", "keypoints.trc"}
    assert (run / "report.png").stat().st_size > 20_000


def test_markers_are_where_opensim_has_them(run, reference, motion):
    ours = sj.read_trc(run / "markers.trc")
    assert motion.coordinate_names == reference.coordinate_names
    expected = reference.marker_positions(motion.q)
    assert ours.names == reference.marker_names
    assert ours.valid.all()
    assert (ours.rate_hz, ours.start_s) == (motion.rate_hz, motion.start_s)
    np.testing.assert_allclose(ours.points, expected, rtol=0, atol=FK_ATOL_M)


def test_keypoints_ride_on_opensims_bodies(run, reference, motion):
    """A rigid point keeps its place in its body; offsets are another test's subject."""
    ours = sj.read_trc(run / "keypoints.trc")
    assert ours.names == simspine.NAMES
    rotation, position = reference.body_poses(motion.q)
    places = {**simspine_markers.MARKERS, **simspine_markers.FACE}
    for name in simspine.NAMES:
        body = reference.body_names.index(places[name][0])
        away = ours.points[:, ours.names.index(name)] - position[:, body]
        local = np.einsum("tji,tj->ti", rotation[:, body], away)
        np.testing.assert_allclose(local, local[[0]].repeat(8, 0), atol=FK_ATOL_M)


def lacking(paths: tuple[Path, Path], folder: Path, names: set[str]) -> Path:
    """Writes the demo's motion without some coordinates."""
    model = sj.load_model(paths[0])
    motion = sj.read_mot(paths[1], model)
    keep = [i for i, n in enumerate(motion.coordinate_names) if n not in names]
    path = folder / "lacking.mot"
    storage.write_mot(
        path,
        motion.replace(
            q=motion.q[:, keep],
            coordinate_names=tuple(motion.coordinate_names[i] for i in keep),
        ),
        coordinate_is_rotational=[model.coordinate_is_rotational[i] for i in keep],
    )
    return path


def test_missing_coordinates_are_filled_and_said(
    paths, reference, tmp_path, capsys, run
):
    del run  # its compilation is shared
    gone = {"L4_L5_Flex_Ext", "pro_sup_r"}
    path = lacking(paths, tmp_path, gone)
    folder = tmp_path / "run"
    folder.mkdir()
    simulate_markers.main(
        tiny(model=str(paths[0]), motion=str(path), keypoints=False), folder
    )
    said = capsys.readouterr().out
    assert "lacks are computed by couplers: L4_L5_Flex_Ext" in said
    assert "lacks are at their default values: pro_sup_r" in said
    assert {p.name for p in folder.iterdir()} == FILES - {"keypoints.trc"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["coordinates_from_couplers"] == 1
    assert metrics["coordinates_at_default"] == 1
    # OpenSim's own function of the coupler gives the same.
    model = sj.load_model(paths[0])
    found = complete_motion.complete(model, sj.read_mot(path, model))
    column = model.coordinate_names.index("L4_L5_Flex_Ext")
    assembled = reference.assemble(found.q[:3])
    np.testing.assert_allclose(
        found.q[:3, column], assembled[:, column], rtol=0, atol=COUPLER_ATOL
    )
    held = model.coordinate_names.index("pro_sup_r")
    np.testing.assert_array_equal(found.q[:, held], model.default_q[held])


def test_other_coordinates_are_refused_by_name(paths, tmp_path):
    text = paths[1].read_text().replace("pro_sup_r", "twist_r")
    other = tmp_path / "other.mot"
    other.write_text(text)
    folder = tmp_path / "run"
    folder.mkdir()
    config = tiny(model=str(paths[0]), motion=str(other))
    said = refusals.sentence(simulate_markers.main, config, folder)
    assert said == f"{other}: 1 of the 62 coordinates are not the model's: twist_r"
    model = sj.load_model(paths[0])
    with pytest.raises(ValueError, match="are not the model's: twist_r"):
        complete_motion.complete(model, sj.read_mot(other))


def test_bad_input_is_one_sentence(paths, tmp_path):
    model, motion = map(str, paths)
    for said, fields in {
        "config.model is given and config.motion is not": {"model": model},
        "config.motion is given and config.model is not": {"motion": motion},
        "nowhere.mot: there is no such file": {"model": model, "motion": "nowhere.mot"},
        "config.frames must not be negative; it is -1": {"frames": -1},
    }.items():
        assert said in refusals.sentence(
            simulate_markers.main, tiny(**fields), tmp_path
        )
    with pytest.raises(ValueError, match="no variant 'small'; it has tiny"):
        configuration.get_config("small")


def test_a_model_without_the_spine_has_no_keypoints(paths, capsys):
    model = sj.load_model(paths[0])
    other = tuple(name.replace("lumbar", "l") for name in model.body_names)
    bare = replace(model, topology=replace(model.topology, body_names=other))
    assert simulate_markers._with_keypoints(bare) is None
    said = capsys.readouterr().out
    assert "no keypoints.trc: the model has no body 'lumbar5'" in said
