"""Blending of spines: what must not move, what must follow, and the published way."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from simspine_jax.body import spine_markers
from simspine_jax.body.kinematics import marker_positions
from simspine_jax.fitting.spine_blend import (
    SOURCES,
    BlendOptions,
    blend_spine,
    filter_blended,
)
from simspine_jax.fitting.spine_blend_options import CHAIN, COMPAT, FOLLOWERS
from simspine_jax.fitting.trajectory_filters import FilterOptions
from simspine_jax.io.load import load_model
from simspine_jax.skeletons import simspine, simspine_markers
from simspine_jax.types import MarkerTrajectory

OSIM = "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_muscles_flex.osim"
NAMES, MODEL_NAMES = simspine.NAMES, tuple(simspine_markers.MARKERS)
RATE_HZ, FRAMES = 50.0, 100
EXACT_M = 1e-9
AT = {name: k for k, name in enumerate(NAMES)}
CHAIN_AT = [AT[n] for n in CHAIN]
INNER = [AT[n] for n in CHAIN if n not in ("Hip", "Neck")]
ANCHORS = [AT["Hip"], AT["Neck"]]
# Middle and half width of a bending and turning trunk, rad.
SWING = {
    "pelvis_tilt": (-0.2, 0.4),
    "pelvis_rotation": (1.0, 1.0),
    "L5_S1_Flex_Ext": (-0.04, 0.05),
    "L5_S1_Lat_Bending": (0.0, 0.03),
    "L5_S1_axial_rotation": (0.0, 0.04),
    "neck_flexion": (0.1, 0.3),
    "hip_flexion_r": (0.2, 0.3),
}
FIT_ERROR_RAD, FIT_ERROR_M = 0.02, 0.005
# What comes of both ways of the moving trunk, mm; see docs/spine-blending.md.
OURS_MM, PUBLISHED_MM, NECK_MM = 3.5, 5.0, 5.0


@pytest.fixture(scope="module")
def motions(pose2sim_10: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints of a true motion, and of a fit that is a little off it, m."""
    model = spine_markers.with_keypoints(load_model(pose2sim_10 / OSIM))
    rng = np.random.default_rng(0)
    q = np.tile(np.asarray(model.default_q, float), (FRAMES, 1))
    fitted = q.copy()
    time = np.arange(FRAMES) / RATE_HZ
    slow = lambda: np.sin(2 * np.pi * 0.5 * time + rng.uniform(0, 6))
    for name, (middle, width) in SWING.items():
        k = model.coordinate_names.index(name)
        q[:, k] = middle + width * slow()
        # A lumbar level bends a tenth of what the trunk turns.
        share = 0.1 if name.startswith("L5") else 1.0
        fitted[:, k] = q[:, k] + share * FIT_ERROR_RAD * slow()
    for name in ("pelvis_tx", "pelvis_ty", "pelvis_tz"):
        k = model.coordinate_names.index(name)
        fitted[:, k] = q[:, k] + FIT_ERROR_M * slow()
    both = np.asarray(jax.jit(marker_positions)(model, np.concatenate([q, fitted])))
    return both[:FRAMES], both[FRAMES:]


def trajectory(points: np.ndarray, names=NAMES, valid=None) -> MarkerTrajectory:
    points = np.array(points)
    valid = np.ones(points.shape[:2], bool) if valid is None else valid
    return MarkerTrajectory(points, valid, names, RATE_HZ, 2.0)


def as_simulated(points: np.ndarray) -> MarkerTrajectory:
    """Of the 37 keypoints those that the model has as markers, in its order."""
    return trajectory(points[:, [AT[n] for n in MODEL_NAMES]], MODEL_NAMES)


def noisy(points: np.ndarray, noise_m: float = 0.01) -> np.ndarray:
    """Noise on the spine and no other; hip and neck are exact, as captured ones."""
    out = points.copy()
    noise = np.random.default_rng(1).normal(size=out[:, INNER].shape)
    out[:, INNER] += noise_m * noise
    return out


