"""Inverse kinematics as a whole, on motions whose answer is known."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.fitting import ik, ik_frames, ik_queue, ik_solution, simspine_tasks
from simspine_jax.fitting.ik import IkOptions, PriorDominanceWarning, fit_ik
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.io import marker_set, storage, trc
from simspine_jax.io.load import load_model
from simspine_jax.io.streams import MotWriter, TrcReader
from simspine_jax.reference import opensim_ik
from simspine_jax.skeletons import simspine_markers
from simspine_jax.types import CoordinateTask, IkTasks, MarkerTrajectory

MARKER_ATOL_M = 1e-6
FLEXION_ATOL_DEG = 1.0
OPENSIM_ATOL_DEG = 0.5
FRAMES = 12
# One size for every fit of this file: one compilation a model.
OPTIONS = IkOptions(
    chunk_frames=64,
    lanes=16,
    search=SearchOptions(anchor_stride=4, body_starts=2, limb_starts=8, limb_rounds=1),
)
SCALED = "Pose2Sim/S00_Demo_BatchSession/S00_P00_SingleParticipant/S00_P00_OpenSim/"


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> Model:
    return load_model(pose2sim_08 / SCALED / "Model_Pose2Sim_body25b_scaled.osim")


def motion(model: Model, frames: int = FRAMES, seed: int = 1) -> np.ndarray:
    """A smooth motion of moderate size around the default pose, limits kept."""
    rng = np.random.default_rng(seed)
    free = list(model.topology.free)
    phase = np.linspace(0, 2, frames)[:, None] + rng.uniform(0, 6, len(free))
    angle = np.asarray(model.coordinate_is_angle)[free]
    swing = np.where(angle, 0.3, 0.05) * np.sin(phase)
    rest = np.asarray(model.default_q)[free] + np.where(angle, 0.4, 0.0)
    low, high = np.asarray(model.range).T[:, free]
    inside = np.clip(rest + swing, low + 0.05, np.maximum(high - 0.05, low + 0.05))
    return np.asarray(model.expand(inside))


def markers_of(model: Model, q: np.ndarray) -> MarkerTrajectory:
    points = np.asarray(marker_positions(model, q))
    return MarkerTrajectory(
        points, np.ones(points.shape[:2], bool), model.marker_names, 50.0, 0.5
    )


@pytest.fixture(scope="module")
def trajectory(model: Model) -> MarkerTrajectory:
    return markers_of(model, motion(model))


@pytest.fixture(scope="module")
def fitted(model: Model, trajectory: MarkerTrajectory) -> ik_solution.IkSolution:
    return fit_ik(model, trajectory, options=OPTIONS)


def test_recovers_a_noise_free_motion(model, trajectory, fitted):
    placed = np.asarray(marker_positions(model, fitted.q))
    distance = np.linalg.norm(placed - trajectory.points, axis=2)
    assert distance.max() < MARKER_ATOL_M
    np.testing.assert_allclose(fitted.marker_error, distance, atol=1e-12)
    assert fitted.coordinate_names == model.coordinate_names
    assert fitted.marker_names == model.marker_names
    assert fitted.marker_seen.all()
    assert fitted.covariance is None
    assert fitted.prior_ratio == {}
    assert (fitted.rate_hz, fitted.start_s) == (50.0, 0.5)
    np.testing.assert_allclose(fitted.motion.times_s, trajectory.times_s)
    np.testing.assert_allclose(fitted.objective, fitted.objective_opensim)
    np.testing.assert_allclose(
        fitted.marker_rms, np.sqrt((distance**2).mean(axis=1)), atol=1e-12
    )
    assert (fitted.steps > 0).all()
    low, high = np.asarray(model.lower), np.asarray(model.upper)
    assert ((fitted.q >= low - 1e-12) & (fitted.q <= high + 1e-12)).all()
    # Couplers hold exactly, and locked coordinates stand still.
    np.testing.assert_array_equal(fitted.q, model.expand(model.free_of(fitted.q)))


def test_default_tasks_are_the_shared_markers(model, trajectory, fitted):
    tasks = IkTasks(dict.fromkeys(model.marker_names, 1.0) | {"unknown": 1.0})
    explicit = fit_ik(model, trajectory, tasks, OPTIONS)
    np.testing.assert_array_equal(explicit.q, fitted.q)
    extra = dataclasses.replace(
        trajectory,
        points=np.concatenate([trajectory.points, trajectory.points[:, :1]], axis=1),
        valid=np.ones((FRAMES, len(trajectory.names) + 1), bool),
        names=(*trajectory.names, "not_in_the_model"),
    )
    np.testing.assert_array_equal(fit_ik(model, extra, options=OPTIONS).q, fitted.q)


def test_same_input_same_answer(model, trajectory, fitted):
    again = fit_ik(model, trajectory, options=OPTIONS)
    np.testing.assert_array_equal(again.q, fitted.q)
    np.testing.assert_array_equal(again.status, fitted.status)


def test_missing_markers_are_left_out(model, trajectory):
    valid = np.asarray(trajectory.valid).copy()
    points = np.asarray(trajectory.points).copy()
    valid[3, 4], valid[7] = False, False
    points[~valid] = np.nan  # must not reach anything
    broken = dataclasses.replace(trajectory, points=points, valid=valid)
    solution = fit_ik(model, broken, options=OPTIONS)
    assert np.isfinite(solution.q).all()
    np.testing.assert_array_equal(solution.marker_seen, valid)
    assert solution.marker_error[~valid].max() == 0.0
    # The frame without any marker is marked and takes its neighbour's pose.
    assert solution.status[7] == ik_solution.EMPTY
    assert (np.delete(solution.status, 7) != ik_solution.EMPTY).all()
    pose = np.abs(solution.q[7] - solution.q[[6, 8]]).max(axis=1)
    assert pose.min() == 0.0
    assert solution.objective[7] == 0.0
    assert solution.marker_error[valid].max() < MARKER_ATOL_M


def test_no_marker_at_all(model, trajectory):
    nothing = dataclasses.replace(trajectory, valid=np.zeros((FRAMES, 21), bool))
    solution = fit_ik(model, nothing, options=OPTIONS)
    assert (solution.status == ik_solution.EMPTY).all()
    np.testing.assert_allclose(
        solution.q, np.tile(model.expand(model.free_of(model.default_q)), (FRAMES, 1))
    )


def test_weights_of_single_observations(model, trajectory, fitted):
    """An observation that is far off has no effect at weight 0, and some above."""
    points = np.asarray(trajectory.points).copy()
    points[5, 2, 0] += 0.1
    weight = np.ones(points.shape[:2])
    weight[5, 2] = 0.0
    ignored = dataclasses.replace(trajectory, points=points, weight=weight)
    solution = fit_ik(model, ignored, options=OPTIONS)
    assert not solution.marker_seen[5, 2]
    assert np.delete(solution.marker_error, 2, axis=1).max() < MARKER_ATOL_M
    light = dataclasses.replace(ignored, weight=np.where(weight == 0, 0.1, weight))
    heavy = dataclasses.replace(ignored, weight=np.where(weight == 0, 10.0, weight))
    errors = [
        fit_ik(model, trial, options=OPTIONS).marker_error[5, 2]
        for trial in (light, heavy)
    ]
    assert 0.1 > errors[0] > errors[1] > 1e-4


def test_markers_with_a_larger_weight_are_nearer(model, trajectory):
    noise = np.random.default_rng(0).normal(scale=0.01, size=trajectory.points.shape)
    noisy = dataclasses.replace(trajectory, points=trajectory.points + noise)
    name = "RWrist"
    even = fit_ik(model, noisy, options=OPTIONS)
    weights = dict.fromkeys(model.marker_names, 1.0) | {name: 50.0}
    pulled = fit_ik(model, noisy, IkTasks(weights), OPTIONS)
    at = even.marker_names.index(name)
    assert pulled.marker_error[:, at].mean() < 0.3 * even.marker_error[:, at].mean()
    # Weight 0 means not used, as in OpenSim.
    off = fit_ik(model, noisy, IkTasks(weights | {name: 0.0}), OPTIONS)
    assert name not in off.marker_names


def test_no_overlap_is_one_sentence(model, trajectory):
    renamed = tuple(f"x{i}" for i in range(len(trajectory.names)))
    strangers = dataclasses.replace(trajectory, names=renamed)
    with pytest.raises(ValueError, match=r"no marker is shared .* x0, x1.*in all"):
        fit_ik(model, strangers, options=OPTIONS)
    with pytest.raises(ValueError, match=r"no marker is shared .* the tasks none"):
        fit_ik(model, trajectory, IkTasks({}), OPTIONS)


def test_unknown_names_are_one_sentence(model, trajectory):
    tasks = IkTasks({"RHip": 1.0}, (CoordinateTask("knee", 1.0),))
    with pytest.raises(ValueError, match="holds coordinate 'knee', which the model"):
        fit_ik(model, trajectory, tasks, OPTIONS)
    wrong = dataclasses.replace(OPTIONS, objective="other")
    with pytest.raises(ValueError, match="objective 'other' is not known"):
        fit_ik(model, trajectory, None, wrong)


def test_the_two_objectives(model, trajectory):
    """They weigh a coordinate task differently, and each is least at its own."""
    held = CoordinateTask("hip_flexion_r", 2e-4, value=0.0)
    tasks = IkTasks(dict.fromkeys(model.marker_names, 1.0), (held,))
    solutions = {
        kind: fit_ik(
            model, trajectory, tasks, dataclasses.replace(OPTIONS, objective=kind)
        )
        for kind in ("opensim", "normalised")
    }
    opensim, normalised = solutions["opensim"], solutions["normalised"]
    np.testing.assert_array_equal(opensim.objective, opensim.objective_opensim)
    np.testing.assert_array_equal(normalised.objective, normalised.objective_normalised)
    assert (opensim.objective_opensim < normalised.objective_opensim).all()
    assert (normalised.objective_normalised < opensim.objective_normalised).all()
    at = model.coordinate_names.index("hip_flexion_r")
    assert (np.abs(opensim.q[:, at]) < np.abs(normalised.q[:, at])).all()
    # By hand: all weights are one, so the sum of the weights is the marker count.
    squares = (opensim.marker_error**2).sum(axis=1) / 21
    prior = 2e-4 * opensim.q[:, at] ** 2
    np.testing.assert_allclose(opensim.objective, (squares + prior) / 2, rtol=1e-10)
    np.testing.assert_allclose(
        opensim.objective_normalised, (squares + prior / 21) / 2, rtol=1e-10
    )


def test_one_compilation_for_trials_of_any_length(model, trajectory, fitted):
    compiled = (ik_queue._solve, ik_frames._outcome)
    before = [function._cache_size() for function in compiled]
    for frames in (1, 5, 12):
        part = dataclasses.replace(
            trajectory,
            points=trajectory.points[:frames],
            valid=trajectory.valid[:frames],
        )
        solution = fit_ik(model, part, options=OPTIONS)
        assert solution.q.shape == (frames, len(model.coordinate_names))
        assert solution.marker_error.max() < MARKER_ATOL_M
    assert [function._cache_size() for function in compiled] == before


def test_chunks_of_a_few_frames(model, trajectory):
    few = dataclasses.replace(OPTIONS, chunk_frames=5, lanes=2)
    solution = fit_ik(model, trajectory, options=few)
    assert solution.q.shape[0] == FRAMES
    assert solution.marker_error.max() < MARKER_ATOL_M


def test_empty_trial(model, trajectory):
    none = dataclasses.replace(
        trajectory, points=trajectory.points[:0], valid=trajectory.valid[:0]
    )
    assert fit_ik(model, none, options=OPTIONS).q.shape[0] == 0


def test_inputs_stay_as_they_were(model, trajectory, fitted):
    points, valid = trajectory.points.copy(), trajectory.valid.copy()
    default = np.array(model.default_q)
    fit_ik(model, trajectory, options=OPTIONS)
    np.testing.assert_array_equal(trajectory.points, points)
    np.testing.assert_array_equal(trajectory.valid, valid)
    np.testing.assert_array_equal(model.default_q, default)


def test_progress_counts_frames(model, trajectory):
    seen = []
    longer = markers_of(model, motion(model, 80))
    fit_ik(model, longer, None, OPTIONS, lambda done, total: seen.append((done, total)))
    assert seen == [(64, 80), (80, 80)]


def test_a_stream_gives_the_same_motion(model, tmp_path: Path):
    """Pieces read from a file, motion written to one, against the whole at once."""
    trial = markers_of(model, motion(model, 80))
    trc.write_trc(tmp_path / "trial.trc", trial)
    whole = fit_ik(model, trc.read_trc(tmp_path / "trial.trc"), options=OPTIONS)
    reader = TrcReader(tmp_path / "trial.trc", chunk_frames=64)
    parts = []
    with MotWriter(
        tmp_path / "motion.mot",
        model.coordinate_names,
        coordinate_is_rotational=model.coordinate_is_rotational,
    ) as writer:
        frames = ik.fit_ik_stream(model, reader, writer, None, OPTIONS, parts.append)
    assert frames == 80
    assert [len(part.q) for part in parts] == [64, 16]
    joined = ik_solution.concatenate(parts)
    np.testing.assert_array_equal(joined.q, whole.q)
    np.testing.assert_array_equal(joined.status, whole.status)
    written = storage.read_mot(tmp_path / "motion.mot", model)
    np.testing.assert_allclose(written.q, whole.q, atol=1e-9)
    np.testing.assert_allclose(written.times_s, trial.times_s, atol=1e-9)


def test_a_stream_without_pieces(model):
    assert ik.fit_ik_stream(model, [], _Nowhere(), None, OPTIONS) == 0


class _Nowhere:
    def write(self, motion):
        raise AssertionError("there is nothing to write")


# The lumbar ramp


@pytest.fixture(scope="module")
def flex(pose2sim_10: Path, tmp_path_factory) -> tuple[Path, Path, Model]:
    osim = pose2sim_10 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_muscles_flex.osim"
    markers = tmp_path_factory.mktemp("markers") / "simspine.xml"
    marker_set.write_marker_set(markers, simspine_markers.MARKERS)
    return osim, markers, load_model(osim, markers)


def flexion_deg(model: Model, q: np.ndarray) -> np.ndarray:
    """Sum of the flexion of the six lumbar levels, degrees; forward is positive."""
    levels = [
        i for i, name in enumerate(model.coordinate_names) if name.endswith("_Flex_Ext")
    ]
    assert len(levels) == 6
    return -np.rad2deg(q[:, levels].sum(axis=1))


@pytest.fixture(scope="module")
def ramp(flex) -> tuple[np.ndarray, MarkerTrajectory]:
    model = flex[2]
    free = np.asarray(model.free_of(model.default_q))
    at = model.free_coordinate_names.index("L5_S1_Flex_Ext")
    unit = flexion_deg(
        model, np.asarray(model.expand(free + np.eye(len(free))[at])[None])
    )
    rest = flexion_deg(model, np.asarray(model.expand(free))[None])
    true_deg = np.linspace(0.0, 61.4, 9)
    bent = np.tile(free, (9, 1))
    bent[:, at] += (true_deg - rest) / (unit - rest)
    q = np.asarray(model.expand(bent))
    np.testing.assert_allclose(flexion_deg(model, q), true_deg, atol=1e-9)
    return true_deg, markers_of(model, q)


def test_lumbar_flexion_is_recovered(flex, ramp):
    true_deg, trial = ramp
    with warnings.catch_warnings():
        warnings.simplefilter("error", PriorDominanceWarning)
        solution = fit_ik(flex[2], trial, options=OPTIONS)
    found = flexion_deg(flex[2], solution.q)
    np.testing.assert_allclose(found, true_deg, rtol=0, atol=FLEXION_ATOL_DEG)


def test_published_tasks_flatten_the_back(flex, ramp):
    """OpenSim's wrong answer, reproduced and warned about."""
    osim, markers, model = flex
    trial = ramp[1]
    tasks = simspine_tasks.published_tasks()
    options = dataclasses.replace(OPTIONS, objective="opensim")
    with pytest.warns(PriorDominanceWarning, match="L5_S1_Flex_Ext"):
        solution = fit_ik(model, trial, tasks, options)
    assert solution.prior_ratio["L5_S1_Flex_Ext"] > 1.0
    theirs = opensim_ik.run_inverse_kinematics(osim, trial, tasks, markers=markers)
    ours_deg, theirs_deg = (flexion_deg(model, x.q) for x in (solution, theirs))
    np.testing.assert_allclose(theirs_deg[-1], 2.2, rtol=0, atol=OPENSIM_ATOL_DEG)
    np.testing.assert_allclose(ours_deg, theirs_deg, rtol=0, atol=OPENSIM_ATOL_DEG)
    # On the same footing as the markers the same task does far less harm.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PriorDominanceWarning)
        normalised = fit_ik(model, trial, tasks, OPTIONS)
    assert (normalised.objective_opensim >= solution.objective_opensim - 1e-12).all()
    assert flexion_deg(model, normalised.q)[-1] > ours_deg[-1] + 5.0
