import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.body import segments
from simspine_jax.fitting import (
    calibration,
    calibration_frames,
    calibration_problem,
    calibration_setup,
    calibration_solve,
    ik,
)
from simspine_jax.fitting.calibration import CalibrationOptions
from simspine_jax.fitting.calibration_problem import State
from tests.fitting import calibration_subjects

FRAMES = 180  # all that are drawn, so that none depends on the order of trials
OPTIONS = CalibrationOptions(frames=FRAMES, offset_sd_m=0.01)


@pytest.fixture(scope="module")
def generic() -> sj.Model:
    return calibration_subjects.generic_model()


@pytest.fixture(scope="module")
def subjects(generic):
    people = calibration_subjects.survey()
    drawn = [
        calibration_subjects.draw(generic, people, seed, FRAMES) for seed in (1, 2)
    ]
    return [
        (one, calibration.calibrate(generic, one.trials, None, OPTIONS))
        for one in drawn
    ]


def _problem(generic, trials, options=OPTIONS):
    chosen = calibration_frames.choose(generic, trials, None, options.frames)
    plan = ik.make_plan(generic, chosen.trajectory.names, None, ik.IkOptions())
    found = calibration_setup.problem_of(generic, plan, chosen.trajectory, options)
    return plan, found


def _rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_determined_ratios_and_offsets_are_recovered(subjects):
    ratio = [f.ratio / np.exp(s.log_ratio) - 1 for s, f in subjects]
    sure = [f.ratio_determined for _, f in subjects]
    ratio = np.concatenate([r[s] for r, s in zip(ratio, sure, strict=True)])
    assert len(ratio) >= 1
    assert np.abs(ratio).max() < 0.01
    shift = [f.offset_shift - s.shift for s, f in subjects]
    sure = [f.offset_determined for _, f in subjects]
    shift = np.concatenate([o[s] for o, s in zip(shift, sure, strict=True)])
    assert len(shift) > 60
    assert _rms(shift) < 0.0015
    for _, found in subjects:
        assert found.noise_m == pytest.approx(0.005, rel=0.05)
        assert found.frames_as_one < 1.5


def test_the_reported_sds_are_those_of_the_errors(subjects):
    ratio = [
        (np.log(f.ratio) - s.log_ratio) / (f.ratio_sd / f.ratio) for s, f in subjects
    ]
    shift = [(f.offset_shift - s.shift) / f.offset_sd for s, f in subjects]
    assert 0.6 < _rms(ratio) < 1.6
    assert 0.7 < _rms(shift) < 1.6


def test_the_model_that_comes_back_is_the_one_described(generic, subjects):
    _, found = subjects[0]
    again = sj.scale_model(generic, found.factors)
    np.testing.assert_allclose(
        again.parent_translation, found.model.parent_translation, atol=1e-12
    )
    rows = [generic.marker_names.index(n) for n in found.marker_names]
    np.testing.assert_allclose(
        np.asarray(again.marker_offset)[rows] + found.offset_shift,
        np.asarray(found.model.marker_offset)[rows],
        atol=1e-12,
    )
    thigh = found.segment_ratio["thigh_r"]
    femur = generic.body_names.index("femur_r")
    np.testing.assert_allclose(found.model.scale_factors[femur], thigh)
    assert found.rms_after_m < 0.5 * found.rms_before_m
    assert found.status == calibration_solve.CONVERGED
    assert "thigh_r" in str(found)


