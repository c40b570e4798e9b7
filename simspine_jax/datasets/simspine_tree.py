"""SIMSPINE's release as a tree of OpenSim files, and to and from its HDF5 file.

    cameras/Calib_<S>.toml
    models/<S>.osim
    positions/<S>/<S>_<action>.trc                   or markers/, as the shell names it
    kinematics/<S>/<S>_<action>/<S>_<action>.mot     or without the folder of its own

Nothing is indexed on disk: what the tree holds is looked up whenever it is opened, and
an action is the whole rest of a file's name, so that Sitting is not SittingDown.

Source: the data set's description and the serialiser that SIMSPINE (arXiv 2602.20792)
released.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from simspine_jax.datasets.licences import refuse_licensed
from simspine_jax.datasets.simspine_h5 import open_simspine, write_simspine
from simspine_jax.datasets.simspine_keypoints import (
    by_number,
    keypoint_set,
    with_keypoints,
)
from simspine_jax.datasets.spine_sequence import SpineSequence, Subject
from simspine_jax.datasets.trc_mot_pair import read_pair
from simspine_jax.io import storage, trc
from simspine_jax.io.calibration import read_calibration, write_calibration
from simspine_jax.skeletons import simspine

_POSITIONS = ("positions", "markers")
_KINEMATICS = "kinematics"


@dataclass(frozen=True)
class SimspineTree:
    """A data set on disk; sequences are read when asked for.

    Attributes:
        root: The folder.
        subjects: People by name, S9 before S11.
        actions: Their actions, each with its take, sorted.
        files: TRC and MOT of each subject and action.
        models: Models by subject, which say which coordinates are angles; the names of
            the coordinates say so for the others.
    """

    root: Path
    subjects: Mapping[str, Subject]
    actions: Mapping[str, tuple[str, ...]]
    files: Mapping[tuple[str, str], tuple[Path, Path]]
    models: Mapping[str, storage.HasCoordinates] = field(default_factory=dict)

    def read(self, subject: str, action: str) -> SpineSequence:
        """Reads one sequence, with the 37 keypoints or else the 15.

        Times are those of the TRC.

        Warns:
            UserWarning: As ``read_pair``.

        Raises:
            ValueError: There is no such sequence, a keypoint is missing, or as
                ``read_pair``.
        """
        if (subject, action) not in self.files:
            have = ", ".join(self.actions.get(subject, self.subjects))
            raise ValueError(
                f"{self.root}: there is no sequence {action!r} of {subject!r}; there "
                f"are {have}"
            )
        places, angles = self.files[subject, action]
        model = self.models.get(subject)
        markers, motion = read_pair(places, angles, model)
        markers = with_keypoints(markers, keypoint_set(markers.names, places), places)
        flags = storage.rotational_flags(motion.coordinate_names, model)
        rotational = tuple(flags.tolist())
        return SpineSequence(subject, action, markers, motion, rotational)

    def __iter__(self) -> Iterator[SpineSequence]:
        """Reads the sequences one after the other."""
        for subject, actions in self.actions.items():
            for action in actions:
                yield self.read(subject, action)


def open_tree(
    root: str | os.PathLike[str],
    *,
    models: Mapping[str, storage.HasCoordinates] | None = None,
) -> SimspineTree:
    """Looks up what a tree holds.

    Args:
        root: The folder that has ``cameras`` and ``positions`` or ``markers``.
        models: Models by subject, where the names of coordinates do not tell angles.

    Warns:
        UserWarning: A sequence has only one of its two files and is left out.

    Raises:
        FileNotFoundError: There is no such folder, or a subject has no calibration.
        ValueError: The folder has no markers, or both ``positions`` and ``markers``; a
            file is not named by its subject, or there are two of one sequence; or a
            calibration is wrong.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder")
    found = [root / name for name in _POSITIONS if (root / name).is_dir()]
    if len(found) != 1:
        raise ValueError(
            f"{root}: the folder has {len(found)} of {' and '.join(_POSITIONS)}, and "
            "it must have one of them"
        )
    kinematics = root / _KINEMATICS
    folders = {p.name for p in (*found[0].iterdir(), *kinematics.glob("*"))}
    subjects, actions, files = {}, {}, {}
    for name in sorted(folders, key=by_number):
        if not ((found[0] / name).is_dir() or (kinematics / name).is_dir()):
            continue
        places = _by_action(found[0] / name, name, ("*.trc",))
        angles = _by_action(kinematics / name, name, ("*.mot", "*/*.mot"))
        for action in sorted(places.keys() ^ angles.keys()):
            other = f"{_KINEMATICS}/" if action in places else f"{found[0].name}/"
            warnings.warn(
                f"{root}: {name}_{action} has no file in {other}; the sequence is left "
                "out",
                stacklevel=2,
            )
        subjects[name] = _subject(root, name)
        actions[name] = tuple(sorted(places.keys() & angles.keys(), key=by_number))
        for action in actions[name]:
            files[name, action] = (places[action], angles[action])
    return SimspineTree(root, subjects, actions, files, models or {})


