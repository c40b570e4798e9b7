"""Scaling three ways on the demo: files, OpenSim's word on them, and refusals."""

import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ml_collections import ConfigDict

import simspine_jax as sj
from configs import scale_model as configuration
from experiments import _scaling_inputs, _scaling_methods, _trial, scale_model
from simspine_jax.figures import scaling_report
from simspine_jax.fitting import ik, segment_lengths
from simspine_jax.reference import opensim_scale
from simspine_jax.reference.opensim_model import ReferenceModel
from tests import poses, refusals, scale_setups

FK_ATOL_M = 1e-9
WRITTEN = 5.1e-7  # factors.csv has six digits
FILES = {
    *("scaled_setup.osim", "scaled_lengths.osim", "scaled_joint.osim"),
    *("factors.csv", "scaling.txt", "report.png", "metrics.json", "manifest.json"),
}


def tiny(**fields) -> ConfigDict:
    config = configuration.get_config("tiny")
    config.update(fields)
    return config


@pytest.fixture(scope="module")
def folder(pose2sim_04: Path) -> Path:
    return pose2sim_04 / scale_setups.FOLDER_04


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("run")
    (workdir / "scaled.osim").write_text("of a run before")
    scale_model.main(tiny(), workdir)
    return workdir


@pytest.fixture(scope="module")
def factors(run: Path) -> dict[str, np.ndarray]:
    """Factors of each body along x, y and z by column, then body."""
    with (run / "factors.csv").open() as file:
        rows = list(csv.DictReader(file))
    bodies = dict.fromkeys(row["body"] for row in rows)
    return {
        f"{column} {body}": np.array(
            [float(row[column]) for row in rows if row["body"] == body]
        )
        for column in ("setup", "lengths", "joint", "joint_sd")
        for body in bodies
    }


def test_writes_everything_and_nothing_else(run: Path):
    assert {path.name for path in run.iterdir()} == FILES
    manifest = json.loads((run / "manifest.json").read_text())
    assert {Path(path).name for path in manifest["inputs"]} == {
        *(scale_setups.MODEL, scale_setups.SETUP, "Standing_for_Scaling.trc"),
        *("Balancing_for_IK.trc", "IK_Setup_Pose2Sim_Body25b.xml"),
    }
    assert (run / "report.png").stat().st_size > 20_000
    told = (run / "scaling.txt").read_text()
    assert "mass 69 kg; masses and inertias are not scaled" in told
    assert "RShoulder-RElbow" in told  # of the lengths
    assert "decided by" in told  # of the calibration


def test_every_way_fits_better_than_the_generic_model(run: Path):
    metrics = json.loads((run / "metrics.json").read_text())
    for end in ("", "_held_out"):
        unscaled = metrics[f"rms_mm_unscaled{end}"]
        for method in _scaling_inputs.METHODS:
            assert metrics[f"rms_mm_{method}{end}"] < unscaled - 3
    assert (metrics["frames_setup"], metrics["frames_joint"]) == (25, 8)


def test_set_ups_factors_are_scale_tools(run, factors, folder, tmp_path):
    del run
    reference = opensim_scale.run_scale_tool(
        folder / scale_setups.SETUP,
        folder / scale_setups.MODEL,
        folder / "Standing_for_Scaling.trc",
        tmp_path,
    )
    for body, expected in reference.factors.items():
        np.testing.assert_allclose(
            factors[f"setup {body}"], expected, rtol=0, atol=WRITTEN, err_msg=body
        )


@pytest.mark.parametrize("method", ["setup", "joint"])
def test_opensim_loads_what_was_written(run: Path, factors, folder, method: str):
    path = run / f"scaled_{method}.osim"
    reference, ours = ReferenceModel(path), sj.load_model(path)
    q = poses.random_poses(ours, 3)
    rotation, position = reference.body_poses(q)
    mine = sj.forward_kinematics(ours, q)
    np.testing.assert_allclose(mine.position, position, rtol=0, atol=FK_ATOL_M)
    np.testing.assert_allclose(mine.rotation, rotation, rtol=0, atol=FK_ATOL_M)
    np.testing.assert_allclose(
        sj.marker_positions(ours, q),
        reference.marker_positions(q),
        rtol=0,
        atol=FK_ATOL_M,
    )
    # It is the model of these factors.
    generic = sj.load_model(folder / scale_setups.MODEL)
    for body in ("femur_r", "humerus_l"):
        row = ours.body_names.index(body)
        np.testing.assert_allclose(
            ours.scale_factors[row] / generic.scale_factors[row],
            factors[f"{method} {body}"],
            atol=1e-6,
        )


def test_held_out_frames_had_no_part_in_scaling(run: Path, folder: Path):
    model = sj.load_model(folder / scale_setups.MODEL)
    trial = sj.read_trc(folder / "Balancing_for_IK.trc").cut(slice(0, 8))
    tasks = sj.read_ik_setup(folder / "IK_Setup_Pose2Sim_Body25b.xml", model)
    scaled, _ = segment_lengths.scale_by_lengths(model, trial.cut(slice(0, 4)))
    fit = ik.fit_ik(scaled, trial.cut(slice(4, 8)), tasks.without_coordinate_tasks())
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["rms_mm_lengths_held_out"] == pytest.approx(
        1e3 * np.sqrt(np.mean(fit.marker_error**2)), rel=1e-6
    )


