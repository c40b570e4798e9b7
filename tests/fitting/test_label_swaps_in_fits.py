"""Exchanged labels found from the robust, smooth fit of a whole body."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.body.model import Model
from simspine_jax.core.robust import RobustLoss
from simspine_jax.datasets import synthetic_motion
from simspine_jax.fitting import label_swaps, replay
from simspine_jax.fitting.ik import IkOptions, fit_ik
from simspine_jax.fitting.ik_solution import IkSolution
from simspine_jax.fitting.label_swaps import LabelSwap
from simspine_jax.fitting.smoothing import Smoothness
from simspine_jax.io.load import load_model
from simspine_jax.types import MarkerTrajectory

FRAMES, RATE_HZ = 40, 60.0
NOISE_M = 0.003
SEED = 5  # the knees stay 0.25 m apart
SWAPS = (
    (("LKnee", "RKnee"), 8, 13),
    (("LWrist", "RWrist"), 11, 11),
    (("LWrist", "RWrist"), 22, 29),
)
# Not seen: within a swap, and where nothing is exchanged.
UNSEEN = (("LKnee", 10), ("RWrist", 24), ("LWrist", 26), ("Nose", 5), ("RWrist", 35))


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> Model:
    osim = pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    return load_model(osim)


@pytest.fixture(scope="module")
def exact(model: Model) -> MarkerTrajectory:
    swing = synthetic_motion.draw_swing(model, SEED)
    motion = synthetic_motion.swing_motion(model, swing, FRAMES, RATE_HZ)
    return synthetic_motion.observe(model, motion)


@pytest.fixture(scope="module")
def right(exact: MarkerTrajectory) -> MarkerTrajectory:
    """Noisy markers under their own labels; unseen points are zeros."""
    rng = np.random.default_rng(SEED)
    points = np.asarray(exact.points) + NOISE_M * rng.normal(size=exact.points.shape)
    valid = np.ones(points.shape[:2], bool)
    for name, frame in UNSEEN:
        valid[frame, exact.names.index(name)] = False
    return replace(exact, points=np.where(valid[..., None], points, 0.0), valid=valid)


@pytest.fixture(scope="module")
def wrong(right: MarkerTrajectory) -> MarkerTrajectory:
    points, valid = np.array(right.points), np.array(right.valid)
    for markers, first, last in SWAPS:
        own = [right.names.index(name) for name in markers]
        for values in (points, valid):
            part = values[first : last + 1]
            part[:, own] = part[:, own[::-1]]
    return replace(right, points=points, valid=valid)


def fitted(model: Model, trajectory: MarkerTrajectory) -> IkSolution:
    options = IkOptions(
        loss=RobustLoss("geman_mcclure", 0.03),
        smooth=Smoothness(),
        noise_m=NOISE_M,
        chunk_frames=64,
        lanes=16,
    )
    return fit_ik(model, trajectory, None, options)


def places(model: Model, solution: IkSolution) -> np.ndarray:
    assert solution.marker_names == model.marker_names
    return replay.marker_points(model, replay.body_poses(model, solution.q))


def find(
    model: Model, trajectory: MarkerTrajectory, solution: IkSolution
) -> tuple[LabelSwap, ...]:
    return label_swaps.find_swaps(
        np.asarray(trajectory.points),
        solution.marker_seen,
        places(model, solution),
        solution.marker_names,
    )


def test_a_clean_trial_has_no_swap(model, right, exact):
    solution = fitted(model, right)
    np.testing.assert_array_equal(solution.marker_seen, right.valid)
    assert find(model, right, solution) == ()
    assert error(model, solution, exact).max() < 5 * NOISE_M


def test_swaps_are_found_and_taken_back(model, right, wrong, exact):
    """In their very frames; the fit is right all along, and nothing is left."""
    frames = np.concatenate([np.arange(a, b + 1) for _, a, b in SWAPS])
    for markers, first, last in SWAPS:
        a, b = (exact.points[:, exact.names.index(name)] for name in markers)
        assert np.linalg.norm(a - b, axis=-1)[first : last + 1].min() > 0.2
    solution = fitted(model, wrong)
    found = find(model, wrong, solution)
    assert tuple((s.markers, s.first_frame, s.last_frame) for s in found) == SWAPS
    for swap in found:
        assert swap.gap_m > 0.2
        assert swap.left_m < 5 * NOISE_M
    assert error(model, solution, exact).max() < 0.03
    assert solution.marker_rms[frames].min() > 0.05

    mended = label_swaps.corrected(wrong, found)
    np.testing.assert_array_equal(mended.points, right.points)
    np.testing.assert_array_equal(mended.valid, right.valid)
    again = fitted(model, mended)
    assert find(model, mended, again) == ()
    assert again.marker_rms.max() < 3 * NOISE_M
    assert error(model, again, exact).max() < 5 * NOISE_M


def error(model: Model, solution: IkSolution, exact: MarkerTrajectory) -> np.ndarray:
    """Distance of every place from the true one, m. Shape [T, M]."""
    return np.linalg.norm(places(model, solution) - exact.points, axis=-1)