def lengths(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)


def miss_mm(points: np.ndarray, truth: np.ndarray) -> float:
    """RMS distance of the inner points of the chain."""
    square = ((points - truth)[:, INNER] ** 2).sum(axis=-1)
    return float(1000 * np.sqrt(square.mean()))


@pytest.mark.parametrize(
    "options",
    [
        BlendOptions(),
        BlendOptions(scaled=True),
        BlendOptions(anchors=()),
        BlendOptions(anchors=("Hip",), guides=()),
        BlendOptions(guides=()),
        BlendOptions(anchors=("Neck_03", "Spine_04", "Hip"), guides=()),
        BlendOptions(shares=dict.fromkeys(("Spine_01", "Spine_03"), 1.0)),
    ],
    ids=lambda o: "-".join((*o.anchors, str(len(o.guides)), str(o.scaled))),
)
def test_equal_inputs_give_themselves_back(motions, options):
    truth, _ = motions
    found = blend_spine(trajectory(truth), as_simulated(truth), options)
    np.testing.assert_allclose(found.markers.points, truth, rtol=0, atol=EXACT_M)
    assert found.markers.valid.all()


def test_anchors_and_what_is_observed_stay(motions):
    truth, fitted = motions
    observed, simulated = trajectory(noisy(truth)), as_simulated(fitted)
    before = observed.points.copy(), simulated.points.copy()
    found = blend_spine(observed, simulated)
    limbs = [k for k in range(37) if not (found.source[:, k] > 1).any()]
    assert set(ANCHORS) < set(limbs)
    assert len(limbs) == 2 + 12 + 4 + 1  # anchors, limbs, eyes and ears, nose
    np.testing.assert_array_equal(
        found.markers.points[:, limbs], observed.points[:, limbs]
    )
    moved = np.linalg.norm(found.markers.points - observed.points, axis=2)
    assert moved[:, INNER].min(axis=0).max() > 1e-4
    np.testing.assert_array_equal(observed.points, before[0])
    np.testing.assert_array_equal(simulated.points, before[1])
    assert found.markers.names == NAMES
    assert found.markers.start_s == observed.start_s
    other = blend_spine(
        observed, simulated, BlendOptions(anchors=("Spine_04", "Hip"))
    ).markers.points
    kept = [AT["Hip"], AT["Spine_04"]]
    np.testing.assert_array_equal(other[:, kept], observed.points[:, kept])
    assert np.abs(other - observed.points)[:, AT["Neck"]].max() > 1e-4


@pytest.mark.parametrize("scaled", [False, True])
def test_moving_everything_moves_the_result(motions, scaled):
    truth, fitted = motions
    options = BlendOptions(scaled=scaled)
    given = noisy(truth)
    still = blend_spine(trajectory(given), as_simulated(fitted), options)
    turn = Rotation.from_rotvec([0.4, -1.9, 0.8]).as_matrix()
    move = lambda points: points @ turn.T + [3.0, -2.0, 1.0]
    moved = blend_spine(trajectory(move(given)), as_simulated(move(fitted)), options)
    np.testing.assert_allclose(
        moved.markers.points, move(still.markers.points), rtol=0, atol=EXACT_M
    )


def test_the_spine_does_not_depend_on_where_the_simulation_stands(motions):
    """Any turn of it, against the observed spine too, is taken back."""
    truth, fitted = motions
    observed = trajectory(noisy(truth))
    still = blend_spine(observed, as_simulated(fitted))
    turns = Rotation.random(FRAMES, np.random.default_rng(2)).as_matrix()
    turns[:3] = [np.diag(s) for s in ([1, -1, -1], [-1, 1, -1], [-1, -1, 1])]
    turned = fitted @ turns.swapaxes(1, 2) + np.arange(FRAMES)[:, None, None] / 10
    line = lambda points: points[:, AT["Neck"]] - points[:, AT["Hip"]]
    against = (line(turned) * line(truth)).sum(axis=1) < 0
    assert 20 < against.sum() < 80
    found = blend_spine(observed, as_simulated(turned))
    followers = [AT[n] for n in FOLLOWERS]
    np.testing.assert_allclose(
        found.markers.points[:, followers],
        still.markers.points[:, followers],
        rtol=0,
        atol=EXACT_M,
    )
    np.testing.assert_allclose(np.linalg.det(found.alignment.rotation), 1, atol=1e-12)


