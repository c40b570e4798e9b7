"""Lumbar levels beside the rhythm: the same body, and what a prior makes of them."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import simspine_jax as sj
from simspine_jax.body import spine, spine_angles, spine_rhythm
from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.markers import with_markers
from simspine_jax.body.spine_rhythm import RhythmModel
from simspine_jax.datasets import synthetic_motion
from simspine_jax.fitting import (
    ik,
    ik_prepare,
    linearised,
    lumbar_rhythm,
    replay,
    uncertainty,
)
from simspine_jax.fitting.ik import IkOptions, PriorDominanceWarning, fit_ik
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.fitting.ik_solution import IkSolution
from simspine_jax.fitting.limbs import limb_blocks
from simspine_jax.types import IkTasks, MarkerTrajectory, Motion

FRAMES, NOISE_M = 3, 1e-3
SEARCH = SearchOptions(body_starts=2, limb_starts=2, limb_rounds=1)
OPTIONS = IkOptions(search=SEARCH, chunk_frames=32, lanes=8, noise_m=NOISE_M)


@pytest.fixture(scope="module")
def whole(pose2sim_10: Path) -> sj.Model:
    """Three markers on each vertebra, and on pelvis and torso."""
    flex = sj.load_model(next(pose2sim_10.rglob("Model_Pose2Sim_muscles_flex.osim")))
    corners = ((-0.05, 0.03, 0.0), (0.03, 0.0, 0.05), (0.03, 0.06, -0.05))
    bodies = ("pelvis", *spine_angles.BODIES[1:7])
    places = {f"{b}_{k}": (b, c) for b in bodies for k, c in enumerate(corners)}
    return with_markers(flex, places)


@pytest.fixture(scope="module")
def coupled(whole: sj.Model) -> sj.Model:
    """The trunk alone, which compiles sooner."""
    return ik_prepare.carrying_bodies(whole)


@pytest.fixture(scope="module")
def rhythm(coupled: sj.Model) -> RhythmModel:
    return spine_rhythm.with_rhythm_deviations(coupled)


def lumbar(model: sj.Model) -> list[int]:
    names = model.coordinate_names
    return [
        names.index(f"{level}_{direction}")
        for level in spine_angles.LEVELS[:6]
        for direction in spine_rhythm.DIRECTIONS
    ]


def poses(rhythm: RhythmModel, deviation: float, seed: int = 0) -> np.ndarray:
    """Coordinates of the model with deviations. Shape [T, N]."""
    rng = np.random.default_rng(seed)
    model = rhythm.model
    q = np.zeros((FRAMES, len(model.coordinate_names)))
    q[:, :6] = rng.uniform(-0.3, 0.3, (FRAMES, 6))
    lowest = lumbar(model)[:3]
    q[:, lowest] = rng.uniform(-0.06, 0.06, (FRAMES, 3))
    own = [model.coordinate_names.index(name) for name in rhythm.deviations]
    q[:, own] = rng.uniform(-deviation, deviation, (FRAMES, len(own)))
    return q


def observed(model: sj.Model, q: np.ndarray, noise_m: float) -> MarkerTrajectory:
    motion = Motion(q, model.coordinate_names, 50.0)
    return synthetic_motion.observe(model, motion, noise_m, 0)


def plan_of(rhythm: RhythmModel, tasks) -> ik_prepare.Plan:
    names = rhythm.model.marker_names
    asked = IkTasks(dict.fromkeys(names, 1.0), tasks)
    return ik.make_plan(rhythm.model, names, asked, IkOptions())


def fit(rhythm: RhythmModel, trial: MarkerTrajectory, sd_deg) -> IkSolution:
    tasks = lumbar_rhythm.rhythm_tasks(rhythm, NOISE_M, sd_deg)
    weights = dict.fromkeys(trial.names, 1.0)
    options = dataclasses.replace(OPTIONS, covariance=True)
    return fit_ik(rhythm.model, trial, IkTasks(weights, tasks), options)


def test_the_body_is_that_of_the_plain_model_at_the_actual_angles(whole):
    rhythm = spine_rhythm.with_rhythm_deviations(whole)
    q = poses(rhythm, 0.2)
    actual = rhythm.actual(q)
    assert rhythm.plain.topology.couplers == rhythm.model.topology.couplers
    ours, plain = (
        replay.body_poses(m, x) for m, x in ((rhythm.model, q), (rhythm.plain, actual))
    )
    np.testing.assert_allclose(ours.rotation, plain.rotation, atol=1e-12)
    np.testing.assert_allclose(ours.position, plain.position, atol=1e-12)
    names = rhythm.model.coordinate_names
    at = lambda x, name: x[:, names.index(name)]
    # By hand, with the published ratio.
    np.testing.assert_allclose(
        at(actual, "L4_L5_Flex_Ext"),
        1.8571 * at(q, "L5_S1_Flex_Ext") + at(q, "L4_L5_Flex_Ext"),
        atol=1e-4,
    )
    # The abdomen turns with all levels together.
    total = sum(at(actual, f"{level}_Flex_Ext") for level in spine_angles.LEVELS[:6])
    np.testing.assert_allclose(at(actual, "Abs_r3"), total, atol=1e-4)
    assert spine._fixed_and_coupled(rhythm.plain) == ((), ())
    assert spine._fixed_and_coupled(rhythm.model) == ((), ())


def test_without_deviations_it_is_the_coupled_model(coupled, rhythm):
    q = poses(rhythm, 0.0)
    expanded = np.asarray(coupled.expand(coupled.free_of(q)))
    np.testing.assert_allclose(rhythm.actual(q), expanded, atol=1e-12)
    free = set(rhythm.model.free_coordinate_names)
    assert free == set(coupled.free_coordinate_names) | set(rhythm.deviations)
    assert len(rhythm.deviations) == 15
    np.testing.assert_allclose(rhythm.model.expand(rhythm.model.free_of(q)), q)


def test_the_jacobian_knows_the_sums(rhythm):
    plan = plan_of(rhythm, lumbar_rhythm.rhythm_tasks(rhythm, NOISE_M))
    model, q = rhythm.model, poses(rhythm, 0.2)[:1]
    moves = np.eye(q.shape[1])[plan.unknowns] * 1e-6
    points = linearised.at(plan, q + np.concatenate([moves, -moves])).points
    ahead, behind = np.split(points, 2)
    expected = np.moveaxis((ahead - behind) / 2e-6, 0, -1)
    found = linearised.at(plan, q).jacobian[0]
    np.testing.assert_allclose(found, expected, atol=1e-8)
    names = [model.coordinate_names[c] for c in plan.unknowns]
    assert set(rhythm.deviations) < set(names)


def test_all_levels_are_sought_with_the_trunk(rhythm):
    columns = tuple(range(len(rhythm.model.topology.free)))
    block, _, _ = limb_blocks(rhythm.model.topology, columns)
    names = rhythm.model.free_coordinate_names
    for name in rhythm.deviations:
        assert block[names.index(name)] == block[names.index("L5_S1_Flex_Ext")]


def test_a_strong_prior_gives_the_coupled_fit(coupled, rhythm):
    truth = rhythm.actual(poses(rhythm, 0.05))
    trial = observed(rhythm.plain, truth, NOISE_M)
    with pytest.warns(PriorDominanceWarning, match="holds it"):
        found = fit(rhythm, trial, 1e-4)
    held = lumbar_rhythm.actual_angles(rhythm, found)
    # The coupled model fitted by SciPy.
    names = coupled.free_coordinate_names
    moving = [k for k, n in enumerate(names) if n[:6] in {"pelvis", "L5_S1_"}]
    base = np.zeros(len(names))

    @jax.jit
    def miss(x, points):
        q = coupled.expand(jnp.asarray(base).at[np.array(moving)].set(x))
        return (marker_positions(coupled, q[None])[0] - points).ravel()

    at = [*range(6), *lumbar(coupled)]
    for k, points in enumerate(np.asarray(trial.points)):
        answer = optimize.least_squares(
            lambda x, points=points: np.asarray(miss(x, points)),
            np.zeros(len(moving)),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        )
        base[moving] = answer.x
        expected = np.asarray(coupled.expand(base))[at]
        base[:] = 0.0
        np.testing.assert_allclose(held.q[k, at], expected, atol=1e-4)
    # Which is far from the truth here.
    assert np.abs(held.q[:, at] - truth[:, at]).max() > 0.01


def test_a_weak_prior_recovers_uneven_shares(rhythm):
    truth = poses(rhythm, 0.1)
    trial = observed(rhythm.model, truth, 0.0)
    found = fit(rhythm, trial, 1e4)
    actual = lumbar_rhythm.actual_angles(rhythm, found)
    at = lumbar(rhythm.plain)
    expected = rhythm.actual(truth)
    np.testing.assert_allclose(actual.q[:, at], expected[:, at], atol=1e-4)
    told = lumbar_rhythm.told_by_markers(rhythm, found, 1e4)
    assert min(told.values()) > 0.999
    # The covariance has gone along.
    assert actual.covariance is not None
    assert found.covariance is not None
    names = list(rhythm.model.coordinate_names)
    i, d = (names.index(f"{level}_Flex_Ext") for level in ("L5_S1", "L4_L5"))
    c, ratio = found.covariance, rhythm.to_plain[d, i]
    expected = ratio**2 * c[:, i, i] + 2 * ratio * c[:, i, d] + c[:, d, d]
    np.testing.assert_allclose(actual.covariance[:, d, d], expected, rtol=1e-9)


def test_the_prior_has_the_sd_that_was_asked_for(rhythm):
    """Markers on pelvis and torso alone tell sums of the levels: the rest is prior."""
    model, q = rhythm.model, poses(rhythm, 0.0)
    trial = observed(model, q, 0.0)
    ends = [name[:5] in {"pelvi", "torso"} for name in model.marker_names]
    trial = dataclasses.replace(trial, valid=np.tile(ends, (FRAMES, 1)))
    plan = plan_of(rhythm, lumbar_rhythm.rhythm_tasks(rhythm, NOISE_M))
    data = ik_prepare.observations(plan, trial)
    found = uncertainty.of_frames(plan, q, data, NOISE_M)
    unknowns = [model.coordinate_names[c] for c in plan.unknowns]
    at = [unknowns.index(name) for name in rhythm.deviations]
    prior = lumbar_rhythm.prior_sd(rhythm)
    np.testing.assert_allclose(
        np.degrees(prior), [lumbar_rhythm.SD_DEG[n] for n in rhythm.deviations]
    )
    # Bayes' rule with dense matrices.
    j = linearised.at(plan, q).jacobian[:, ends].reshape(FRAMES, -1, len(unknowns))
    precision = j.mT @ j / NOISE_M**2
    precision[:, at, at] += prior**-2
    posterior = np.sqrt(np.einsum("tii->ti", np.linalg.inv(precision)))[:, at]
    own = np.sqrt(np.einsum("tii->ti", found.x_covariance))[:, at]
    np.testing.assert_allclose(own, posterior, rtol=1e-5)
    assert (own < prior * (1 + 1e-9)).all()
    # 15 unknown deviations, of which 6 numbers tell at most three combinations.
    assert (own / prior > 0.9).sum(axis=1).min() >= 6


def test_what_is_open_stays_open(rhythm):
    n = len(rhythm.model.coordinate_names)
    names = rhythm.model.coordinate_names
    cov = np.tile(np.eye(n) * 1e-4, (1, 1, 1))
    d, i = names.index("L3_L4_Lat_Bending"), names.index("L5_S1_axial_rotation")
    cov[:, [d, i], [d, i]] = np.inf
    one = np.zeros(1)
    solution = IkSolution(
        q=poses(rhythm, 0.1)[:1],
        objective=one,
        objective_opensim=one,
        objective_normalised=one,
        marker_error=np.zeros((1, 0)),
        marker_seen=np.zeros((1, 0), bool),
        status=np.zeros(1, int),
        steps=one,
        rerouted=one > 0,
        prior_ratios=(),
        marker_names=(),
        coordinate_names=names,
        rate_hz=50.0,
        covariance=cov,
    )
    found = lumbar_rhythm.actual_angles(rhythm, solution)
    open_ = {
        n for n, sd in zip(names, found.coordinate_sd[0], strict=True) if sd == np.inf
    }
    axial = {f"{level}_axial_rotation" for level in spine_angles.LEVELS[:6]}
    assert open_ == axial | {"L3_L4_Lat_Bending", "Abs_r2", "Abs_r1"}
    assert np.isfinite(cov[0][~np.eye(n, dtype=bool)]).all()
    assert np.isinf(cov[0, d, d])  # the input is as it was
    other = dataclasses.replace(solution, coordinate_names=("a",))
    with pytest.raises(ValueError, match="of another model"):
        lumbar_rhythm.actual_angles(rhythm, other)


def test_refusals(coupled, rhythm, pose2sim_10):
    with pytest.raises(ValueError, match="noise of the markers must be positive"):
        lumbar_rhythm.rhythm_tasks(rhythm, 0.0)
    with pytest.raises(ValueError, match="'L4_L5_Flex_Ext' must be a positive"):
        lumbar_rhythm.rhythm_tasks(rhythm, NOISE_M, {"L3_L4_Flex_Ext": 1.0})
    with pytest.raises(ValueError, match="no lumbar rhythm to deviate from"):
        spine_rhythm.with_rhythm_deviations(rhythm.plain)
    simple = next(pose2sim_10.rglob("Model_Pose2Sim_simple.osim"))
    with pytest.raises(ValueError, match="no coordinate 'L4_L5_Flex_Ext'"):
        spine_rhythm.with_rhythm_deviations(sj.load_model(simple))
