import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import simspine_jax as sj
from simspine_jax.fitting import euler_branches, replay, unwrap
from simspine_jax.fitting.euler_branches import Mended
from tests import random_models

ATOL = 1e-9  # m, and entries of rotation matrices
TURN = 2 * np.pi
FEW = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> sj.Model:
    return sj.load_model(next(pose2sim_08.rglob("Model_Pose2Sim_body25b_scaled.osim")))


@pytest.fixture(scope="module")
def joints(tmp_path_factory: pytest.TempPathFactory) -> sj.Model:
    """Every kind of joint; body c hangs on a Gimbal joint, b on a Ball, a is Free."""
    path = tmp_path_factory.mktemp("model") / "model.osim"
    random_models.write_random_model(0, path)
    free = sj.load_model(path)
    n = len(free.coordinate_names)
    return dataclasses.replace(
        free, lower=np.full(n, -np.inf), upper=np.full(n, np.inf)
    )


@pytest.fixture(scope="module")
def flipped(model: sj.Model) -> tuple[np.ndarray, np.ndarray]:
    """A smooth motion, and the same with its pelvis on the other branch at times."""
    q = smooth_motion(model, 50)
    other = q.copy()
    for t in (*range(10, 17), 30, 49):
        tilt, lean, turn = q[t, :3]
        other[t, :3] = tilt + np.pi, np.pi - lean, turn - np.pi
    return q, other


def smooth_motion(model: sj.Model, frames: int, seed: int = 0) -> np.ndarray:
    """Starts near the default pose, within half a turn of it."""
    phase = np.random.default_rng(seed).uniform(0, TURN, len(model.coordinate_names))
    time = np.linspace(0, 1, frames)[:, None]
    return np.asarray(model.default_q) + 0.3 * np.sin(3 * time + phase)


def scrambled(model: sj.Model, q: np.ndarray, seed: int) -> np.ndarray:
    """The same poses on any branch and any number of turns in every frame."""
    rng = np.random.default_rng(seed)
    result = q.copy()
    for triple in euler_branches.davenport_triples(model):
        columns = list(triple.coordinates)
        swap = rng.random((len(q), 1)) < 0.5
        result[:, columns] = np.where(swap, triple.other(q[:, columns]), q[:, columns])
    columns = list(unwrap.turnable(model))
    result[:, columns] += TURN * rng.integers(-2, 3, (len(q), len(columns)))
    return result


def with_axes(
    model: sj.Model,
    axes: np.ndarray,
    slope: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> tuple[sj.Model, int]:
    """Gives the Gimbal joint of ``joints`` other rotations; returns its body too."""
    body = model.body_names.index("c")
    arrays = {}
    for name, rows in (("direction", axes), ("slope", slope), ("offset", offset)):
        array = np.array(getattr(model, f"axis_{name}"))
        if rows is not None:
            array[body, :3] = rows
        arrays[f"axis_{name}"] = array
    return dataclasses.replace(model, **arrays), body


def skew_axes(rng: np.random.Generator, angle: float) -> np.ndarray:
    """Three unit axes, the second perpendicular to the others, which are skew."""
    x, y, z = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    third = np.cos(angle) * x + np.sin(angle) * z
    return np.array([x, y, third / np.linalg.norm(third)])


def triple_of(model: sj.Model, body: str) -> euler_branches.Triple:
    return next(t for t in euler_branches.davenport_triples(model) if t.body == body)


def limited(model: sj.Model, limits: dict[str, tuple[float, float]]) -> sj.Model:
    lower, upper = np.array(model.lower), np.array(model.upper)
    for name, (low, high) in limits.items():
        at = model.coordinate_names.index(name)
        lower[at], upper[at] = low, high
    return dataclasses.replace(model, lower=lower, upper=upper)


def assert_same_poses(model: sj.Model, q: np.ndarray, other: np.ndarray):
    a, b = replay.body_poses(model, q), replay.body_poses(model, other)
    np.testing.assert_allclose(a.position, b.position, atol=ATOL)
    np.testing.assert_allclose(a.rotation, b.rotation, atol=ATOL)


# Which joints


def test_pelvis_has_two_branches(model: sj.Model):
    names = [
        tuple(model.coordinate_names[c] for c in triple)
        for triple in euler_branches.triples(model)
    ]
    assert ("pelvis_tilt", "pelvis_list", "pelvis_rotation") in names


def test_kinds_of_joints(joints: sj.Model):
    found = {t.body for t in euler_branches.davenport_triples(joints)}
    # i is a Custom joint with skew axes and slopes that are not 1.
    assert found == {"a", "b", "c"}
    skew, _ = with_axes(joints, np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1.0]]))
    assert {t.body for t in euler_branches.davenport_triples(skew)} == {"a", "b"}
    steep, _ = with_axes(joints, np.eye(3), slope=np.array([1.0, 1.5, 1.0]))
    assert {t.body for t in euler_branches.davenport_triples(steep)} == {"a", "b"}


