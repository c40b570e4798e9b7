"""Landmarks and angles along a fit, and their SDs against refits of noisy copies."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.body import spine_markers
from simspine_jax.core import levenberg_marquardt as lm
from simspine_jax.datasets import synthetic_motion
from simspine_jax.fitting import (
    ik,
    ik_prepare,
    replay,
    uncertainty,
    virtual_markers,
)
from simspine_jax.fitting.ik import IkOptions
from simspine_jax.fitting.ik_solution import EMPTY, IkSolution
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine, simspine_markers
from simspine_jax.types import MarkerTrajectory, Motion

COPIES, NOISE_M = 512, 1e-4  # small, so that a nearly straight arm stays linear
# 512 copies know an SD to 3 %; the largest of a hundred errors stays within this.
MONTE_CARLO = 0.12
HEAD = ("Head", "Nose", "REye", "LEye", "REar", "LEar")


@pytest.fixture(scope="module")
def path(pose2sim_10: Path) -> Path:
    return next(pose2sim_10.rglob("Model_Pose2Sim_muscles_flex.osim"))


@pytest.fixture(scope="module")
def model(path: Path) -> sj.Model:
    model = spine_markers.with_keypoints(sj.load_model(path))
    # Turning a forearm hardly moves its wrist: too weakly told for a linearisation.
    names, free = model.coordinate_names, model.topology.free
    held = tuple(c for c in free if not names[c].startswith("pro_sup"))
    topology = dataclasses.replace(model.topology, free=held)
    return dataclasses.replace(model, topology=topology)


@pytest.fixture(scope="module")
def truth(model: sj.Model) -> np.ndarray:
    """One pose inside all limits. Shape [N]."""
    swing = synthetic_motion.draw_swing(model, 3)
    q = np.asarray(synthetic_motion.swing_motion(model, swing, 1, 50.0).q)
    return np.asarray(model.expand(model.free_of(q)))[0]


def observed(model, q: np.ndarray, noise_m: float = 0.0) -> MarkerTrajectory:
    motion = Motion(q, model.coordinate_names, 50.0)
    return synthetic_motion.observe(model, motion, noise_m, 0)


def solution_of(model, q, covariance=None, status=None) -> IkSolution:
    """What a fit that ended at these poses gives."""
    t = len(q)
    none = np.zeros(t)
    return IkSolution(
        q=q,
        objective=none,
        objective_opensim=none,
        objective_normalised=none,
        marker_error=np.zeros((t, 0)),
        marker_seen=np.zeros((t, 0), bool),
        status=np.full(t, lm.CONVERGED) if status is None else status,
        steps=none,
        rerouted=np.zeros(t, bool),
        prior_ratios=(),
        marker_names=(),
        coordinate_names=model.coordinate_names,
        rate_hz=50.0,
        start_s=1.0,
        covariance=covariance,
    )


def fit_of(model, q: np.ndarray, hidden: tuple[str, ...] = (), frames=()):
    """The fit of noise-free markers at their true poses, with its covariance."""
    plan = ik.make_plan(model, model.marker_names, None, IkOptions())
    trial = observed(model, q)
    valid = np.array(trial.valid)
    valid[:, [model.marker_names.index(name) for name in hidden]] = False
    valid[list(frames)] = False
    trial = dataclasses.replace(trial, valid=valid)
    found = uncertainty.of_frames(
        plan, q, ik_prepare.observations(plan, trial), NOISE_M
    )
    status = np.where(valid.any(axis=1), lm.CONVERGED, EMPTY)
    return solution_of(model, q, found.covariance, status), plan, found


@pytest.fixture(scope="module")
def refits(model: sj.Model, truth: np.ndarray) -> np.ndarray:
    """Least-squares poses of noisy copies, by Gauss-Newton steps. Shape [T, N]."""
    free = np.asarray(model.topology.free, int)
    q = np.tile(truth, (COPIES, 1))
    points = np.asarray(observed(model, q, NOISE_M).points)
    for _ in range(6):
        miss = points - replay.marker_points(model, replay.body_poses(model, q))
        rows = [
            j for _, j in virtual_markers._pieces(virtual_markers._jacobian, model, q)
        ]
        j = np.concatenate(rows).reshape(COPIES, -1, len(free))
        moving = np.abs(j).max(axis=(0, 1)) > 0  # the hands carry no keypoint
        j = j[..., moving]
        h, g = j.mT @ j, j.mT @ miss.reshape(COPIES, -1, 1)
        step = np.zeros((COPIES, len(free)))
        step[:, moving] = np.linalg.solve(h, g)[..., 0]
        q = np.asarray(model.expand(q[:, free] + step))
    assert np.abs(step).max() < 1e-6
    return q


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found / expected - 1).max())


def test_sds_of_landmarks_are_those_of_refits(model, truth, refits):
    solution, _, _ = fit_of(model, truth[None])
    found = virtual_markers.virtual_markers(model, solution)
    placed = replay.marker_points(model, replay.body_poses(model, refits))
    assert relative(found.sd[0], placed.std(axis=0)) < MONTE_CARLO
    assert found.covariance is not None
    # Correlations of x, y and z within each point.
    for k in range(37):
        mixed = np.corrcoef(placed[:, k].T)
        own = found.covariance[0, k] / np.outer(found.sd[0, k], found.sd[0, k])
        np.testing.assert_allclose(own, mixed, atol=4 / np.sqrt(COPIES))
    assert not found.undetermined.any()


def test_sds_of_spine_angles_are_those_of_refits(model, truth, refits):
    solution, _, _ = fit_of(model, truth[None])
    found = virtual_markers.spine_angle_sd(model, solution)
    angles = sj.spine_angles(model, Motion(refits, model.coordinate_names, 50.0))
    for name in ("levels", "ground", "lla", "lordosis", "kyphosis"):
        spread = np.asarray(getattr(angles, name)).std(axis=0)
        assert relative(getattr(found, name)[0], spread) < MONTE_CARLO, name
    assert found.tka[0] == 0.0 == np.ptp(angles.tka)


def test_points_are_opensims(path, model, truth):
    q = np.tile(truth, (3, 1))
    q[:, 0] += [0.0, 0.1, 0.2]
    oracle = ReferenceModel(path)
    rotation, position = oracle.body_poses(q)
    found = virtual_markers.virtual_markers(model, solution_of(model, q))
    assert found.trajectory.names == simspine.NAMES
    assert found.trajectory.start_s == 1.0
    for name, (body, offset) in simspine_markers.MARKERS.items():
        b = oracle.body_names.index(body)
        expected = rotation[:, b] @ np.array(offset) + position[:, b]
        at = simspine.NAMES.index(name)
        np.testing.assert_allclose(found.trajectory.points[:, at], expected, atol=1e-9)
    spine = found.only(simspine.SPINE_NAMES)
    assert spine.trajectory.points.shape == (3, 15, 3)
    np.testing.assert_allclose(
        spine.trajectory.points,
        spine_markers.from_poses(model, replay.body_poses(model, q)),
        atol=1e-12,
    )


def test_what_the_fit_leaves_open_is_undetermined(model, truth):
    q = np.tile(truth, (3, 1))
    solution, plan, found = fit_of(model, q, hidden=HEAD, frames=(1,))
    points = virtual_markers.virtual_markers(model, solution)
    names = np.array(simspine.NAMES)
    lost = np.isin(names, HEAD)
    np.testing.assert_array_equal(points.undetermined[[0, 2]], np.tile(lost, (2, 1)))
    # A frame without markers has no points at all.
    np.testing.assert_array_equal(points.trajectory.valid.all(axis=1), [1, 0, 1])
    assert not points.trajectory.valid[1].any()
    assert not points.trajectory.points[1].any()
    assert points.undetermined[1].all()
    # The same as with the whole fit at hand.
    expected = uncertainty.marker_covariance(plan, model, found, q)
    np.testing.assert_allclose(np.asarray(points.covariance), expected, atol=1e-14)
    angles = virtual_markers.spine_angle_sd(model, solution)
    neck = np.asarray(np.isinf(angles.levels).all(axis=2))
    np.testing.assert_array_equal(neck[0], np.arange(7) == 6)
    assert neck[1].all()
    assert np.isinf(angles.lla[1])
    assert np.isfinite(angles.lla[[0, 2]]).all()
    assert np.isfinite(angles.kyphosis[[0, 2]]).all()


def test_frames_filled_by_a_prior_along_time_are_valid(model, truth):
    q = np.tile(truth, (2, 1))
    filled, _, _ = fit_of(model, q)
    status = np.array([lm.CONVERGED, EMPTY])
    assert virtual_markers.fitted_frames(
        dataclasses.replace(filled, status=status)
    ).all()
    alone = solution_of(model, q, status=status)
    np.testing.assert_array_equal(virtual_markers.fitted_frames(alone), [1, 0])


def test_refusals(model, truth):
    plain = solution_of(model, truth[None])
    found = virtual_markers.virtual_markers(model, plain)
    with pytest.raises(ValueError, match="no covariance"):
        found.sd.max()
    with pytest.raises(ValueError, match="no covariance"):
        virtual_markers.spine_angle_sd(model, plain)
    with pytest.raises(ValueError, match="no virtual marker 'Tail'"):
        found.only(("Tail",))
    other = dataclasses.replace(plain, coordinate_names=("a",))
    with pytest.raises(ValueError, match="of another model"):
        virtual_markers.virtual_markers(model, other)
    none = virtual_markers.virtual_markers(model, solution_of(model, truth[None][:0]))
    assert none.trajectory.points.shape == (0, 37, 3)
