"""What the picture of a data set shows."""

import numpy as np

from simspine_jax.body.spine import SpineAngles
from simspine_jax.figures import dataset_report
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory


def _markers(turn: float) -> MarkerTrajectory:
    """A spine that leans forwards evenly, hips across it; the body turned about Y."""
    names = simspine.NAMES
    points = np.zeros((5, len(names), 3))
    for k, name in enumerate(simspine.SPINE_CHAIN):
        points[:, names.index(name)] = (0.02 * k, 0.06 * k, 0.0)
    points[:, names.index("RHip")] = (0.0, 0.0, 0.1)
    points[:, names.index("LHip")] = (0.0, 0.0, -0.1)
    cos, sin = np.cos(turn), np.sin(turn)
    about = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return MarkerTrajectory(
        points @ about.T, np.ones(points.shape[:2], bool), names, 50.0
    )


def test_the_side_view_does_not_depend_on_where_the_body_faces():
    steps = np.arange(len(simspine.SPINE_CHAIN))
    for turn in (0.0, 1.0, -2.5):
        side = dataset_report.spine_in_side_view(_markers(turn))
        np.testing.assert_allclose(side[2, :, 0], 0.02 * steps, atol=1e-12)
        np.testing.assert_allclose(side[2, :, 1], 0.06 * steps, atol=1e-12)


def test_every_sequence_has_a_bar_and_every_curve_a_name():
    markers = _markers(0.3)
    curve = np.deg2rad(np.linspace(30, 40, 5))
    angles = SpineAngles(
        **{name: None for name in SpineAngles.__dataclass_fields__}
    ).replace(lla=curve, tka=curve, lordosis=curve, kyphosis=curve, rate_hz=50.0)
    angles = angles.replace(start_s=0.0)
    rms = {"S1_Walking_1": 12.0, "S1_Sitting_1": 14.5}
    figure = dataset_report.make("S1_Walking_1", markers, angles, rms)
    by_title = {axes.get_title(): axes for axes in figure.axes}
    bars = [bar.get_width() for bar in by_title["fit of the sequences"].patches]
    assert sorted(bars) == [12.0, 14.5]
    lines = by_title["curvature"].lines
    assert len(lines) == 4
    np.testing.assert_allclose(lines[0].get_ydata(), np.rad2deg(curve))
    assert by_title["curvature"].get_ylabel() == "degrees"
    many = {f"S1_Walking_{k}": float(k) for k in range(60)}
    whole = dataset_report.make("S1_Walking_1", markers, angles, many)
    counted = [axes for axes in whole.axes if axes.get_ylabel() == "sequences"]
    assert sum(bar.get_height() for bar in counted[0].patches) == 60
