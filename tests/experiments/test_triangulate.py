"""The triangulation experiment on the real capture, and what it refuses."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import triangulate as configuration
from experiments import triangulate
from simspine_jax.cameras import pinhole, world_axes
from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.evaluation.triangulation_summary import summarise
from simspine_jax.figures import triangulation_report
from simspine_jax.io import detections_h5, trc, triangulation_h5
from simspine_jax.io.calibration import read_calibration
from simspine_jax.types import Detections2D
from tests import refusals

FILES = {
    *("markers.trc", "points.h5", "detections.h5", "report.png"),
    *("metrics.json", "manifest.json"),
}
CALIBRATION = "Pose2Sim/S00_Demo_BatchSession/S00_Calibration/Calib.qca.txt"


def tiny(**fields) -> ConfigDict:
    config = configuration.get_config("tiny")
    config.update(fields)
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("run")
    triangulate.main(tiny(), workdir)
    return workdir


def test_writes_everything_and_nothing_else(run: Path):
    assert {path.name for path in run.iterdir()} == FILES


def test_the_thighs_are_of_human_length_and_one(run: Path):
    metrics = json.loads((run / "metrics.json").read_text())
    for side in "lr":
        assert metrics[f"thigh_{side}_m_mean"] == pytest.approx(0.42, abs=0.03)
        assert metrics[f"thigh_{side}_m_sd"] < 0.03
    assert metrics["points_valid_fraction"] > 0.95
    assert metrics["observations_used_fraction"] > 0.9
    assert metrics["people"] > 1


def test_files_agree_with_each_other(run: Path, pose2sim_08: Path):
    found, names, cameras, rate = triangulation_h5.read_triangulation(run / "points.h5")
    seen = detections_h5.read_detections(run / "detections.h5")
    markers = trc.read_trc(run / "markers.trc")
    assert names == seen.keypoint_names == markers.names
    assert rate == seen.rate_hz == markers.rate_hz == 60.0
    rig = read_calibration(pose2sim_08 / CALIBRATION)
    assert cameras == rig.names
    again = np.asarray(pinhole.project(rig, found.points))
    gap = np.linalg.norm(again - seen.points, axis=3)
    used = np.asarray(found.used_views)
    np.testing.assert_allclose(gap[used], found.reprojection_error[used], atol=1e-6)
    # Y up: the head is above the hips, which are above the heels.
    height = {n: np.median(markers.points[:, k, 1]) for k, n in enumerate(names)}
    assert height["Head"] > height["LHip"] + 0.3
    assert height["LHip"] > height["LHeel"] + 0.5
    np.testing.assert_allclose(
        markers.points[..., [2, 0, 1]][markers.valid],
        np.asarray(found.points)[found.valid],
        atol=1e-9,
    )


def made_up() -> tuple[Triangulation, Detections2D]:
    """Two frames, three views, two keypoints; one view left out, one point missing."""
    points = np.zeros((2, 2, 3))
    points[:, :, 2] = 1.0
    valid = np.array([[True, True], [True, False]])
    error = np.full((2, 3, 2), 2.0)
    error[0, 0, 0] = 50.0
    used = np.broadcast_to(valid[:, None], error.shape).copy()
    used[0, 0, 0] = False
    error[1, :, 1] = 0.0
    found = Triangulation(points, valid, error, np.zeros((2, 2, 3, 3)), used, 1.5)
    seen = Detections2D(np.zeros((2, 3, 2, 2)), np.ones((2, 3, 2)), ("a", "b"), 50.0)
    return found, seen


def test_the_summary_by_hand():
    found = summarise(*made_up(), ("x", "y", "z"))
    assert found.mean_px == found.median_px == 2.0
    assert found.used_fraction == 8 / 12
    assert found.valid_fraction == 3 / 4
    assert [v.used for v in found.views] == [2, 3, 3]
    assert [v.detected for v in found.views] == [4, 4, 4]
    assert found.views[0].far_px == pytest.approx(np.quantile([50, 2, 2], 0.95))
    assert found.thigh_m == ()


def test_the_picture_draws_these_numbers(pose2sim_08: Path):
    found, seen = made_up()
    rig = read_calibration(pose2sim_08 / CALIBRATION)
    rig = rig.replace(
        names=rig.names[:3],
        **{
            n: getattr(rig, n)[:3]
            for n in ("matrix", "distortion", "rotation", "translation", "image_size")
        },
    )
    summary = summarise(found, seen, rig.names)
    figure = triangulation_report.make(
        rig, seen, found, summary, [("a", "b")], [None] * 3, 0
    )
    axes = figure.get_axes()
    assert [t.get_text() for t in axes[0].get_xticklabels()] == [
        f"{v.camera}\n{v.used / v.detected:.0%} used" for v in summary.views
    ]
    means = np.array([line.get_ydata() for line in axes[1].get_lines()])
    np.testing.assert_allclose(means, 2.0)
    pixels = np.asarray(pinhole.project(rig, found.points[0]))
    drawn = axes[2].get_lines()[0].get_xydata()
    np.testing.assert_allclose(drawn, pixels[0])
    plt.close(figure)


def test_axes_turn_and_never_mirror():
    for rows in world_axes.TO_GROUND.values():
        assert np.linalg.det(np.array(rows)) == 1.0
    found, seen = made_up()
    with pytest.raises(ValueError, match=r"^the world's up axis is 'x'; it must be"):
        world_axes.to_trajectory(found, seen.keypoint_names, 50.0, "x")
    out = world_axes.to_trajectory(found, seen.keypoint_names, 50.0, "z")
    np.testing.assert_array_equal(out.points[out.valid], [[0, 1, 0]] * 3)
    assert not out.points[~out.valid].any()


def test_points_files_are_refused_in_one_sentence(tmp_path: Path):
    found, seen = made_up()
    path = tmp_path / "a.h5"
    with pytest.raises(ValueError, match=r"but 2 and 2 names are given$"):
        triangulation_h5.write_triangulation(
            path,
            found,
            keypoint_names=seen.keypoint_names,
            camera_names=("x", "y"),
            rate_hz=50.0,
        )
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match=r"there is no such file$"):
        triangulation_h5.read_triangulation(path)
    path.write_text("no")
    with pytest.raises(ValueError, match=r"not an HDF5 file$"):
        triangulation_h5.read_triangulation(path)
    detections_h5.write_detections(path, seen, camera_names=("x", "y", "z"))
    with pytest.raises(ValueError, match=r"the attribute 'format' is"):
        triangulation_h5.read_triangulation(path)


def test_mistakes_are_one_sentence(tmp_path: Path):
    workdir = tmp_path / "out"
    workdir.mkdir()
    refused = lambda **f: refusals.sentence(triangulate.main, tiny(**f), workdir)
    assert "config.keypoints is 'x'" in refused(keypoints="x")
    assert str(tmp_path / "a.toml") in refused(calibration=str(tmp_path / "a.toml"))
    assert str(tmp_path / "pose") in refused(detections=str(tmp_path / "pose"))
    assert "up axis is 'x'" in refused(up="x")
    with pytest.raises(ValueError, match="no variant 'huge'; it has tiny"):
        configuration.get_config("huge")
