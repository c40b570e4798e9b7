"""The experiment on its smallest variant, and on inputs that cannot be used."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import opensim  # noqa: TID251
import pytest
from ml_collections import ConfigDict

import simspine_jax as sj
from configs import fit_ik as configuration
from experiments import _ik_files, _trial, fit_ik
from simspine_jax.fitting import ik, ik_solution, replay
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine
from tests import refusals
from third_party import fetch

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    *("motion.mot", "markers_fitted.trc", "marker_errors.sto", "spine_markers.trc"),
    *("report.png", "metrics.json", "manifest.json"),
}
FK_ATOL_M = 1e-9
EMPTY_FRAME = 3

TRC = """PathFileType\t4\t(X/Y/Z)\ttrial.trc
DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames
60\t60\t1\t{count}\t{units}\t60\t1\t1
Frame#\tTime\t{names}
\t\t{axes}

1\t0\t{cells}
"""


def trc_text(names: list[str], cells: list[float], units: str = "m") -> str:
    return TRC.format(
        count=len(names),
        units=units,
        names="\t\t\t".join(names) + "\t\t",
        axes="\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, len(names) + 1)),
        cells="\t".join(map(str, cells)),
    )


def tiny(**fields) -> ConfigDict:
    config = configuration.get_config("tiny")
    config.update(fields)
    return config


@pytest.fixture(scope="module")
def model_path() -> Path:
    return next(fetch.fetch("pose2sim-0.8.4").rglob("*_body25b_scaled.osim"))


@pytest.fixture(scope="module")
def demo_trc() -> Path:
    return next(fetch.fetch("pose2sim-0.4.15").rglob("Balancing_for_IK.trc"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, model_path: Path, demo_trc: Path):
    """A run of the demo with one frame left empty, and the solution it found."""
    folder = tmp_path_factory.mktemp("run")
    trajectory = sj.read_trc(demo_trc)
    valid = np.array(trajectory.valid)
    valid[EMPTY_FRAME] = False
    points = np.where(valid[..., None], trajectory.points, 0.0)
    sj.write_trc(folder / "gap.trc", trajectory.replace(points=points, valid=valid))
    kept, true_fit = [], ik.fit_ik

    def keeping(*args, **keywords):
        kept.append(true_fit(*args, **keywords))
        return kept[-1]

    workdir = folder / "out"
    workdir.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ik, "fit_ik", keeping)
        # With the model as it is in its file, which OpenSim reads as well.
        plain = {"calibrate": False, "posture_sd_deg": 0.0}
        fit_ik.main(tiny(trc=str(folder / "gap.trc"), **plain), workdir)
    return workdir, kept[0]


@pytest.fixture
def refused(tmp_path: Path):
    """Runs the experiment, which must refuse; gives the one sentence it prints."""
    workdir = tmp_path / "out"
    workdir.mkdir()

    return lambda **fields: refusals.sentence(fit_ik.main, tiny(**fields), workdir)


def test_writes_everything_and_nothing_else(run):
    workdir, _ = run
    assert {path.name for path in workdir.iterdir()} == FILES


def test_metrics_are_flat_numbers(run):
    workdir, solution = run
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert metrics["frames"] == len(solution.q) == 8
    assert metrics["frames_without_markers"] == 1
    assert metrics["markers"] == 21
    seen = solution.marker_seen
    rms = np.sqrt((solution.marker_error[seen] ** 2).mean())
    assert metrics["marker_rms_mm"] == pytest.approx(1e3 * rms)
    assert 5 < metrics["marker_rms_mm"] < 100
    assert metrics["marker_max_mm"] == pytest.approx(1e3 * solution.marker_error.max())


def test_manifest_names_the_inputs(run, model_path: Path):
    manifest = json.loads((run[0] / "manifest.json").read_text())
    names = {Path(path).name for path in manifest["inputs"]}
    assert {model_path.name, "gap.trc", "IK_Setup_Pose2Sim_Body25b.xml"} == names
    assert set(manifest["units"]) < FILES


def test_opensim_reads_the_motion_and_poses_the_fitted_markers(run, model_path: Path):
    workdir, solution = run
    oracle = ReferenceModel(model_path)
    storage = opensim.Storage(str(workdir / "motion.mot"))
    assert storage.isInDegrees()
    oracle.model.getSimbodyEngine().convertDegreesToRadians(storage)
    q = np.empty(solution.q.shape)
    for k, name in enumerate(solution.coordinate_names):
        column = opensim.ArrayDouble()
        storage.getDataColumn(name, column)
        q[:, k] = [column.get(t) for t in range(len(q))]
    np.testing.assert_allclose(q, solution.q, atol=1e-12)
    written = sj.read_trc(workdir / "markers_fitted.trc")
    index = [oracle.marker_names.index(name) for name in written.names]
    expected = oracle.marker_positions(q)[:, index]
    seen = written.valid
    np.testing.assert_allclose(
        np.asarray(written.points)[seen], expected[seen], atol=FK_ATOL_M
    )


@pytest.mark.parametrize("name", ["markers_fitted.trc", "spine_markers.trc"])
def test_opensim_reads_the_marker_files(run, name: str):
    table = opensim.TimeSeriesTableVec3(str(run[0] / name))
    written = sj.read_trc(run[0] / name)
    assert tuple(table.getColumnLabels()) == written.names
    assert table.getNumRows() == 8
    first = table.getRowAtIndex(0).getElt(0, 2).to_numpy()
    np.testing.assert_allclose(first, np.asarray(written.points)[0, 2])


def test_opensim_reads_the_marker_errors(run):
    workdir, solution = run
    table = opensim.TimeSeriesTable(str(workdir / "marker_errors.sto"))
    rms = table.getDependentColumn("marker_error_RMS").to_numpy()
    np.testing.assert_allclose(rms, solution.marker_rms)


def test_a_frame_without_markers_is_marked_and_the_others_stand(run):
    workdir, solution = run
    assert ik_solution.STATUS_TEXT[solution.status[EMPTY_FRAME]] == "nothing to fit"
    others = np.arange(8) != EMPTY_FRAME
    assert (solution.status[others] != ik_solution.EMPTY).all()
    for name in ("markers_fitted.trc", "spine_markers.trc"):
        valid = sj.read_trc(workdir / name).valid
        np.testing.assert_array_equal(valid.any(axis=1), others)
        assert valid[others].all()


def test_spine_keypoints_are_where_the_bodies_are(run):
    workdir, solution = run
    written = sj.read_trc(workdir / "spine_markers.trc")
    assert written.names == simspine.SPINE_NAMES
    chain = np.asarray(written.points)[0, [written.names.index("Hip"), 9]]
    assert 0.5 < np.linalg.norm(chain[1] - chain[0]) < 0.9  # Hip to top of the skull
    assert written.start_s == pytest.approx(solution.start_s)


def test_interrupted_writing_leaves_no_partial_file(
    run, model_path, tmp_path, monkeypatch
):
    _, solution = run
    model = sj.load_model(model_path)
    poses = replay.body_poses(model, solution.q)
    replace, calls = os.replace, []

    def interrupted(source, target) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _ik_files.write(tmp_path, model, solution, poses)
    assert [path.name for path in tmp_path.iterdir()] == ["motion.mot"]
    assert sj.read_mot(tmp_path / "motion.mot", model).q.shape == solution.q.shape


def test_a_model_without_the_spine_bodies_gets_no_spine_file(
    run, model_path, tmp_path, capsys
):
    _, solution = run
    model = sj.load_model(model_path)
    poses = replay.body_poses(model, solution.q)
    names = tuple(n.replace("lumbar3", "vertebra") for n in model.body_names)
    topology = type(model.topology)(**{**vars(model.topology), "body_names": names})
    (tmp_path / "spine_markers.trc").write_text("of an earlier run")
    _ik_files.write(tmp_path, model.replace(topology=topology), solution, poses)
    assert not (tmp_path / "spine_markers.trc").exists()
    assert (tmp_path / "markers_fitted.trc").exists()
    assert "no body 'lumbar3'" in capsys.readouterr().out


@pytest.fixture(scope="module")
def from_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest run of the default: detections, triangulated."""
    workdir = tmp_path_factory.mktemp("views")
    fit_ik.main(tiny(), workdir)
    return workdir


