import dataclasses
import pathlib
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from simspine_jax.body import spec
from simspine_jax.reference import opensim_ik, opensim_objective, opensim_tasks
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.types import CoordinateTask, IkTasks, MarkerTrajectory
from tests import random_models

JACOBIAN_ATOL = 1e-8  # central differences of metres, step 1e-5
COUPLER_ATOL = 1e-10  # rad, m: what assembly leaves
FILE_ATOL = 1e-8  # the tool's files have eight decimals
ANSWER_ATOL = 1e-7  # rad, m: accuracy 1e-9 on a quadratic objective
SCALED = "Pose2Sim/S00_Demo_BatchSession/S00_P00_SingleParticipant/S00_P00_OpenSim/"
FRAMES = 3

SLIDER = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40600"><Model name="slider">
<JointSet name="jointset"><objects><SliderJoint name="rail">
<socket_parent_frame>/ground</socket_parent_frame>
<socket_child_frame>/bodyset/block</socket_child_frame>
<coordinates><Coordinate name="x"><default_value>0.1</default_value>
<range>-2 2</range></Coordinate></coordinates></SliderJoint></objects></JointSet>
<BodySet name="bodyset"><objects><Body name="block"><mass>1</mass>
<inertia>1 1 1 0 0 0</inertia></Body></objects></BodySet>
<MarkerSet name="markerset"><objects>
<Marker name="A"><socket_parent_frame>/bodyset/block</socket_parent_frame>
<location>0 0 0</location></Marker>
<Marker name="B"><socket_parent_frame>/bodyset/block</socket_parent_frame>
<location>0 1 0</location></Marker>
<Marker name="C"><socket_parent_frame>/bodyset/block</socket_parent_frame>
<location>0 0 1</location></Marker>
</objects></MarkerSet></Model></OpenSimDocument>
"""
SLIDER_OFFSETS = np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 1]])


@pytest.fixture
def slider(tmp_path):
    path = tmp_path / "slider.osim"
    path.write_text(SLIDER)
    return path


@pytest.fixture(scope="module")
def trial_model(pose2sim_08):
    return ReferenceModel(pose2sim_08 / SCALED / "Model_Pose2Sim_body25b_scaled.osim")


@pytest.fixture(scope="module")
def trial(pose2sim_04):
    path = pose2sim_04 / "Pose2Sim/Demo/opensim/Balancing_for_IK.trc"
    names = tuple(path.read_text().splitlines()[3].split()[2:])
    rows = np.loadtxt(path, skiprows=5, max_rows=FRAMES)
    points = rows[:, 2:].reshape(FRAMES, len(names), 3)
    valid = np.ones(points.shape[:2], bool)
    return MarkerTrajectory(points, valid, names, 60.0, rows[0, 1])


@pytest.fixture(scope="module")
def trial_tasks(pose2sim_08):
    path = pose2sim_08 / "Pose2Sim/OpenSim_Setup/IK_Setup_Pose2Sim_Body25b.xml"
    return dataclasses.replace(opensim_tasks.read_tasks(path), time_range_s=None)


@pytest.fixture(scope="module")
def trial_motion(pose2sim_08, trial, trial_tasks):
    path = pose2sim_08 / SCALED / "Model_Pose2Sim_body25b_scaled.osim"
    return opensim_ik.run_inverse_kinematics(path, trial, trial_tasks)


def slider_trial(along_x, valid=None):
    """Markers A, B, C of the slider model displaced along x, [T, 3] m."""
    along_x = np.asarray(along_x, float)
    points = np.tile(SLIDER_OFFSETS, (len(along_x), 1, 1))
    points[:, :, 0] += along_x
    valid = np.ones(along_x.shape, bool) if valid is None else np.asarray(valid)
    return MarkerTrajectory(points, valid, ("A", "B", "C"), 10.0)


def poses(model, count, seed=0):
    """Poses over each range, those wider than 2 (rad, m) cut to that."""
    low, high = np.clip(model.ranges, -2, 2).T
    rng = np.random.default_rng(seed)
    return rng.uniform(low, high, (count, len(low)))


def differences(model, q, step=1e-5):
    sides = [
        (model.marker_positions(q + step * e) - model.marker_positions(q - step * e))
        for e in np.eye(q.shape[1])
    ]
    return np.stack(sides, axis=-1) / (2 * step)


# The model


def test_slider_by_hand(slider):
    model = ReferenceModel(slider)
    q = np.array([[0.3], [-1.5]])
    rotation, position = model.body_poses(q)
    expected = np.array([[[0.3, 0, 0]], [[-1.5, 0, 0]]])
    np.testing.assert_allclose(position, expected, atol=1e-15)
    np.testing.assert_allclose(rotation, np.tile(np.eye(3), (2, 1, 1, 1)), atol=1e-15)
    np.testing.assert_allclose(
        model.marker_positions(q), expected + SLIDER_OFFSETS, atol=1e-15
    )
    np.testing.assert_array_equal(
        model.marker_jacobian(q)[..., 0], np.tile([1.0, 0, 0], (2, 3, 1))
    )
    assert model.body_names == ("block",)
    assert model.coordinate_names == ("x",)
    assert model.marker_names == ("A", "B", "C")
    np.testing.assert_array_equal(model.default_q, [0.1])
    np.testing.assert_array_equal(model.ranges, [[-2.0, 2.0]])
    assert not model.locked[0]
    assert not model.clamped[0]


def test_external_markers_replace_and_add(slider, tmp_path):
    markers = tmp_path / "markers.xml"
    markers.write_text(
        '<OpenSimDocument Version="40600"><MarkerSet name="extra"><objects>'
        '<Marker name="B"><socket_parent_frame>/bodyset/block</socket_parent_frame>'
        "<location>5 0 0</location></Marker>"
        '<Marker name="D"><socket_parent_frame>/ground</socket_parent_frame>'
        "<location>0 7 0</location></Marker></objects></MarkerSet></OpenSimDocument>"
    )
    model = ReferenceModel(slider, markers)
    found = dict(
        zip(model.marker_names, model.marker_positions(np.ones((1, 1)))[0], strict=True)
    )
    assert set(found) == {"A", "B", "C", "D"}
    np.testing.assert_allclose(found["B"], [6, 0, 0])
    np.testing.assert_allclose(found["D"], [0, 7, 0])


def test_jacobian_of_the_trial_model(trial_model):
    q = poses(trial_model, 2)
    jacobian = trial_model.marker_jacobian(q)
    assert jacobian.shape == (2, 21, 3, 62)
    np.testing.assert_allclose(
        jacobian, differences(trial_model, q), atol=JACOBIAN_ATOL
    )


def test_assembly_satisfies_the_couplers(trial_model):
    q = poses(trial_model, 2)
    assert trial_model.constraint_violation(q).min() > 0.1
    assembled = trial_model.assemble(q)
    assert trial_model.constraint_violation(assembled).max() < COUPLER_ATOL
    free = [
        trial_model.coordinate_names.index(n) for n in ("hip_flexion_r", "arm_rot_l")
    ]
    np.testing.assert_allclose(assembled[:, free], q[:, free], atol=1e-8)
    locked = trial_model.locked
    assert locked.any()
    np.testing.assert_allclose(
        assembled[:, locked], np.tile(trial_model.default_q[locked], (2, 1)), atol=1e-9
    )


def test_poses_are_taken_as_given(trial_model):
    q = trial_model.default_q[None]
    toe = trial_model.coordinate_names.index("mtp_angle_r")
    marker = trial_model.marker_names.index("RBigToe")
    assert trial_model.locked[toe]
    moved = q + 0.4 * np.eye(q.shape[1])[toe]
    shift = trial_model.marker_positions(moved) - trial_model.marker_positions(q)
    assert np.linalg.norm(shift[0, marker]) > 0.01


@pytest.mark.parametrize(
    ("text", "message"), [("<a>", "OpenSim"), (SLIDER.replace("et/block", "et/x"), "x")]
)
def test_a_model_opensim_refuses(tmp_path, text, message):
    path = tmp_path / "bad.osim"
    path.write_text(text)
    with pytest.raises(spec.ModelError, match=message):
        ReferenceModel(path)


def test_missing_files_and_wrong_shapes(slider, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.osim"):
        ReferenceModel(tmp_path / "no.osim")
    with pytest.raises(FileNotFoundError, match=r"no\.xml"):
        ReferenceModel(slider, tmp_path / "no.xml")
    with pytest.raises(ValueError, match="shape"):
        ReferenceModel(slider).marker_positions(np.zeros((2, 3)))


# Objective and tool


def test_objective_is_plain_numpy(trial_model, trial, trial_tasks, trial_motion):
    assert trial_tasks.coordinate_tasks == (CoordinateTask("L5_S1_Flex_Ext", 1.0),)
    q = trial_motion.q
    placed = trial_model.marker_positions(q)
    expected = np.zeros(FRAMES)
    for t in range(FRAMES):
        total, weights = 0.0, 0.0
        for name, weight in trial_tasks.marker_weights.items():
            model_point = placed[t, trial_model.marker_names.index(name)]
            residual = model_point - trial.points[t, trial.names.index(name)]
            total += weight * (residual @ residual)
            weights += weight
        held = q[t, trial_model.coordinate_names.index("L5_S1_Flex_Ext")]
        expected[t] = total / weights / 2 + held**2 / 2
    value = opensim_objective.objective(trial_model, q, trial, trial_tasks)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_tool_reports_our_marker_errors(trial_model, trial, trial_tasks, trial_motion):
    rms = opensim_objective.marker_rms(trial_model, trial_motion.q, trial, trial_tasks)
    reported = trial_motion.marker_errors
    np.testing.assert_allclose(rms, reported["marker_error_RMS"], atol=FILE_ATOL)
    np.testing.assert_allclose(
        rms**2 * len(trial.names), reported["total_squared_error"], atol=FILE_ATOL
    )
    assert (reported["marker_error_max"] >= reported["marker_error_RMS"]).all()


def test_answer_beats_the_start(trial_model, trial, trial_tasks, trial_motion):
    assert trial_motion.coordinate_names == trial_model.coordinate_names
    assert trial_motion.q.shape == (FRAMES, 62)
    assert trial_motion.frames == FRAMES
    assert trial_motion.seconds > 0
    np.testing.assert_allclose(trial_motion.times_s, trial.times_s, atol=FILE_ATOL)
    start = np.tile(trial_model.assemble(trial_model.default_q[None]), (FRAMES, 1))
    before = opensim_objective.objective(trial_model, start, trial, trial_tasks)
    after = opensim_objective.objective(trial_model, trial_motion.q, trial, trial_tasks)
    assert (after < 0.01 * before).all()
    # Also shows that angles, knee_angle_r_beta in rad among them, are read right.
    assert trial_motion.q[:, 6:12].any()
    assert trial_model.constraint_violation(trial_motion.q).max() < FILE_ATOL


def test_coordinate_terms_are_not_divided(slider):
    """The minimum of the slider's objective, by hand: its form is OpenSim's."""
    along_x = np.array([[0.5, 0.5, 9], [0.2, 0.6, 9]])  # C has no task
    tasks = IkTasks({"A": 3.0, "B": 5.0, "Z": 1.0}, (CoordinateTask("x", 2.0, 0.3),))
    motion = opensim_ik.run_inverse_kinematics(
        slider, slider_trial(along_x), tasks, accuracy=1e-9
    )
    mean = along_x[:, :2] @ [3 / 8, 5 / 8]
    np.testing.assert_allclose(motion.q[:, 0], (mean + 2 * 0.3) / 3, atol=ANSWER_ATOL)


@pytest.mark.parametrize("kind", ["default", "series"])
def test_targets_of_coordinates(slider, kind):
    times = np.arange(-4, 8) / 10
    series = (times, 0.2 + times) if kind == "series" else None
    tasks = IkTasks({"A": 1.0}, (CoordinateTask("x", 1.0, None, series),))
    trajectory = slider_trial(np.full((2, 3), 0.6))
    motion = opensim_ik.run_inverse_kinematics(slider, trajectory, tasks, accuracy=1e-9)
    target = 0.2 + trajectory.times_s if kind == "series" else np.full(2, 0.1)
    np.testing.assert_allclose(motion.q[:, 0], (0.6 + target) / 2, atol=ANSWER_ATOL)
    model = ReferenceModel(slider)
    value = opensim_objective.objective(model, motion.q, trajectory, tasks)
    half = (0.6 - target) / 2
    np.testing.assert_allclose(value, half**2, atol=ANSWER_ATOL)


def test_missing_markers_leave_the_sums(slider):
    trajectory = slider_trial(
        [[0.5, 0.7, 0], [0.2, 0.6, 0]], [[True, True, False], [False, True, False]]
    )
    tasks = IkTasks({"A": 1.0, "B": 1.0, "C": 1.0})
    motion = opensim_ik.run_inverse_kinematics(slider, trajectory, tasks, accuracy=1e-9)
    np.testing.assert_allclose(motion.q[:, 0], [0.6, 0.6], atol=ANSWER_ATOL)
    model = ReferenceModel(slider)
    q = np.array([[0.6], [0.7]])
    value = opensim_objective.objective(model, q, trajectory, tasks)
    np.testing.assert_allclose(value, [0.005, 0.005], atol=1e-12)
    rms = opensim_objective.marker_rms(model, q, trajectory, tasks)
    np.testing.assert_allclose(rms, [0.1, 0.1], atol=1e-12)


def test_default_tasks_are_the_shared_markers(slider):
    trajectory = slider_trial([[0.4, 0.4, 0.4]])
    trajectory = dataclasses.replace(trajectory, names=("A", "other", "C"))
    motion = opensim_ik.run_inverse_kinematics(slider, trajectory)
    np.testing.assert_allclose(motion.q[:, 0], 0.4, atol=1e-5)
    value = opensim_objective.objective(
        ReferenceModel(slider), np.array([[0.4]]), trajectory, None
    )
    np.testing.assert_allclose(value, 0, atol=1e-15)


def test_a_trc_file_and_a_set_up_are_used_as_they_are(
    pose2sim_04, pose2sim_08, trial_motion
):
    demo = pose2sim_04 / "Pose2Sim/Demo/opensim"
    text = (demo / "IK_Setup_Pose2Sim_Body25b.xml").read_text()
    assert "<time_range>0.0166666666666666 1.6666666666666667<" in text
    tasks = opensim_tasks.read_tasks(demo / "IK_Setup_Pose2Sim_Body25b.xml")
    assert tasks.accuracy == 1e-5
    assert tasks.constraint_weight == np.inf
    tasks = dataclasses.replace(tasks, time_range_s=(0.016, 0.052))
    motion = opensim_ik.run_inverse_kinematics(
        pose2sim_08 / SCALED / "Model_Pose2Sim_body25b_scaled.osim",
        demo / "Balancing_for_IK.trc",
        tasks,
    )
    np.testing.assert_allclose(motion.q, trial_motion.q, atol=1e-7)


def test_what_opensim_cannot_run_is_one_sentence(slider, tmp_path):
    run = opensim_ik.run_inverse_kinematics
    good = slider_trial(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"no marker is in the model \(A, B, C\)"):
        run(slider, good, IkTasks({"Z": 1.0}))
    with pytest.raises(ValueError, match="nope: the model has no such coordinate"):
        run(slider, good, IkTasks({"A": 1.0}, (CoordinateTask("nope", 1.0),)))
    gone = slider_trial(np.zeros((2, 3)), [[True] * 3, [False, False, True]])
    with pytest.raises(ValueError, match=r"seen in 1 frames \(1\)"):
        run(slider, gone, IkTasks({"A": 1.0, "B": 1.0}))
    weighted = dataclasses.replace(good, weight=np.full((2, 3), 0.5))
    with pytest.raises(ValueError, match="weight is not one everywhere"):
        run(slider, weighted, IkTasks({"A": 1.0}))
    late = IkTasks({"A": 1.0}, time_range_s=(50.0, 60.0))
    with pytest.raises(ValueError, match="slider.osim: OpenSim's"):
        run(slider, good, late)
    with pytest.raises(FileNotFoundError, match=r"no\.trc"):
        run(slider, tmp_path / "no.trc", IkTasks({"A": 1.0}))
    with pytest.raises(ValueError, match="kind"):
        opensim_objective.objective(
            ReferenceModel(slider), np.zeros((2, 1)), good, None, "other"
        )


def test_nothing_is_written_or_printed(slider, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    opensim_ik.run_inverse_kinematics(slider, slider_trial(np.zeros((2, 3))))
    assert not list(folder.iterdir())
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


# Random models


@pytest.mark.parametrize("seed", random_models.SEEDS)
def test_random_models_load_as_described(tmp_path, seed):
    made = random_models.write_random_model(seed, tmp_path / "random.osim")
    model = ReferenceModel(made.path)
    assert model.body_names == made.body_names
    assert model.coordinate_names == made.coordinate_names
    assert model.marker_names == made.marker_names
    q = poses(model, 1, seed)
    np.testing.assert_allclose(
        model.marker_jacobian(q), differences(model, q), atol=JACOBIAN_ATOL
    )
    assert model.constraint_violation(model.assemble(q)).max() < COUPLER_ATOL


def test_random_models_cover_every_part(tmp_path):
    count = len(random_models.TOPOLOGIES)
    assert count <= 5
    assert len(random_models.SEEDS) == 30
    made = [
        random_models.write_random_model(seed, tmp_path / f"{seed}.osim")
        for seed in range(count)
    ]
    joints = [
        "Weld",
        "Pin",
        "Slider",
        "Planar",
        "Universal",
        "Gimbal",
        "Ball",
        "Free",
        "Custom",
    ]
    functions = [
        "Constant",
        "LinearFunction",
        "PolynomialFunction",
        "SimmSpline",
        "PiecewiseLinearFunction",
        "MultiplierFunction",
    ]
    wanted = {f"{name}Joint" for name in joints} | set(functions)
    assert wanted <= frozenset.union(*(model.kinds for model in made))
    assert {model.topology for model in made} == set(range(count))
    inside = {"MultiplierFunction": set(), "CoordinateCouplerConstraint": set()}
    for model in made:
        for owner, found in inside.items():
            for element in ET.parse(model.path).iter(owner):
                found.update(e.tag for e in element.iter() if e is not element)
    assert set(functions) <= inside["MultiplierFunction"]
    assert set(functions) - {"Constant"} <= inside["CoordinateCouplerConstraint"]


def test_seeds_of_one_topology_differ_in_numbers_only(tmp_path):
    def parts(seed: int) -> tuple[list[str], list[str]]:
        made = random_models.write_random_model(seed, tmp_path / "random.osim")
        words = pathlib.Path(made.path).read_text().replace("<", " <").split()
        return [w for w in words if not _is_number(w)], words

    first, words = parts(2)
    for seed in (7, 27):
        other, other_words = parts(seed)
        assert other == first
        assert other_words != words
        assert len(other_words) == len(words)
    assert parts(2)[1] == words


def _is_number(word: str) -> bool:
    try:
        float(word.rpartition(">")[2])
    except ValueError:
        return False
    return True


def test_tool_follows_a_model_out_of_tree_order(tmp_path):
    """Columns of the answer are the coordinates, whatever the file's order."""
    made = random_models.write_random_model(3, tmp_path / "random.osim")
    model = ReferenceModel(made.path)
    q = model.assemble(model.default_q + 0.05 * poses(model, 2))
    points = model.marker_positions(q)
    valid = np.ones(points.shape[:2], bool)
    trajectory = MarkerTrajectory(points, valid, model.marker_names, 100.0)
    motion = opensim_ik.run_inverse_kinematics(made.path, trajectory, accuracy=1e-9)
    rms = opensim_objective.marker_rms(model, motion.q, trajectory)
    assert rms.max() < 1e-5
    reported = motion.marker_errors["marker_error_RMS"]
    np.testing.assert_allclose(rms, reported, atol=FILE_ATOL)
