"""Retargeting, on a motion of the model itself and on captured clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.body.kinematics import forward_kinematics, marker_positions
from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Model
from simspine_jax.fitting.retarget import Retargeted, retarget
from simspine_jax.io.bvh import read_bvh
from simspine_jax.io.clip import Clip
from simspine_jax.io.humanoid_clip import read_humanoid_clip
from simspine_jax.io.load import load_model
from third_party import fetch

OSIM = "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
# Joint of a clip: the body that hangs there, the body whose rotation it has.
JOINTS = {"root": ("lumbar5", "pelvis"), "chest": ("torso", "torso")}
JOINTS |= {"neck": ("head", "head")}
for _side, _end in (("left", "l"), ("right", "r")):
    JOINTS |= {
        f"{_side}_hip": (f"femur_{_end}", f"femur_{_end}"),
        f"{_side}_knee": (f"tibia_{_end}", f"tibia_{_end}"),
        f"{_side}_ankle": (f"talus_{_end}", f"calcn_{_end}"),
        f"{_side}_shoulder": (f"humerus_{_end}", f"humerus_{_end}"),
        f"{_side}_elbow": (f"ulna_{_end}", f"ulna_{_end}"),
        f"{_side}_wrist": (f"hand_{_end}", f"hand_{_end}"),
    }
# Middle and half width of the swing of the model's own motion, rad.
SWING = {
    "pelvis_tilt": (-0.1, 0.2),
    "pelvis_list": (0.0, 0.2),
    "pelvis_rotation": (0.4, 0.5),
    "L5_S1_Flex_Ext": (-0.03, 0.03),
    "L5_S1_Lat_Bending": (0.0, 0.02),
    "L5_S1_axial_rotation": (0.0, 0.03),
    "neck_flexion": (0.1, 0.2),
    "neck_rotation": (0.0, 0.4),
}
for _end in "lr":
    SWING |= {
        f"hip_flexion_{_end}": (0.3, 0.5),
        f"hip_adduction_{_end}": (-0.1, 0.1),
        f"hip_rotation_{_end}": (0.0, 0.2),
        f"knee_angle_{_end}": (0.6, 0.5),
        f"ankle_angle_{_end}": (0.0, 0.3),
        f"arm_flex_{_end}": (0.3, 0.5),
        f"arm_add_{_end}": (-0.4, 0.2),
        f"arm_rot_{_end}": (0.2, 0.4),
        f"elbow_flex_{_end}": (0.8, 0.6),
    }
FRAMES, MOST_FRAMES, RATE_HZ = 80, 120, 50.0
POSITION_ATOL_M = 0.008
ANGLE_ATOL = 0.06


@pytest.fixture(scope="module")
def model(pose2sim_08: Path) -> Model:
    return load_model(pose2sim_08 / OSIM)


def standing(model: Model) -> np.ndarray:
    q = np.array(model.default_q)
    for name in ("arm_add_l", "arm_add_r"):
        q[model.coordinate_names.index(name)] = 0.0
    return q


def poses(model: Model, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and origins of the bodies, by one compilation for all lengths."""
    padded = np.zeros((MOST_FRAMES, q.shape[1]))
    padded[: len(q)] = q
    pose = forward_kinematics(model, padded)
    return np.asarray(pose.rotation)[: len(q)], np.asarray(pose.position)[: len(q)]


def centres(model: Model, q: np.ndarray) -> dict[str, np.ndarray]:
    """Where the joints of a clip are in the model. Shape [T, 3]."""
    turn, place = poses(model, q)
    found = {}
    for name, (body, _) in JOINTS.items():
        child = model.body_names.index(body)
        above = model.topology.parents[child]
        offset = np.asarray(model.parent_translation)[child]
        found[name] = place[:, above] + turn[:, above] @ offset
    return found


def clip_of(model: Model, q: np.ndarray, name: str = "own") -> Clip:
    """Sees a motion of the model as a clip."""
    (turn, _), (rest, _) = poses(model, q), poses(model, standing(model)[None])
    bodies = [model.body_names.index(body) for _, body in JOINTS.values()]
    turned = turn[:, bodies] @ rest[:, bodies].swapaxes(2, 3)
    places = np.stack(list(centres(model, q).values()), axis=1)
    return Clip(name, tuple(JOINTS), places, turned, RATE_HZ)