def test_a_coordinate_with_a_task_is_left_alone(model: sj.Model):
    held = (model.coordinate_names.index("pelvis_list"),)
    chosen = [c for triple in euler_branches.triples(model, held) for c in triple]
    assert held[0] not in chosen


def test_simple_triples_are_those_with_a_plain_other_branch(joints: sj.Model):
    own = triple_of(joints, "c").coordinates
    assert own in euler_branches.triples(joints)
    for offset, simple in ((0.0, True), (0.2, False), (np.pi, True)):
        changed, _ = with_axes(joints, np.eye(3), offset=np.array([0.3, offset, 0.1]))
        assert (own in euler_branches.triples(changed)) == simple


# The other branch


@FEW
@given(seeds, st.one_of(st.sampled_from([0.0, np.pi]), st.floats(-np.pi, np.pi)))
def test_other_branch_against_scipy(joints, seed, angle):
    rng = np.random.default_rng(seed)
    axes = skew_axes(rng, angle)
    triple = triple_of(with_axes(joints, axes)[0], "c")
    angles = rng.uniform(-4, 4, (5, 3))
    turned = Rotation.from_davenport(axes, "intrinsic", angles)
    again = Rotation.from_davenport(axes, "intrinsic", triple.other(angles))
    assert (turned.inv() * again).magnitude().max() < ATOL
    # SciPy's own angles of that rotation are on one of the two branches.
    chosen = turned.as_davenport(axes, "intrinsic")
    away = [np.sin((chosen - a) / 2) for a in (angles, triple.other(angles))]
    assert np.abs(away).max(axis=2).min(axis=0).max() < 1e-6
    np.testing.assert_allclose(triple.other(triple.other(angles)) % TURN, angles % TURN)


@FEW
@given(seeds, st.floats(-np.pi, np.pi))
def test_other_branch_moves_no_body(joints, seed, angle):
    rng = np.random.default_rng(seed)
    slope, offset = rng.choice([-1.0, 1.0], 3), rng.uniform(-3, 3, 3)
    changed, _ = with_axes(joints, skew_axes(rng, angle), slope, offset)
    q = rng.uniform(-4, 4, (5, len(joints.coordinate_names)))
    other = q.copy()
    for triple in euler_branches.davenport_triples(changed):
        columns = list(triple.coordinates)
        other[:, columns] = triple.other(q[:, columns])
    assert_same_poses(changed, q, other)


# Mending


def test_motion_becomes_smooth_again(model: sj.Model, flipped):
    q, other = flipped
    found = unwrap.unwrap(model, euler_branches.follow(model, other))
    np.testing.assert_allclose(found, q, atol=1e-12)
    found, mended = euler_branches.mend(model, other)
    np.testing.assert_allclose(found, q, atol=1e-12)
    assert mended == Mended({"pelvis": 5}, {})


