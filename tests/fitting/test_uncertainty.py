"""Covariances against refits of noisy copies, dense algebra and finite differences."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.core import robust
from simspine_jax.core.robust import RobustLoss
from simspine_jax.datasets import synthetic_motion
from simspine_jax.fitting import ik, ik_prepare, uncertainty
from simspine_jax.fitting.ik import IkOptions, fit_ik
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.fitting.uncertainty import IkUncertainty
from simspine_jax.io.load import load_model
from simspine_jax.types import CoordinateTask, IkTasks, MarkerTrajectory
from tests.random_models import write_random_model

SPINE = 4  # seed: a chain with couplers, limits and a locked coordinate
COPIES = 400
NOISE_M = 1e-3
# 400 copies know an SD to 3.5 %; the largest of a dozen errors stays within this.
MONTE_CARLO = 0.15


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def spine(folder: Path) -> Model:
    return load_model(write_random_model(SPINE, folder / "spine.osim").path)


@pytest.fixture(scope="module")
def plan(spine: Model) -> Plan:
    return ik.make_plan(spine, spine.marker_names, None, IkOptions())


@pytest.fixture(scope="module")
def truth(spine: Model) -> np.ndarray:
    """One pose inside all limits. Shape [N]."""
    swing = synthetic_motion.draw_swing(spine, 3)
    return np.asarray(synthetic_motion.swing_motion(spine, swing, 1, 50.0).q)[0]


def seen(model: Model, q: np.ndarray, noise_m=0.0, seed=0) -> MarkerTrajectory:
    motion = synthetic_motion.Motion(q, model.coordinate_names, 50.0)
    return synthetic_motion.observe(model, motion, noise_m, seed)


class Oracle:
    """Markers and their derivatives in the unknowns, by ``jax.jacfwd`` alone."""

    def __init__(self, plan: Plan):
        free = np.asarray(plan.model.topology.free, int)
        base = jnp.asarray(plan.model.default_q)[free]
        columns = np.asarray(plan.columns, int)
        self.expand = lambda x: plan.model.expand(base.at[columns].set(x))
        markers = lambda x: marker_positions(plan.model, self.expand(x)[None])[0]
        self.all_q = jax.jit(jax.vmap(self.expand))
        self.markers = jax.jit(jax.vmap(markers))
        self.slopes = jax.jit(jax.vmap(jax.jacfwd(markers)))
        self.x_of = lambda q: np.asarray(q)[:, plan.unknowns]

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """Shape [T, 3 M, n]."""
        x = self.x_of(q)
        return np.asarray(self.slopes(x)).reshape(len(x), -1, x.shape[1])

    def refit(self, q, points, weight, target=None, task=None) -> np.ndarray:
        """Gauss-Newton steps for ``sum w |r|^2 + sum v (x - target)^2``; all x."""
        x = self.x_of(q).copy()
        w = np.repeat(weight, 3)
        v = np.zeros(x.shape[1]) if task is None else task
        target = x if target is None else target
        for _ in range(5):
            j = np.asarray(self.slopes(x)).reshape(len(x), -1, x.shape[1])
            miss = (np.asarray(self.markers(x)) - points).reshape(len(x), -1)
            h = np.einsum("tki,k,tkj->tij", j, w, j) + np.diag(v)
            g = np.einsum("tki,k,tk->ti", j, w, miss) + v * (x - target)
            x = x - np.linalg.solve(h, g[..., None])[..., 0]
        return x


@pytest.fixture(scope="module")
def oracle(plan: Plan) -> Oracle:
    return Oracle(plan)


@pytest.fixture(scope="module")
def copies(spine: Model, truth: np.ndarray, oracle: Oracle):
    """Noisy copies of one pose and what each is fitted to: trial, coordinates."""
    q = np.tile(truth, (COPIES, 1))
    trial = seen(spine, q, NOISE_M)
    x = oracle.refit(q, trial.points, np.ones(len(spine.marker_names)))
    return trial, np.asarray(oracle.all_q(x))


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return np.abs(found / expected - 1).max()


def test_standard_deviations_are_those_of_refits(plan, copies):
    trial, q = copies
    found = uncertainty.of_frames(
        plan, q[:1], ik_prepare.observations(plan, trial.cut(slice(1))), NOISE_M
    )
    moving = found.source >= 0
    spread = q[:, moving].std(axis=0)
    assert relative(found.coordinate_sd[0, moving], spread) < MONTE_CARLO
    # Covariances too, as correlations; their error is at most that of an SD.
    mixed = np.corrcoef(q[:, plan.unknowns].T)
    own = np.sqrt(np.einsum("ii->i", found.x_covariance[0]))
    np.testing.assert_allclose(
        found.x_covariance[0] / own[:, None] / own, mixed, atol=4 / np.sqrt(COPIES)
    )


def test_the_estimated_noise_is_the_noise_put_in(plan, copies):
    trial, q = copies
    found = uncertainty.of_frames(plan, q, ik_prepare.observations(plan, trial))
    # Of 400 frames with 40 degrees of freedom each.
    assert found.noise_m == pytest.approx(NOISE_M, rel=0.02)
    few = slice(10)
    data = ik_prepare.observations(plan, trial.cut(few))
    assert uncertainty.of_frames(plan, q[few], data).noise_m == pytest.approx(
        NOISE_M, rel=0.1
    )


def test_with_equal_weights_it_is_the_inverse_of_the_normal_equations(
    plan, copies, oracle
):
    trial, q = copies
    some = slice(0, 4)
    data = ik_prepare.observations(plan, trial.cut(some))
    found = uncertainty.of_frames(plan, q[some], data, NOISE_M)
    j = oracle.jacobian(q[some])
    expected = NOISE_M**2 * np.linalg.inv(np.einsum("tki,tkj->tij", j, j))
    np.testing.assert_allclose(found.x_covariance, expected, rtol=1e-7, atol=1e-14)
    assert not found.null.any()
    np.testing.assert_allclose(found.data_share, 1.0, atol=1e-7)


@pytest.fixture(scope="module")
def weighted(spine: Model):
    """Unequal weights, and one coordinate held: plan, weights, task weights."""
    rng = np.random.default_rng(5)
    w = rng.uniform(0.2, 5.0, len(spine.marker_names))
    held = CoordinateTask("v1_0", 0.02, value=0.0)
    tasks = IkTasks(dict(zip(spine.marker_names, w, strict=True)), (held,))
    plan = ik.make_plan(spine, spine.marker_names, tasks, IkOptions())
    at = spine.coordinate_names.index("v1_0")
    return plan, w, np.where(plan.unknowns == at, 0.02, 0.0)


def test_with_unequal_weights_it_is_the_sandwich_and_a_task_one_more_observation(
    spine, truth, oracle, weighted
):
    plan, w, v = weighted
    assert (v > 0).sum() == 1
    trial = seen(spine, truth[None])
    data = ik_prepare.observations(plan, trial)
    found = uncertainty.of_frames(plan, truth[None], data, NOISE_M)
    j = oracle.jacobian(truth[None])[0]
    # The task as an observation of the unknown: its row has the noise of a marker.
    rows = np.vstack([j, np.diag(np.sqrt(v))])
    weight = np.r_[np.repeat(w, 3), np.ones(len(v))]
    gain = np.linalg.solve(rows.T @ (weight[:, None] * rows), rows.T * weight)
    expected = NOISE_M**2 * gain @ gain.T
    np.testing.assert_allclose(found.x_covariance[0], expected, rtol=1e-6, atol=1e-14)
    # What markers alone say is less; the share of the held unknown shows it.
    held = np.flatnonzero(v)[0]
    assert found.data_share[0, held] < 1 - 1e-3
    alone = ik.make_plan(
        spine, spine.marker_names, plan.tasks.without_coordinate_tasks(), IkOptions()
    )
    data = ik_prepare.observations(alone, trial)
    wider = uncertainty.of_frames(alone, truth[None], data, NOISE_M)
    assert wider.x_covariance[0, held, held] > found.x_covariance[0, held, held]


def test_the_sandwich_is_that_of_refits_with_a_task(spine, truth, oracle, weighted):
    plan, w, v = weighted
    rng = np.random.default_rng(6)
    q = np.tile(truth, (COPIES, 1))
    trial = seen(spine, q, NOISE_M, seed=7)
    noise = NOISE_M / np.sqrt(np.where(v > 0, v, 1.0)) * (v > 0)
    x_true = truth[plan.unknowns]
    target = x_true + noise * rng.normal(size=(COPIES, len(v)))
    x = oracle.refit(q, trial.points, w, target, v)
    data = ik_prepare.observations(plan, trial.cut(slice(1)))
    found = uncertainty.of_frames(plan, truth[None], data, NOISE_M)
    own = np.sqrt(np.einsum("ii->i", found.x_covariance[0]))
    assert relative(own, x.std(axis=0)) < MONTE_CARLO


def test_coupled_coordinates_follow_and_locked_ones_are_known(spine, plan, copies):
    trial, q = copies
    some = slice(0, 3)
    data = ik_prepare.observations(plan, trial.cut(some))
    found = uncertainty.of_frames(plan, q[some], data, NOISE_M)
    names, free = spine.coordinate_names, list(spine.topology.free)
    step = 1e-6
    for coupled, driver in (("v2_1", "v1_1"), ("v4_2", "v1_2")):
        a, b = names.index(coupled), names.index(driver)
        move = np.zeros(len(free))
        move[free.index(b)] = step
        up, down = (
            np.asarray(spine.expand(q[some][:, free] + s * move)) for s in (1, -1)
        )
        slope = (up - down)[:, a] / (2 * step)
        expected = np.abs(slope) * found.coordinate_sd[:, b]
        np.testing.assert_allclose(found.coordinate_sd[:, a], expected, rtol=1e-6)
        np.testing.assert_allclose(
            found.covariance[:, a, b],
            slope * found.coordinate_sd[:, b] ** 2,
            rtol=1e-6,
        )
    assert (found.coordinate_sd[:, names.index("n_2")] == 0).all()


def test_markers_and_derived_quantities_against_finite_differences(
    spine, plan, copies, oracle
):
    trial, q = copies
    some = slice(0, 3)
    q = q[some]
    data = ik_prepare.observations(plan, trial.cut(some))
    found = uncertainty.of_frames(plan, q, data, NOISE_M)
    j = oracle.jacobian(q)
    both = np.einsum("tai,tij,tbj->tab", j, found.x_covariance, j)
    markers = both.reshape(3, len(spine.marker_names), 3, -1, 3)
    expected = np.einsum("tmamb->tmab", markers)
    np.testing.assert_allclose(
        uncertainty.marker_covariance(plan, spine, found, q), expected, atol=1e-12
    )

    def curvature(q):
        return jnp.stack([jnp.sum(q[6:15:3]), jnp.sin(q[0]) * q[7] ** 2])

    sd = uncertainty.derived_sd(plan, found, q, curvature)
    value = jax.vmap(lambda x: curvature(oracle.expand(x)))
    x, step = oracle.x_of(q), 1e-6
    slopes = np.stack(
        [
            np.asarray(value(x + step * e) - value(x - step * e)) / (2 * step)
            for e in np.eye(x.shape[1])
        ],
        axis=2,
    )
    variance = np.einsum("tki,tij,tkj->tk", slopes, found.x_covariance, slopes)
    np.testing.assert_allclose(sd, np.sqrt(variance), rtol=1e-6)


def test_what_the_markers_leave_open_is_inf(spine, truth):
    """Without the markers of the last body, its own coordinates move nothing."""
    names = tuple(n for n in spine.marker_names if not n.startswith("n_"))
    assert len(names) < len(spine.marker_names)
    everything = seen(spine, truth[None])
    valid = np.array([[n in names for n in spine.marker_names]])
    hidden = dataclasses.replace(everything, valid=valid)
    own = np.array([n.startswith("n_") and n != "n_2" for n in spine.coordinate_names])
    chosen = IkTasks(dict.fromkeys(names, 1.0))
    # Hidden in the frame, or never asked for: the same answer.
    for tasks in (None, chosen):
        plan = ik.make_plan(spine, spine.marker_names, tasks, IkOptions())
        data = ik_prepare.observations(plan, hidden)
        found = uncertainty.of_frames(plan, truth[None], data, NOISE_M)
        sd = found.coordinate_sd[0]
        assert np.isinf(sd[own]).all()
        assert np.isfinite(sd[~own]).all()
        whole = found.covariance[0]
        assert np.isinf(np.diag(whole)[own]).all()
        off = whole[~np.eye(len(whole), dtype=bool)]
        assert np.isfinite(off).all()
        assert not whole[own][:, ~own].any()
        # The markers of that body are open too, the others are not.
        markers = uncertainty.marker_covariance(plan, spine, found, truth[None])[0]
        open_ = np.isinf(np.einsum("maa->ma", markers)).any(axis=1)
        np.testing.assert_array_equal(open_, ~valid[0])


def test_frames_without_markers_are_open(spine, plan, copies):
    trial, q = copies
    valid = np.ones((3, len(spine.marker_names)), bool)
    valid[1] = False
    part = dataclasses.replace(trial.cut(slice(3)), valid=valid)
    data = ik_prepare.observations(plan, part)
    found = uncertainty.of_frames(plan, q[:3], data, NOISE_M)
    moving = found.source != -1
    assert np.isinf(found.coordinate_sd[1, moving]).all()
    assert np.isfinite(found.coordinate_sd[[0, 2]]).all()
    assert (found.coordinate_sd[1, ~moving] == 0).all()
    sd = uncertainty.derived_sd(plan, found, q[:3], lambda q: jnp.stack([q[0], q[-1]]))
    assert np.isinf(sd[1]).any()
    assert np.isfinite(sd[[0, 2]]).all()
    # Its absence does not disturb the noise that the others show.
    estimate = uncertainty.of_frames(plan, q[:3], data).noise_m
    full = ik_prepare.observations(plan, trial.cut(slice(0, 1)))
    assert np.isfinite(estimate)
    assert estimate == pytest.approx(
        uncertainty.of_frames(plan, q[:1], full).noise_m, rel=0.5
    )


def test_a_robust_loss_counts_an_outlier_out(spine, truth):
    loss = RobustLoss("geman_mcclure", 0.01)
    plan = ik.make_plan(spine, spine.marker_names, None, IkOptions(loss=loss))
    plain = ik.make_plan(spine, spine.marker_names, None, IkOptions())
    trial = seen(spine, truth[None])
    points = np.array(trial.points)
    points[0, 3] += 10.0
    wild = dataclasses.replace(trial, points=points)
    valid = np.ones((1, len(points[0])), bool)
    valid[0, 3] = False
    without = dataclasses.replace(trial, valid=valid)
    found = uncertainty.of_frames(
        plan, truth[None], ik_prepare.observations(plan, wild), NOISE_M
    )
    expected = uncertainty.of_frames(
        plain, truth[None], ik_prepare.observations(plain, without), NOISE_M
    )
    np.testing.assert_allclose(
        found.coordinate_sd, expected.coordinate_sd, rtol=1e-4, atol=1e-12
    )
    assert robust.apply(loss, np.array([300.0]))[1][0] < 1e-12


# A tiny model: two hinges about one line, the same way round or opposite.

OSIM = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600"><Model name="hinges">
<Ground name="ground"/>
<BodySet name="bodyset"><objects>{bodies}</objects></BodySet>
<JointSet name="jointset"><objects>{joints}</objects></JointSet>
<MarkerSet name="markerset"><objects>{markers}</objects></MarkerSet>
</Model></OpenSimDocument>
"""
BODY = """<Body name="{name}"><mass>1</mass><mass_center>0 0 0</mass_center>
<inertia>1 1 1 0 0 0</inertia></Body>"""
JOINT = """<PinJoint name="to_{child}">
<socket_parent_frame>at_parent</socket_parent_frame>
<socket_child_frame>at_child</socket_child_frame>
<coordinates><Coordinate name="{child}_0"><default_value>0</default_value>
<range>-1 1</range><clamped>{clamped}</clamped><locked>false</locked></Coordinate>
</coordinates><frames>
<PhysicalOffsetFrame name="at_parent"><socket_parent>{parent}</socket_parent>
<translation>0 0 0</translation><orientation>{turn} 0 0</orientation>
</PhysicalOffsetFrame>
<PhysicalOffsetFrame name="at_child"><socket_parent>/bodyset/{child}</socket_parent>
<translation>0 0 0</translation><orientation>{turn} 0 0</orientation>
</PhysicalOffsetFrame></frames></PinJoint>"""
MARKER = """<Marker name="m{k}"><socket_parent_frame>/bodyset/{body}
</socket_parent_frame><location>{x} {y} 0</location></Marker>"""