def test_a_spine_exactly_upside_down_is_turned_round(motions):
    truth, _ = motions
    middle = truth[:, ANCHORS].mean(axis=1, keepdims=True)
    axis = truth[:, AT["Neck"]] - truth[:, AT["Hip"]]
    across = np.cross(axis, [0.3, 0.2, 0.9])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    turn = Rotation.from_rotvec(np.pi * across).as_matrix()
    over = (truth - middle) @ turn.swapaxes(1, 2) + middle
    found = blend_spine(trajectory(truth), as_simulated(over)).markers.points
    chain = np.abs(found - truth)[:, CHAIN_AT]
    assert chain.max() < EXACT_M


def test_the_turn_is_the_one_of_scipy(motions):
    """The line exactly, then the guides: scipy's first vector of infinite weight."""
    truth, fitted = motions
    observed = noisy(truth)
    found = blend_spine(trajectory(observed), as_simulated(fitted)).alignment
    guides = [AT[n] for n in BlendOptions().guides]
    for t in range(0, FRAMES, 9):
        one, other = (
            np.concatenate([p[t, ANCHORS[1:]] - p[t, ANCHORS[0]], middle])
            for p in (observed, fitted)
            for middle in [p[t, guides] - p[t, ANCHORS].mean(axis=0)]
        )
        turn, _ = Rotation.align_vectors(one, other, [np.inf, 1, 1, 1, 1])
        np.testing.assert_allclose(found.rotation[t], turn.as_matrix(), atol=1e-7)


def test_without_guides_the_turn_is_the_smallest(motions):
    truth, fitted = motions
    found = blend_spine(
        trajectory(truth), as_simulated(fitted), BlendOptions(guides=())
    ).alignment
    lines = [p[:, AT["Neck"]] - p[:, AT["Hip"]] for p in (truth, fitted)]
    aim, line = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in lines)
    apart = np.arctan2(
        np.linalg.norm(np.cross(line, aim), axis=1), (line * aim).sum(axis=1)
    )
    np.testing.assert_allclose(
        (found.rotation @ line[..., None])[..., 0], aim, atol=1e-12
    )
    angle = Rotation.from_matrix(found.rotation).magnitude()
    np.testing.assert_allclose(angle, apart, atol=1e-7)


def test_lengths_of_the_simulated_spine_are_kept(motions):
    truth, fitted = motions
    fitted = 1.1 * fitted  # another body size
    inner = [n for n in CHAIN if n not in ("Hip", "Neck")]
    shares = dict.fromkeys(inner, 1.0)
    given = trajectory(noisy(truth)), as_simulated(fitted)
    found = blend_spine(*given, BlendOptions(shares=shares)).markers.points
    np.testing.assert_allclose(
        lengths(found[:, INNER]), lengths(fitted[:, INNER]), atol=EXACT_M
    )
    # On request they are scaled by one factor, so that the anchors meet as well.
    options = BlendOptions(shares=shares, scaled=True)
    scaled = blend_spine(*given, options)
    line = lambda points: lengths(points[:, ANCHORS])[:, 0, 1]
    factor = line(truth) / line(fitted)
    np.testing.assert_allclose(scaled.alignment.scale, factor, atol=1e-12)
    np.testing.assert_allclose(
        lengths(scaled.markers.points[:, CHAIN_AT]),
        factor[:, None, None] * lengths(fitted[:, CHAIN_AT]),
        atol=EXACT_M,
    )


