"""Motion clips of DeepMimic's humanoid.

A file is JSON: ``Frames`` has a row of 44 numbers for each frame, its duration (s),
position (m) of the root and then joint angles, a quaternion w x y z (child to parent)
for a ball joint and an angle (rad) about Z for a knee or elbow. Axes are OpenSim's
ground: X forward, Y up, Z right, and the rest pose stands upright with hanging arms.

Source: Peng et al., DeepMimic, ACM Transactions on Graphics 37(4), 2018; offsets and
hinge axes as in the humanoid of PyBullet 3.2.7 (at a quarter of its written size).
"""

import json
import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from simspine_jax.io.clip import Clip

# Joint: parent and offset in the parent's frame, m.
SKELETON = {
    "root": ("", (0.0, 0.0, 0.0)),
    "chest": ("root", (0.0, 0.236151, 0.0)),
    "neck": ("chest", (0.0, 0.223894, 0.0)),
    "right_hip": ("root", (0.0, 0.0, 0.084887)),
    "right_knee": ("right_hip", (0.0, -0.421546, 0.0)),
    "right_ankle": ("right_knee", (0.0, -0.40987, 0.0)),
    "right_shoulder": ("chest", (-0.02405, 0.2435, 0.18311)),
    "right_elbow": ("right_shoulder", (0.0, -0.274788, 0.0)),
    "right_wrist": ("right_elbow", (0.0, -0.258947, 0.0)),
    "left_hip": ("root", (0.0, 0.0, -0.084887)),
    "left_knee": ("left_hip", (0.0, -0.421546, 0.0)),
    "left_ankle": ("left_knee", (0.0, -0.40987, 0.0)),
    "left_shoulder": ("chest", (-0.02405, 0.2435, -0.18311)),
    "left_elbow": ("left_shoulder", (0.0, -0.274788, 0.0)),
    "left_wrist": ("left_elbow", (0.0, -0.258947, 0.0)),
}
_HINGES = ("right_knee", "right_elbow", "left_knee", "left_elbow")
_RIGID = ("right_wrist", "left_wrist")
_WIDTH = 44
_FIRST_ANGLE = 4  # after duration and position
# Frames blended by hand have quaternions as short as 0.58; all are normalised.
_NORM_RANGE = (0.5, 1.5)
_RATE_TOLERANCE = 0.01


def read_humanoid_clip(path: str | os.PathLike[str]) -> Clip:
    """Reads a motion clip of DeepMimic's humanoid.

    Args:
        path: A JSON file such as ``humanoid3d_walk.txt``.

    Returns:
        The joints of ``SKELETON`` in every frame of the file. The rate is that of
        the median duration; the last frame's, mostly 0, says nothing.

    Warns:
        UserWarning: Some frames last another time; they are read as if they did not.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not JSON or has no ``Frames``, a row has not 44
            finite numbers, a quaternion's length is far from 1, or durations are not
            positive.
    """
    rows = _rows(path)
    rate_hz = _rate(rows[:, 0], path)
    local = _local_rotations(rows, path)
    names = tuple(SKELETON)
    turn, place = dict[str, Rotation](), dict[str, np.ndarray]()
    for name, (parent, offset) in SKELETON.items():
        if not parent:
            turn[name], place[name] = local[name], rows[:, 1:_FIRST_ANGLE]
            continue
        place[name] = place[parent] + turn[parent].apply(offset)
        turn[name] = turn[parent] * local[name] if name in local else turn[parent]
    return Clip(
        Path(path).stem,
        names,
        np.stack([place[n] for n in names], axis=1),
        np.stack([turn[n].as_matrix() for n in names], axis=1),
        rate_hz,
    )


def _rows(path: str | os.PathLike[str]) -> Float[np.ndarray, "t 44"]:
    text = Path(path).read_text(encoding="utf-8")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}: a motion clip is JSON; {error.msg}"
        ) from error
    frames = content.get("Frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or len(frames) < 2:
        raise ValueError(
            f"{path}: a motion clip has a list 'Frames' of at least 2 rows, and this "
            "file has none"
        )
    for k, row in enumerate(frames):
        if not isinstance(row, list) or len(row) != _WIDTH:
            found = f"{len(row)} entries" if isinstance(row, list) else "no list"
            raise ValueError(
                f"{path}: Frames[{k}] must be a row of {_WIDTH} numbers; found {found}"
            )
        if not all(type(x) in (int, float) and np.isfinite(x) for x in row):
            raise ValueError(
                f"{path}: Frames[{k}] has an entry that is not a finite number"
            )
    return np.array(frames, float)


def _rate(durations: Float[np.ndarray, " t"], path: str | os.PathLike[str]) -> float:
    usual = float(np.median(durations[:-1]))
    if not usual > 0:
        raise ValueError(
            f"{path}: frames last {usual:g} s (median), and that must be positive"
        )
    odd = np.flatnonzero(np.abs(durations[:-1] / usual - 1) > _RATE_TOLERANCE)
    if len(odd):
        warnings.warn(
            f"{path}: Frames[{odd[0]}] lasts {durations[odd[0]]:g} s and most frames "
            f"{usual:g} s; {len(odd)} of {len(durations)} frames differ, and all are "
            "read as if they lasted the same",
            stacklevel=3,
        )
    return 1.0 / usual


def _local_rotations(
    rows: Float[np.ndarray, "t 44"], path: str | os.PathLike[str]
) -> dict[str, Rotation]:
    """Returns the rotation child to parent of every joint that turns."""
    found, at = {}, _FIRST_ANGLE
    for name in SKELETON:
        if name in _RIGID:
            continue
        if name in _HINGES:
            found[name] = Rotation.from_euler("z", rows[:, at, None])
            at += 1
            continue
        quaternion = rows[:, at : at + 4]
        norm = np.linalg.norm(quaternion, axis=1)
        off = np.flatnonzero((norm < _NORM_RANGE[0]) | (norm > _NORM_RANGE[1]))
        if len(off):
            raise ValueError(
                f"{path}: Frames[{off[0]}], {name}: a quaternion must have a "
                f"length of {_NORM_RANGE[0]} to {_NORM_RANGE[1]}; found "
                f"{norm[off[0]]:.4g}"
            )
        found[name] = Rotation.from_quat(quaternion, scalar_first=True)
        at += 4
    return found
