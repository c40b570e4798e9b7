"""DeepMimic's clips: the skeleton against the published model, and real motions."""

import json
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from simspine_jax.io.clip import LIMBS, Clip, skeleton_of
from simspine_jax.io.humanoid_clip import SKELETON, read_humanoid_clip
from third_party import fetch

ROW = [0.02, 0.1, 0.9, -0.2]
BALL, HINGE = [1.0, 0.0, 0.0, 0.0], [0.0]
LEG, ARM = [*BALL, *HINGE, *BALL], [*BALL, *HINGE]


@pytest.fixture(scope="module")
def package() -> Path:
    return fetch.fetch("pybullet-3.2.7") / "pybullet_data"


@pytest.fixture(scope="module")
def clips(package: Path) -> dict[str, Clip]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Frames.5. lasts|.*Frames.5. lasts")
        found = sorted((package / "data/motions").glob("humanoid3d_*.txt"))
        clips = [read_humanoid_clip(path) for path in found]
    return {clip.name.removeprefix("humanoid3d_"): clip for clip in clips}


def joint(clip: Clip, name: str) -> np.ndarray:
    return clip.positions[:, clip.joint_names.index(name)]


def write(path: Path, rows: object) -> Path:
    path.write_text(json.dumps({"Loop": "none", "Frames": rows}))
    return path


def standing(**angles: list[float]) -> list[float]:
    """A row of the file, all joints at rest but those named."""
    parts = {name: BALL for name in ("root", "chest", "neck")}
    for side in ("right", "left"):
        leg = zip(("hip", "knee", "ankle"), (BALL, HINGE, BALL), strict=True)
        arm = zip(("shoulder", "elbow"), (BALL, HINGE), strict=True)
        parts |= {f"{side}_{name}": rest for name, rest in (*leg, *arm)}
    parts |= angles
    return ROW + [x for part in parts.values() for x in part]


def test_skeleton_is_the_published_one(package: Path):
    text = (package / "humanoid/humanoid.urdf").read_text(errors="replace")
    tree = ElementTree.fromstring(text.replace("\0", ""))
    found = {}
    for node in tree.iter("joint"):
        parent, origin = node.find("parent"), node.find("origin")
        assert parent is not None
        assert origin is not None
        place = [float(x) / 4 for x in origin.attrib["xyz"].split()]
        found[node.attrib["name"]] = (parent.attrib["link"], place)
        axis = node.find("axis")
        if axis is not None:
            assert [float(x) for x in axis.attrib["xyz"].split()] == [0, 0, 1]
    assert found.pop("root") == ("base", [0, 0, 0])
    assert set(found) == set(SKELETON) - {"root"}
    for name, (parent, place) in found.items():
        assert SKELETON[name][0] == parent
        np.testing.assert_allclose(SKELETON[name][1], place, atol=1e-9)


def test_rest_pose_stands_upright(tmp_path: Path):
    clip = read_humanoid_clip(write(tmp_path / "rest.txt", [standing()] * 3))
    assert (clip.name, clip.rate_hz) == ("rest", pytest.approx(50.0))
    assert clip.joint_names == tuple(SKELETON)
    np.testing.assert_array_equal(clip.positions[1], clip.positions[0])
    np.testing.assert_allclose(clip.rotations[2], np.tile(np.eye(3), (15, 1, 1)))
    np.testing.assert_allclose(joint(clip, "root")[0], ROW[1:])
    for side, sign in (("right", 1), ("left", -1)):
        hip, ankle = (joint(clip, f"{side}_{n}")[0] for n in ("hip", "ankle"))
        np.testing.assert_allclose(hip - ROW[1:], [0, 0, sign * 0.084887])
        np.testing.assert_allclose(ankle - hip, [0, -0.831416, 0])


def test_a_quaternion_is_scalar_first_and_turns_the_child(tmp_path: Path):
    """By the written-out formula, not by scipy."""
    w, x, y, z = np.array([0.8, 0.4, -0.4, 0.2]) / np.sqrt(0.64 + 0.16 + 0.16 + 0.04)
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    # Of any length near 1, as some files have them.
    row = standing(left_hip=[0.8 * c for c in (w, x, y, z)], left_knee=[-0.7])
    clip = read_humanoid_clip(write(tmp_path / "turned.txt", [row] * 2))
    hip, knee, ankle = (joint(clip, f"left_{n}")[0] for n in ("hip", "knee", "ankle"))
    np.testing.assert_allclose(knee - hip, matrix @ SKELETON["left_knee"][1])
    bend = np.array([[np.cos(0.7), np.sin(0.7), 0], [-np.sin(0.7), np.cos(0.7), 0]])
    bend = np.vstack([bend, [0, 0, 1]])
    shank = matrix @ bend @ SKELETON["left_ankle"][1]
    np.testing.assert_allclose(ankle - knee, shank, atol=1e-15)
    foot = clip.rotations[0, clip.joint_names.index("left_ankle")]
    np.testing.assert_allclose(foot, matrix @ bend, atol=1e-15)


