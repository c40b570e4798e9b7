"""Unpack listed files of a downloaded archive, and nothing else.

An archive is not trusted: any member whose name leads out of the archive's own
folder condemns the whole archive, and a listed member must be a plain file.
Names are matched against patterns segment by segment; ``*`` never crosses "/".
"""

import fnmatch
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import IO

from third_party.errors import FetchError

# (name, is a plain file, is a folder, opens it)
Member = tuple[str, bool, bool, Callable[[], IO[bytes]]]


def unpack(archive: Path, patterns: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Writes the members that match any of the patterns below ``folder``.

    Args:
        archive: A zip file (wheels too) or a tar file, compressed or not.
        patterns: Paths relative to the archive's root; each must match.
        folder: Existing, empty folder.

    Returns:
        The names written, in archive order.

    Raises:
        FetchError: If a name is unsafe, a listed member is not a plain file, a
            pattern matches nothing, or the archive cannot be read.
    """
    written = []
    unmatched = set(patterns)
    try:
        with _members(archive) as members:
            for name, is_file, is_folder, opener in members:
                _check_name(archive, name)
                hits = {pattern for pattern in patterns if _matches(name, pattern)}
                if not hits or is_folder:
                    continue
                if not is_file:
                    raise FetchError(
                        f"{archive.name} is refused: its member {name!r} is a link or "
                        "a device, and only plain files are unpacked"
                    )
                _write(opener, folder.joinpath(*name.split("/")))
                written.append(name)
                unmatched -= hits
    except FileExistsError as error:
        raise FetchError(
            f"{archive.name} is refused: it holds {error.filename} twice"
        ) from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise FetchError(f"{archive.name} cannot be read: {error}") from error
    if unmatched:
        raise FetchError(
            f"{archive.name} holds no file that matches {min(unmatched)!r}, which the "
            "manifest lists"
        )
    return tuple(written)


def _check_name(archive: Path, name: str) -> None:
    parts = name.split("/")
    # A backslash or a colon is a separator or a drive on Windows.
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
        raise FetchError(
            f"{archive.name} is refused: its member {name!r} would be written outside "
            "its folder"
        )


def _matches(name: str, pattern: str) -> bool:
    names, patterns = name.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(
        fnmatch.fnmatchcase(part, glob)
        for part, glob in zip(names, patterns, strict=True)
    )


def _write(opener: Callable[[], IO[bytes]], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with opener() as source, target.open("xb") as sink:
        copyfileobj(source, sink)
        sink.flush()
        os.fsync(sink.fileno())


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
    else:
        with tarfile.open(archive) as opened:
            yield _tar_members(opened)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        # Zip files made without Unix modes have no kind; they hold no links.
        plain = not info.is_dir() and kind in (0, stat.S_IFREG)
        # orig_filename: ZipInfo rewrites separators in `filename`.
        yield (
            info.orig_filename,
            plain,
            info.is_dir(),
            lambda info=info: archive.open(info),
        )


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        yield (
            info.name,
            info.isreg(),
            info.isdir(),
            lambda info=info: _tar_file(archive, info),
        )


def _tar_file(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    opened = archive.extractfile(info)
    if opened is None:
        raise FetchError(f"{archive.name} cannot be read: {info.name!r} has no data")
    return opened
