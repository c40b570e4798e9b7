"""Key angles, their intervals, and what the markers leave open, in words."""

from pathlib import Path

import numpy as np
import pytest

from simspine_jax.body.model import Model
from simspine_jax.fitting import ik, key_angles, open_directions
from simspine_jax.io.load import load_model
from simspine_jax.types import IkTasks, Motion

FRAMES = 5
LEVELS = 6


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> Model:
    return load_model(
        pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    )


@pytest.fixture(scope="module")
def motion(model: Model) -> Motion:
    rng = np.random.default_rng(0)
    q = rng.normal(scale=0.2, size=(FRAMES, len(model.coordinate_names)))
    return Motion(q, model.coordinate_names, 50.0)


def test_intervals_of_a_sum_use_the_covariances(model: Model, motion: Motion):
    rng = np.random.default_rng(1)
    n = len(model.coordinate_names)
    root = rng.normal(scale=0.01, size=(FRAMES, n, n))
    covariance = root @ root.transpose(0, 2, 1)
    found = {a.title: a for a in key_angles.key_angles(motion, covariance)}
    lumbar = found[f"lumbar flexion (sum of {LEVELS} levels)"]
    picks = np.array([name.endswith("_Flex_Ext") for name in model.coordinate_names])
    assert picks.sum() == LEVELS
    sd = np.sqrt(np.einsum("i,tij,j->t", picks, covariance, picks.astype(float)))
    np.testing.assert_allclose(lumbar.half_width_deg, 1.95996398 * np.degrees(sd))
    np.testing.assert_allclose(lumbar.degrees, np.degrees(motion.q[:, picks].sum(1)))


def test_an_open_level_makes_the_sum_open_and_is_said(model: Model, motion: Motion):
    n = len(model.coordinate_names)
    covariance = np.tile(1e-4 * np.eye(n), (FRAMES, 1, 1))
    at = model.coordinate_names.index("L3_L4_Flex_Ext")
    covariance[:, at, at] = np.inf
    angles = key_angles.key_angles(motion, covariance)
    seen = np.array([True, True, False, True, True])
    text = key_angles.to_text(angles, 0.005, seen)
    row = next(line for line in text if line.startswith("lumbar"))
    assert row.endswith("not determined")
    knee = next(line for line in text if line.startswith("knee R"))
    column = model.coordinate_names.index("knee_angle_r")
    degrees = np.degrees(motion.q[seen, column])
    assert knee.split()[2:] == [
        *(f"{v:.0f}" for v in (degrees.min(), degrees.mean(), degrees.max())),
        "+/-",
        f"{1.95996398 * np.degrees(0.01):.1f}",
    ]
    assert "5.0 mm" in text[-1]


def test_a_model_without_these_angles_has_none():
    assert key_angles.key_angles(Motion(np.zeros((2, 1)), ("slide",), 1.0)) == []


def bent(model: Model, **degrees: float) -> np.ndarray:
    q = np.array(model.default_q)
    start = {"arm_add_r": -45.0, "arm_add_l": -45.0, "elbow_flex_l": 90.0}
    for name, value in (start | degrees).items():
        q[model.coordinate_names.index(name)] = np.deg2rad(value)
    return np.asarray(model.expand(model.free_of(q)))[None]


def said(model: Model, q: np.ndarray, *missing: str) -> tuple[str, ...]:
    names = tuple(n for n in model.marker_names if n not in missing)
    plan = ik.make_plan(
        model, names, IkTasks(dict.fromkeys(names, 1.0)), ik.IkOptions()
    )
    return open_directions.sentences(plan, q, np.ones((1, len(names)), bool))


def test_a_missing_wrist_leaves_the_upper_arms_rotation_open(model: Model):
    """The elbow then moves no marker: it is no unknown of the fit."""
    found = said(model, bent(model, elbow_flex_r=90.0), "RWrist")
    assert found == (
        "right upper-arm rotation is not determined by these markers (not at all)",
    )
    assert said(model, bent(model, elbow_flex_r=90.0)) == ()


def test_axes_that_fall_together_are_told_only_together(model: Model):
    """With the arm at -90 degrees flexion and rotation turn about one axis."""
    locked = bent(model, arm_add_r=-90.0, elbow_flex_r=90.0)
    found = said(model, locked)
    assert len(found) == 1
    assert found[0].startswith(
        "of right upper-arm flexion and right upper-arm rotation these markers "
        "determine little more than a weighted"
    )


def test_names_in_words():
    assert open_directions.in_words("arm_rot_r") == "right upper-arm rotation"
    assert open_directions.in_words("my_joint_l") == "left my joint"
    assert open_directions.in_words("L5_S1_Flex_Ext") == "lumbar flexion"
