import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simspine_jax.fitting import label_swaps
from simspine_jax.fitting.label_swaps import LabelSwap
from simspine_jax.types import MarkerTrajectory

NAMES = ("Neck", "RHip", "LHip", "RKnee", "LKnee", "RAnkle", "LAnkle", "RWrist")
# In the body's axes, m; the legs are 0.3 m apart.
PLACES = np.array(
    [
        [0.0, 1.5, 0.0],
        [0.0, 1.0, 0.15],
        [0.0, 1.0, -0.15],
        [0.05, 0.55, 0.15],
        [0.05, 0.55, -0.15],
        [0.0, 0.1, 0.15],
        [0.0, 0.1, -0.15],
        [0.1, 0.9, 0.5],
    ]
)
FRAMES = 60
OFFSET_M = 0.04
NOISE_M = 0.005


def moving(local: np.ndarray, frames: int = FRAMES) -> np.ndarray:
    """Points [K, 3] on a body that walks a full circle. Shape [T, K, 3]."""
    angle = np.linspace(0.0, 2 * np.pi, frames)
    c, s, zero, one = np.cos(angle), np.sin(angle), 0 * angle, 0 * angle + 1
    rotation = np.array([[c, zero, s], [zero, one, zero], [-s, zero, c]])
    path = np.stack([2 * s, zero, 2 * c], -1)
    return np.einsum("ijt,kj->tki", rotation, local) + path[:, None]


def trial(seed: int = 0, offset_m: float = OFFSET_M) -> tuple[np.ndarray, np.ndarray]:
    """Rightly labelled points and their places, all markers misplaced. [T, K, 3]."""
    rng = np.random.default_rng(seed)
    offset = rng.normal(size=PLACES.shape)
    offset *= offset_m / np.linalg.norm(offset, axis=1, keepdims=True)
    noise = NOISE_M * rng.normal(size=(FRAMES, *PLACES.shape))
    return moving(PLACES + offset) + noise, moving(PLACES)


def exchange(values: np.ndarray, markers: tuple[str, ...], frames: range) -> np.ndarray:
    """Gives each label of a cycle the values of the next."""
    result = values.copy()
    for label, owner in zip(markers, (*markers[1:], markers[0]), strict=True):
        result[frames, NAMES.index(label)] = values[frames, NAMES.index(owner)]
    return result


def find(points: np.ndarray, places: np.ndarray, seen: np.ndarray | None = None):
    seen = np.ones(points.shape[:2], bool) if seen is None else seen
    return label_swaps.find_swaps(points, seen, places, NAMES)


def what_and_when(swaps: tuple[LabelSwap, ...]) -> list:
    return [(swap.markers, swap.first_frame, swap.last_frame) for swap in swaps]


def swap_of(*markers: str, frames: tuple[int, int] = (3, 9)) -> LabelSwap:
    return LabelSwap(markers, *frames, gap_m=0.312, left_m=0.009)


@pytest.mark.parametrize("offset_m", [0.0, 0.04, 0.07, 0.15])
@pytest.mark.parametrize("seed", range(5))
def test_no_alarm_where_no_label_is_exchanged(seed: int, offset_m: float):
    assert find(*trial(seed, offset_m)) == ()


@pytest.mark.parametrize("frames", [range(10, 25), range(7), range(50, 60), range(60)])
@pytest.mark.parametrize(
    "markers",
    [("RKnee", "LKnee"), ("Neck", "RWrist"), ("RHip", "LAnkle", "RWrist")],
)
def test_a_cycle_is_found_in_its_frames(markers: tuple[str, ...], frames: range):
    right, places = trial()
    points = exchange(right, markers, frames)
    (swap,) = find(points, places)
    assert swap.markers == markers
    assert (swap.first_frame, swap.last_frame) == (frames[0], frames[-1])
    own = [NAMES.index(name) for name in markers]
    wrong = np.linalg.norm((points - places)[frames][:, own], axis=-1)
    exchanged = np.linalg.norm((right - places)[frames][:, own], axis=-1)
    assert swap.gap_m == pytest.approx(wrong.mean(), rel=1e-12)
    assert swap.left_m == pytest.approx(exchanged.mean(), rel=1e-12)


