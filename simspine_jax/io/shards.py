"""Long work cut into files, so that it can be stopped and gone on with.

A shard is one file with a name of its own. It appears whole (``io.atomic``) or not at
all; what is there when a killed run starts again is done and is not made again. A
folder belongs to the settings that it was begun with.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from simspine_jax.io import atomic

SETTINGS = "settings.json"

Input = TypeVar("Input")
Output = TypeVar("Output")


def claim(folder: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Makes a folder for shards, or takes up one that was begun with these settings.

    What a killed run has left half written is removed.

    Args:
        folder: Made if it is not there; its parent must be.
        settings: What the shards depend on, as JSON can hold it.

    Raises:
        ValueError: The folder was begun with other settings, or has files but none.
        FileNotFoundError: The folder's parent does not exist.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(".*-*.*"):
        leftover.unlink()
    wanted = json.loads(json.dumps(dict(settings)))
    file = folder / SETTINGS
    if not file.is_file():
        if any(folder.iterdir()):
            raise ValueError(
                f"{folder}: the folder has files but no {SETTINGS}; shards need an "
                "empty folder or one that they were begun in"
            )
        atomic.write_text(file, json.dumps(wanted, indent=2, sort_keys=True) + "\n")
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            raise ValueError(
                f"{file}: the folder was begun with {name} = {found.get(name)!r}, and "
                f"now it is {wanted.get(name)!r}; take another folder or delete it"
            )


def missing(
    folder: str | os.PathLike[str], names: Sequence[str], suffix: str = ".h5"
) -> tuple[str, ...]:
    """Returns the shards that are not there yet, in order."""
    folder = Path(folder)
    return tuple(n for n in names if not (folder / f"{n}{suffix}").is_file())


def stream(
    names: Sequence[str],
    read: Callable[[str], Input],
    compute: Callable[[str, Input], Output],
    write: Callable[[str, Output], None],
) -> Iterator[tuple[str, Output]]:
    """Works through shards; reads the next and writes the last beside the work.

    At most three shards are in memory.

    Args:
        names: Of the shards.
        read: Gives the input of a shard.
        compute: Gives its output.
        write: Puts the output on disk, whole or not at all.

    Yields:
        Name and output of every shard, when it is on disk.

    Raises:
        Exception: What one of the three raised; the shards yielded are on disk.
    """
    written: deque[tuple[str, Output, Future[None]]] = deque()
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead = deque(reader.submit(read, name) for name in names[:1])
        for index, name in enumerate(names):
            given = ahead.popleft().result()
            ahead.extend(reader.submit(read, n) for n in names[index + 1 : index + 2])
            made = compute(name, given)
            written.append((name, made, writer.submit(write, name, made)))
            if len(written) > 1:
                yield _on_disk(*written.popleft())
        while written:
            yield _on_disk(*written.popleft())


def _on_disk(name: str, made: Output, done: Future[None]) -> tuple[str, Output]:
    done.result()
    return name, made
