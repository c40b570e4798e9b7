"""Weak tasks on trunk and neck: their strength, and what they leave of a real bend."""

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.body.spine_markers import with_keypoints
from simspine_jax.datasets.synthetic_motion import LUMBAR_FLEXION, lumbar_ramp
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.fitting.posture_tasks import posture_tasks
from simspine_jax.skeletons import simspine

_FEW = SearchOptions(max_anchors=2, body_starts=4, limb_starts=8)


@pytest.fixture(scope="module")
def model(pose2sim_08):
    path = pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    return with_keypoints(sj.load_model(path))


def test_the_weight_is_noise_over_sd_of_the_sum(model):
    tasks = {t.name: t.weight for t in posture_tasks(model, 30.0, 0.01)}
    assert set(tasks) == {
        *("L5_S1_Flex_Ext", "L5_S1_Lat_Bending", "L5_S1_axial_rotation"),
        *("neck_flexion", "neck_bending", "neck_rotation"),
    }
    # The six levels' flexion is 7.1429 times the lowest one's.
    levels = np.deg2rad(30.0) / 7.1429
    assert tasks["L5_S1_Flex_Ext"] == pytest.approx((0.01 / levels) ** 2, rel=1e-4)
    assert tasks["neck_flexion"] == pytest.approx((0.01 / np.deg2rad(30)) ** 2)


def test_a_bend_of_60_degrees_stays(model):
    motion = lumbar_ramp(model, 4, 50.0, np.deg2rad(60.0))
    points = np.asarray(sj.marker_positions(model, motion.q))
    trial = sj.MarkerTrajectory(
        points, np.ones(points.shape[:2], bool), simspine.NAMES, 50.0
    )
    weights = dict.fromkeys(simspine.NAMES, 1.0)
    tasks = sj.IkTasks(weights, posture_tasks(model, 45.0, 0.01))
    fit = sj.fit_ik(model, trial, tasks, sj.IkOptions(search=_FEW))
    columns = [model.coordinate_names.index(name) for name in LUMBAR_FLEXION]
    bent = np.rad2deg(fit.q[:, columns].sum(axis=1))
    np.testing.assert_allclose(bent, -np.linspace(0, 60, 4), atol=0.3)
    strength = max(fit.prior_ratio.values()) / sum(weights.values())
    assert strength < 0.01


@pytest.mark.parametrize(("sd_deg", "noise_m"), [(0.0, 0.01), (30.0, -1.0)])
def test_numbers_that_are_not_positive_are_refused(model, sd_deg, noise_m):
    with pytest.raises(ValueError, match="posture: .* must be positive"):
        posture_tasks(model, sd_deg, noise_m)
