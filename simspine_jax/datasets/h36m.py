"""Reads the poses of Human3.6M, which whoever has a licence downloads.

Two layouts are read: the data set's own folders, such as
``S1/MyPoseFeatures/D3_Positions/Directions 1.cdf`` with the variable ``Pose``
[1, T, 96] (32 joints, mm, world with Z up); and the archive that VideoPose3D made
popular, an npz with ``positions_3d``, subject to action to [T, 32 or 17, 3] (m). Of
the 32 joints the 17 that move on their own are kept, with SIMSPINE's names (Foot is
Ankle, Thorax is Neck, Neck/Nose is Nose); "Spine", half way between hip and neck, has
no counterpart and keeps its name.

What is read is tagged `licences.Licensed`, which the writers of data sets refuse. No
sequence is left out or invented: S11's first "Directions", whose video is broken, is
read if it is there and is among ``missing`` if not.

Source: Ionescu et al. 2014 and the layout of its files; VideoPose3D (Pavllo et al.
2019) for the archive.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from simspine_jax.datasets import extras
from simspine_jax.datasets.licences import Licensed
from simspine_jax.datasets.spine_sequence import to_ground
from simspine_jax.io import h36m_cameras, npz
from simspine_jax.skeletons import h36m_17
from simspine_jax.types import Detections2D, MarkerTrajectory

RATE_HZ = 50.0
SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
NAMES = tuple(h36m_17.SIMSPINE_NAMES.get(name, name) for name in h36m_17.NAMES)
TAKES = 2  # of every action by every subject
# Actions with every name they have in one subject's files or another's.
ACTIONS: dict[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in (
            *("Directions", "Discussion", "Eating", "Greeting", "Phoning"),
            *("Posing", "Purchases", "Sitting", "SittingDown", "Smoking", "Waiting"),
            *("Walking", "WalkTogether"),
        )
    },
    "Photo": ("Photo", "TakingPhoto"),
    "WalkDog": ("WalkDog", "WalkingDog"),
}

_JOINTS = 32
_FEATURES = "MyPoseFeatures"
_WORLD, _CAMERA, _PIXELS = "D3_Positions", "D3_Positions_mono", "D2_Positions"
_MM = 1e-3


@dataclass(frozen=True)
class H36M:
    """The sequences that a folder or an archive of Human3.6M has.

    Attributes:
        root: The folder or the archive.
        sequences: Actions with their takes, as the files name them ("Walking 1"), of
            each subject, sorted.
        missing: What a whole copy has and this one lacks, such as "S11 Directions
            (1 of 2 takes)" or "S5" for a whole subject.
    """

    root: Path
    sequences: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]
    _points: Callable[[str, str], np.ndarray]

    def read(self, subject: str, action: str) -> Licensed:
        """Reads one sequence.

        Args:
            subject: Such as "S1".
            action: Exactly as in ``sequences``.

        Returns:
            The 17 joints ``NAMES`` in ground (Y up), m, at 50 Hz; a joint that is not
            a number is not valid.

        Raises:
            ValueError: There is no such sequence, or its file is damaged.
        """
        there = self.sequences.get(subject, ())
        if action not in there:
            raise ValueError(
                f"{self.root}: there is no sequence {subject!r} {action!r}; "
                + (
                    f"{subject} has {', '.join(there)}"
                    if there
                    else f"the subjects are {', '.join(self.sequences)}"
                )
            )
        points = np.asarray(self._points(subject, action), np.float64)
        valid = np.asarray(np.isfinite(points).all(axis=2))
        ground = to_ground(np.where(valid[..., None], points, 0.0))
        return Licensed(MarkerTrajectory(ground, valid, NAMES, RATE_HZ))


def open_h36m(root: str | os.PathLike[str]) -> H36M:
    """Looks what a copy of Human3.6M has.

    Args:
        root: The folder that has the folders of the subjects, or an npz archive. Its
            pickle is read as plain data only (`io.plain_pickle`).

    Raises:
        FileNotFoundError: There is no such folder or file.
        ValueError: It has no sequence, or the archive is not such a one.
    """
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root}: there is no such folder or file")
    found, points = _folders(root) if root.is_dir() else _archive(root)
    if not any(found.values()):
        raise ValueError(
            f"{root}: there is no sequence of Human3.6M; it must have files such as "
            f"S1/{_FEATURES}/{_WORLD}/Directions 1.cdf"
        )
    sequences = {
        subject: tuple(sorted(actions))
        for subject, actions in sorted(found.items(), key=lambda i: _number(i[0]))
        if actions
    }
    return H36M(root, sequences, _missing(sequences), points)


def read_camera_points(
    root: str | os.PathLike[str], subject: str, action: str
) -> tuple[Float[np.ndarray, "t c 17 3"], tuple[str, ...]]:
    """Reads one sequence in the frames of its cameras, from ``D3_Positions_mono``.

    Args:
        root: The folder that has the folders of the subjects.
        subject: Such as "S1".
        action: As the files name it.

    Returns:
        The 17 joints ``NAMES`` in each camera's frame, m, and the C cameras that have
        a file. As in the files: NaN stays.

    Raises:
        FileNotFoundError: No camera has the sequence.
        ValueError: A file is damaged, or the cameras differ in frames.
    """
    points, cameras = _views(Path(root), _CAMERA, subject, action, 3)
    return points * _MM, cameras


def read_pixels(
    root: str | os.PathLike[str], subject: str, action: str
) -> tuple[Detections2D, tuple[str, ...]]:
    """Reads the projections of one sequence, from ``D2_Positions``.

    Args:
        root: The folder that has the folders of the subjects.
        subject: Such as "S1".
        action: As the files name it.

    Returns:
        The 17 joints ``NAMES`` with confidence 1 (0 where not a number), and the C
        cameras that have a file. Pixels are as in the files.

    Raises:
        FileNotFoundError: No camera has the sequence.
        ValueError: A file is damaged, or the cameras differ in frames.
    """
    points, cameras = _views(Path(root), _PIXELS, subject, action, 2)
    seen = np.asarray(np.isfinite(points).all(axis=3))
    points = np.where(seen[..., None], points, 0.0)
    return Detections2D(points, np.asarray(seen, np.float64), NAMES, RATE_HZ), cameras


def _folders(root: Path) -> tuple[dict[str, list[str]], Callable]:
    found = {
        folder.name: [
            file.stem
            for file in (folder / _FEATURES / _WORLD).glob("*.cdf")
            if not file.name.startswith(("_ALL", "."))
        ]
        for folder in root.iterdir()
        if re.fullmatch(r"S\d+", folder.name)
    }

    def points(subject: str, action: str) -> np.ndarray:
        file = root / subject / _FEATURES / _WORLD / f"{action}.cdf"
        return _read_pose(file, 3) * _MM

    return found, points


def _archive(path: Path) -> tuple[dict[str, list[str]], Callable]:
    name = "positions_3d"
    tree: Any = npz.open_npz(path, (name,), pickled=(name,))[name]
    if not (
        isinstance(tree, dict) and all(isinstance(one, dict) for one in tree.values())
    ):
        raise ValueError(f"{path}: {name} must be a dict of dicts, subject to action")

    def points(subject: str, action: str) -> np.ndarray:
        return _of_17(np.asarray(tree[subject][action]), 3, f"{path}: {action}")

    return {str(s): [str(a) for a in actions] for s, actions in tree.items()}, points


def _views(
    root: Path, feature: str, subject: str, action: str, size: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    folder = root / subject / _FEATURES / feature
    files = {name: folder / f"{action}.{name}.cdf" for name in h36m_cameras.NAMES}
    files = {name: file for name, file in files.items() if file.is_file()}
    if not files:
        raise FileNotFoundError(f"{folder}: no camera has the sequence {action!r}")
    views = {name: _read_pose(file, size) for name, file in files.items()}
    frames = {name: len(view) for name, view in views.items()}
    if len(set(frames.values())) > 1:
        raise ValueError(
            f"{folder}: the cameras of {action!r} differ in frames ("
            + ", ".join(f"{name} has {count}" for name, count in frames.items())
            + ")"
        )
    return np.stack(list(views.values()), axis=1), tuple(views)


def _read_pose(path: Path, size: int) -> np.ndarray:
    """Returns the 17 joints of a .cdf file, in its units. [T, 17, size]."""
    cdflib = extras.load("cdflib", "reading .cdf files")
    try:
        pose = np.asarray(cdflib.CDF(str(path)).varget("Pose"), np.float64)
    # The reader trusts the file, and fails with whatever comes first if it may not.
    except Exception as error:
        raise ValueError(f"{path}: not a CDF file with Pose ({error})") from None
    if pose.ndim < 2 or pose.shape[-1] != _JOINTS * size:
        raise ValueError(
            f"{path}: Pose has shape {pose.shape}, and it must be "
            f"(1, frames, {_JOINTS * size})"
        )
    return _of_17(pose.reshape(-1, _JOINTS, size), size, path)


def _of_17(points: np.ndarray, size: int, source: object) -> np.ndarray:
    joints = points.shape[1] if points.ndim == 3 else 0
    if joints not in (_JOINTS, len(NAMES)) or points.shape[2] != size:
        raise ValueError(
            f"{source}: the poses have shape {points.shape}, and it must be (frames, "
            f"{_JOINTS} or {len(NAMES)}, {size})"
        )
    return points[:, list(h36m_17.OF_32)] if joints == _JOINTS else points


def _missing(sequences: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    lacks = []
    for subject in SUBJECTS:
        if subject not in sequences:
            lacks.append(subject)
            continue
        for action, names in ACTIONS.items():
            takes = _takes(sequences[subject], names)
            if takes < TAKES:
                lacks.append(f"{subject} {action} ({takes} of {TAKES} takes)")
    return tuple(lacks)


def _takes(actions: Iterable[str], names: tuple[str, ...]) -> int:
    # A take is the action's whole name with a number or none: "Sitting 1" is not
    # "SittingDown 1".
    return sum(re.sub(r" \d+$", "", action) in names for action in actions)


def _number(subject: str) -> tuple[int, str]:
    digits = re.sub(r"\D", "", subject)
    return int(digits or 0), subject
