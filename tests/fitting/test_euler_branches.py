from pathlib import Path

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.fitting import euler_branches, replay, unwrap

ATOL_M = 1e-9


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> sj.Model:
    return sj.load_model(next(pose2sim_08.rglob("Model_Pose2Sim_body25b_scaled.osim")))


@pytest.fixture(scope="module")
def flipped(model: sj.Model) -> tuple[np.ndarray, np.ndarray]:
    """A smooth motion, and the same with its pelvis on the other branch at times."""
    time = np.linspace(0, 1, 50)[:, None]
    q = 0.3 * np.sin(3 * time + np.arange(len(model.coordinate_names)))
    other = q.copy()
    for t in (*range(10, 17), 30, 49):
        tilt, lean, turn = q[t, :3]
        other[t, :3] = tilt + np.pi, np.pi - lean, turn - np.pi
    return q, other


def test_pelvis_has_two_branches_and_limited_joints_have_not(model: sj.Model):
    names = [
        tuple(model.coordinate_names[c] for c in triple)
        for triple in euler_branches.triples(model)
    ]
    assert ("pelvis_tilt", "pelvis_list", "pelvis_rotation") in names
    limited = np.isfinite(np.asarray(model.lower))
    chosen = [c for triple in euler_branches.triples(model) for c in triple]
    assert not limited[chosen].any()


def test_a_coordinate_with_a_task_is_left_alone(model: sj.Model):
    held = (model.coordinate_names.index("pelvis_list"),)
    chosen = [c for triple in euler_branches.triples(model, held) for c in triple]
    assert held[0] not in chosen


def test_both_branches_are_the_same_pose(model: sj.Model, flipped):
    q, other = flipped
    a, b = replay.body_poses(model, q), replay.body_poses(model, other)
    np.testing.assert_allclose(a.position, b.position, atol=ATOL_M)
    np.testing.assert_allclose(a.rotation, b.rotation, atol=ATOL_M)


def test_motion_becomes_smooth_again(model: sj.Model, flipped):
    q, other = flipped
    found = unwrap.unwrap(model, euler_branches.follow(model, other))
    np.testing.assert_allclose(found, q, atol=1e-12)


def test_continues_from_the_frame_before(model: sj.Model, flipped):
    q, other = flipped
    before = other[16]  # on the other branch
    found = euler_branches.follow(model, q[17:20], before=before)
    found = unwrap.unwrap(model, found, before=before)
    assert np.abs(np.diff(np.vstack([before, found]), axis=0)).max() < 0.1


def test_no_frames(model: sj.Model):
    empty = np.zeros((0, len(model.coordinate_names)))
    assert euler_branches.follow(model, empty).shape == empty.shape
