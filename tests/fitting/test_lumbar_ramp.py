"""The lumbar spine bends from 0 to 61.4 degrees; who sees it?

Noise-free, SIMSPINE's 33 markers on Pose2Sim's model. The wrong answer of 2.2 degrees
under SIMSPINE's published tasks is OpenSim 4.6's own, on the same frames.
"""

import warnings

import numpy as np
import pytest

from simspine_jax import fit_ik, load_model
from simspine_jax.body.markers import with_markers
from simspine_jax.datasets import synthetic_motion
from simspine_jax.fitting.ik import IkOptions, PriorDominanceWarning
from simspine_jax.fitting.simspine_tasks import published_tasks
from simspine_jax.io.marker_set import write_marker_set
from simspine_jax.reference.opensim_ik import run_inverse_kinematics
from simspine_jax.skeletons.simspine_markers import MARKERS

FRAMES, RATE_HZ, FULL_DEG = 11, 50.0, 61.4
CHUNK = {"chunk_frames": 512, "lanes": 32}


@pytest.fixture(scope="module")
def osim(pose2sim_10):
    return pose2sim_10 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_muscles_flex.osim"


@pytest.fixture(scope="module")
def flex(osim):
    return with_markers(load_model(osim), MARKERS)


@pytest.fixture(scope="module")
def trial(flex):
    motion = synthetic_motion.lumbar_ramp(flex, FRAMES, RATE_HZ, np.deg2rad(FULL_DEG))
    return synthetic_motion.observe(flex, motion, noise_m=0.0, seed=0)


def flexion_deg(model, q):
    return np.rad2deg(synthetic_motion.lumbar_flexion(model, q))


def test_default_tasks_recover_the_ramp(flex, trial):
    fit = fit_ik(flex, trial, options=IkOptions(**CHUNK))
    truth = np.linspace(0.0, FULL_DEG, FRAMES)
    np.testing.assert_allclose(flexion_deg(flex, fit.q), truth, atol=1.0)


def test_published_tasks_hold_the_spine_straight_and_the_warning_says_so(
    flex, trial, osim, tmp_path
):
    options = IkOptions(objective="opensim", **CHUNK)
    with pytest.warns(PriorDominanceWarning, match="L5_S1_Flex_Ext"):
        fit = fit_ik(flex, trial, published_tasks(), options)
    ours = flexion_deg(flex, fit.q)[-1]
    assert ours == pytest.approx(2.2, abs=0.5)
    write_marker_set(tmp_path / "markers.xml", MARKERS)
    last = trial.replace(points=trial.points[-2:], valid=trial.valid[-2:])
    answer = run_inverse_kinematics(
        osim, last, published_tasks(), markers=tmp_path / "markers.xml"
    )
    theirs = flexion_deg(flex, answer.q)[-1]
    assert ours == pytest.approx(theirs, abs=0.5)
    assert fit.prior_ratio["L5_S1_Flex_Ext"] > 1.0


def test_published_markers_without_the_task_recover_the_ramp(flex, trial):
    tasks = published_tasks().without_coordinate_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error", PriorDominanceWarning)
        fit = fit_ik(flex, trial, tasks, IkOptions(**CHUNK))
    assert abs(flexion_deg(flex, fit.q)[-1] - FULL_DEG) < 1.0
