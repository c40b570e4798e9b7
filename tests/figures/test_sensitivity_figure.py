"""What the figure of a sensitivity shows, read back from the drawing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.evaluation import ik_information, ik_sensitivity
from simspine_jax.figures import sensitivity as figure

NAMES = ("pelvis_tilt", "pelvis_tx", "hip", "knee", "elbow")
MARKERS = ("Sacrum", "Thigh", "Shank", "Hand", "Spare")


def information(markers: int = 5, used: int = 4) -> ik_information.Information:
    """A hip and a knee that Shank carries, an elbow that only Spare would move."""
    rows = np.random.default_rng(0).normal(size=(3, markers, 3, 5)) * 100
    rows[..., 4] = 0.0
    rows[:, used:, 0, 4] = 40.0
    rows[:, : used - 2, :, 3] = 0.0
    rows[:, used - 1, :, 3] = 0.0
    names = MARKERS if markers == 5 else tuple(f"marker {k}" for k in range(markers))
    return ik_information.Information(
        coordinates=NAMES,
        angle=np.array([True, False, True, True, True]),
        parts=("trunk", "trunk", "legs", "legs", "arms"),
        markers=names,
        used=used,
        rows=rows,
        prior=np.zeros((3, 5)),
        noise_m=0.005,
    )


@pytest.fixture(scope="module")
def found() -> ik_sensitivity.Sensitivity:
    return ik_sensitivity.analyse(information())


@pytest.fixture(scope="module")
def panels(found) -> dict:
    made = figure.make(found)
    made.canvas.draw()
    return {axis.get_title(loc="left").split()[0]: axis for axis in made.axes}


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_the_heat_map_is_the_share(panels, found):
    axis = panels["Share"]
    np.testing.assert_array_equal(
        axis.images[0].get_array(), np.nan_to_num(found.share)
    )
    assert [t.get_text() for t in axis.get_yticklabels()] == list(NAMES)
    assert [t.get_text() for t in axis.get_xticklabels()] == list(MARKERS[:4])
    numbers = [t for t in texts(axis) if t.isdigit()]
    shown = found.share[found.share >= 0.095]
    assert numbers == [f"{100 * share:.0f}" for share in shown]
    assert "5 mm of marker noise" in axis.get_xlabel()


def test_sds_have_units_and_open_rows_are_hatched(panels, found):
    axis = panels["Share"]
    right = axis.child_axes[0]
    labels = [t.get_text() for t in right.get_yticklabels()]
    assert labels[1].endswith(" mm")
    assert labels[2].endswith("°")
    assert labels[4] == "open"
    known = ik_sensitivity.determined(found.sd, found.found.angle)
    hatched = [p.get_y() + 0.5 for p in axis.patches if p.get_hatch()]
    assert hatched == np.flatnonzero(~known).tolist()
    assert "not determined" in texts(axis)
    assert "hatched" in axis.get_xlabel()


def test_bars_are_the_factors_worst_first(panels, found):
    axis, change = panels["Dropping"], found.drop
    labels = [t.get_text() for t in axis.get_yticklabels()]
    assert labels == [change.names[k] for k in change.order]
    ends = [p.get_x() + p.get_width() for p in axis.patches]
    np.testing.assert_allclose(ends, np.minimum(change.largest[change.order], 10.0))
    endless = [bool(p.get_hatch()) for p in axis.patches]
    assert endless == np.isinf(change.largest[change.order]).tolist()
    counts = [int(t) for t in texts(axis) if t.strip().isdigit()]
    decided = change.decided[change.order].sum(axis=1)
    assert counts == decided[decided > 0].tolist()
    assert any(t.startswith("knee ") and t.endswith("→open") for t in texts(axis))


def test_the_candidate_that_opens_a_joint_is_shown(panels):
    axis = panels["Adding"]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["Spare"]
    assert any(t.startswith("elbow open→") for t in texts(axis))


def test_no_candidates_many_markers_and_nothing_undetermined(tmp_path: Path):
    info = information(60, 60)
    info = replace(info, rows=info.rows + np.eye(5)[:3][None, None] * 100)
    info = replace(info, prior=np.full((3, 5), 1e8))
    found = ik_sensitivity.analyse(info)
    made = figure.make(found)
    titles = [axis.get_title(loc="left") for axis in made.axes]
    assert len(made.axes) == 2
    assert titles[1] == "Dropping one marker (the first 22 of 60)"
    assert "hatched" not in made.axes[0].get_xlabel()
    assert made.get_size_inches()[0] > 10
    figure.save(tmp_path / "a.png", found)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
