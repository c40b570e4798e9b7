"""HDF5 files that are written whole, and what readers of our own check first."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from simspine_jax.io.atomic import atomic_path


@contextmanager
def opened(
    path: str | os.PathLike[str], kind: str, version: int, fields: Sequence[str]
) -> Iterator[h5py.File]:
    """Opens a file of ours for reading.

    Args:
        path: The file.
        kind: Its attribute ``format``.
        version: Its attribute ``version``.
        fields: Data sets and attributes that it must have.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not HDF5 or not such a file, another version of it, or a field is
            missing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not an HDF5 file")
    with h5py.File(path, "r") as file:
        found = file.attrs.get("format")
        if found != kind:
            raise ValueError(
                f"{path}: its format is {found!r}, and it must be {kind!r}"
            )
        if file.attrs.get("version") != version:
            raise ValueError(
                f"{path}: its version is {file.attrs.get('version')}, and only "
                f"version {version} can be read"
            )
        for name in fields:
            if not isinstance(file.get(name), h5py.Dataset) and name not in file.attrs:
                raise ValueError(f"{path}: a field is missing, {name!r}")
        yield file


@contextmanager
def created(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Opens a new file for writing; it appears whole, or not at all.

    Args:
        path: Final path; a file already there is replaced.

    Raises:
        FileNotFoundError: The folder does not exist.
        OSError: It could not be written, such as to a full disk.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w+b", buffering=0) as raw,
    ):
        disk = _Disk(raw)
        try:
            with h5py.File(disk, "w") as file:
                yield file
        finally:
            if disk.error is not None:
                error = disk.error
                raise OSError(error.errno, error.strerror, str(path)) from None


class _Disk:
    """A file that hides from HDF5 that the disk took no more.

    HDF5 cannot close a file when a write has failed, and ends the process with a
    segmentation fault in place of a message.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.raw.seek(offset, whence)

    def tell(self) -> int:
        return self.raw.tell()

    def read(self, size: int = -1) -> bytes:
        return self.raw.read(size)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        found = self.raw.read(len(view))
        view[: len(found)] = found
        view[len(found) :] = bytes(len(view) - len(found))
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += self.raw.write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def flush(self) -> None:
        """Nothing waits: the file is not buffered."""
