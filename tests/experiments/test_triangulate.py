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
from simspine_jax.evaluation.triangulation_summary import error_parts, summarise
from simspine_jax.figures import triangulation_report
from simspine_jax.io import detections_h5, trc, triangulation_h5
from simspine_jax.io.calibration import read_calibration
from simspine_jax.types import CameraRig, Detections2D

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
    assert metrics["people"] == 2
    assert metrics["sides_exchanged"] == 0
    shares = [v for k, v in metrics.items() if k.startswith("error_share_")]
    assert sum(shares) == pytest.approx(1)
    assert metrics["error_share_camera"] > 0.3


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


@pytest.fixture
def three(pose2sim_08: Path) -> CameraRig:
    """Three cameras of the real rig."""
    rig = read_calibration(pose2sim_08 / CALIBRATION)
    arrays = ("matrix", "distortion", "rotation", "translation", "image_size")
    return rig.replace(
        names=rig.names[:3], **{name: getattr(rig, name)[:3] for name in arrays}
    )


def test_the_summary_by_hand(three: CameraRig):
    found = summarise(*made_up(), three)
    assert found.mean_px == found.median_px == 2.0
    assert found.used_fraction == 8 / 12
    assert found.valid_fraction == 3 / 4
    assert [v.used for v in found.views] == [2, 3, 3]
    assert [v.detected for v in found.views] == [4, 4, 4]
    assert found.views[0].far_px == pytest.approx(np.quantile([50, 2, 2], 0.95))
    assert found.thigh_m == ()


def test_the_error_is_split_into_its_parts():
    """Misses made up of known parts, against shares worked out by hand."""
    rng = np.random.default_rng(0)
    frames, cameras, keypoints = 4000, 3, 5
    shape = (frames, cameras, keypoints, 2)
    camera = np.zeros(shape) + rng.normal(size=(1, cameras, 1, 2))
    keypoint = rng.normal(size=(1, cameras, keypoints, 2))
    keypoint = np.zeros(shape) + keypoint - keypoint.mean(axis=2, keepdims=True)
    slow = np.sin(np.arange(frames) * 2 * np.pi / 1000)[:, None, None, None]
    slow = np.broadcast_to(slow, shape)
    scatter = rng.normal(size=shape)
    used = np.ones(shape[:3], bool)
    used[:10, 0] = False
    parts = (camera, keypoint, slow, scatter)
    squares = np.array([(part[used] ** 2).mean() for part in parts])
    found = error_parts(sum(parts), used)
    assert found is not None
    shares = [found.camera, found.keypoint, found.slow, found.scatter]
    np.testing.assert_allclose(shares, squares / squares.sum(), atol=0.01)
    for k, cause in enumerate(("places and directions", "puts", "varies", "scatter")):
        alone = error_parts(parts[k] + 1e-9 * scatter, used)
        assert alone is not None
        assert list(vars(alone).values())[k] == pytest.approx(1, abs=1e-3)
        assert cause in str(alone).partition(":")[2]


def test_independent_scatter_has_no_constant_part_in_short_trials():
    rng = np.random.default_rng(1)
    found = error_parts(rng.normal(size=(8, 200, 5, 2)), np.ones((8, 200, 5), bool))
    assert found is not None
    assert found.scatter > 0.95
    assert error_parts(np.ones((1, 3, 5, 2)), np.ones((1, 3, 5), bool)) is None


def test_the_picture_draws_these_numbers(three: CameraRig):
    found, seen = made_up()
    rig = three
    summary = summarise(found, seen, rig)
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
    assert figure.get_supxlabel().replace("\n", " ") == f"O{str(summary.parts)[1:]}."
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
    with pytest.raises(ValueError, match="its format is"):
        triangulation_h5.read_triangulation(path)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="no variant 'huge'; it has tiny"):
        configuration.get_config("huge")
