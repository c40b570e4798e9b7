"""Recordings to finished sequences: one file each, in any order, by any process.

Some sequences of a subject are fitted together, as that shares the work of the search.
Which ones belong together depends on the names alone, so that the bytes do, too.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments._build_setup import Setup
from experiments._build_sources import Source, Take
from experiments._build_subjects import Generic
from experiments._processes import Processes

if TYPE_CHECKING:
    from simspine_jax import Model
    from simspine_jax.datasets.capture_folder import Recording
    from simspine_jax.datasets.spine_sequence import SpineSequence

FOLDERS = ("sequences", "quality", "failed")


@dataclass(frozen=True)
class Work:
    """What the sequences are made with.

    Attributes:
        source: Gives the recordings.
        generic: Has the tasks of the fits.
        setup: Options.
        folder: Has the scaled models in "subjects", and the folders of ``FOLDERS``.
    """

    source: Source
    generic: Generic
    setup: Setup
    folder: Path

    @property
    def subjects(self) -> Path:
        """Where the scaled models are."""
        return self.folder / "subjects"


@dataclass(frozen=True)
class Refused:
    """A sequence that could not be made, and why."""

    take: Take
    reason: str


@dataclass(frozen=True)
class Made:
    """A finished sequence, its cameras and its quality, as JSON can hold it."""

    sequence: "SpineSequence"
    recording: "Recording"
    quality: dict[str, Any]


def groups(
    takes: Sequence[Take], together: int, processes: Processes
) -> tuple[tuple[Take, ...], ...]:
    """Returns this process's share of the takes that are fitted together."""
    found = []
    for _, own in itertools.groupby(takes, lambda take: take.subject):
        mine = tuple(own)
        found += [mine[i : i + together] for i in range(0, len(mine), together)]
    return processes.share(found)


def unfinished(
    found: Sequence[tuple[Take, ...]], folder: Path
) -> tuple[tuple[Take, ...], ...]:
    """Returns the groups of which a sequence is not on disk."""
    from simspine_jax.io import shards

    names = [take.name for group in found for take in group]
    left = set(shards.missing(folder / "sequences", names))
    return tuple(g for g in found if left & {take.name for take in g})


def run(work: Work, todo: Sequence[tuple[Take, ...]]) -> Iterator[int]:
    """Makes the sequences of some groups.

    Yields:
        The frames of each group when it is on disk.

    Raises:
        OSError: A file could not be written.
    """
    from simspine_jax.io import shards

    by_name = {group[0].name: group for group in todo}
    reads = lambda name: [_read(work.source, take) for take in by_name[name]]
    makes = lambda _, given: _make(work, given)

    def writes(_: str, made: list[Made | Refused]) -> None:
        for one in made:
            _write(work, one)

    for _, made in shards.stream(tuple(by_name), reads, makes, writes):
        yield sum(len(m.sequence.motion.q) for m in made if isinstance(m, Made))


def _read(source: Source, take: Take) -> "Recording | Refused":
    try:
        return source.read(take)
    except (ValueError, OSError) as error:
        return Refused(take, " ".join(str(error).split()))


def _make(work: Work, given: "list[Recording | Refused]") -> list[Made | Refused]:
    from simspine_jax.fitting import reconstruction

    made: list[Made | Refused] = [one for one in given if isinstance(one, Refused)]
    recordings = [one for one in given if not isinstance(one, Refused)]
    observed: dict[str, Any] = {}
    for one in recordings:
        try:
            observed[one.name] = reconstruction.observe(
                one.rig, one.detections, one.body, work.setup.reconstruction
            )
        except ValueError as error:
            made.append(Refused(Take(one.subject, one.action), str(error)))
    kept = [one for one in recordings if one.name in observed]
    if not kept:
        return made
    subject = kept[0].subject
    model = _scaled(work, subject)
    if isinstance(model, str):
        return made + [Refused(Take(one.subject, one.action), model) for one in kept]
    for like in _alike(kept, observed):
        try:
            fitted, fits = reconstruction.fit(
                model,
                [observed[one.name] for one in like],
                work.generic.tasks,
                work.setup.reconstruction,
            )
        except ValueError as error:
            for one in like:
                made.append(Refused(Take(one.subject, one.action), str(error)))
            continue
        for one, fit in zip(like, fits, strict=True):
            take = Take(one.subject, one.action)
            try:
                made.append(_finish(work, fitted, one, observed[one.name], fit))
            except ValueError as error:
                made.append(Refused(take, str(error)))
    return made


def _alike(
    kept: "list[Recording]", observed: dict[str, Any]
) -> "list[list[Recording]]":
    """Returns the recordings by their markers, as only like ones are fitted at once."""
    found: dict[Any, list[Recording]] = {}
    for one in kept:
        found.setdefault(observed[one.name].markers.names, []).append(one)
    return list(found.values())


def _scaled(work: Work, subject: str) -> "Model | str":
    """Returns the subject's model, or why there is none."""
    import simspine_jax as sj

    path = work.subjects / f"{subject}.osim"
    if path.is_file():
        return sj.load_model(path)
    return (work.subjects / f"{subject}.failed").read_text(encoding="utf-8").strip()


def _finish(
    work: Work, model: "Model", one: "Recording", observed: Any, fit: Any
) -> Made:
    from simspine_jax.datasets.spine_sequence import SpineSequence
    from simspine_jax.fitting import finished_sequence

    # Of a body that may not be written nothing may come through.
    free = one.body is not None and not one.licensed
    done = finished_sequence.finish(
        model,
        observed.markers,
        fit,
        work.generic.tasks,
        work.setup.finish,
        detected=observed.markers if free else observed.triangulated,
        known=one.body.names if one.body is not None and free else (),
    )
    sequence = SpineSequence(
        one.subject,
        one.action,
        done.markers,
        done.motion,
        model.coordinate_is_rotational,
    )
    return Made(sequence, one, done.quality())


def _write(work: Work, made: Made | Refused) -> None:
    from simspine_jax.datasets import simspine_h5
    from simspine_jax.datasets.spine_sequence import Subject
    from simspine_jax.io import atomic

    sequences, quality, failed = (work.folder / name for name in FOLDERS)
    if isinstance(made, Refused):
        # A sequence that could be made once may not stay when it cannot be any more.
        (sequences / f"{made.take.name}.h5").unlink(missing_ok=True)
        atomic.write_text(failed / f"{made.take.name}.txt", made.reason + "\n")
        return
    name = made.sequence.name
    (failed / f"{name}.txt").unlink(missing_ok=True)
    text = json.dumps(made.quality, indent=2, sort_keys=True, allow_nan=False)
    atomic.write_text(quality / f"{name}.json", text + "\n")
    subject = Subject(
        made.sequence.subject, made.recording.rig, f"{made.sequence.subject}.osim"
    )
    # Last: a sequence that is there is complete.
    simspine_h5.write_simspine(sequences / f"{name}.h5", [subject], [made.sequence])