def test_detections_are_triangulated_and_fitted(from_views: Path, demo_trc: Path):
    points = {"markers.trc", "points.h5", "detections.h5"}
    written = {path.name for path in from_views.iterdir()}
    calibration = {"calibrated.osim", "calibration.txt"}
    assert written == FILES | points | calibration | {"overlay.png"}
    metrics = json.loads((from_views / "metrics.json").read_text())
    assert metrics["frames"] == 8
    assert metrics["markers"] == 21
    before, after = (
        metrics[f"calibration_rms_{when}_mm"] for when in ("before", "after")
    )
    assert 0 < after < before < 60
    assert 0 < metrics["marker_rms_mm"] < before
    assert 5 < metrics["reprojection_px_mean"] < 20
    assert metrics["points_valid_fraction"] == 1
    manifest = json.loads((from_views / "manifest.json").read_text())
    assert points < set(manifest["units"])
    assert "Calib.qca.txt" in {Path(path).name for path in manifest["inputs"]}
    # The same person in the same place as Pose2Sim triangulated from these detections.
    mine = sj.read_trc(from_views / "markers.trc")
    theirs = sj.read_trc(demo_trc)
    ankle = [t.names.index("RAnkle") for t in (mine, theirs)]
    gap = mine.points[:, ankle[0]] - np.asarray(theirs.points)[:8, ankle[1]]
    assert np.linalg.norm(gap, axis=-1).max() < 0.02