def test_shares(motions):
    truth, fitted = motions
    observed = trajectory(noisy(truth))
    mix = lambda share: blend_spine(
        observed, as_simulated(fitted), BlendOptions(shares={"Spine_02": share})
    )
    k = AT["Spine_02"]
    ends = [mix(share).markers.points[:, k] for share in (0.0, 1.0)]
    np.testing.assert_array_equal(ends[0], observed.points[:, k])
    found = mix(0.3)
    np.testing.assert_allclose(
        found.markers.points[:, k], 0.7 * ends[0] + 0.3 * ends[1], atol=1e-12
    )
    assert (found.share[:, k] == 0.3).all()
    codes = [SOURCES[mix(share).source[0, k]] for share in (0.0, 0.3, 1.0)]
    assert codes == ["observed", "blended", "simulated"]


def test_where_markers_come_from(motions):
    """Missing in one: taken from the other; in both: stays missing, and is told."""
    truth, fitted = motions
    valid, model_valid = np.ones((2, FRAMES, 37), bool)
    valid[10:20, AT["Spine_02"]] = valid[15:30, AT["Neck"]] = False
    valid[40:60, AT["LWrist"]] = valid[40:50, AT["LEye"]] = False
    model_valid[15:25, AT["Spine_02"]] = False
    model_valid[70:80, AT["LHeel"]] = False
    observed = trajectory(np.where(valid[..., None], noisy(truth), 1e6), valid=valid)
    given = as_simulated(np.where(model_valid[..., None], fitted, -1e6))
    given = given.replace(valid=model_valid[:, [AT[n] for n in MODEL_NAMES]])
    found = blend_spine(observed, given)
    source = lambda name: np.array(SOURCES)[found.source[:, AT[name]]]
    expected = np.full(FRAMES, "blended", object)
    expected[10:15], expected[15:20], expected[20:25] = (
        *("simulated", "missing", "observed"),
    )
    np.testing.assert_array_equal(source("Spine_02"), expected)
    expected = np.full(FRAMES, "observed", object)
    expected[15:30] = "simulated"
    np.testing.assert_array_equal(source("Neck"), expected)
    assert (source("LWrist")[40:60] == "simulated").all()
    assert (source("LEye")[40:50] == "missing").all()  # no marker of the model
    assert (source("LHeel")[70:80] == "observed").all()
    np.testing.assert_array_equal(found.markers.valid, found.source != 0)
    assert not found.markers.points[~found.markers.valid].any()
    assert np.abs(found.markers.points).max() < 10
    wrist = found.markers.points[40:60, AT["LWrist"]]
    np.testing.assert_array_equal(wrist, fitted[40:60, AT["LWrist"]])
    # Hip alone: a shift on to it.
    np.testing.assert_array_equal(
        found.alignment.anchors, np.where(valid[:, AT["Neck"]], 2, 1)
    )
    alone = slice(25, 30)
    shift = truth[alone, AT["Hip"]] - fitted[alone, AT["Hip"]]
    np.testing.assert_allclose(
        found.markers.points[alone, AT["Neck"]],
        fitted[alone, AT["Neck"]] + shift,
        atol=EXACT_M,
    )
    counts = found.counts()["Spine_02"]
    assert counts == {
        "missing": 5,
        "observed": 5,
        "simulated": 5,
        "blended": 85,
        "built": 0,
    }
    bare = blend_spine(observed, given, BlendOptions(filled=False))
    np.testing.assert_array_equal(bare.markers.valid, valid)


def test_without_anchors_the_simulation_stays_where_it_is(motions):
    truth, fitted = motions
    shares = dict.fromkeys(CHAIN, 1.0)
    found = blend_spine(
        trajectory(truth), as_simulated(fitted), BlendOptions((), (), shares)
    )
    np.testing.assert_allclose(
        found.markers.points[:, CHAIN_AT], fitted[:, CHAIN_AT], atol=1e-12
    )
    assert not found.alignment.anchors.any()


