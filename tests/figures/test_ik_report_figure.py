"""What the picture of a fit shows, read back from the drawing."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection

import simspine_jax as sj
from simspine_jax.body import spine_markers
from simspine_jax.figures import ik_curves, skeleton_panel
from simspine_jax.figures import ik_report as figure
from simspine_jax.fitting import ik, ik_report, replay

FRAMES = 9
TITLES = figure.Titles("model.osim", "trial.trc")


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> sj.Model:
    return sj.load_model(next(pose2sim_08.rglob("Model_Pose2Sim_body25b_scaled.osim")))


@pytest.fixture(scope="module")
def fit(model: sj.Model):
    """A motion of default poses with a growing knee angle, markers 10 mm off."""
    q_free = np.tile(
        np.asarray(model.free_of(np.asarray(model.default_q))), (FRAMES, 1)
    )
    q_free[:, model.free_coordinate_names.index("knee_angle_r")] += np.linspace(
        0.1, 0.5, FRAMES
    )
    q = np.asarray(model.expand(q_free))
    poses = replay.body_poses(model, q)
    points = replay.marker_points(model, poses) + np.array([0.0, 0.0, 0.01])
    valid = np.ones(points.shape[:2], bool)
    valid[4] = False
    valid[0, 2] = False
    points[~valid] = 0.0
    trajectory = sj.MarkerTrajectory(points, valid, model.marker_names, 50.0, 2.0)
    tasks = sj.IkTasks(
        {n: 1.0 for n in model.marker_names if not n.startswith("LWrist")}
    )
    plan = ik.make_plan(model, trajectory.names, tasks, ik.IkOptions())
    report = ik_report.make_report(plan, trajectory, q, None, poses)
    return trajectory, sj.Motion(q, model.coordinate_names, 50.0, 2.0), report


@pytest.fixture(scope="module")
def panels(model: sj.Model, fit) -> dict:
    made = figure.make(model, *fit, TITLES)
    return {axis.get_title(loc="left") or axis.get_title(): axis for axis in made.axes}


def named(panels: dict, start: str):
    return next(axis for title, axis in panels.items() if title.startswith(start))


def line(axis, label: str) -> np.ndarray:
    return next(d for d in axis.lines if d.get_label() == label).get_xydata()


def test_error_over_time_is_in_mm_and_gaps_stay_open(panels, fit):
    axis = named(panels, "Marker error")
    data = line(axis, "RMS of all markers")
    np.testing.assert_allclose(data[:, 0], fit[0].times_s)
    expected = np.full(FRAMES, 10.0)
    expected[4] = np.nan
    np.testing.assert_allclose(data[:, 1], expected)
    assert "no marker seen" in axis.get_legend_handles_labels()[1]
    assert "(mm)" in axis.get_ylabel()
    assert "(s)" in axis.get_xlabel()


def test_bars_are_the_shares_of_the_worst_markers(panels, fit):
    axis, report = named(panels, "Where it comes from"), fit[2]
    constant, rest = axis.containers
    total = np.array(
        [a.get_width() + b.get_width() for a, b in zip(constant, rest, strict=True)]
    )
    np.testing.assert_allclose(total, 100 * report.error_share[report.worst][:10])
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == [report.marker_names[m] for m in report.worst[:10]]


def test_skeletons_show_seen_markers_at_equal_scale(panels, model, fit):
    trajectory, _, report = fit
    shown = figure.frames_shown(report.frame_seen)
    assert len(shown) == 4
    assert 4 not in shown
    view = skeleton_panel.view_from_front_right(
        model, np.asarray(replay.body_poses(model, fit[1].q[shown]).rotation)
    )
    for frame in shown:
        axis = named(panels, f"frame {frame + 1},")
        assert axis.get_aspect() == 1
        index = [trajectory.names.index(n) for n in report.marker_names]
        valid = trajectory.valid[frame][index]
        seen = trajectory.points[frame][index][valid] @ view.T
        np.testing.assert_allclose(line(axis, "measured marker"), seen)
        # Up on the page is the ground's Y.
        np.testing.assert_allclose(
            line(axis, "measured marker")[:, 1],
            trajectory.points[frame][index][valid][:, 1],
        )
        spine = np.asarray(
            spine_markers.from_poses(
                model, replay.body_poses(model, fit[1].q[[frame]])
            )[0]
        )
        np.testing.assert_allclose(
            line(axis, "15 spine keypoints"), spine @ view.T, atol=1e-9
        )
        gaps = next(
            c
            for c in axis.collections
            if isinstance(c, LineCollection) and c.get_label() == "their distance"
        )
        assert len(gaps.get_segments()) == valid.sum()


def test_right_of_the_person_is_left_on_the_page(model):
    # A viewer ahead and to the right of a person facing X sees X to the right.
    view = skeleton_panel.view_from_front_right(
        model, np.tile(np.eye(3), (1, 30, 1, 1))
    )
    ahead, right = view @ [1.0, 0.0, 0.0], view @ [0.0, 0.0, 1.0]
    assert ahead[0] > 0 > right[0]
    np.testing.assert_allclose(view @ [0.0, 1.0, 0.0], [0.0, 1.0])


def test_angles_are_degrees_of_the_motion(model, fit):
    _, motion, report = fit
    found = {c.angle.title: c.angle for c in ik_curves.curves(motion, report)}
    knee = model.coordinate_names.index("knee_angle_r")
    np.testing.assert_allclose(found["knee R"].degrees, np.degrees(motion.q[:, knee]))
    levels = [
        i for i, n in enumerate(model.coordinate_names) if n.endswith("_Flex_Ext")
    ]
    assert len(levels) == 6
    np.testing.assert_allclose(
        found["lumbar flexion (sum of 6 levels)"].degrees,
        np.degrees(motion.q[:, levels].sum(1)),
    )


def test_angles_that_are_not_determined_are_dashed_and_say_so(panels, fit):
    axis = named(panels, "Limbs")
    assert "elbow_flex_l" in fit[2].unmoved
    texts = [text.get_text() for text in axis.texts]
    assert "elbow L, not determined" in texts
    assert any(t.startswith("knee R, ±") for t in texts)
    styles = dict(zip(texts, [d.get_linestyle() for d in axis.lines], strict=True))
    assert styles.pop("elbow L, not determined") == "--"
    assert set(styles.values()) == {"-"}


def test_bands_are_the_95_percent_intervals(model, fit):
    """A covariance that grows over time and is open for one knee."""
    n = len(model.coordinate_names)
    right, left = (model.coordinate_names.index(f"knee_angle_{s}") for s in "rl")
    covariance = np.tile(np.eye(n), (FRAMES, 1, 1)) * np.deg2rad(1.0) ** 2
    covariance[:, right, right] *= np.arange(1, FRAMES + 1) ** 2
    covariance[:, left, left] = np.inf
    made = figure.make(model, *fit, TITLES, covariance=covariance)
    axis = next(a for a in made.axes if a.get_title(loc="left").startswith("Limbs"))
    texts = [text.get_text() for text in axis.texts]
    assert "knee L, not determined" in texts
    middle = 1.959963984540054 * np.median(np.arange(1, FRAMES + 1))
    assert f"knee R, ± {middle:.1f}°" in texts
    assert "95 % intervals" in axis.get_xlabel()
    motion, seen = fit[1], fit[2].frame_seen
    at = [t.startswith("knee R") for t in texts].index(True)
    drawn = np.concatenate([p.vertices for p in axis.collections[at].get_paths()])
    upper = np.degrees(motion.q[:, right]) + 1.959963984540054 * np.arange(
        1, FRAMES + 1
    )
    for k in np.flatnonzero(seen):
        close = np.isclose(drawn[:, 0], motion.times_s[k])
        assert np.isclose(drawn[close, 1].max(), upper[k])


def test_labels_keep_their_order_and_distance():
    found = ik_curves.spread([5.0, 5.1, 0.0, 9.9], 1.0, 0.0, 10.0)
    assert list(np.argsort(found)) == [2, 0, 1, 3]
    assert np.diff(np.sort(found)).min() >= 1.0 - 1e-12
    assert found.min() >= 0
    assert found.max() <= 10


def test_a_model_without_a_spine_is_drawn_too(model, fit, tmp_path: Path):
    renamed = model.replace(
        topology=type(model.topology)(
            **{
                **vars(model.topology),
                "body_names": tuple(
                    n.replace("lumbar", "level") for n in model.body_names
                ),
            }
        )
    )
    poses = replay.body_poses(model, fit[1].q)
    figure.draw(tmp_path / "report.png", renamed, *fit, TITLES, poses)
    assert [p.name for p in tmp_path.iterdir()] == ["report.png"]
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_frame_is_drawn(model, fit):
    trajectory, motion, _ = fit
    one = trajectory.replace(points=trajectory.points[:1], valid=trajectory.valid[:1])
    plan = ik.make_plan(model, one.names, None, ik.IkOptions())
    report = ik_report.make_report(plan, one, motion.q[:1])
    made = figure.make(model, one, motion.replace(q=motion.q[:1]), report, TITLES)
    made.canvas.draw()
    assert sum("frame" in axis.get_title() for axis in made.axes) == 1