def test_derivatives_are_those_of_forward_mode(generic, subjects):
    truth, found = subjects[0]
    plan, problem = _problem(generic, [truth.trials[0].cut(slice(0, 2))])
    x = found.q[:2][:, plan.unknowns]
    state = State(np.log(found.ratio), found.offset_shift, x)
    at = calibration_problem.linearise(problem, state)
    base = np.asarray(generic.default_q)[list(generic.topology.free)]

    def points(log_ratio, shift, x):
        factors = jnp.stack([jnp.ones(3)] * len(generic.body_names))
        for k in range(len(log_ratio)):
            factors = jnp.where(problem.scales[k], jnp.exp(log_ratio[k]), factors)
        # Bodies of the generic model record factors of their own, all at ratio 1.
        model = sj.scale_model(problem.model, factors / problem.ratio)
        model = dataclasses.replace(model, marker_offset=model.marker_offset + shift)
        q_free = jnp.asarray(base).at[jnp.asarray(problem.columns)].set(x)
        return sj.marker_positions(model, model.expand(q_free))

    rng = np.random.default_rng(0)
    way = State(*(rng.normal(size=np.shape(a)) for a in (*state[:2], x[0])))
    forward = jax.jit(lambda at, way: jax.jvp(points, tuple(at), tuple(way)))
    for t in range(2):
        place, rate = forward(state._replace(x=x[t]), way)
        ours = (
            at.in_segment[t] @ way.log_ratio
            + (at.in_shift[t] @ way.shift[..., None])[..., 0]
            + at.in_pose[t] @ way.x
        )
        np.testing.assert_allclose(at.points[t], place, atol=1e-12)
        np.testing.assert_allclose(ours, rate, atol=1e-10)


def test_the_schur_complement_is_the_dense_inverse(generic, subjects):
    truth, found = subjects[0]
    _, problem = _problem(generic, [truth.trials[0].cut(slice(0, 3))])
    x = found.q[:3][:, np.asarray(generic.topology.free)[list(problem.columns)]]
    state = State(np.log(found.ratio), found.offset_shift, x)
    covariance, used = calibration_solve.posterior(problem, state, 0.005)
    at = calibration_problem.linearise(problem, state)
    t, m, _, n = at.in_pose.shape
    s, k = len(problem.mean), len(covariance)
    rows = np.zeros((t, m, 3, k + t * n))
    rows[..., :s] = at.in_segment
    for j in range(m):
        rows[:, j, :, s + 3 * j : s + 3 * j + 3] = at.in_shift[:, j]
    for i in range(t):
        rows[i, ..., k + i * n : k + (i + 1) * n] = at.in_pose[i]
    flat = rows.reshape(-1, k + t * n) / 0.005
    prior = np.zeros((k + t * n, k + t * n))
    prior[:s, :s] = problem.precision
    prior[range(s, k), range(s, k)] = np.repeat(problem.offset_precision, 3)
    posture = problem.posture.T @ problem.posture + np.eye(n) / np.pi**2
    for i in range(t):
        own = slice(k + i * n, k + (i + 1) * n)
        prior[own, own] = posture
    whole = np.linalg.inv(flat.T @ flat + prior)
    np.testing.assert_allclose(covariance, whole[:k, :k], rtol=1e-6, atol=1e-10)
    held = ((x <= problem.lower) | (x >= problem.upper)).sum()
    data = np.trace(whole @ flat.T @ flat)
    assert data - held - 1e-6 <= used <= data + 1e-6


def test_neither_order_nor_the_scale_of_the_start_matters(generic, subjects):
    truth, found = subjects[0]
    order = np.random.default_rng(0).permutation(len(truth.trials))
    turned = [
        trial.replace(points=trial.points[::-1], valid=trial.valid[::-1])
        for trial in (truth.trials[k] for k in order)
    ]
    start = sj.scale_model(generic, 1.05 * np.ones((len(generic.body_names), 3)))
    start = jax.tree.map(np.asarray, start)
    again = calibration.calibrate(start, turned, None, OPTIONS)
    near = np.abs(again.ratio - found.ratio) / found.ratio_sd
    assert near.max() < 0.3


def _mirrored(trial):
    """Left and right exchanged, across the plane z = 0."""
    other = {"L": "R", "R": "L"}
    names = [
        other[n[0]] + n[1:]
        if n[0] in other and other[n[0]] + n[1:] in trial.names
        else n
        for n in trial.names
    ]
    order = [trial.names.index(n) for n in names]
    return trial.replace(
        points=trial.points[:, order] * np.array([1.0, 1.0, -1.0]),
        valid=trial.valid[:, order],
    )