def test_the_direction_of_a_cycle_is_told():
    points, places = trial()
    there, back = ("Neck", "LHip", "RAnkle"), ("Neck", "RAnkle", "LHip")
    points = exchange(exchange(points, there, range(5, 9)), back, range(20, 24))
    assert what_and_when(find(points, places)) == [(there, 5, 8), (back, 20, 23)]


def test_cycles_begin_with_the_first_of_the_names():
    points, places = trial()
    points = exchange(points, ("RWrist", "RHip", "LAnkle"), range(5, 9))
    (swap,) = find(points, places)
    assert swap.markers == ("RHip", "LAnkle", "RWrist")


def test_several_swaps_at_once_and_one_after_the_other():
    points, places = trial()
    put_in = [
        (("RHip", "LHip"), range(4, 12)),
        (("RAnkle", "LAnkle"), range(8, 20)),
        (("RHip", "LHip"), range(30, 31)),
        (("RHip", "LKnee"), range(31, 40)),
    ]
    for markers, frames in put_in:
        points = exchange(points, markers, frames)
    found = what_and_when(find(points, places))
    assert found == [(markers, at[0], at[-1]) for markers, at in put_in]


@pytest.mark.parametrize("unseen", [np.nan, 0.0, None])
@pytest.mark.parametrize(("missing", "swaps"), [(1, 1), (2, 1), (3, 2)])
def test_missing_frames_are_bridged(missing: int, swaps: int, unseen: float | None):
    points, places = trial()
    points = exchange(points, ("RKnee", "LKnee"), range(10, 30))
    seen = np.ones(points.shape[:2], bool)
    seen[15 : 15 + missing, NAMES.index("LKnee")] = False
    if unseen is not None:
        points[~seen] = unseen  # else right, but not to be read
    found = find(points, places, seen)
    assert len(found) == swaps
    own = [NAMES.index("RKnee"), NAMES.index("LKnee")]
    at = slice(10, found[0].last_frame + 1)
    wrong = np.linalg.norm(points - places, axis=-1)[at, own][seen[at, own]]
    assert found[0].gap_m == pytest.approx(wrong.mean(), rel=1e-12)
    assert (found[0].first_frame, found[-1].last_frame) == (10, 29)


def test_frames_that_speak_against_a_swap_are_not_bridged():
    right, places = trial()
    pair, three = ("RKnee", "LKnee"), ("RKnee", "LKnee", "RWrist")
    points = exchange(exchange(right, pair, range(10, 15)), pair, range(16, 20))
    assert what_and_when(find(points, places)) == [(pair, 10, 14), (pair, 16, 19)]
    points = exchange(points, three, range(15, 16))
    found = find(points, places)
    assert what_and_when(found) == [(pair, 10, 14), (three, 15, 15), (pair, 16, 19)]


def test_displaced_markers_without_a_partner_are_not_exchanged():
    points, places = trial()
    for k, axis in ((1, 0), (3, 0), (5, 1), (6, 2)):
        points[10:30, k, axis] += 0.3
    assert find(points, places) == ()
    # Nor do they hide a swap beside them.
    points = exchange(points, ("LHip", "LKnee"), range(12, 18))
    assert what_and_when(find(points, places)) == [(("LHip", "LKnee"), 12, 17)]


def test_markers_badly_placed_on_the_model_are_compared_with_their_usual_distance():
    # Hips 12 cm too high: exchanging leaves more than a third of the distance.
    points, places = trial(offset_m=0.01)
    points[:, 1:3, 1] += 0.12
    points = exchange(points, ("RHip", "LHip"), range(10, 20))
    (swap,) = find(points, places)
    assert what_and_when((swap,)) == [(("RHip", "LHip"), 10, 19)]
    assert swap.left_m > 0.34 * swap.gap_m