def test_bones_keep_their_length_and_mirror(clips: dict[str, Clip]):
    assert len(clips) == 15
    for clip in clips.values():
        assert np.isfinite(clip.positions).all()
        assert skeleton_of(clip)["pelvis"] == 0
        for name, (parent, offset) in SKELETON.items():
            if parent:
                bone = joint(clip, name) - joint(clip, parent)
                length = np.linalg.norm(bone, axis=1)
                np.testing.assert_allclose(length, np.linalg.norm(offset), atol=1e-9)
        turns = clip.rotations
        eye = np.broadcast_to(np.eye(3), turns.shape)
        np.testing.assert_allclose(turns @ turns.swapaxes(2, 3), eye, atol=1e-9)
    for role in LIMBS:
        left, right = SKELETON[f"left_{role}"][1], SKELETON[f"right_{role}"][1]
        assert left == (*right[:2], -right[2])


def test_walking_feet_alternate_near_the_floor(clips: dict[str, Clip]):
    clip = clips["walk"]
    assert clip.rate_hz == pytest.approx(30.0, abs=0.01)
    left, right, root = (joint(clip, n) for n in ("left_ankle", "right_ankle", "root"))
    lead = (left - right)[:, 0]
    assert (np.diff(np.sign(lead)) != 0).sum() >= 2
    lifted = (left - right)[:, 1]
    assert lifted.min() < -0.1
    assert lifted.max() > 0.1
    lower = np.minimum(left[:, 1], right[:, 1])
    assert lower.min() > 0.03
    assert lower.max() < 0.13
    assert root[-1, 0] - root[0, 0] > 1.0  # forwards
    assert np.abs(root[:, 2]).max() < 0.15
    # The foot on the floor stands still while the other moves.
    speed = np.linalg.norm(np.diff([left, right], axis=1), axis=2)
    assert np.median(speed.min(axis=0)) < 0.25 * np.median(speed.max(axis=0))


def test_knees_and_elbows_bend_the_right_way(clips: dict[str, Clip]):
    """Ankles go behind the thigh and wrists before the upper arm."""
    for name in ("walk", "run", "crawl"):
        clip = clips[name]
        for side in ("left", "right"):
            for a, b, c, sign in (
                ("hip", "knee", "ankle", -1),
                ("shoulder", "elbow", "wrist", 1),
            ):
                upper = joint(clip, f"{side}_{b}") - joint(clip, f"{side}_{a}")
                lower = joint(clip, f"{side}_{c}") - joint(clip, f"{side}_{b}")
                turn = clip.rotations[:, clip.joint_names.index(f"{side}_{a}")]
                ahead = np.einsum("ti,ti->t", turn[:, :, 0], lower)
                assert (sign * ahead > 0).all()
                np.testing.assert_allclose(
                    np.einsum("ti,ti->t", turn[:, :, 0], upper), 0, atol=1e-12
                )


def test_a_frame_of_another_duration_is_told(package: Path, clips: dict[str, Clip]):
    path = package / "data/motions/humanoid3d_roll.txt"
    with pytest.warns(UserWarning, match=r"Frames\[5\] lasts 0.032666 s"):
        clip = read_humanoid_clip(path)
    assert clip.rate_hz == pytest.approx(60.0, abs=0.01)
    np.testing.assert_array_equal(clip.positions, clips["roll"].positions)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("none", "'Frames' of at least 2 rows"),
        ([standing()], "'Frames' of at least 2 rows"),
        ([standing(), standing()[:-1]], r"Frames\[1\] must be a row of 44 .* 43"),
        ([standing(), 3.0], r"Frames\[1\] must be a row of 44 numbers; found no list"),
        ([["x", *standing()[1:]]] * 2, r"Frames\[0\] has an entry that is not"),
        ([standing(), [*standing()[:-1], float("nan")]], r"Frames\[1\] has an entry"),
        ([[0.0, *standing()[1:]]] * 3, "must be positive"),
        ([standing(), standing(neck=[0.1] * 4)], r"Frames\[1\], neck: .* found 0.2"),
    ],
)
def test_refusals(tmp_path: Path, rows: object, said: str):
    path = write(tmp_path / "clip.txt", rows)
    with pytest.raises(ValueError, match=said) as caught:
        read_humanoid_clip(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_what_is_not_json(tmp_path: Path):
    path = tmp_path / "clip.txt"
    path.write_text('{"Frames":\n[1, 2')
    with pytest.raises(ValueError, match="line 2: a motion clip is JSON"):
        read_humanoid_clip(path)
    with pytest.raises(FileNotFoundError):
        read_humanoid_clip(tmp_path / "missing.txt")