def test_the_calibrated_model_gives_the_fitted_markers_back(from_views: Path):
    model = sj.load_model(from_views / "calibrated.osim")
    motion = sj.read_mot(from_views / "motion.mot", model)
    fitted = sj.read_trc(from_views / "markers_fitted.trc")
    placed = np.asarray(sj.marker_positions(model, motion.q))
    assert model.marker_names == fitted.names
    np.testing.assert_allclose(placed, fitted.points, atol=1e-6)


def test_the_fit_is_to_the_written_markers(from_views: Path):
    mine = sj.read_trc(from_views / "markers.trc")
    fitted = sj.read_trc(from_views / "markers_fitted.trc")
    setup = next(fetch.fetch("pose2sim-0.8.4").rglob("IK_Setup_*_Body25b.xml"))
    names = [n for n in sj.read_ik_setup(setup).marker_weights if n in mine.names]
    one, other = (
        np.asarray(t.points)[:, [t.names.index(n) for n in names]]
        for t in (mine, fitted)
    )
    rms = np.sqrt(((one - other) ** 2).sum(axis=-1).mean())
    metrics = json.loads((from_views / "metrics.json").read_text())
    assert len(names) == metrics["markers"]
    assert rms == pytest.approx(metrics["marker_rms_mm"] / 1e3)


def test_markers_or_a_capture_but_not_both(refused):
    for name in ("calibration", "detections"):
        sentence = refused(trc="a.trc", **{name: "b"})
        assert f"config.trc names markers, and config.{name} a capture" in sentence
    assert "config.calibration without" not in refused(trc="absent.trc")
    assert "without config.calibration" in refused(detections="b")


def test_choices_are_checked_before_any_file_is_read(refused, monkeypatch):
    monkeypatch.setattr(_trial, "load", lambda *_: pytest.fail("read"))
    assert "config.up is 'x'" in refused(up="x")
    assert "filter: method" in refused(filter={"method": "x"})
    assert "'x'" in refused(smooth={"of": "x"})
    assert "'x'" in refused(loss={"kind": "x"})


def test_the_markers_variant_is_the_built_in_trial(demo_trc: Path):
    config = configuration.get_config("markers")
    assert configuration.get_config().trc is None
    trial = _trial.load(config)
    assert trial.source == demo_trc
    assert trial.points is None


def test_missing_file(refused, tmp_path: Path):
    sentence = refused(trc=str(tmp_path / "absent.trc"))
    assert "absent.trc" in sentence


def test_malformed_xml(refused, tmp_path: Path):
    path = tmp_path / "broken.osim"
    path.write_text("<OpenSimDocument Version='40000'><Model name='a'>")
    assert "broken.osim" in refused(model=str(path))