def test_points_that_come_only_somewhat_nearer_are_not_exchanged():
    points, places = trial()
    right, left = NAMES.index("RKnee"), NAMES.index("LKnee")
    across = 0.65 * (places[:, left] - places[:, right])  # two thirds of the way
    points[10:20, right] += across[10:20]
    points[10:20, left] -= across[10:20]
    assert find(points, places) == ()


@pytest.mark.parametrize(("apart_m", "swaps"), [(0.12, 0), (0.2, 1)])
def test_suspects_exceed_their_usual_distance(apart_m: float, swaps: int):
    places = np.tile([[0.0, 0.0, 0.0], [apart_m, 0.0, 0.0]], (20, 1, 1))
    points = places + [0.0, 0.06, 0.0]
    points[5:9] = points[5:9, ::-1]  # 0.13 m or 0.21 m off; 0.14 m is suspect
    seen = np.ones((20, 2), bool)
    found = label_swaps.find_swaps(points, seen, places, ("A", "B"))
    assert len(found) == swaps


def test_a_displaced_marker_cannot_spoil_a_swap():
    a, b, c = [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.0, 0.0]
    places = np.tile([a, b, c], (20, 1, 1))
    points = places.copy()
    # The summed distance would be least in a cycle of all three: 0.86 m, not 0.94 m.
    points[5:9] = [b, [0.04, 0.0, 0.0], [-0.3, 0.0, 0.0]]
    seen = np.ones((20, 3), bool)
    found = label_swaps.find_swaps(points, seen, places, ("A", "B", "C"))
    assert what_and_when(found) == [(("A", "B"), 5, 8)]


def test_every_point_of_a_swap_comes_nearer():
    places = np.tile([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0]], (20, 1, 1))
    points = places.copy()
    points[:, 1, 1] += 0.3  # usual for the second, which then comes to the first
    points[5:9, 1] = places[5:9, 0]
    points[5:9, 0, 0] += 0.12  # to 0.28 m from the second, within what is usual there
    seen = np.ones((20, 2), bool)
    assert label_swaps.find_swaps(points, seen, places, ("A", "B")) == ()


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(range(len(NAMES))),
    first=st.integers(0, FRAMES - 1),
    count=st.integers(1, FRAMES),
    seed=st.integers(0, 10_000),
)
def test_permutations_of_markers_are_recovered(
    order: list[int], first: int, count: int, seed: int
):
    right, places = trial(seed)
    points = right.copy()
    points[first : first + count] = right[first : first + count, order]
    swaps = find(points, places)
    moves = [
        (NAMES.index(label), NAMES.index(owner))
        for swap in swaps
        for label, owner in zip(swap.markers, np.roll(swap.markers, -1), strict=True)
    ]
    assert sorted(moves) == [(k, p) for k, p in enumerate(order) if k != p]
    for swap in swaps:
        assert min(swap.markers, key=NAMES.index) == swap.markers[0]
        assert swap.first_frame == first
        assert swap.last_frame == min(first + count, FRAMES) - 1
        assert swap.left_m < 0.33 * swap.gap_m
    trajectory = MarkerTrajectory(points, np.ones((FRAMES, 8), bool), NAMES, 50.0)
    np.testing.assert_array_equal(
        label_swaps.corrected(trajectory, swaps).points, right
    )


