"""The text of a TRC file: header lines and data rows, one line at a time.

A TRC file has five header lines (kind of file, field names, field values,
marker names, axis labels) and then rows of frame number, time and three
coordinates a marker, separated by tabs. Everything here is in the file's own
unit; `trc` and `streams` convert to metres.
"""

import math
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

UNITS_PER_METRE = {"m": 1.0, "cm": 100.0, "mm": 1000.0}
_LONG_UNITS = {
    "meters": "m",
    "metres": "m",
    "centimeters": "cm",
    "centimetres": "cm",
    "millimeters": "mm",
    "millimetres": "mm",
}
# What printf writes for "not a number" on some systems, beside plain NaN.
_NOT_A_NUMBER = re.compile(r"[+-]?nan(\(\w*\))?|[+-]?1\.#(ind|qnan|snan)0*", re.I)


@dataclass(frozen=True)
class TrcHeader:
    """What the header lines say.

    Attributes:
        source: The file, for messages.
        names: K marker names, stripped of outer blanks as OpenSim does.
        rate_hz: Frames per second (DataRate).
        frames: NumFrames; the file may hold fewer or more rows.
        units_per_metre: 1 for m, 100 for cm, 1000 for mm.
    """

    source: str
    names: tuple[str, ...]
    rate_hz: float
    frames: int
    units_per_metre: float

    @property
    def width(self) -> int:
        """Cells of a full data row."""
        return 2 + 3 * len(self.names)


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yields line numbers (from 1) and lines; closes the file at the end.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If ``path`` is a folder.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, and a file was expected")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: there is no such file")
    # Undecodable bytes are replaced: they sit in old paths of the first line.
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        yield from enumerate(file, 1)


def read_header(lines: Iterator[tuple[int, str]], source: str) -> TrcHeader:
    """Reads the five header lines and checks that they agree.

    Args:
        lines: Numbered lines from the top of the file; five are consumed.
        source: The file, for messages.

    Raises:
        ValueError: If this is not a TRC file, a field is absent or not usable,
            or marker count, marker names and axis labels contradict each other.
    """
    top = [line.rstrip("\r\n") for _, line in (next(lines, (0, "")) for _ in range(5))]
    if not top[0].lstrip().lower().startswith("pathfiletype"):
        raise ValueError(
            f"{source} is not a TRC file: line 1 is {top[0][:40]!r}, and it must "
            "begin with PathFileType"
        )
    fields = dict(zip(_cells(top[1]), _cells(top[2]), strict=False))
    count = int(_field(fields, "NumMarkers", source))
    if count < 1:
        raise ValueError(f"{source}: NumMarkers is {count}, and it must be at least 1")
    names = _marker_names(top[3], source)
    if len(names) != count:
        raise ValueError(
            f"{source}: NumMarkers is {count}, but line 4 names {len(names)} "
            "markers; the two must be equal"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{source}: marker {repeated[0]!r} is named more than once in line 4; "
            "each name may occur once"
        )
    labels = [label for label in _cells(top[4]) if label]
    if len(labels) != 3 * count or _is_number(labels[0]):
        raise ValueError(
            f"{source}: line 5 has {len(labels)} axis labels (X1, Y1, Z1, ...), "
            f"but {count} markers need {3 * count}"
        )
    rate = _field(fields, "DataRate", source)
    if rate <= 0:
        raise ValueError(
            f"{source}: DataRate is {rate:g}, and it must be a positive number of Hz"
        )
    return TrcHeader(
        source,
        names,
        rate,
        int(_field(fields, "NumFrames", source)),
        units_per_metre(fields.get("Units", ""), source),
    )


def units_per_metre(units: str, source: str) -> float:
    """Gives how many of a named unit make a metre.

    Raises:
        ValueError: If the unit is not m, cm or mm (or their long names).
    """
    short = _LONG_UNITS.get(units.lower(), units.lower())
    if short not in UNITS_PER_METRE:
        raise ValueError(
            f"{source}: Units is {units!r}, and it must be one of "
            f"{', '.join(UNITS_PER_METRE)}"
        )
    return UNITS_PER_METRE[short]


