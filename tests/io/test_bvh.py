"""BVH files: a small one against matrices written out, and the real ones."""

from pathlib import Path

import numpy as np
import pytest

from simspine_jax.io.bvh import read_bvh
from simspine_jax.io.clip import Clip, skeleton_of
from third_party import fetch

# Channels in another order in every joint, positions last, one joint with one angle.
SMALL = """HIERARCHY
ROOT base
{
  OFFSET 1.0 2.0 3.0
  CHANNELS 6 Zrotation Xrotation Yrotation Zposition Xposition Yposition
  JOINT upper arm
  {
    OFFSET 0.0 -10.0 0.5
    CHANNELS 3 Yrotation Zrotation Xrotation
    JOINT hand
    {
      OFFSET 4.0 0.0 0.0
      CHANNELS 2 Xrotation Yposition
      End Site
      {
        OFFSET 0.0 0.0 2.0
      }
    }
  }
  JOINT other
  {
    OFFSET -5.0 0.0 0.0
    CHANNELS 0
    End Site
    {
      OFFSET 0.0 1.0 0.0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.04

10 20 30 7 5 6 -40 50 60 70 8.5
-100 15 200 0 1 2 33 -44 55 -66 0.0
"""
# (forward, up, right) of the file's axes when it faces Z with the left to X.
TO_GROUND = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])


def about(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def by_hand(row: list[float]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Positions and rotations of SMALL's joints, in its own axes."""
    base = about("z", row[0]) @ about("x", row[1]) @ about("y", row[2])
    at = np.array([row[4], row[5], row[3]])
    arm = base @ about("y", row[6]) @ about("z", row[7]) @ about("x", row[8])
    elbow = at + base @ [0, -10, 0.5]
    hand = arm @ about("x", row[9])
    wrist = elbow + arm @ [4, row[10], 0]
    other = at + base @ [-5, 0, 0]
    places = [
        at,
        elbow,
        wrist,
        wrist + hand @ [0, 0, 2],
        other,
        other + base @ [0, 1, 0],
    ]
    return places, [base, arm, hand, hand, base, base]


def small(tmp_path: Path, text: str = SMALL) -> Path:
    path = tmp_path / "small.bvh"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def real() -> dict[str, Clip]:
    folder = fetch.fetch("bvhtoolbox-0.1.3") / "bvhtoolbox-0.1.3/tests/example_files"
    clips = [read_bvh(path, metres_per_unit=0.01) for path in folder.glob("*.bvh")]
    return {clip.name: clip for clip in clips}


def test_small_file_against_matrices(tmp_path: Path):
    clip = read_bvh(small(tmp_path), metres_per_unit=0.1)
    assert clip.name == "small"
    names = ("base", "upper arm", "hand", "hand_end", "other", "other_end")
    assert clip.joint_names == names
    assert clip.rate_hz == pytest.approx(25.0)
    rows = [[float(x) for x in line.split()] for line in SMALL.splitlines()[-2:]]
    for t, row in enumerate(rows):
        places, turns = by_hand(row)
        expected = 0.1 * np.array(places) @ TO_GROUND.T
        np.testing.assert_allclose(clip.positions[t], expected, atol=1e-12)
        expected = TO_GROUND @ np.array(turns) @ TO_GROUND.T
        np.testing.assert_allclose(clip.rotations[t], expected, atol=1e-12)


def test_lines_may_end_as_on_windows(tmp_path: Path):
    path = tmp_path / "small.bvh"
    path.write_bytes(SMALL.replace("\n", "\r\n").replace("  ", "\t").encode())
    again = read_bvh(path, metres_per_unit=1.0)
    clip = read_bvh(small(tmp_path), metres_per_unit=1.0)
    np.testing.assert_array_equal(again.positions, clip.positions)


def test_real_files_have_rigid_bones(real: dict[str, Clip]):
    assert {c.positions.shape[:2] for c in real.values()} == {(69, 70), (455, 24)}
    for clip in real.values():
        assert clip.rate_hz == pytest.approx(30.0, abs=1e-3)
        assert np.isfinite(clip.positions).all()
        roles = skeleton_of(clip)
        pairs = [("hip", "knee"), ("knee", "ankle"), ("elbow", "wrist")]
        for side in ("left", "right"):
            for a, b in pairs:
                bone = np.subtract(
                    *(clip.positions[:, roles[f"{side}_{n}"]] for n in (a, b))
                )
                length = np.linalg.norm(bone, axis=1)
                np.testing.assert_allclose(length, length[0], atol=1e-9)
                assert 0.2 < length[0] < 0.5  # m


def test_real_people_stand_on_the_floor_and_face_where_they_look(real: dict[str, Clip]):
    for clip in real.values():
        roles = skeleton_of(clip)
        at = {role: clip.positions[:, j] for role, j in roles.items()}
        first = {role: p[0] for role, p in at.items()}
        for ankle in ("left_ankle", "right_ankle"):
            assert 0.05 < at[ankle][:, 1].min() < 0.15
        assert first["head"][1] > first["thorax"][1] > first["pelvis"][1] > 0.8
        # The pelvis's own Z axis points to its right hip.
        right = clip.rotations[:, roles["pelvis"], :, 2]
        across = at["right_hip"] - at["left_hip"]
        cosine = (right * across).sum(1) / np.linalg.norm(across, axis=1)
        assert cosine.min() > 0.99


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("HIERARCHY", "SKELETON", 1, "begins with HIERARCHY"),
        ("ROOT base", "JOINT base", 2, "ROOT is wanted"),
        ("JOINT other", "JOINT hand", 20, "'hand' is named twice"),
        ("OFFSET 4.0 0.0 0.0", "OFFSET 4.0 0.0", 12, "OFFSET needs 3 numbers; found 2"),
        ("OFFSET 4.0 0.0 0.0", "OFFSET 4.0 0.0 nan", 12, "OFFSET needs 3 numbers"),
        ("CHANNELS 2 X", "CHANNELS 3 X", 13, "'hand' needs CHANNELS"),
        ("Xrotation Yposition", "Xrotation Xrotation", 13, "different ones"),
        ("Xrotation Yposition", "Xrotation Wposition", 13, "different ones"),
        ("      End Site", "      Tip", 14, "JOINT, End Site or } is wanted"),
        ("MOTION", "JOINT a", 30, "MOTION is wanted"),
        ("Frames: 2", "Frames: two", 31, "'Frames:' and their number"),
        ("Frames: 2", "Frames: 3", 35, "the file ends where frame 3 of 3 is wanted"),
        ("Frames: 2", "Frames: 1", 35, "goes on after its 1 frames"),
        ("0.04", "0", 32, "Frame Time must be positive"),
        (" 70 8.5", " 70", 34, "a frame needs 11 numbers; found 10"),
        (" 70 8.5", " 70 x", 34, "a frame needs 11 numbers"),
    ],
)
def test_refusals_name_the_line(
    tmp_path: Path, old: str, new: str, line: int, said: str
):
    assert old in SMALL
    path = small(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(ValueError, match=said) as caught:
        read_bvh(path, metres_per_unit=1.0)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert "\n" not in str(caught.value)


def test_refuses_a_unit_that_is_none(tmp_path: Path):
    with pytest.raises(ValueError, match="metres_per_unit must be positive; it is 0"):
        read_bvh(small(tmp_path), metres_per_unit=0)
    with pytest.raises(FileNotFoundError):
        read_bvh(tmp_path / "missing.bvh", metres_per_unit=1.0)
    with pytest.raises(ValueError, match="line 0: the file ends where HIERARCHY"):
        read_bvh(small(tmp_path, "\n"), metres_per_unit=1.0)