@pytest.mark.parametrize("weighted", [True, False])
def test_correcting_undoes_what_was_put_in(weighted: bool):
    right, places = trial()
    rng = np.random.default_rng(1)
    seen = rng.random(right.shape[:2]) > 0.05
    seen[[10, 14, 15, 19, 30, 40]] = True  # ends are found where points are seen
    right = np.where(seen[..., None], right, 0.0)
    arrays = [right, seen, rng.random(seen.shape).astype(np.float32)]
    for markers, frames in (
        (("RKnee", "LKnee"), range(10, 15)),
        (("RKnee", "LKnee", "RWrist"), range(15, 20)),
        (("RHip", "LHip"), range(30, 41)),
    ):
        arrays = [exchange(values, markers, frames) for values in arrays]
    points, valid, weight = arrays
    given_ = MarkerTrajectory(
        points, valid, NAMES, 50.0, 1.5, weight if weighted else None
    )
    copies = [values.copy() for values in arrays]
    swaps = label_swaps.find_swaps(points, valid, places, NAMES)
    assert len(swaps) == 3
    found = label_swaps.corrected(given_, swaps)
    np.testing.assert_array_equal(found.points, right)
    np.testing.assert_array_equal(found.valid, seen)
    if weighted:
        original = np.random.default_rng(1)
        original.random(seen.shape)
        expected = original.random(seen.shape).astype(np.float32)
        np.testing.assert_array_equal(found.weight, expected, strict=True)
    else:
        assert found.weight is None
    assert (found.names, found.rate_hz, found.start_s) == (NAMES, 50.0, 1.5)
    for values, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(values, copy)


def test_several_swaps_are_taken_back_one_after_the_other():
    points = np.arange(60.0 * 8 * 3).reshape(60, 8, 3)
    trajectory = MarkerTrajectory(points, np.ones((60, 8), bool), NAMES, 50.0)
    first, then = swap_of("RHip", "LHip"), swap_of("LHip", "LKnee", frames=(5, 20))
    both = label_swaps.corrected(trajectory, (first, then))
    once = label_swaps.corrected(trajectory, (first,))
    twice = label_swaps.corrected(once, (then,))
    np.testing.assert_array_equal(both.points, twice.points)
    assert label_swaps.corrected(trajectory, ()).points.tolist() == points.tolist()


def test_flips_are_pairs_of_both_sides_in_nearly_the_same_frames():
    hips = swap_of("RHip", "LHip", frames=(40, 59))
    knees = swap_of("RKnee", "LKnee", frames=(41, 59))
    ankles = swap_of("LAnkle", "RAnkle", frames=(40, 60))
    elsewhere = swap_of("RElbow", "LElbow", frames=(40, 45))
    not_sides = swap_of("RToe", "RHeel", frames=(40, 59))
    three = swap_of("REye", "Nose", "LEye", frames=(40, 59))
    eyes = swap_of("r_eye", "L_eye", frames=(2, 2))
    ears = swap_of("r_ear", "L_ear", frames=(2, 2))
    swaps = (three, hips, ankles, elsewhere, eyes, not_sides, ears, knees)
    assert label_swaps.label_flips(swaps) == ((eyes, ears), (hips, ankles, knees))
    assert label_swaps.label_flips((hips, elsewhere, three)) == ()
    assert label_swaps.label_flips(()) == ()


@pytest.mark.parametrize(
    ("pair", "sides"),
    [
        (("LHip", "RHip"), True),
        (("r_knee_study", "L_knee_study"), True),
        (("r.ASIS_study", "L.ASIS_study"), True),
        (("left_foot_index", "right_foot_index"), True),
        (("RightKnee", "LeftKnee"), True),
        (("knee_r", "knee_l"), True),
        (("BLTI", "BRTI"), True),
        (("RHip", "LKnee"), False),
        (("r_knee", "knee_l"), False),
        (("r_lelbow_study", "r_melbow_study"), False),
        (("Right", "Wrong"), False),
        (("Neck", "Nose"), False),
    ],
)
def test_sides_are_told_from_names(pair: tuple[str, str], sides: bool):
    known = swap_of("RWrist", "LWrist")
    assert bool(label_swaps.label_flips((known, swap_of(*pair)))) == sides