@FEW
@given(seeds, st.floats(-np.pi, np.pi))
def test_scrambled_motion_comes_back(joints, seed, angle):
    rng = np.random.default_rng(seed)
    axes = skew_axes(rng, angle)
    slope, offset = rng.choice([-1.0, 1.0], 3), rng.uniform(-3, 3, 3)
    changed, _ = with_axes(joints, axes, slope, offset)
    q = smooth_motion(changed, 40, seed)
    broken = scrambled(changed, q[1:], seed)
    given_q = broken.copy()
    found, _ = euler_branches.mend(changed, broken, before=q[0])
    np.testing.assert_array_equal(broken, given_q)
    np.testing.assert_allclose(found, q[1:], atol=1e-10)
    again, mended = euler_branches.mend(changed, found, before=q[0])
    np.testing.assert_array_equal(again, found)
    assert mended == Mended()


@FEW
@given(seeds, st.floats(1.0, 8.0))
def test_jumps_within_limits_keep_poses_and_limits(joints, seed, room):
    """Any poses, no motion at all: nothing leaves its limits, twice is once."""
    rng = np.random.default_rng(seed)
    names = joints.coordinate_names
    low = rng.uniform(-room, 0, len(names))
    narrow = dataclasses.replace(joints, lower=low, upper=low + room)
    q = rng.uniform(low, low + room, (30, len(names)))
    found, _ = euler_branches.mend(narrow, q)
    assert (found >= low).all()
    assert (found <= low + room).all()
    assert_same_poses(narrow, q, found)
    again, mended = euler_branches.mend(narrow, found)
    np.testing.assert_array_equal(again, found)
    assert mended == Mended()


def test_branch_within_limits_is_taken(joints: sj.Model):
    q = smooth_motion(joints, 40)
    names = [joints.coordinate_names[c] for c in triple_of(joints, "c").coordinates]
    # Room for both branches: of half a turn for two angles, of none for the second.
    near = limited(joints, dict.fromkeys(names, (-np.pi, np.pi)))
    broken = scrambled(near, q, 3)
    columns = list(triple_of(near, "c").coordinates)
    broken[:, columns] = (broken[:, columns] + np.pi) % TURN - np.pi
    found, mended = euler_branches.mend(near, broken)
    np.testing.assert_allclose(found, q, atol=1e-10)
    assert mended.flips["c"] > 5


@pytest.mark.parametrize("both", [False, True])
def test_branch_beyond_limits_stays(joints: sj.Model, both: bool):
    """Frames 5 to 14 have to stay, and if ``both`` so have 15 to 24."""
    triple = triple_of(joints, "c")
    columns, (a, b, _) = list(triple.coordinates), triple.coordinates
    names = joints.coordinate_names
    limits = {names[a]: (-1.5, 4.0), names[b]: (-0.8, 4.2)}
    near = limited(joints, limits)
    q = smooth_motion(joints, 40)
    q[10, b] = -0.9  # beyond its limit, but 4.04 on the other branch
    if both:
        q[20, a] = 0.9  # 4.04 or -2.24 on the other branch, so beyond its limits
    broken = q.copy()
    for part in (slice(5, 15), slice(25, 30)):
        broken[part, columns] = triple.other(q[part, columns])
    assert ((broken >= near.lower) & (broken <= near.upper)).all()
    found, mended = euler_branches.mend(near, broken)
    assert ((found >= near.lower) & (found <= near.upper)).all()
    assert mended == Mended({"c": 2 if both else 3})
    assert_same_poses(near, q, found)
    stays = slice(5, 15 if both else None)
    expected = q[:, columns]
    expected[stays] = triple.other(q[stays][:, columns])
    np.testing.assert_allclose(np.sin((found[:, columns] - expected) / 2), 0, atol=ATOL)
    np.testing.assert_array_equal(euler_branches.mend(near, found)[0], found)
    assert euler_branches.mend(joints, broken)[1] == Mended({"c": 4})


