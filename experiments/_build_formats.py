"""Finished sequences to the files that users of SIMSPINE load.

Each file appears whole or not at all. ``contents.json`` says which sequences they hold,
of which split; where these have changed, all are written again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments._build_sources import Source, Take

if TYPE_CHECKING:
    from simspine_jax.datasets.spine_sequence import SpineSequence, Subject

CONTENTS = "contents.json"
FORMATS = ("h5", "npz", "parquet", "tree")
_WRITTEN = (
    *("simspine*.h5", "annotations/simspine_*.npz", "annotations/*.pkl"),
    *("parquet/*.parquet", "cameras/Calib_*.toml", "models/*.osim"),
    *("positions/*/*.trc", "kinematics/*/*/*.mot"),
)


@dataclass(frozen=True)
class Finished:
    """The sequences that are done.

    Attributes:
        takes: In order.
        source: Where they came from.
        work: Has their files.
        dataset: What users load is written there.
        spine_only: Whether only the 15 keypoints of the spine may be written.
        model: Writes a subject's scaled model to a path.
    """

    takes: tuple[Take, ...]
    source: Source
    work: Path
    dataset: Path
    spine_only: bool
    model: Callable[[str, Path], None]

    def pairs(
        self, split: str | None = None
    ) -> "Iterator[tuple[Subject, SpineSequence]]":
        """Reads one after the other, each with its subject."""
        for take in self.takes:
            if split in (None, self.source.split(take.subject)):
                yield read(self.work, take)

    def first_of(self, subject: str) -> Take:
        """Returns the first take of a subject."""
        return next(take for take in self.takes if take.subject == subject)


def read(work: Path, take: Take) -> "tuple[Subject, SpineSequence]":
    """Reads a finished sequence and its subject."""
    from simspine_jax.datasets import simspine_h5

    file = simspine_h5.open_simspine(work / "sequences" / f"{take.name}.h5")
    return file.subjects[take.subject], file.read(take.subject, take.action)


def claim(done: Finished, settings: dict[str, Any]) -> None:
    """Removes files of other sequences; one process does it before any writes.

    What a killed run has left half written is removed, too.
    """
    from simspine_jax.io import atomic

    done.dataset.mkdir(exist_ok=True)
    for leftover in done.dataset.rglob(".*-*.*"):
        leftover.unlink()
    file = done.dataset / CONTENTS
    sequences = {
        take.name: {
            "split": done.source.split(take.subject),
            "sha256": _sha256(done.work / "sequences" / f"{take.name}.h5"),
        }
        for take in done.takes
    }
    wanted = {"sequences": sequences, **settings}
    text = json.dumps(wanted, indent=2, sort_keys=True) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    for pattern in _WRITTEN:
        for stale in done.dataset.glob(pattern):
            stale.unlink()
    atomic.write_text(file, text)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def outputs(
    done: Finished, formats: tuple[str, ...]
) -> dict[str, Callable[[Path], object]]:
    """Returns what writes each file, by its path in the data set.

    Args:
        done: What there is to write.
        formats: Of ``FORMATS``.
    """
    from simspine_jax.datasets import simspine_parquet, simspine_tree
    from simspine_jax.skeletons import simspine

    splits = dict.fromkeys(done.source.split(take.subject) for take in done.takes)
    names = simspine.SPINE_NAMES if done.spine_only else simspine.NAMES
    licence = done.source.licence
    found: dict[str, Callable[[Path], object]] = {}
    if "h5" in formats:
        if not done.spine_only:
            found["simspine.h5"] = lambda path: _h5(path, done, simspine.NAMES)
        found["simspine_15.h5"] = lambda path: _h5(path, done, simspine.SPINE_NAMES)
    for split in splits:
        if "npz" in formats:
            found[f"annotations/simspine_{split}.npz"] = lambda path, split=split: _npz(
                path, done, split
            )
        if "parquet" in formats:
            found[f"parquet/{split}.parquet"] = lambda path, split=split: (
                simspine_parquet.write_parquet(
                    path,
                    done.pairs(split),
                    names=names,
                    split=split,
                    licence=licence,
                )
            )
    if "tree" in formats:
        for subject in dict.fromkeys(take.subject for take in done.takes):
            found[f"cameras/Calib_{subject}.toml"] = lambda _, subject=subject: (
                simspine_tree.write_subject(
                    done.dataset, read(done.work, done.first_of(subject))[0]
                )
            )
        for take in done.takes:
            place = f"positions/{take.subject}/{take.name}.trc"
            found[place] = lambda _, take=take: _tree(done, take)
    for subject in dict.fromkeys(take.subject for take in done.takes):
        found[f"models/{subject}.osim"] = lambda path, subject=subject: done.model(
            subject, path
        )
    return found


def _h5(path: Path, done: Finished, names: tuple[str, ...]) -> None:
    from simspine_jax.datasets import simspine_h5

    subjects = dict.fromkeys(take.subject for take in done.takes)
    simspine_h5.write_simspine(
        path,
        (read(done.work, done.first_of(name))[0] for name in subjects),
        (sequence for _, sequence in done.pairs()),
        names=names,
    )


def _npz(path: Path, done: Finished, split: str) -> None:
    """Writes the 15 keypoints of a split; the training one's statistics before it."""
    from simspine_jax.datasets import keypoint_stats, simspine_npz
    from simspine_jax.io.atomic import atomic_path

    with atomic_path(path) as temporary:
        simspine_npz.write_npz(
            temporary, done.pairs(split), licence=done.source.licence
        )
        if split == "train":
            stats = keypoint_stats.npz_stats(simspine_npz.read_npz(temporary))
            keypoint_stats.write_stats(path.parent, stats)


def _tree(done: Finished, take: Take) -> None:
    from dataclasses import replace

    from simspine_jax.datasets import simspine_tree
    from simspine_jax.datasets.simspine_keypoints import with_keypoints
    from simspine_jax.skeletons import simspine

    _, sequence = read(done.work, take)
    if done.spine_only:
        spine = with_keypoints(sequence.markers, simspine.SPINE_NAMES, sequence.name)
        sequence = replace(sequence, markers=spine)
    simspine_tree.write_sequence(done.dataset, sequence)