def test_covariances_weigh_as_their_inverses(motions):
    truth, fitted = motions
    observed, simulated = trajectory(noisy(truth)), as_simulated(fitted)
    rng = np.random.default_rng(3)

    def spread(count: int) -> np.ndarray:
        root = rng.normal(size=(FRAMES, count, 3, 3)) * 0.01
        return root @ root.swapaxes(-1, -2) + 1e-5 * np.eye(3)

    covariances = spread(37), spread(33)
    found = blend_spine(observed, simulated, None, covariances)
    move = found.alignment
    kept = [AT[n] for n in ("Hip", "Neck", "Nose", "LKnee")]
    np.testing.assert_array_equal(
        found.markers.points[:, kept], observed.points[:, kept]
    )
    for t, name in ((0, "Spine_03"), (57, "Neck_02")):
        turn, m = move.rotation[t], MODEL_NAMES.index(name)
        own = np.linalg.inv(covariances[0][t, AT[name]])
        other = np.linalg.inv(turn @ covariances[1][t, m] @ turn.T)
        there = turn @ (simulated.points[t, m] - move.begin[t]) + move.end[t]
        total = own @ observed.points[t, AT[name]] + other @ there
        np.testing.assert_allclose(
            found.markers.points[t, AT[name]],
            np.linalg.solve(own + other, total),
            atol=1e-10,
        )
    same = np.broadcast_to(np.eye(3), (FRAMES, 37, 3, 3))
    even = blend_spine(observed, simulated, None, (same, same[:, :33]))
    np.testing.assert_allclose(even.share[:, INNER], 0.5, atol=1e-12)
    back = blend_spine(observed, as_simulated(observed.points), None, covariances)
    np.testing.assert_allclose(
        back.markers.points, observed.points, rtol=0, atol=EXACT_M
    )


def test_types_weights_and_frames_are_independent(motions):
    truth, fitted = motions
    weight = np.random.default_rng(4).uniform(size=(FRAMES, 37))
    valid = np.ones((FRAMES, 37), bool)
    valid[:5, AT["Spine_03"]] = False
    points = np.where(valid[..., None], noisy(truth), 0.0)
    observed = trajectory(points.astype(np.float32), valid=valid)
    observed = observed.replace(weight=weight)
    simulated = as_simulated(fitted)
    blended = blend_spine(observed, simulated)
    found = blended.markers
    assert found.points.dtype == np.float32
    taken = blended.source == SOURCES.index("simulated")
    assert taken[:5, AT["Spine_03"]].all()
    assert not taken[5:, AT["Spine_03"]].any()
    expected = np.where(taken, 1.0, weight)
    np.testing.assert_array_equal(found.weight, expected)
    some = slice(37, 53)
    part = blend_spine(observed.cut(some), simulated.cut(some)).markers
    np.testing.assert_allclose(part.points, found.points[some], rtol=0, atol=1e-6)


def test_the_published_way_is_one_option_away(motions):
    """Ours and the published one on a moving trunk; the differences in mm."""
    truth, fitted = motions
    observed = trajectory(noisy(truth))
    published = BlendOptions(compat=COMPAT)
    found = {
        "ours": blend_spine(observed, as_simulated(fitted)),
        "published": blend_spine(observed, as_simulated(fitted), published),
    }
    off = {way: miss_mm(b.markers.points, truth) for way, b in found.items()}
    neck = lambda way: (
        1000
        * np.linalg.norm(
            found[way].markers.points[:, AT["Neck"]] - truth[:, AT["Neck"]], axis=1
        )
    )
    between = found["ours"].markers.points - found["published"].markers.points
    between = 1000 * np.linalg.norm(between[:, CHAIN_AT], axis=2)
    assert between.mean() == pytest.approx(4.3, abs=0.1)
    assert off["ours"] == pytest.approx(OURS_MM, abs=0.1)
    assert off["published"] == pytest.approx(PUBLISHED_MM, abs=0.1)
    assert neck("ours").max() == 0
    assert neck("published").mean() == pytest.approx(NECK_MM, abs=0.1)
    sources = {
        n: SOURCES[found["published"].source[0, AT[n]]]
        for n in ("Hip", "Neck", "Head", "LHeel", "LLatissimus", "Nose", "LKnee")
    }
    assert list(sources.values()) == [
        *("blended", "blended", "simulated", "simulated", "built"),
        *("observed", "observed"),
    ]
    assert found["published"].alignment is None


