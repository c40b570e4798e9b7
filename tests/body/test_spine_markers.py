from pathlib import Path

import jax
import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.body import spine_markers
from simspine_jax.fitting import replay
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine, simspine_markers

ATOL_M = 1e-9
TABLE_ATOL_M = 6e-4  # the table below has three decimals
# Default pose of the generic model, in the frame of the pelvis, m.
NEUTRAL = {
    "Hip": (-0.156, 0.004, 0.0),
    "Spine_01": (-0.125, 0.068, 0.0),
    "Spine_02": (-0.126, 0.115, 0.0),
    "Spine_03": (-0.141, 0.174, 0.0),
    "Spine_04": (-0.175, 0.311, 0.0),
    "Spine_05": (-0.169, 0.434, -0.001),
    "Neck": (-0.137, 0.508, -0.001),
    "Neck_02": (-0.109, 0.555, -0.001),
    "Neck_03": (-0.099, 0.595, -0.001),
    "Head": (-0.078, 0.771, 0.0),
    "Nose": (0.022, 0.619, 0.0),
    "LClavicle": (-0.064, 0.467, -0.025),
    "RClavicle": (-0.066, 0.465, 0.025),
    "LLatissimus": (-0.169, 0.372, -0.095),
    "RLatissimus": (-0.169, 0.372, 0.095),
}


def positions(model: sj.Model, q: np.ndarray) -> np.ndarray:
    """Models of one tree share a compilation this way. [T, N] to [T, 15, 3]."""
    return np.asarray(spine_markers.from_poses(model, replay.body_poses(model, q)))


@pytest.fixture(scope="module")
def scaled_path(pose2sim_08: Path) -> Path:
    return next(pose2sim_08.rglob("Model_Pose2Sim_body25b_scaled.osim"))


@pytest.mark.parametrize("release", ["flex", "body25b"])
def test_generic_models_give_the_published_neutral_positions(
    release: str, pose2sim_08: Path, pose2sim_10: Path
):
    # The releases have the origin of the head half a metre apart.
    path = {
        "flex": pose2sim_10 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_muscles_flex.osim",
        "body25b": pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim",
    }[release]
    model = sj.load_model(path)
    found = positions(model, np.zeros((1, len(model.coordinate_names))))[0]
    expected = [NEUTRAL[name] for name in simspine.SPINE_NAMES]
    np.testing.assert_allclose(found, expected, atol=TABLE_ATOL_M)


def test_generic_factors_and_joints_are_those_of_the_model_files(pose2sim_10: Path):
    model = sj.load_model(next(pose2sim_10.rglob("Model_Pose2Sim_muscles_flex.osim")))
    for body, (factor, joint) in spine_markers.GENERIC.items():
        i = model.body_names.index(body)
        np.testing.assert_allclose(model.scale_factors[i], factor)
        np.testing.assert_allclose(model.child_translation[i], joint)


def test_scaled_model_equals_a_computation_with_opensims_body_poses(scaled_path: Path):
    model = sj.load_model(scaled_path)
    oracle = ReferenceModel(scaled_path)
    q = np.random.default_rng(0).uniform(-0.4, 0.4, (3, len(model.coordinate_names)))
    rotation, position = oracle.body_poses(q)
    found = np.asarray(jax.jit(spine_markers.spine_marker_positions)(model, q))
    np.testing.assert_allclose(found, positions(model, q), atol=ATOL_M)
    # The factors of the scaling run, read off the files by eye: scaled over generic.
    size = {"pelvis": 1.0014, "torso": 0.8813 / 0.89, "head": 1.0098}
    size |= dict.fromkeys(("lumbar5", "lumbar3", "lumbar1"), 0.9209 / 0.93)
    # In this release the head's joint is 0.541458 m above the head's origin, in the
    # model of the offsets 0.03 m.
    lift = {"head": 0.541458 - 0.03}
    for k, name in enumerate(simspine.SPINE_NAMES):
        body, offset = simspine_markers.MARKERS[name]
        b = oracle.body_names.index(body)
        local = size[body] * (np.array(offset) + [0.0, lift.get(body, 0.0), 0.0])
        by_hand = rotation[:, b] @ local + position[:, b]
        np.testing.assert_allclose(found[:, k], by_hand, atol=1e-4)  # rounded factors


def test_follows_scale_model(scaled_path: Path):
    model = sj.load_model(scaled_path)
    q = np.zeros((1, len(model.coordinate_names)))
    twice = sj.scale_model(model, dict.fromkeys(model.body_names, (2.0, 2.0, 2.0)))
    once = positions(model, q)
    np.testing.assert_allclose(positions(twice, q), 2 * once, atol=ATOL_M)


def test_a_model_without_one_of_the_bodies_is_refused(pose2sim_10: Path):
    model = sj.load_model(next(pose2sim_10.rglob("Model_Pose2Sim_simple.osim")))
    assert spine_markers.missing_bodies(model) == ("lumbar5", "lumbar3", "lumbar1")
    with pytest.raises(ValueError, match="no body 'lumbar5'"):
        spine_markers.spine_marker_positions(
            model, np.zeros(len(model.coordinate_names))
        )