@pytest.mark.parametrize(
    ("model", "alone"),
    [
        ("Body25b", {"Nose", "Head", "Neck"}),
        ("BlazePose", {"nose"}),
        ("Halpe26", {"Nose", "Head", "Neck", "Hip"}),
        ("LSTM", {"C7_study"}),
    ],
)
def test_every_marker_of_real_models_has_its_other_side(
    pose2sim_08: Path, model: str, alone: set[str]
):
    file = pose2sim_08 / f"Pose2Sim/OpenSim_Setup/Model_Pose2Sim_{model}.osim"
    names = re.findall(r'<Marker name="([^"]+)"', file.read_text(errors="ignore"))
    (flip,) = label_swaps.label_flips([swap_of(*p) for p in combinations(names, 2)])
    paired = [name for swap in flip for name in swap.markers]
    assert len(paired) == len(set(paired))
    assert set(names) - set(paired) == alone


def test_text():
    swaps = (
        swap_of("RKnee", "LKnee", frames=(11, 29)),
        swap_of("LHip", "RHip", frames=(39, 59)),
        swap_of("RAnkle", "LAnkle", frames=(39, 58)),
        swap_of("Neck", "RHip", "LHip", frames=(2, 4)),
        swap_of("Neck", "RWrist", frames=(0, 0)),
    )
    off = "(0.31 m off, 0.01 m after exchanging)"
    assert label_swaps.to_text(swaps) == [
        f"Neck and RWrist are exchanged in frame 1 {off}",
        "Neck is where RHip should be, RHip is where LHip should be and LHip is where "
        f"Neck should be in frames 3-5 {off}",
        f"RKnee and LKnee are exchanged in frames 12-30 {off}",
        "left and right labels are exchanged in frames 40-60: RHip, RAnkle with LHip, "
        "LAnkle",
    ]
    assert label_swaps.to_text(()) == []


def test_a_flip_of_the_legs_is_found_and_said():
    points, places = trial()
    for joint in ("Hip", "Knee", "Ankle"):
        points = exchange(points, (f"R{joint}", f"L{joint}"), range(20, 40))
    assert label_swaps.to_text(find(points, places)) == [
        "left and right labels are exchanged in frames 21-40: RHip, RKnee, RAnkle with "
        "LHip, LKnee, LAnkle"
    ]


def test_empty_trials_and_markers_never_seen():
    points, places = trial()
    assert find(points[:0], places[:0]) == ()
    assert find(np.full_like(points, np.nan), places, np.zeros((60, 8), bool)) == ()


@pytest.mark.parametrize("wrong", ["fitted", "seen", "names", "axes"])
def test_shapes_that_do_not_belong_together_are_refused(wrong: str):
    points, places = trial()
    seen, names = np.ones((60, 8), bool), NAMES
    if wrong == "fitted":
        places = places[:, :7]
    elif wrong == "seen":
        seen = seen[:59]
    elif wrong == "names":
        names = NAMES[:7]
    else:
        points, places = points[..., :2], places[..., :2]
    allowed = rf"must be \[T, {len(names)}, 3\] twice and \[T, {len(names)}\]"
    with pytest.raises(ValueError, match=rf"^observed has shape .*{allowed}$") as error:
        label_swaps.find_swaps(points, seen, places, names)
    for values in (points, seen, places):
        assert str(values.shape) in str(error.value)


@pytest.mark.parametrize(
    ("swap", "message"),
    [
        (swap_of("RHip", "LToe"), "marker 'LToe', which .* it has Neck, RHip"),
        (swap_of("RHip", "LHip", frames=(-1, 3)), "frames -1 to 3; .* 0 to 59"),
        (swap_of("RHip", "LHip", frames=(50, 60)), "frames 50 to 60; .* 0 to 59"),
        (swap_of("RHip", "LHip", frames=(9, 8)), "RHip and LHip has frames 9 to 8"),
    ],
)
def test_swaps_of_another_trial_are_refused(swap: LabelSwap, message: str):
    points, _ = trial()
    trajectory = MarkerTrajectory(points, np.ones((60, 8), bool), NAMES, 50.0)
    with pytest.raises(ValueError, match=message):
        label_swaps.corrected(trajectory, (swap,))