@pytest.fixture(scope="module")
def own(model: Model) -> np.ndarray:
    """A motion of the model."""
    phase = np.linspace(0, 2 * np.pi, FRAMES)
    q = np.tile(standing(model), (FRAMES, 1))
    for k, (name, (middle, half)) in enumerate(SWING.items()):
        q[:, model.coordinate_names.index(name)] = middle + half * np.sin(phase + k)
    q[:, model.coordinate_names.index("pelvis_tx")] = 0.2 * phase
    return np.asarray(model.expand(model.free_of(q)))


@pytest.fixture(scope="module")
def captured() -> list[Clip]:
    motions = fetch.fetch("pybullet-3.2.7") / "pybullet_data/data/motions"
    example = fetch.fetch("bvhtoolbox-0.1.3") / "bvhtoolbox-0.1.3/tests/example_files"
    names = ("walk", "crawl", "cartwheel")
    clips = [
        *(read_humanoid_clip(motions / f"humanoid3d_{name}.txt") for name in names),
        read_bvh(example / "test_freebvh.bvh", metres_per_unit=0.01),
        read_bvh(example / "test_mocapbank.bvh", metres_per_unit=0.01),
    ]
    begin = slice(MOST_FRAMES)
    return [
        replace(c, positions=c.positions[begin], rotations=c.rotations[begin])
        for c in clips
    ]


@pytest.fixture(scope="module")
def done(model: Model, own: np.ndarray, captured: list[Clip]) -> dict[str, Retargeted]:
    """All of this file in one call: one compilation."""
    walk = captured[0]
    small = replace(walk, positions=0.5 * walk.positions, name="small")
    clips = [*captured, small, clip_of(model, own)]
    found = retarget(model, clips)
    assert [r.name for r in found] == [c.name for c in clips]
    return {r.name.removeprefix("humanoid3d_"): r for r in found}


def test_a_motion_of_the_model_comes_back(model, own, done):
    q, found = own, done["own"]
    assert found.motion.coordinate_names == model.coordinate_names
    assert found.motion.rate_hz == RATE_HZ
    was, now = centres(model, q), centres(model, found.motion.q)
    gap = np.stack([now[n] - was[n] for n in JOINTS], axis=1)
    gap[..., 1] -= gap[..., 1].mean()  # the motion is put on the floor
    assert np.linalg.norm(gap, axis=2).max() < POSITION_ATOL_M
    for name in SWING:
        k = model.coordinate_names.index(name)
        np.testing.assert_allclose(
            found.motion.q[:, k], q[:, k], atol=ANGLE_ATOL, err_msg=name
        )
    assert found.error_m.max() < POSITION_ATOL_M


def test_a_smaller_body_moves_alike(done):
    """Only directions and turns count, and the path in units of the legs."""
    small, walk = done["small"].motion, done["walk"].motion
    np.testing.assert_allclose(small.q, walk.q, atol=1e-9)


def test_captured_clips_are_followed_closely(done):
    for name, found in done.items():
        frames = len(found.motion.q)
        assert found.error_m.shape == found.at_limit.shape == (frames,)
        assert np.isfinite(found.motion.q).all()
        assert found.error_m.mean() < 0.01, name
        assert found.error_m.max() < 0.02, name


def test_limits_and_couplers_hold(model, done):
    low, high = np.asarray(model.lower), np.asarray(model.upper)
    free = np.asarray(model.topology.free, int)
    some = []
    for found in done.values():
        q = np.asarray(found.motion.q)
        assert ((q >= low - 1e-12) & (q <= high + 1e-12)).all()
        np.testing.assert_allclose(q, model.expand(model.free_of(q)), atol=1e-12)
        gap = np.minimum(q - low, high - q)[:, free].min(axis=1)
        np.testing.assert_array_equal(found.at_limit, gap < 1e-6)
        some.append(found.at_limit.mean())
    assert min(some) == 0
    assert max(some) > 0


def test_motions_are_smooth_and_untwisted(model, done):
    angle = np.asarray(model.coordinate_is_angle)
    for name, found in done.items():
        step = np.abs(np.diff(found.motion.q[:, angle], axis=0))
        assert step.max() < 0.5, name
    spine = [n for n in model.coordinate_names if n.startswith("L5_S1")]
    columns = [model.coordinate_names.index(n) for n in spine]
    for found in done.values():  # a turn shared by six levels would be a radian each
        assert np.abs(found.motion.q[:, columns]).max() < 0.4