def hinges(path: Path, turns: tuple[float, ...], *, clamped: bool) -> Model:
    """A chain of hinges about one line; the last body carries two markers."""
    bodies = [f"b{k}" for k in range(len(turns))]
    parents = ["/ground", *(f"/bodyset/{b}" for b in bodies)]
    joint = lambda turn, parent, child: JOINT.format(
        turn=turn, parent=parent, child=child, clamped=str(clamped).lower()
    )
    place = lambda k, x, y: MARKER.format(k=k, body=bodies[-1], x=x, y=y)
    path.write_text(
        OSIM.format(
            bodies="".join(BODY.format(name=b) for b in bodies),
            joints="".join(map(joint, turns, parents, bodies)),
            markers=place(0, 0.3, 0.1) + place(1, 0.2, -0.1),
        )
    )
    return load_model(path)


LEVER2_M2 = 0.3**2 + 0.1**2 + 0.2**2 + 0.1**2  # summed over the markers


@pytest.mark.parametrize(("turn", "sign"), [(0.0, 1.0), (np.pi, -1.0)])
def test_two_hinges_about_one_line_are_open_but_not_their_sum(folder, turn, sign):
    model = hinges(folder / "two.osim", (0.0, turn), clamped=False)
    plan = ik.make_plan(model, model.marker_names, None, IkOptions())
    q = np.array([[0.3, -0.2]])
    data = ik_prepare.observations(plan, seen(model, q))
    found = uncertainty.of_frames(plan, q, data, NOISE_M)
    assert np.isinf(found.coordinate_sd).all()
    both = lambda q: jnp.stack([q[0] + sign * q[1], q[0] - sign * q[1]])
    sd = uncertainty.derived_sd(plan, found, q, both)[0]
    assert sd[0] == pytest.approx(NOISE_M / np.sqrt(LEVER2_M2), rel=1e-6)
    assert np.isinf(sd[1])