def test_a_set_up_alone_is_judged_on_its_static_trial(
    run: Path, folder: Path, tmp_path: Path
):
    del run  # its compilation is shared
    (tmp_path / "scaled_joint.osim").write_text("of a run before")
    config = tiny(method="setup", scaling=str(folder / scale_setups.SETUP))
    scale_model.main(config, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"scaled.osim", *(n for n in FILES if not n.startswith("scaled_"))}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"rms_mm_unscaled", "rms_mm_setup"} <= set(metrics)
    assert not [name for name in metrics if "held_out" in name]
    assert "judged on Standing" in (tmp_path / "scaling.txt").read_text()


def rename_a_marker(tool: scale_setups.Element) -> None:
    """Of the first measurement."""
    scale_setups.found(tool, "ModelScaler//MarkerPair/markers").text = "LShoulder no"


def test_measurements_are_left_out_only_when_asked(folder: Path, tmp_path: Path):
    source = folder / scale_setups.SETUP
    setup = scale_setups.edited(source, tmp_path / "a.xml", rename_a_marker)
    static = folder / "Standing_for_Scaling.trc"
    model = folder / scale_setups.MODEL
    config = tiny(
        method="setup", scaling=str(setup), static=str(static), model=str(model)
    )
    workdir = tmp_path / "run"
    workdir.mkdir()
    said = refusals.sentence(scale_model.main, config, workdir)
    assert "measurements that" in said
    assert "(torso: the model has no marker 'no')" in said
    config.skip_measurements = True
    with _trial.one_line_warnings():
        options = _scaling_inputs.check(config)
        inputs = _scaling_inputs.load(config, options)
        found = _scaling_methods.scale(
            "setup", inputs, options, inputs.trial.trajectory
        )
    row = inputs.trial.model.body_names.index("torso")
    np.testing.assert_array_equal(found.factors[row], 1.0)
    assert "torso: skipped, the model has no marker 'no'" in found.text


def without(tag: str):
    def edit(tool: scale_setups.Element) -> None:
        scale_setups.found(tool, tag).text = "Unassigned"

    return edit


def test_what_cannot_be_scaled_is_refused_in_one_sentence(folder, tmp_path):
    source = folder / scale_setups.SETUP
    model, setup = str(folder / scale_setups.MODEL), str(source)
    lost = scale_setups.edited(source, tmp_path / "lost.xml", lambda _: None)
    bare = tmp_path / "bare.xml"
    scale_setups.edited(source, bare, without("ModelScaler/marker_file"))
    no_model = tmp_path / "no_model.xml"
    scale_setups.edited(source, no_model, without("GenericModelMaker/model_file"))
    workdir = tmp_path / "run"
    workdir.mkdir()
    for said, fields in {
        "config.method is 'best'; it must be one of all, setup, lengths, joint": {
            "method": "best"
        },
        "needs a set-up of OpenSim's ScaleTool; give it as config.scaling": {
            "model": model
        },
        "bare.xml names no static trial; give it as config.static": {
            "method": "setup",
            "scaling": str(bare),
            "model": model,
        },
        "lost.xml: its model to scale ": {"scaling": str(lost)},
        "lost.xml: its static trial ": {"scaling": str(lost), "model": model},
        "no_model.xml names no model to scale": {"scaling": str(no_model)},
        "a model to scale is needed; give it as config.model": {
            "method": "joint",
            "trc": "a.trc",
        },
        "which needs a trial of markers in motion; give it as config.trc": {
            "scaling": setup
        },
        "nowhere.trc: there is no such file": {
            "method": "joint",
            "model": model,
            "trc": "nowhere.trc",
        },
        "config.frames must not be negative; it is -1": {"frames": -1},
        "config.searches must be at least 1; it is 0": {"searches": 0},
        "frames must be at least 1; it is 0": {"joint": {"frames": 0}},
        "trimmed_share must be a number from 0 to 0.9": {
            "lengths": {"trimmed_share": 2.0}
        },
    }.items():
        assert said in refusals.sentence(scale_model.main, tiny(**fields), workdir)
    with pytest.raises(ValueError, match="no variant 'small'; it has tiny"):
        configuration.get_config("small")


def test_the_picture_draws_these_numbers():
    bodies = ("a", "b", "c", "still")
    plain = np.array([[1.1] * 3, [1.1] * 3, [1.2] * 3, [1.0] * 3])
    joint = plain.copy()
    joint[2] = 0.9, 0.9, 1.3
    sd = np.where(joint == 1.0, 0.0, 0.05)
    rows = scaling_report.factor_rows(
        bodies, {"setup": plain, "joint": joint}, {"joint": sd}
    )
    assert [row.label for row in rows] == ["a, b", "c: x y", "c: z"]
    assert rows[1].factors == {"setup": 1.2, "joint": 0.9}
    assert rows[1].sd == {"joint": 0.05}
    figure = scaling_report.make(
        "title", rows, {"unscaled": {"all": 30.0}, "joint": {"all": 20.0, "half": 25.0}}
    )
    left, right = figure.get_axes()
    assert [t.get_text() for t in left.get_yticklabels()] == [r.label for r in rows]
    drawn = [np.asarray(line.get_xdata()).tolist() for line in left.get_lines()]
    assert [1.1, 1.2, 1.2] in drawn  # setup
    assert [1.1, 0.9, 1.3] in drawn  # joint
    legend = left.get_legend()
    assert legend is not None
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["setup", "joint, with its SD"]
    heights = [bar.get_bbox().height for bar in right.patches]  # pyright: ignore
    assert heights == [30.0, 20.0, 25.0]
    plt.close(figure)
