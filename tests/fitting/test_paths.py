"""Paths through poses, and poses carried along time, on motions with made-up faults."""

import dataclasses

import numpy as np
import pytest

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.datasets import synthetic_motion
from simspine_jax.fitting import ik, ik_frames, ik_prepare, paths, tracking
from simspine_jax.fitting.ik import IkOptions
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_queue import Bucket, Problem
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.io.load import load_model
from tests.random_models import write_random_model

SPINE = 4  # seed: a chain with couplers and limits
FRAMES = 40
RATE_HZ = 50.0
STEP_SD = 5.0 / RATE_HZ
NOISE_M = 0.003
SEARCH = SearchOptions()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    path = tmp_path_factory.mktemp("models") / "spine.osim"
    return load_model(write_random_model(SPINE, path).path)


@dataclasses.dataclass
class Case:
    """A trial ready to be searched: true unknowns [T, n] among all else."""

    plan: Plan
    problem: Problem
    truth: np.ndarray
    scale: np.ndarray
    angle: np.ndarray
    points: np.ndarray

    def cost(self, x: np.ndarray) -> np.ndarray:
        """Squared marker errors in noise SDs, halved, by ``marker_positions``."""
        model = self.plan.model
        q = np.tile(np.asarray(model.default_q), (len(x), 1))
        q[:, self.plan.unknowns] = x
        q = np.asarray(model.expand(model.free_of(q)))
        miss = np.asarray(marker_positions(model, q)) - self.points
        weight = np.asarray(self.problem.data.weight)[:FRAMES]
        weight = weight * np.asarray(self.problem.data.total)[:FRAMES, None]
        return 0.5 * (weight * (miss**2).sum(axis=2)).sum(axis=1) / NOISE_M**2

    def best_path(self, x: np.ndarray) -> paths.Path:
        cost = self.cost(x) / self.scale
        default = np.asarray(self.plan.model.default_q)[self.plan.unknowns]
        rest = (self.scale, RATE_HZ, self.angle, default, SEARCH)
        return paths.best_path(self.problem, x, cost, *rest)

    def whole(self, x: np.ndarray) -> float:
        """What a path costs in all: poses, and steps in their SDs."""
        steps = np.minimum((np.diff(x, axis=0) / STEP_SD) ** 2, 30.0**2)
        return self.cost(x).sum() + 0.5 * steps.sum()


def case_of(model: Model, shown: float) -> Case:
    """Markers of the last body weigh little: then its twist is nearly open."""
    swing = synthetic_motion.draw_swing(model, 3)
    motion = synthetic_motion.swing_motion(model, swing, FRAMES, RATE_HZ)
    trial = synthetic_motion.observe(model, motion, NOISE_M)
    last = np.array([n.startswith("n_") for n in model.marker_names])
    weight = np.tile(np.where(last, shown, 1.0), (FRAMES, 1))
    trial = dataclasses.replace(trial, weight=weight)
    plan = ik.make_plan(model, model.marker_names, None, IkOptions())
    data = ik_prepare.observations(plan, trial)
    return Case(
        plan,
        ik_prepare.chunk_problem(plan, data, Bucket(64, 64, 8)),
        np.asarray(motion.q)[:, plan.unknowns],
        ik_frames.likelihood_scale(plan, data) / NOISE_M**2,
        np.asarray(model.coordinate_is_angle)[plan.unknowns],
        np.asarray(trial.points),
    )


@pytest.fixture(scope="module")
def shown(model: Model) -> Case:
    return case_of(model, 1.0)


@pytest.fixture(scope="module")
def hidden(model: Model) -> Case:
    return case_of(model, 1e-7)


def twist_of(case: Case) -> int:
    """Column of the coordinate that only the last body's markers show."""
    names = np.array(case.plan.model.coordinate_names)[case.plan.unknowns]
    return int(np.flatnonzero(names == "n_1")[0])


def largest_step(x: np.ndarray) -> float:
    return np.abs(np.diff(x, axis=0)).max()


def carried(case: Case, start: np.ndarray, frames: np.ndarray):
    return tracking.track(case.problem, frames, start, case.scale, STEP_SD)


ALL = np.tile(np.arange(FRAMES), (2, 1))
ALL[1] = ALL[1, ::-1]


def test_a_carried_pose_follows_the_markers(shown):
    """Both ways along time; it lags by no more than what the noise moves."""
    start = shown.truth[[0, -1]]
    found, cost = carried(shown, start, ALL)
    assert found.shape == (2, FRAMES, shown.truth.shape[1])
    forwards, backwards = found[0], found[1, ::-1]
    per_frame = shown.cost(shown.truth).mean()
    for poses in (forwards, backwards):
        assert shown.cost(poses).mean() < per_frame  # the truth carries all noise
        assert np.abs(poses - shown.truth).max() < 0.2
        assert largest_step(poses) < SEARCH.jump_rad
    np.testing.assert_allclose(cost[0], shown.cost(forwards), rtol=1e-6)
    np.testing.assert_allclose(cost[1, ::-1], shown.cost(backwards), rtol=1e-6)


def test_a_carried_pose_recovers_from_a_start_beside_it(shown):
    start = shown.truth[[0, -1]] + 0.15
    found, _ = carried(shown, start, ALL)
    best, _ = carried(shown, shown.truth[[0, -1]], ALL)
    np.testing.assert_allclose(found[:, 10:], best[:, 10:], atol=1e-3)