@pytest.mark.filterwarnings("ignore:.*is not enforced")
@pytest.mark.parametrize("seed", range(5))
def test_poses_of_random_models_stay(seed: int, tmp_path: Path):
    random_models.write_random_model(seed, tmp_path / "model.osim")
    model = sj.load_model(tmp_path / "model.osim")
    check_poses_stay(model, seed)


@pytest.mark.parametrize("name", ["Body25b", "LSTM"])
def test_poses_of_real_models_stay(name: str, pose2sim_08: Path, pose2sim_10: Path):
    folders = (pose2sim_08, pose2sim_10)
    pattern = f"Model_Pose2Sim_{name}.osim"
    path = next(p for folder in folders for p in sorted(folder.rglob(pattern)))
    check_poses_stay(sj.load_model(path), 0)


def check_poses_stay(model: sj.Model, seed: int):
    q = smooth_motion(model, 60, seed)
    q = scrambled(model, np.clip(q, model.lower, model.upper), seed)
    found, _ = euler_branches.mend(model, q)
    assert_same_poses(model, q, found)
    np.testing.assert_array_equal(euler_branches.mend(model, found)[0], found)


def test_continues_from_the_frame_before(model: sj.Model, flipped):
    q, other = flipped
    before = other[16]  # on the other branch
    found = euler_branches.follow(model, q[17:20], before=before)
    found = unwrap.unwrap(model, found, before=before)
    assert np.abs(np.diff(np.vstack([before, found]), axis=0)).max() < 0.1


def test_no_frames(model: sj.Model):
    empty = np.zeros((0, len(model.coordinate_names)))
    assert euler_branches.follow(model, empty).shape == empty.shape
    for before in (None, np.zeros(empty.shape[1])):
        found, mended = euler_branches.mend(model, empty, before=before)
        assert found.shape == empty.shape
        assert mended == Mended()


# Counts


def test_counts(model: sj.Model, flipped):
    q, other = flipped
    broken = other.copy()
    at = model.coordinate_names.index("pelvis_rotation")
    broken[20:, at] += 2 * TURN
    broken[13:, at] -= TURN  # while on the other branch
    found, mended = euler_branches.mend(model, broken)
    np.testing.assert_allclose(found, q, atol=1e-12)
    assert mended == Mended({"pelvis": 5}, {"pelvis_rotation": 3})
    assert mended == euler_branches.changes(model, broken, found)
    assert mended.to_text() == (
        "Rotations of pelvis: 5 flips by 180 degrees between frames were taken out.",
        "pelvis_rotation: 3 turns of 360 degrees between frames were taken out.",
    )


def test_counts_leave_out_where_a_motion_starts(model: sj.Model, flipped):
    q, _ = flipped
    triple = triple_of(model, "pelvis")
    other = q.copy()
    other[:, :3] = triple.other(q[:, :3]) + TURN
    found, mended = euler_branches.mend(model, other)
    np.testing.assert_allclose(found, q, atol=1e-12)
    assert mended == Mended()


@FEW
@given(seeds, st.lists(st.integers(0, 39), max_size=3))
def test_counts_of_pieces_add_up(joints, seed, cuts):
    q = scrambled(joints, smooth_motion(joints, 40), seed)
    whole, expected = euler_branches.mend(joints, q)
    before = raw = None
    total, parts = Mended(), []
    for piece in np.split(q, sorted(cuts)):
        found, mended = euler_branches.mend(joints, piece, (), before, raw)
        if len(piece):
            before, raw = found[-1], piece[-1]
        total += mended
        parts.append(found)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-10)
    assert total == expected


def test_sums_and_sentences():
    a = Mended({"x": 2}, {"y": 1, "z": -1})
    b = Mended({"w": 1}, {"y": 3, "z": 1})
    assert a + b == Mended({"x": 2, "w": 1}, {"y": 4})
    assert a + Mended() == a
    assert Mended().to_text() == ()
    assert Mended({}, {"z": -1}).to_text() == ()
    assert b.to_text()[0] == (
        "Rotations of w: 1 flip by 180 degrees between frames was taken out."
    )