def soles(model: Model, q: np.ndarray) -> np.ndarray:
    """Heights of heels and of the middle of the toes, m. Shape [T, 4]."""
    padded = np.tile(q[-1], (MOST_FRAMES, 1))
    padded[: len(q)] = q
    height = np.asarray(marker_positions(model, padded))[..., 1]
    at = lambda name: height[:, model.marker_names.index(name)]
    return np.stack(
        [
            height
            for side in "LR"
            for height in (
                at(f"{side}Heel"),
                (at(f"{side}BigToe") + at(f"{side}SmallToe")) / 2,
            )
        ],
        axis=1,
    )


def test_feet_come_down_to_the_floor(model, done):
    rest = soles(model, standing(model)[None]).min()
    for name, found in done.items():
        assert abs(soles(model, found.motion.q).min() - rest) < 0.03, name


def test_walking_looks_like_walking(model, done):
    found = done["walk"]
    at = lambda name: found.motion.q[:, model.coordinate_names.index(name)]
    for end in "lr":
        assert 0.6 < np.ptp(at(f"hip_flexion_{end}")) < 1.2  # people: about 40 degrees
        assert at(f"knee_angle_{end}").max() > 0.8
        assert np.abs(at(f"subtalar_angle_{end}")).max() < 0.35
    # Legs swing against one another, and arms against the leg of their side.
    swing = np.corrcoef([at("hip_flexion_l"), at("hip_flexion_r"), at("arm_flex_l")])
    assert swing[0, 1] < -0.5
    assert swing[0, 2] < -0.5
    places = centres(model, found.motion.q)
    ankles = np.stack([places["left_ankle"], places["right_ankle"]])[..., 1]
    rest = centres(model, standing(model)[None])["left_ankle"][0, 1]
    assert abs(ankles.min() - rest) < 0.02
    assert ankles.min(axis=0).max() < rest + 0.08
    np.testing.assert_array_less(1.0, np.ptp(at("pelvis_tx")))


def test_bones_of_the_clip_have_the_directions_of_the_model(model, done, captured):
    for clip in captured:
        if clip.joint_names[0] != "root":
            continue
        found = done[clip.name.removeprefix("humanoid3d_")]
        places = centres(model, found.motion.q)
        for a, b in (("hip", "knee"), ("shoulder", "elbow"), ("elbow", "wrist")):
            for side in ("left", "right"):
                ends = [clip.joint_names.index(f"{side}_{n}") for n in (a, b)]
                was = clip.positions[:, ends[1]] - clip.positions[:, ends[0]]
                now = places[f"{side}_{b}"] - places[f"{side}_{a}"]
                was /= np.linalg.norm(was, axis=1)[:, None]
                now /= np.linalg.norm(now, axis=1)[:, None]
                assert np.median((was * now).sum(axis=1)) > np.cos(0.1)


def test_nothing_in_nothing_out(model):
    assert retarget(model, []) == ()


def test_refusals(model, own):
    clip = clip_of(model, own[:2])
    other = replace(clip, joint_names=("hip", *clip.joint_names[1:]))
    with pytest.raises(ValueError, match="'own' is of no known skeleton .DeepMimic"):
        retarget(model, [clip, other])
    arms = [clip.joint_names.index(f"{side}_shoulder") for side in ("left", "right")]
    turned = clip.rotations.copy()
    turned[:, arms] = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]).T
    places = clip.positions.copy()
    for side in ("left", "right"):
        shoulder, elbow = (
            clip.joint_names.index(f"{side}_{n}") for n in ("shoulder", "elbow")
        )
        places[:, elbow] = places[:, shoulder] + [0, -0.3, 0]
    with pytest.raises(ValueError, match="left arm points forwards or backwards"):
        retarget(model, [replace(clip, positions=places, rotations=turned)])
    bare = with_markers(model, {})
    bodies = tuple("spine" if b == "lumbar5" else b for b in bare.body_names)
    renamed = replace(bare, topology=replace(bare.topology, body_names=bodies))
    with pytest.raises(ValueError, match="models with a body 'lumbar5'"):
        retarget(renamed, [clip])
    names = tuple(n.replace("arm_add", "armadd") for n in model.coordinate_names)
    renamed = replace(model, topology=replace(model.topology, coordinate_names=names))
    with pytest.raises(ValueError, match="models with a coordinate 'arm_add_l'"):
        retarget(renamed, [clip])