class RowParser:
    """Turns data lines into numbers and remembers what whole-file checks need.

    Attributes:
        header: The file's header.
        rows: Data rows seen so far.
        start_s: Time of the first row, s; None before it.
    """

    def __init__(self, header: TrcHeader):
        """Starts before the first data row of the file with this header."""
        self.header = header
        self.rows = 0
        self.start_s: float | None = None
        self._width = header.width
        self._widest = 0
        self._time_warned = False

    def parse(self, lines: Iterator[tuple[int, str]], limit: int | None) -> np.ndarray:
        """Parses up to ``limit`` rows (all if None); blank lines are skipped.

        Returns:
            Marker coordinates in the file's unit, NaN where missing. Shape
            [n, K, 3], n = 0 at the end of the file.

        Raises:
            ValueError: If a cell is not a number, a row has no time, or a row has
                more cells than the markers need; the message has the line.
        """
        pieces, block = [], []
        taken = 0
        while limit is None or taken < limit:
            number, line = next(lines, (0, ""))
            if not number:
                break
            if not line.strip():
                continue
            block.append(self._row(number, line))
            taken += 1
            if len(block) == 1024:  # lists of floats are 4x the size of the array
                pieces.append(np.array(block))
                block = []
        pieces.append(np.array(block).reshape(-1, self.header.width))
        return np.concatenate(pieces)[:, 2:].reshape(taken, len(self.header.names), 3)

    def finish(self) -> None:
        """Checks the file as a whole, once all rows are parsed.

        Raises:
            ValueError: If there was no row, or no row has all columns.
        """
        header = self.header
        if not self.rows:
            raise ValueError(f"{header.source}: there is no data row, so no frame")
        if self._widest < header.width:
            raise ValueError(
                f"{header.source}: the widest data row has {self._widest} columns, but "
                f"{len(header.names)} markers need {header.width} (frame, time and "
                "three a marker)"
            )
        if self.rows != header.frames:
            fewer = "fewer" if self.rows < header.frames else "more"
            warnings.warn(
                f"{header.source}: {self.rows} data rows were read, {fewer} than the "
                f"NumFrames of {header.frames} in the header",
                stacklevel=2,
            )

    def _row(self, number: int, line: str) -> list[float]:
        cells = line.rstrip("\r\n").split("\t")
        width = self._width
        self._widest = max(self._widest, min(len(cells), width))
        values = None
        if len(cells) == width and "_" not in line:  # float() takes "1_0"
            try:
                full = [cell or "nan" for cell in cells] if "" in cells else cells
                values = list(map(float, full))
            except ValueError:
                values = None
        if values is None or not math.isfinite(values[1]):
            values = self._careful_row(number, cells)
        self._check_time(number, values[1])
        return values

    def _careful_row(self, number: int, cells: list[str]) -> list[float]:
        width, source = self._width, self.header.source
        cells = [cell.strip() for cell in cells]
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) > width:
            raise ValueError(
                f"{source}: line {number} has {len(cells)} columns, but "
                f"{len(self.header.names)} markers allow {width} (frame, time and "
                "three a marker, separated by single tabs)"
            )
        if len(cells) < 2 or not _is_number(cells[1]):
            found = cells[1] if len(cells) > 1 else ""
            raise ValueError(
                f"{source}: line {number} has {found!r} in its second column, and it "
                "must be the time in seconds"
            )
        values = [math.nan] * width
        values[1] = float(cells[1])
        for column, cell in enumerate(cells[2:], 2):
            if not cell or _NOT_A_NUMBER.fullmatch(cell):
                continue
            try:
                values[column] = _float(cell)
            except ValueError:
                marker = self.header.names[(column - 2) // 3]
                raise ValueError(
                    f"{source}: line {number} has {cell!r} as a coordinate of marker "
                    f"{marker!r}, and it must be a number, NaN or blank"
                ) from None
        return values

    def _check_time(self, number: int, time: float) -> None:
        if self.start_s is None:
            self.start_s = time
        expected = self.start_s + self.rows / self.header.rate_hz
        self.rows += 1
        # Half a frame: printed times are rounded, but never by that much.
        if not self._time_warned and abs(time - expected) > 0.5 / self.header.rate_hz:
            self._time_warned = True
            warnings.warn(
                f"{self.header.source}: line {number} has time {time:g} s, but "
                f"{self.header.rate_hz:g} Hz from the first row on gives "
                f"{expected:g} s; frames are taken as evenly spaced at this rate",
                stacklevel=2,
            )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()


def _marker_names(line: str, source: str) -> tuple[str, ...]:
    labels = [label for label in _cells(line) if label]
    first = [label.lower() for label in labels[:2]]
    if len(first) < 2 or not first[0].startswith("frame") or first[1] != "time":
        raise ValueError(
            f"{source}: line 4 begins with {line[:30]!r}, and it must begin with "
            "Frame#, Time and the marker names, separated by tabs"
        )
    return tuple(labels[2:])


def _field(fields: dict[str, str], name: str, source: str) -> float:
    if name not in fields:
        raise ValueError(f"{source}: the header has no field {name}")
    if not _is_number(fields[name]):
        raise ValueError(
            f"{source}: {name} is {fields[name]!r}, and it must be a number"
        )
    return float(fields[name])


def _float(text: str) -> float:
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(_float(text))
    except ValueError:
        return False
