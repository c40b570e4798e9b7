"""NumPy's npz files that are larger than memory: written by rows, read in place.

An npz file is a zip of npy files. ``npz_writer`` puts the rows of every array into a
temporary file of its own and joins them when their number is known; the same rows give
the same bytes. ``open_npz`` maps arrays that are stored uncompressed into memory, so
that only what is used is read.
"""

import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simspine_jax.io import plain_pickle
from simspine_jax.io.atomic import atomic_path

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can have
_BLOCK = 1 << 24  # bytes copied at once
_UNIX = 3


@dataclass
class _Column:
    file: Any
    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: list[tuple[int, np.dtype]] = field(default_factory=list)


class NpzWriter:
    """Collects the rows of an npz file; made by `npz_writer`."""

    def __init__(self, path: Path, files: ExitStack) -> None:
        """Starts with no row.

        Args:
            path: Final path; its folder holds the temporary files.
            files: Closes them.
        """
        self._path, self._files = path, files
        self._columns: dict[str, _Column] = {}
        self._objects: dict[str, Any] = {}
        self.rows = 0

    def append(self, rows: Mapping[str, np.ndarray]) -> None:
        """Adds rows to every array.

        Args:
            rows: The same names each time, arrays [n, ...] of one n. But for n, an
                array keeps its shape and its type; text may change its width.

        Raises:
            ValueError: Names, shapes, types or numbers of rows do not agree.
        """
        if not self._columns:
            for name, values in rows.items():
                # Without a name: whatever stops the writer, nothing is left behind.
                file = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
                column = _Column(file, values.shape[1:], values.dtype)
                self._columns[name] = column
                self._files.enter_context(file)
        lengths = {len(values) for values in rows.values()}
        if rows.keys() != self._columns.keys() or len(lengths) != 1:
            raise ValueError(
                f"{self._path}: rows of {', '.join(rows)} with lengths "
                f"{sorted(lengths)}; they must be one number of rows of "
                f"{', '.join(self._columns)}"
            )
        for name, values in rows.items():
            column = self._columns[name]
            text = values.dtype.kind == column.dtype.kind == "U"
            if values.shape[1:] != column.shape or not (
                text or values.dtype == column.dtype
            ):
                raise ValueError(
                    f"{self._path}: rows of {name} have shape {values.shape[1:]} and "
                    f"type {values.dtype}, and those before had {column.shape} and "
                    f"{column.dtype}"
                )
            column.dtype = np.promote_types(column.dtype, values.dtype)
            column.pieces.append((len(values), values.dtype))
            column.file.write(np.ascontiguousarray(values).data)
        self.rows += lengths.pop()

    def attach(self, name: str, value: Any) -> None:
        """Adds an object that is stored as a pickle, as ``np.savez`` does with it."""
        self._objects[name] = value

    def _finish(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, value in self._objects.items():
                boxed = np.empty((), object)
                boxed[()] = value
                with _member(archive, name) as file:
                    np.lib.format.write_array(file, boxed, version=(1, 0))
            for name, column in self._columns.items():
                with _member(archive, name) as file:
                    _write_column(file, column, self.rows)


@contextmanager
def npz_writer(path: str | os.PathLike[str]) -> Iterator[NpzWriter]:
    """Opens an npz file for writing by rows; it appears whole or not at all.

    Needs twice the file's size on disk while it is joined, and the memory of what is
    appended at once.

    Args:
        path: Final path; a file already there is replaced.

    Yields:
        Where to append rows.

    Raises:
        FileNotFoundError: The folder does not exist.
        IsADirectoryError: ``path`` is a folder.
    """
    with atomic_path(path) as temporary, ExitStack() as files:
        writer = NpzWriter(Path(path), files)
        yield writer
        writer._finish(temporary)


def open_npz(
    path: str | os.PathLike[str],
    names: Sequence[str],
    *,
    pickled: Sequence[str] = (),
) -> dict[str, Any]:
    """Reads arrays of an npz file, those stored uncompressed when they are used.

    Args:
        path: The file.
        names: Of the arrays wanted.
        pickled: Those of them that may be pickles; of plain data all the same
            (`io.plain_pickle`).

    Returns:
        Read-only arrays by name, and for a pickle its content. Mapped arrays are not
        checked against the zip's checksums.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not an npz file, it is damaged, an array is missing, or is a pickle
            that is not wanted or not of plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not an npz file")
    try:
        with zipfile.ZipFile(path) as archive:
            there = [n.removesuffix(".npy") for n in archive.namelist()]
            for name in names:
                if name not in there:
                    raise ValueError(
                        f"{path}: there is no array {name!r}; there are "
                        f"{', '.join(there)}"
                    )
            return {n: _read(archive, path, n, n in pickled) for n in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{path}: the npz file is damaged ({error})") from None


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[Any]:
    info = zipfile.ZipInfo(f"{name}.npy", date_time=_DATE)
    info.create_system = _UNIX  # the same bytes on every system
    # The size is not known to the zip in advance.
    with archive.open(info, "w", force_zip64=True) as file:
        yield file


def _write_column(file: Any, column: _Column, rows: int) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(column.dtype),
        "fortran_order": False,
        "shape": (rows, *column.shape),
    }
    np.lib.format.write_array_header_1_0(file, header)
    per_row = int(np.prod(column.shape, dtype=int))
    column.file.seek(0)
    for count, dtype in column.pieces:
        step = max(1, _BLOCK // max(1, per_row * column.dtype.itemsize))
        for first in range(0, count, step):
            size = min(step, count - first) * per_row
            data = column.file.read(size * dtype.itemsize)
            file.write(np.frombuffer(data, dtype).astype(column.dtype).data)


def _read(archive: zipfile.ZipFile, path: Path, name: str, pickled: bool) -> Any:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        try:
            version = np.lib.format.read_magic(file)
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, fortran, dtype = read(file)
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path}: {name} cannot be read ({error})") from None
        if dtype.hasobject:
            if not pickled:
                raise ValueError(
                    f"{path}: {name} is stored as a pickle, which could run code and "
                    "is not read; it must be saved again as an array of text or "
                    "numbers"
                )
            boxed = plain_pickle.load(file, f"{path}: {name}")
            return boxed[()] if getattr(boxed, "shape", None) == () else boxed
        start = file.tell()
        size = int(np.prod(shape, dtype=int)) * dtype.itemsize
        if info.file_size - start != size:
            raise ValueError(
                f"{path}: {name} has {info.file_size - start} bytes, and its shape "
                f"{shape} of {dtype} needs {size}"
            )
        if info.compress_type != zipfile.ZIP_STORED or size == 0:
            found = np.frombuffer(file.read(), dtype)
            return found.reshape(shape, order="F" if fortran else "C")
    return np.memmap(
        path,
        dtype,
        "r",
        _content_offset(path, info) + start,
        shape,
        "F" if fortran else "C",
    )


def _content_offset(path: Path, info: zipfile.ZipInfo) -> int:
    # The name and the extra field of the member's own header, not the directory's.
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + name + extra
