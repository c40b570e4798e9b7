"""Shares and changes of SDs: by hand, by brute force, and what must always hold."""

import functools
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simspine_jax as sj
from simspine_jax.body.compile import compile_model
from simspine_jax.body.spec import (
    AxisSpec,
    CoordinateSpec,
    Frame,
    JointSpec,
    Linear,
    MarkerSpec,
    ModelSpec,
)
from simspine_jax.evaluation import ik_information, ik_sensitivity
from simspine_jax.fitting import ik, ik_prepare
from tests import random_models

NOISE_M = 0.005
EYE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
STILL, ITSELF = Linear((0.0,)), Linear((1.0, 0.0))


def pin(parent: str, child: str, name: str, at: float) -> JointSpec:
    """A pin about Z, ``at`` metres along X of its parent."""
    axes = [AxisSpec(d, STILL, ()) for d in (*EYE, *EYE)]
    axes[2] = replace(axes[2], function=ITSELF, coordinates=(name,))
    here = np.zeros(3)
    return JointSpec(
        name=f"to_{child}",
        kind="CustomJoint",
        parent=parent,
        child=child,
        parent_frame=Frame(np.eye(3), np.array([at, 0.0, 0.0])),
        child_frame=Frame(np.eye(3), here),
        coordinates=(CoordinateSpec(name, 0.0, -1.0, 1.0, False, False),),
        rotations=(axes[0], axes[1], axes[2]),
        translations=(axes[3], axes[4], axes[5]),
    )


def arm(**levers: tuple[str, float]) -> sj.Model:
    """Two pins 1 m apart; markers on a body, so far along its X."""
    return compile_model(
        ModelSpec(
            name="arm",
            source="arm.osim",
            bodies=("upper", "lower"),
            joints=(pin("ground", "upper", "a", 0.0), pin("upper", "lower", "b", 1.0)),
            couplers=(),
            markers=tuple(
                MarkerSpec(name, body, (x, 0.0, 0.0))
                for name, (body, x) in levers.items()
            ),
            scale_factors={},
        )
    )


def information(
    model,
    tasks=None,
    candidates=None,
    valid=None,
    equal=True,
    q=None,
    noise_m=NOISE_M,
    **options,
):
    names = model.marker_names
    plan = ik.make_plan(model, names, tasks, ik.IkOptions(**options))
    valid = np.ones((3, len(names)), bool) if valid is None else np.array(valid)
    q = np.zeros((len(valid), len(model.coordinate_names))) if q is None else q
    points = np.zeros((*valid.shape, 3))
    data = ik_prepare.observations(
        plan, sj.MarkerTrajectory(points, valid, names, 60.0)
    )
    return ik_information.information(
        plan, q, data, candidates or {}, noise_m, equal=equal
    )


def test_the_far_marker_carries_the_square_of_its_lever():
    found = ik_sensitivity.analyse(
        information(arm(near=("upper", 0.1), far=("upper", 0.3)))
    )
    assert found.found.coordinates == ("a",)
    np.testing.assert_allclose(found.share, [[0.1, 0.9]])
    np.testing.assert_allclose(found.sd, NOISE_M / np.sqrt(0.1))
    np.testing.assert_allclose(
        found.drop.factor[:, 0], [0.1**0.5 / 0.3, 0.1**0.5 / 0.1]
    )
    assert found.drop.names[found.drop.order[0]] == "far"
    assert found.add.names == ()


def test_weights_of_the_fit_count_when_asked():
    tasks = sj.IkTasks({"near": 3.0, "far": 1.0})
    model = arm(near=("upper", 0.1), far=("upper", 0.3))
    found = ik_sensitivity.analyse(information(model, tasks, equal=False))
    np.testing.assert_allclose(found.share, [[0.25, 0.75]])
    # Over the mean weight 2: 1.5 and 0.5.
    sd = NOISE_M / np.sqrt(1.5 * 0.01 + 0.5 * 0.09)
    np.testing.assert_allclose(found.sd, sd)
    equal = ik_sensitivity.analyse(information(model, tasks))
    np.testing.assert_allclose(equal.share, [[0.1, 0.9]])


@pytest.mark.parametrize("objective", ["normalised", "opensim"])
def test_a_task_adds_its_curvature_and_leaves_the_shares_among_markers(objective: str):
    tasks = sj.IkTasks(
        {"near": 1.0, "far": 1.0}, (sj.CoordinateTask("a", 0.2, value=0.0),)
    )
    model = arm(near=("upper", 0.1), far=("upper", 0.3))
    found = ik_sensitivity.analyse(information(model, tasks, objective=objective))
    np.testing.assert_allclose(found.share, [[0.1, 0.9]])
    # OpenSim's form does not divide the task by the sum of the marker weights, 2.
    task = 0.2 if objective == "normalised" else 0.4
    np.testing.assert_allclose(found.sd, NOISE_M / np.sqrt(0.1 + task))


