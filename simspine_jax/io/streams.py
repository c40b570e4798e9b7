"""Marker trials and motions too long for memory, read and written in pieces."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TextIO

import numpy as np

from simspine_jax.io import storage, storage_text, trc, trc_text
from simspine_jax.io.atomic import atomic_path
from simspine_jax.types import MarkerTrajectory, Motion

# Digits kept free for the number of rows, which is known only at the end.
_ROWS_DIGITS = 12


class TrcReader:
    """Reads a TRC file in pieces of a fixed number of frames.

    Iterating gives `MarkerTrajectory` pieces, each as long as ``chunk_frames`` but
    the last; together they are what `trc.read_trc` gives. Each iteration starts
    at the top of the file. Memory does not depend on the length of the file.

    Attributes:
        names: K marker names.
        rate_hz: Frames per second.
        header_frames: NumFrames of the header; the rows may be fewer or more.
    """

    def __init__(self, path: str | os.PathLike[str], *, chunk_frames: int = 4096):
        """Reads the header.

        Args:
            path: TRC file.
            chunk_frames: Frames in a piece, at least 1.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: As `trc.read_trc` about the header, or if ``chunk_frames``
                is not positive. Errors further down are raised while iterating.
        """
        if chunk_frames < 1:
            raise ValueError(f"chunk_frames is {chunk_frames}, and it must be positive")
        self._path = path
        self._chunk_frames = chunk_frames
        lines = trc_text.numbered_lines(path)
        header = trc_text.read_header(lines, str(path))
        self.names = header.names
        self.rate_hz = header.rate_hz
        self.header_frames = header.frames

    def __iter__(self) -> Iterator[MarkerTrajectory]:
        """Yields the pieces; warns and raises as `trc.read_trc`."""
        lines = trc_text.numbered_lines(self._path)
        parser = trc_text.RowParser(trc_text.read_header(lines, str(self._path)))
        while True:
            done = parser.rows
            values = parser.parse(lines, self._chunk_frames)
            if not len(values) or parser.start_s is None:
                break
            start_s = parser.start_s + done / self.rate_hz
            yield trc.to_trajectory(values, parser.header, start_s)
        parser.finish()


class MotWriter:
    """Writes a .mot file piece by piece; a context manager.

    The file appears under its final name, whole and with the right number of rows
    in its header, when the block ends without an exception; otherwise nothing
    appears, and a file already there stays as it was.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        coordinate_names: Sequence[str],
        *,
        coordinate_is_rotational: Sequence[bool],
        in_degrees: bool = True,
    ):
        """Notes what to write; nothing is opened before the block is entered.

        Args:
            path: Final path; a file already there is replaced.
            coordinate_names: N names.
            coordinate_is_rotational: N flags, as for `storage.write_mot`.
            in_degrees: Whether the file has rotations in degrees.
        """
        self._source = str(path)
        self._path = path
        self._names = tuple(coordinate_names)
        self._rotational = tuple(bool(flag) for flag in coordinate_is_rotational)
        self._in_degrees = in_degrees
        self._rows = 0
        self._last_s = -np.inf
        self._stack = ExitStack()
        self._file: TextIO | None = None

    def __enter__(self) -> "MotWriter":
        """Opens a temporary file and writes the header.

        Raises:
            ValueError: If a name cannot be a label, or the flags are not N.
            FileNotFoundError: If the folder does not exist.
        """
        storage.file_values(
            np.zeros((0, len(self._names))),
            self._rotational,
            self._in_degrees,
            self._source,
        )
        header = self._header(" " * _ROWS_DIGITS)
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            file = open(temporary, "w", encoding="utf-8", newline="\n")
            self._file = stack.enter_context(file)
            self._file.write(header)
            self._stack = stack.pop_all()
        return self

    def write(self, motion: Motion) -> None:
        """Appends frames.

        Args:
            motion: Coordinates in rad and m, names as given at the start, later
                in time than what was written before.

        Raises:
            ValueError: If names or shapes differ, time goes back, or a value is not
                finite.
            RuntimeError: If called outside the ``with`` block.
        """
        if self._file is None:
            raise RuntimeError(
                f"{self._source}: write is called outside its with block"
            )
        if tuple(motion.coordinate_names) != self._names:
            raise ValueError(
                f"{self._source}: the piece has other coordinates than the file; it "
                f"begins with {motion.coordinate_names[:3]}, the file with "
                f"{self._names[:3]}"
            )
        times = np.asarray(motion.times_s, dtype=float)
        if not len(times):
            return
        if times[0] <= self._last_s:
            raise ValueError(
                f"{self._source}: the piece begins at {times[0]:g} s, but frames up to "
                f"{self._last_s:g} s are already written"
            )
        values = storage.file_values(
            np.asarray(motion.q), self._rotational, self._in_degrees, self._source
        )
        storage_text.write_rows(self._file, times, values, self._names, self._source)
        self._rows += len(times)
        self._last_s = float(times[-1])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Completes the file, or removes it if the block or this step failed.

        Raises:
            ValueError: If no frame was written.
        """
        file, self._file = self._file, None
        if error is not None or file is None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:  # an error raised in here removes the file, too
            if not self._rows:
                raise ValueError(f"{self._source}: no frame was written")
            # Same length as the first header: digits take the place of blanks.
            file.seek(0)
            file.write(self._header(f"{self._rows:<{_ROWS_DIGITS}d}"))

    def _header(self, rows: str) -> str:
        return storage_text.header(
            "Coordinates", self._names, rows, self._in_degrees, self._source
        )