def test_a_carried_pose_keeps_an_open_direction_still(hidden):
    k = twist_of(hidden)
    start = hidden.truth[[0, -1]].copy()
    start[:, k] = 0.3, -0.4
    found, _ = carried(hidden, start, ALL)
    assert np.abs(found[:, :, k] - start[:, [k]]).max() < 0.02
    # The others move as the markers do.
    others = np.delete(np.arange(hidden.truth.shape[1]), [k, k - 1])
    assert np.abs(found[0][:, others] - hidden.truth[:, others]).max() < 0.2
    assert np.ptp(found[0][:, others], axis=0).min() > 0.02


def test_a_carried_pose_stays_within_limits(shown):
    lower, upper = np.asarray(shown.problem.lower), np.asarray(shown.problem.upper)
    start = np.clip(shown.truth[[0, -1]] + 2.0, lower, upper)
    found, _ = carried(shown, start, ALL)
    assert ((found >= lower) & (found <= upper)).all()


def test_frames_that_wandered_along_an_open_direction_come_back(hidden):
    k = twist_of(hidden)
    jittered = hidden.truth.copy()
    jittered[:, k] += np.random.default_rng(0).uniform(-1.0, 1.0, FRAMES)
    jittered[[12, 25, 26], k] += 2.5
    assert largest_step(jittered) > SEARCH.jump_rad
    assert np.abs(hidden.cost(jittered) - hidden.cost(hidden.truth)).max() < 1.0
    found = hidden.best_path(jittered)
    assert largest_step(found.x) < SEARCH.jump_rad
    assert hidden.whole(found.x) < hidden.whole(jittered)
    assert hidden.cost(found.x).sum() < hidden.cost(jittered).sum() + FRAMES
    moved = np.abs(found.x - jittered)[:, hidden.angle].max(axis=1) > SEARCH.jump_rad
    np.testing.assert_array_equal(found.changed, moved)
    assert found.changed[[12, 25, 26]].all()


def test_frames_in_another_pose_at_nearly_the_same_cost_come_back(hidden):
    """A run of frames on the other side, entered and left by a jump."""
    k = twist_of(hidden)
    other = hidden.truth.copy()
    other[14:24, k] += 1.2
    found = hidden.best_path(other)
    assert largest_step(found.x) < SEARCH.jump_rad
    assert hidden.cost(found.x).sum() < hidden.cost(other).sum() + FRAMES
    # Either the run joined the rest or the rest joined the run.
    assert 0 < found.changed.sum() < FRAMES


def test_a_jump_that_the_markers_show_is_kept(shown):
    """The bodies really turn at once: no path is worth missing the markers."""
    best = carried(shown, shown.truth[[0, -1]], ALL)[0][0]
    turned = best.copy()
    k = twist_of(shown)
    turned[20:, k] += 1.0
    model = shown.plan.model
    q = np.tile(np.asarray(model.default_q), (FRAMES, 1))
    q[:, shown.plan.unknowns] = turned
    q = np.asarray(model.expand(model.free_of(q)))
    points = np.asarray(marker_positions(model, q))
    padded = np.zeros((64, *points.shape[1:]))
    padded[:FRAMES] = points
    data = dataclasses.replace(shown.problem.data, points=padded)
    jumping = dataclasses.replace(
        shown, problem=dataclasses.replace(shown.problem, data=data), points=points
    )
    found = jumping.best_path(turned)
    assert np.abs(found.x[19:21] - turned[19:21]).max() < 0.05
    assert not found.changed.any()


@pytest.mark.parametrize("name", ["shown", "hidden"])
def test_a_motion_without_jumps_is_not_made_worse(request, name):
    case = request.getfixturevalue(name)
    good = carried(case, case.truth[[0, -1]], ALL)[0][0]
    found = case.best_path(good)
    assert case.whole(found.x) <= case.whole(good) * (1 + 1e-6)
    assert not found.changed.any()
    assert largest_step(found.x) < SEARCH.jump_rad


def test_whole_turns_are_no_jumps(hidden):
    """Poses that differ by whole turns are the same pose."""
    good = carried(hidden, hidden.truth[[0, -1]], ALL)[0][0]
    turned = good.copy()
    turned[20:, 0] += 2 * np.pi
    found = hidden.best_path(turned)
    assert not found.changed.any()


def test_the_same_input_gives_the_same_path(hidden):
    jittered = hidden.truth.copy()
    jittered[:, twist_of(hidden)] += np.random.default_rng(1).uniform(-1, 1, FRAMES)
    first, second = hidden.best_path(jittered), hidden.best_path(jittered)
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.changed, second.changed)


def test_the_cheapest_path_is_the_best_of_all():
    """Against every path there is, on a few frames with a few poses."""
    rng = np.random.default_rng(0)
    frames, width = 6, 3
    poses = rng.normal(size=(frames, width, 2))
    costs = rng.uniform(0, 4, (frames, width))
    costs[2, 1] = np.inf
    angle = np.array([True, False])
    found = paths._cheapest(poses, costs, 0.5, angle)
    every = np.array(np.meshgrid(*[range(width)] * frames, indexing="ij"))
    every = every.reshape(frames, -1).T
    x = poses[np.arange(frames)[None], every]
    step = np.diff(x, axis=1)
    step[..., 0] = (step[..., 0] + np.pi) % (2 * np.pi) - np.pi
    price = 0.5 * np.minimum((step / 0.5) ** 2, 30.0**2).sum(axis=(1, 2))
    price += costs[np.arange(frames)[None], every].sum(axis=1)
    np.testing.assert_array_equal(found, every[price.argmin()])