def test_rounding_has_no_share_of_what_only_a_task_tells():
    """The markers are on the axis to a rounding."""
    tasks = sj.IkTasks(
        {"on": 1.0, "too": 1.0}, (sj.CoordinateTask("a", 0.2, value=0.0),)
    )
    model = arm(on=("upper", 1e-12), too=("upper", 2e-12))
    found = ik_sensitivity.analyse(information(model, tasks))
    assert np.isfinite(found.sd).all()
    assert np.isnan(found.share).all()


def test_the_only_marker_of_a_joint_is_indispensable_and_an_idle_one_spare():
    model = arm(hub=("upper", 0.0), elbow=("upper", 1.0), hand=("lower", 0.5))
    found = ik_sensitivity.analyse(information(model))
    hand = found.drop.names.index("hand")
    assert found.drop.sd_without[hand].tolist() == [pytest.approx(NOISE_M), np.inf]
    assert found.drop.decided[hand].tolist() == [False, True]
    # Without the elbow the hand alone cannot tell one joint of a straight arm from
    # the other.
    assert [found.drop.names[k] for k in found.drop.order] == ["elbow", "hand", "hub"]
    assert found.drop.decided.sum(axis=1).tolist() == [0, 2, 1]
    assert found.found.coordinates[found.drop.most[hand]] == "b"
    assert found.drop.largest_angle_rad[hand] == np.inf
    assert found.spare == ("hub",)
    np.testing.assert_array_equal(found.share[:, found.drop.names.index("hub")], 0)


def test_the_same_marker_twice_halves_the_variance():
    model = arm(hub=("upper", 0.0), tip=("upper", 0.3))
    again = {"again": ("upper", (0.3, 0.0, 0.0))}
    found = ik_sensitivity.analyse(information(model, candidates=again))
    np.testing.assert_allclose(found.add.factor, [[np.sqrt(2)]])


def test_spare_markers_are_those_that_can_go_together():
    """Either of two equal markers may go, but not both."""
    levers = dict(a=("upper", 1.0), b=("upper", 0.3), c=("upper", 0.3))
    info = information(arm(**levers))
    # Variances over sigma^2 1 / 1.18, 1 / 1.09 and 1: SDs grow by 4 % and by 9 %.
    assert ik_sensitivity.spare(info, 1.05) == ("b",)
    assert ik_sensitivity.spare(info, 1.1) == ("b", "c")
    assert ik_sensitivity.spare(info, 1e9) == ("b", "c")  # never the last one
    assert ik_sensitivity.spare(info, 1.01) == ()


def test_a_candidate_can_determine_what_no_marker_moves():
    model = arm(near=("upper", 0.5), far=("upper", 1.0))
    hand = {"hand": ("lower", (0.5, 0.0, 0.0)), "on ground": ("ground", (1.0, 0, 0))}
    found = ik_sensitivity.analyse(information(model, candidates=hand))
    assert found.found.coordinates == ("a", "b")
    np.testing.assert_allclose(found.share, [[0.2, 0.8], [np.nan, np.nan]])
    assert found.sd[1] == np.inf
    hand = found.add.names.index("hand")
    assert found.add.decided[hand].tolist() == [False, True]
    assert found.add.order[0] == hand
    assert np.isfinite(found.add.sd_with[hand]).all()
    ground = found.add.names.index("on ground")
    np.testing.assert_array_equal(found.add.factor[ground], [1.0, 1.0])
    assert found.drop.factor[:, 1].tolist() == [1.0, 1.0]  # open before and after


def test_a_marker_is_judged_by_the_frames_that_have_it():
    model = arm(near=("upper", 0.1), far=("upper", 0.3))
    valid = [[True, True], [True, False], [True, False]]
    found = ik_sensitivity.analyse(information(model, valid=valid))
    np.testing.assert_allclose(found.sd, NOISE_M / 0.1)
    far = found.drop.names.index("far")
    np.testing.assert_allclose(found.drop.factor[far], 0.1**0.5 / 0.1)
    np.testing.assert_allclose(found.share, [[1.0, 0.0]])


def test_markers_that_take_turns_share_by_the_mean():
    model = arm(a=("upper", 0.3), b=("upper", 0.3), c=("upper", 0.3))
    found = ik_sensitivity.analyse(information(model, valid=np.eye(3, dtype=bool)))
    np.testing.assert_allclose(found.share, [[1 / 3, 1 / 3, 1 / 3]])