def test_the_cutoff_is_the_one_asked_for_but_not_in_the_published_filter():
    """Where both passes lower the amplitude by 3 dB, from the answer to an impulse."""
    frames = 4001
    points = np.full((frames, 1, 3), 1e-300)
    points[frames // 2] = 1.0
    given = trajectory(points, ("a",))
    hertz = np.fft.rfftfreq(frames, 1 / RATE_HZ)

    def half_power(found: MarkerTrajectory) -> float:
        gain = np.abs(np.fft.rfft(found.points[:, 0, 0]))[:1500]
        return float(np.interp(-np.sqrt(0.5), -gain, hertz[:1500]))

    assert half_power(filter_blended(given)) == pytest.approx(5.0, abs=0.01)
    ours = filter_blended(given, FilterOptions(cutoff_hz=8.0, order=1))
    assert half_power(ours) == pytest.approx(8.0, abs=0.01)
    theirs = filter_blended(given, compat=COMPAT)
    assert half_power(theirs) == pytest.approx(3.28, abs=0.005)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"anchors": ("LHip",)}, "anchors must be of Hip, .*'LHip'"),
        ({"shares": {"Neck": 0.5}}, "'Neck' is an anchor"),
        ({"shares": {"Spine_01": 1.5}}, "'Spine_01' must lie between 0 and 1.*1.5"),
        ({"shares": {"Spine_01": np.nan}}, "'Spine_01' must lie between 0 and 1"),
        ({"compat": "simspine"}, "compat must be 'simspine-2026'.*'simspine'"),
        ({"compat": COMPAT, "scaled": True}, "takes no other option"),
    ],
)
def test_options_that_cannot_be(changed, said):
    with pytest.raises(ValueError, match=said):
        BlendOptions(**changed)


def test_trajectories_that_do_not_fit(motions):
    truth, fitted = motions
    observed, simulated = trajectory(truth), as_simulated(fitted)
    without = lambda t, name: dataclasses.replace(
        t,
        points=t.points[:, [i for i, n in enumerate(t.names) if n != name]],
        valid=t.valid[:, [i for i, n in enumerate(t.names) if n != name]],
        names=tuple(n for n in t.names if n != name),
    )
    spread = np.broadcast_to(np.eye(3), (FRAMES, 33, 3, 3))
    for given, said in (
        ((observed.cut(slice(9)), simulated), "frames of the observed .* 9, .* 100;"),
        ((observed, simulated.replace(rate_hz=25.0)), "rate_hz .* 50.0, .* 25.0"),
        ((observed, simulated.replace(start_s=0.0)), "start_s .* 2.0, .* 0.0"),
        ((without(observed, "Neck"), simulated), "observed .* no marker 'Neck'"),
        ((observed, without(simulated, "Neck")), "simulated .* no marker 'Neck'"),
        ((observed, without(simulated, "LHeel")), "simulated .* no marker 'LHeel'"),
        ((observed, simulated, None, (spread, spread)), "do not fit the observed"),
        (
            (observed, simulated, BlendOptions(shares={"LEye": 0.5})),
            "simulated .* no marker 'LEye'",
        ),
        (
            (observed, simulated, BlendOptions(compat=COMPAT), (spread, spread)),
            "uses no covariances",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            blend_spine(*given)
    with pytest.raises(ValueError, match="compat must be"):
        filter_blended(observed, compat="other")
    # Feet that are not there need not be chosen.
    part = blend_spine(without(observed, "LHeel"), simulated).markers
    assert "LHeel" not in part.names