def test_people_alike_on_both_sides_are_found_so(generic, subjects):
    trials = [trial.cut(slice(0, 4)) for trial in subjects[0][0].trials[:8]]
    both = trials + [_mirrored(trial) for trial in trials]
    found = calibration.calibrate(generic, both, None, OPTIONS)
    ratio, sd = (
        found.segment_ratio,
        dict(zip(found.segments, found.ratio_sd, strict=True)),
    )
    sides = [n[:-2] for n in found.segments if n.endswith("_l")]
    assert len(sides) >= 7
    for name in sides:
        assert abs(ratio[f"{name}_l"] - ratio[f"{name}_r"]) < 0.1 * sd[f"{name}_l"]


def test_a_marker_never_seen_keeps_its_place_and_is_not_determined(generic, subjects):
    truth, full = subjects[1]
    gone = generic.marker_names.index("LWrist")
    rng = np.random.default_rng(4)
    trials = []
    for trial in truth.trials:
        valid = rng.random(trial.valid.shape) > 0.1
        valid[:, gone] = False
        points = np.where(valid[..., None], trial.points, 0.0)
        trials.append(trial.replace(points=points, valid=valid))
    found = calibration.calibrate(generic, trials, None, OPTIONS)
    row = found.marker_names.index("LWrist")
    np.testing.assert_allclose(found.offset_shift[row], 0.0, atol=1e-6)
    np.testing.assert_allclose(found.offset_sd[row], 0.01, rtol=1e-6)
    assert not found.offset_determined[row].any()
    np.testing.assert_allclose(found.offset_share[row], 0.0, atol=1e-6)
    # The others hardly notice.
    trunk = found.segments.index("trunk")
    assert abs(found.ratio[trunk] / full.ratio[trunk] - 1) < 0.01


def test_what_is_fixed_stays(generic, subjects):
    truth, _ = subjects[0]
    options = dataclasses.replace(
        OPTIONS,
        frames=30,
        fixed_markers=("Neck", "Hip"),
        fixed_segments=("thigh_l",),
        noise_m=0.005,
        frames_as_one=1.0,
    )
    found = calibration.calibrate(generic, truth.trials, None, options)
    rows = [found.marker_names.index(n) for n in ("Neck", "Hip")]
    assert np.abs(found.offset_shift[rows]).max() < 1e-5
    assert found.segment_ratio["thigh_l"] == pytest.approx(1.0, abs=1e-4)
    assert found.noise_m == 0.005


def test_unusable_input_is_refused_in_one_sentence(generic, subjects):
    trial = subjects[0][0].trials[0]
    with pytest.raises(ValueError, match="at least one trial"):
        calibration.calibrate(generic, [])
    options = CalibrationOptions(fixed_markers=("Tail",))
    with pytest.raises(ValueError, match="fixed_markers names 'Tail'"):
        calibration.calibrate(generic, trial, None, options)
    unseen = trial.replace(valid=np.zeros_like(trial.valid))
    with pytest.raises(ValueError, match="none of the model's 37 markers is seen"):
        calibration.calibrate(generic, unseen)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frames", 0),
        ("noise_m", 0.0),
        ("offset_sd_m", -1.0),
        ("symmetry_sd", 0.0),
        ("shape_sd", -0.1),
        ("size_sd", float("inf")),
        ("frames_as_one", 0.5),
        ("posture_sd_deg", -1.0),
    ],
)
def test_options_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must"):
        CalibrationOptions(**{field: value})


def test_segments_of_an_unknown_model_are_refused(generic):
    topology = dataclasses.replace(
        generic.topology,
        body_names=tuple(f"b{i}" for i in range(len(generic.body_names))),
    )
    with pytest.raises(ValueError, match="no body whose segment is known"):
        segments.of_model(dataclasses.replace(generic, topology=topology))
