"""Files that appear whole under their final name, or not at all.

A file is written beside its destination under a hidden temporary name, flushed
to disk, and renamed. A reader, or the next stage of a pipeline, never meets
half a file, whatever interrupted the writer.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path to write to; it becomes ``path`` if all goes well.

    The temporary path has the same folder and suffix as ``path``, so that
    writers which look at the suffix behave. If the block raises, the temporary
    file is removed and a file already at ``path`` stays as it was.

    Args:
        path: Final path; a file already there is replaced.

    Yields:
        Where to write the file.

    Raises:
        FileNotFoundError: If the folder of ``path`` does not exist, or the block
            wrote nothing.
        IsADirectoryError: If ``path`` is a folder.
    """
    final = Path(path)
    if not final.parent.is_dir():
        raise FileNotFoundError(f"{final}: the folder {final.parent} does not exist")
    if final.is_dir():
        raise IsADirectoryError(f"{final} is a folder, so no file can be written there")
    temporary = final.with_name(f".{final.stem}-{secrets.token_hex(4)}{final.suffix}")
    try:
        yield temporary
        if not temporary.is_file():
            raise FileNotFoundError(f"{final}: nothing was written")
        _to_disk(temporary)
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        # The rename itself must outlast a power cut, too.
        _to_disk(final.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Writes a UTF-8 text file atomically, with ``\n`` line ends everywhere.

    Args:
        path: Final path; a file already there is replaced.
        text: The whole content.

    Raises:
        FileNotFoundError: If the folder of ``path`` does not exist.
        IsADirectoryError: If ``path`` is a folder.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _to_disk(path: Path) -> None:
    # Windows flushes only through a writable handle; folders open read-only.
    mode = os.O_RDONLY if path.is_dir() else os.O_RDWR
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