@pytest.fixture(scope="module")
def hinge(folder: Path) -> Plan:
    model = hinges(folder / "one.osim", (0.0,), clamped=True)
    return ik.make_plan(model, model.marker_names, None, IkOptions())


@pytest.mark.parametrize("beyond_sd", [-4.0, -1.0, -0.1, 0.5, 3.0])
def test_an_angle_at_its_limit_errs_like_a_cut_normal(hinge, beyond_sd):
    """The markers would have the angle this far beyond the limit, in its SDs."""
    noise_m = 1e-4
    sd = noise_m / np.sqrt(LEVER2_M2)
    limit = 1.0
    wanted = np.array([[limit + beyond_sd * sd]])
    data = ik_prepare.observations(hinge, seen(hinge.model, wanted))
    q = np.minimum(wanted, limit)
    found = uncertainty.of_frames(hinge, q, data, noise_m)
    # What the angle may be, given the markers, around what is reported.
    may_be = stats.truncnorm(-np.inf, -beyond_sd, loc=wanted[0, 0], scale=sd)
    expected = np.sqrt(may_be.var() + (may_be.mean() - q[0, 0]) ** 2)
    assert found.coordinate_sd[0, 0] == pytest.approx(expected, rel=1e-3)
    assert found.coordinate_sd[0, 0] < sd