def test_unknown_joint_type(refused, tmp_path: Path, model_path: Path):
    path = tmp_path / "joint.osim"
    text = model_path.read_text().replace("<WeldJoint ", "<EllipsoidJoint ")
    path.write_text(text.replace("</WeldJoint>", "</EllipsoidJoint>"))
    sentence = refused(model=str(path))
    assert "EllipsoidJoint" in sentence
    assert "joint.osim" in sentence


def test_external_marker_on_a_body_that_is_not_there(refused, tmp_path: Path):
    path = tmp_path / "markers.xml"
    path.write_text(
        "<OpenSimDocument Version='40000'><MarkerSet name='m'><objects>"
        "<Marker name='Tail'><socket_parent_frame>/bodyset/tail</socket_parent_frame>"
        "<location>0 0 0</location></Marker></objects></MarkerSet></OpenSimDocument>"
    )
    sentence = refused(markers=str(path))
    assert "'Tail'" in sentence
    assert "/bodyset/tail" in sentence


def test_no_overlap_between_markers_and_model(refused, tmp_path: Path):
    path = tmp_path / "other.trc"
    path.write_text(trc_text(["A", "B"], [0, 0, 0, 0, 1, 0]))
    sentence = refused(trc=str(path))
    assert "no marker is shared" in sentence
    assert "A, B" in sentence


def test_markers_that_contradict_the_columns(refused, tmp_path: Path):
    path = tmp_path / "columns.trc"
    text = trc_text(["RHip", "LHip"], [0, 0, 0, 0, 1, 0])
    path.write_text(text.replace("60\t60\t1\t2\t", "60\t60\t1\t5\t"))
    sentence = refused(trc=str(path))
    assert "columns.trc" in sentence
    assert "5" in sentence


def test_a_person_a_thousand_times_too_large(refused, tmp_path: Path, demo_trc: Path):
    trajectory = sj.read_trc(demo_trc)
    path = tmp_path / "huge.trc"
    sj.write_trc(path, trajectory.replace(points=1e3 * np.asarray(trajectory.points)))
    sentence = refused(trc=str(path))
    assert "huge.trc" in sentence
    assert "millimetres" in sentence


def test_no_marker_in_any_frame(refused, tmp_path: Path, demo_trc: Path):
    trajectory = sj.read_trc(demo_trc)
    path = tmp_path / "blind.trc"
    nothing = np.zeros_like(trajectory.valid)
    sj.write_trc(path, trajectory.replace(valid=nothing))
    assert "seen in any frame" in refused(trc=str(path))


def test_command_line_exits_with_2_and_one_sentence(tmp_path: Path):
    command = [sys.executable, "-m", "experiments.fit_ik", "--workdir=out"]
    done = subprocess.run(
        [*command, "--config.trc=absent.trc"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: absent.trc: there is no such file\n"
    assert not list((tmp_path / "out").iterdir())


def test_warnings_are_one_line_each(capsys):
    with _trial.one_line_warnings():
        warnings.warn("two\nlines", ik.PriorDominanceWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: two lines\n"


def test_a_set_up_is_not_taken_over_to_another_model(model_path: Path, capsys):
    trial = _trial.load(tiny(model=str(model_path)))
    assert trial.tasks is None
    assert "every shared marker 1" in capsys.readouterr().out
    demo = _trial.load(tiny())
    assert demo.tasks is not None
    assert demo.tasks.coordinate_tasks == ()
    assert demo.tasks.marker_weights["LShoulder"] == 2
    held = _trial.load(tiny(keep_coordinate_tasks=True))
    assert [task.name for task in held.tasks.coordinate_tasks] == ["L5_S1_Flex_Ext"]


def test_default_effort_is_the_librarys():
    config = configuration.get_config()
    assert SearchOptions(**_trial.given(config.search)) == SearchOptions()
    # Intervals are printed, so this one asks for them.
    assert ik.IkOptions(**_trial.given(config.ik)) == ik.IkOptions(covariance=True)
    tiny_search = SearchOptions(**_trial.given(tiny().search))
    assert tiny_search.limb_starts == 8


def test_unknown_variant():
    with pytest.raises(ValueError, match="no variant 'huge'; it has markers, tiny"):
        configuration.get_config("huge")