def write_subject(root: str | os.PathLike[str], subject: Subject) -> None:
    """Writes a person's calibration; the model itself is for ``write_osim``.

    Raises:
        FileNotFoundError: The folder ``root`` does not exist.
        ValueError: The rig is not one.
    """
    path = _made(root, "cameras") / f"Calib_{subject.name}.toml"
    write_calibration(path, subject.rig)


def write_sequence(root: str | os.PathLike[str], sequence: SpineSequence) -> None:
    """Writes the TRC and the MOT of a sequence, each whole or not at all.

    The TRC is in m, says so, and has all digits. The MOT comes first; a tree in which
    only it is there has no such sequence.

    Raises:
        FileNotFoundError: The folder ``root`` does not exist.
        ValueError: A name cannot be one of a file, there is no frame, a number is not
            finite, or the sequence may not be written out (`licences.Licensed`).
    """
    refuse_licensed(sequence, path=root)
    name, subject = sequence.name, sequence.subject
    for part in (subject, sequence.action):
        if not part or part != part.strip(". ") or set("/\\") & set(part):
            raise ValueError(f"{root}: {part!r} cannot be a part of a file's name")
    places = _made(root, _POSITIONS[0], subject)
    angles = _made(root, _KINEMATICS, subject, name)
    storage.write_mot(
        angles / f"{name}.mot",
        sequence.motion,
        coordinate_is_rotational=sequence.rotational,
    )
    trc.write_trc(places / f"{name}.trc", sequence.markers, units="m")


def tree_to_h5(
    root: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] = simspine.NAMES,
    models: Mapping[str, storage.HasCoordinates] | None = None,
    dtype: type[np.floating] = np.float64,
) -> None:
    """Packs a tree into an HDF5 file; see `open_tree` and `write_simspine`."""
    tree = open_tree(root, models=models)
    write_simspine(path, tree.subjects.values(), tree, names=names, dtype=dtype)


def h5_to_tree(
    path: str | os.PathLike[str], root: str | os.PathLike[str]
) -> SimspineTree:
    """Unpacks an HDF5 file into a tree; returns the tree.

    The models are not in the file, so that they have to be copied.

    Args:
        path: See `open_simspine`.
        root: Folder; made if it is not there. Files of the same names are replaced.
    """
    file = open_simspine(path)
    Path(root).mkdir(exist_ok=True)
    for subject in file.subjects.values():
        write_subject(root, subject)
    for sequence in file:
        write_sequence(root, sequence)
    return open_tree(root)


def _by_action(folder: Path, subject: str, patterns: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    prefix = f"{subject}_"
    for path in sorted(p for pattern in patterns for p in folder.glob(pattern)):
        if path.name.startswith("."):  # half written
            continue
        action = path.stem.removeprefix(prefix)
        if not path.stem.startswith(prefix) or not action:
            raise ValueError(
                f"{path}: a file of {subject} must be named {prefix}<action>"
                f"{path.suffix}"
            )
        if action in found:
            raise ValueError(
                f"{path}: the same sequence is in {found[action]}; there must be one"
            )
        found[action] = path
    return found


def _subject(root: Path, name: str) -> Subject:
    calibration = root / "cameras" / f"Calib_{name}.toml"
    if not calibration.is_file():
        raise FileNotFoundError(
            f"{calibration}: there is no such file, and {name} has sequences"
        )
    model = f"{name}.osim" if (root / "models" / f"{name}.osim").is_file() else ""
    return Subject(name, read_calibration(calibration), model)


def _made(root: str | os.PathLike[str], *parts: str) -> Path:
    if not Path(root).is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder")
    folder = Path(root).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