def test_refusals():
    one = arm(tip=("upper", 0.3))
    with pytest.raises(
        ValueError, match="share only the marker 'tip'; .* at least two"
    ):
        information(one)
    two = arm(tip=("upper", 0.3), hub=("upper", 0.0))
    with pytest.raises(
        ValueError, match="'C7' is on body 'tail', which the model does"
    ):
        information(two, candidates={"C7": ("tail", (0.0, 0.0, 0.0))})
    with pytest.raises(ValueError, match="'tip' is a marker of the trial already"):
        information(two, candidates={"tip": ("upper", (0.0, 0.0, 0.0))})
    with pytest.raises(ValueError, match=r"must be positive; it is 0.0"):
        information(two, noise_m=0.0)


@functools.cache
def random_information(seed: int) -> ik_information.Information:
    """All markers of a random model in four random poses, some not seen."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "random.osim"
        random_models.write_random_model(seed, path)
        model = sj.load_model(path)
    rng = np.random.default_rng(seed)
    free = np.asarray(model.free_of(np.asarray(model.default_q)))
    q = np.asarray(model.expand(free + rng.uniform(-0.2, 0.2, (4, len(free)))))
    valid = rng.uniform(size=(4, len(model.marker_names))) < 0.9
    return information(model, valid=valid, q=q)


@pytest.mark.parametrize("seed", range(5))
def test_brute_force(seed: int):
    """Against NumPy's pseudo-inverse of the stacked Jacobian without the marker."""
    info = random_information(seed)
    found = ik_sensitivity.analyse(info)
    some = range(info.used)
    full = np.median(
        [_sd(frame.reshape(-1, frame.shape[-1])) for frame in info.rows], 0
    )
    np.testing.assert_allclose(found.sd, full, rtol=1e-6)
    for k in some:
        seen = [t for t in range(4) if info.rows[t, k].any()] or list(range(4))
        rest = [np.delete(info.rows[t], k, axis=0) for t in seen]
        without = np.median([_sd(r.reshape(-1, r.shape[-1])) for r in rest], axis=0)
        np.testing.assert_allclose(found.drop.sd_without[k], without, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_the_jacobian_and_shares_sum_to_one(seed: int):
    info = random_information(seed)
    share = ik_sensitivity.shares(info)
    known = ~np.isnan(share).any(axis=1)
    assert known.any()
    np.testing.assert_allclose(share[known].sum(axis=1), 1.0)
    assert (share[known] >= 0).all()
    assert info.parts == ("trunk",) * len(info.coordinates)


def test_rows_against_the_jacobian_of_the_library():
    model = arm(elbow=("upper", 1.0), hand=("lower", 0.5), nail=("lower", 0.6))
    q = np.array([[0.3, -0.5], [0.1, 0.2]])
    info = information(model, q=q, valid=np.ones((2, 3), bool))
    expected = np.asarray(sj.marker_jacobian(model, q)) / NOISE_M
    order = [model.marker_names.index(name) for name in info.markers]
    np.testing.assert_allclose(info.rows, expected[:, order], atol=1e-9)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.integers(0, 9), st.integers(0, 2**32 - 1), st.floats(0.1, 10.0))
def test_more_markers_never_know_less(seed: int, draw: int, trust: float):
    """Adding never raises an SD, dropping never lowers one."""
    info = random_information(seed)
    rng = np.random.default_rng(draw)
    count = len(info.markers)
    order, used = rng.permutation(count), int(rng.integers(2, count))
    rows = (
        info.rows[:, order]
        * np.where(rng.uniform(size=count) < 0.5, 1, trust)[None, :, None, None]
    )
    names = tuple(info.markers[i] for i in order)
    found = ik_sensitivity.analyse(replace(info, rows=rows, markers=names, used=used))
    for change in (found.drop, found.add):
        assert (change.factor >= 1 - 1e-6).all()
        assert not (np.isinf(change.sd_with) & np.isfinite(change.sd_without)).any()
    assert len(found.add.names) == count - used
    known = ~np.isnan(found.share).any(axis=1)
    np.testing.assert_allclose(found.share[known].sum(axis=1), 1.0)


def _sd(jacobian: np.ndarray) -> np.ndarray:
    """SDs from a singular value decomposition; inf where the null space reaches."""
    scale = np.linalg.norm(jacobian, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    _, value, vector = np.linalg.svd(jacobian / scale)
    kept = np.zeros(len(vector), bool)
    kept[: len(value)] = value > 1e-5 * value[0]
    null = (vector[~kept] ** 2).sum(axis=0)
    variance = np.diag(
        np.linalg.pinv(jacobian / scale, rcond=1e-5)
        @ np.linalg.pinv(jacobian / scale, rcond=1e-5).T
    )
    return np.where(null > 1e-6, np.inf, np.sqrt(variance) / scale)