def test_limits_shrink_deviations_near_them_and_never_raise_any(spine, plan, truth):
    model = plan.model
    far = jnp.full_like(model.lower, jnp.inf)
    loose = dataclasses.replace(model, lower=-far, upper=far)
    without = dataclasses.replace(plan, model=loose)
    clamped = np.flatnonzero(np.isfinite(np.asarray(model.upper)))
    assert len(clamped) == 2
    upper = np.asarray(model.upper)[clamped]
    deviations = lambda p, q, data: uncertainty.of_frames(
        p, q, data, NOISE_M
    ).coordinate_sd[0]

    def compared(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Deviations with and without limits, the clamped where markers want them."""
        q = truth[None].copy()
        q[0, clamped] = wanted
        q = np.array(model.expand(model.free_of(q)))
        data = ik_prepare.observations(plan, seen(spine, q))
        q[0, clamped] = np.minimum(wanted, upper)
        q = np.asarray(model.expand(model.free_of(q)))
        return deviations(plan, q, data), deviations(without, q, data)

    own = compared(upper)[1][clamped]
    inside, near, beyond = (
        compared(upper + shift * own) for shift in (-30.0, -0.8, 2.0)
    )
    np.testing.assert_allclose(*inside, rtol=1e-9)
    for tight, wide in (near, beyond):
        assert (tight <= wide * (1 + 1e-12)).all()
        assert (tight[clamped] < 0.9 * wide[clamped]).all()
    assert (beyond[0][clamped] < near[0][clamped]).all()


def test_bad_noise_and_too_few_markers_are_one_sentence(spine, plan, truth, hinge):
    data = ik_prepare.observations(plan, seen(spine, truth[None]))
    for noise_m in (0.0, -1e-3, float("nan")):
        with pytest.raises(ValueError, match=r"^the noise of the markers must be pos"):
            uncertainty.of_frames(plan, truth[None], data, noise_m)
    valid = np.zeros((1, len(spine.marker_names)), bool)
    valid[0, [-1]] = True  # three components, and three directions to fit them
    few = dataclasses.replace(seen(spine, truth[None], 1e-3), valid=valid)
    data = ik_prepare.observations(plan, few)
    with pytest.raises(ValueError, match=r"3 marker components for 3 unknowns; give"):
        uncertainty.of_frames(plan, truth[None], data)
    # With the noise given it is answered.
    assert np.isinf(
        uncertainty.of_frames(plan, truth[None], data, NOISE_M).coordinate_sd
    ).any()


OPTIONS = IkOptions(
    chunk_frames=16,
    lanes=8,
    search=SearchOptions(anchor_stride=8, body_starts=1, limb_starts=2, limb_rounds=1),
    covariance=True,
)


def test_a_fit_carries_its_covariance(spine, plan):
    swing = synthetic_motion.draw_swing(spine, 3)
    motion = synthetic_motion.swing_motion(spine, swing, 20, 50.0)
    trial = synthetic_motion.observe(spine, motion, NOISE_M)
    valid = np.array(trial.valid)
    valid[7] = False
    trial = dataclasses.replace(trial, valid=valid)
    solution = fit_ik(spine, trial, options=OPTIONS)
    count = len(spine.coordinate_names)
    assert solution.covariance.shape == (20, count, count)
    assert solution.noise_m == pytest.approx(NOISE_M, rel=0.1)
    known = np.delete(solution.covariance, 7, axis=0)
    assert np.isfinite(known).all()
    np.testing.assert_allclose(known, known.transpose(0, 2, 1), atol=1e-16)
    lowest = np.linalg.eigvalsh(known).min(axis=1)
    assert (lowest > -1e-12 * np.abs(known).max(axis=(1, 2))).all()
    np.testing.assert_allclose(
        solution.coordinate_sd**2, np.einsum("tii->ti", solution.covariance)
    )
    moving = solution.coordinate_sd[0] > 0
    assert np.isinf(solution.coordinate_sd[7, moving]).all()
    # The whole is what the frames give with the noise estimated on the first chunk.
    found = uncertainty.of_frames(
        plan, solution.q, ik_prepare.observations(plan, trial), solution.noise_m
    )
    assert isinstance(found, IkUncertainty)
    np.testing.assert_array_equal(found.covariance, solution.covariance)
    # The truth lies where the covariance says: two thirds within an SD. The first
    # three, skewed, turn the root the same way at other angles too.
    moving[:3] = False
    error = np.abs(solution.q - motion.q)[:, moving] / solution.coordinate_sd[:, moving]
    assert error.max() < 4.5
    assert 0.5 < np.mean(np.delete(error, 7, axis=0) < 1) < 0.85


def test_a_fit_without_covariance_says_so(spine, plan, copies):
    trial, _ = copies
    options = dataclasses.replace(OPTIONS, covariance=False)
    solution = fit_ik(spine, trial.cut(slice(16)), options=options)
    assert solution.covariance is None
    with pytest.raises(ValueError, match=r"^this fit has no covariance; ask for it"):
        _ = solution.coordinate_sd
