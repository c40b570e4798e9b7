"""The text of OpenSim's storage files: header, labels and rows.

Everything here is in the units of the file; `storage` converts.
"""

import math
import os
import re
import warnings
from collections.abc import Sequence
from typing import TextIO

import numpy as np

from simspine_jax.io.trc_text import numbered_lines

_UNITS_NOTE = (
    "Units are S.I. units (second, meters, Newtons, ...)\n"
    "If the header above contains a line with 'inDegrees', this indicates whether "
    "rotational values are in degrees (yes) or radians (no).\n"
)


def read(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], np.ndarray, bool]:
    """Reads labels (without time), rows (time first) and whether in degrees.

    Warns and raises as `storage.read_storage`, which calls it.
    """
    source = str(path)
    lines = numbered_lines(path)
    fields: dict[str, str] = {}
    for _, line in lines:
        if line.strip().lower() == "endheader":
            break
        match = re.fullmatch(r"\s*(\w+)\s*[=\s]\s*(.*?)\s*", line)
        if match:
            fields.setdefault(match[1].lower(), match[2])
    else:
        raise ValueError(
            f"{source}: there is no line 'endheader', so this is not a complete "
            "OpenSim storage file"
        )
    labels = _labels(next((line for _, line in lines if line.strip()), ""), source)
    columns = _count(fields, source, "nColumns", "nc", "datacolumns")
    if columns is not None and columns != len(labels):
        raise ValueError(
            f"{source}: the header says {columns} columns, but there are "
            f"{len(labels)} labels, time included; the two must be equal"
        )
    in_degrees = _in_degrees(fields, source)
    expected = _count(fields, source, "nRows", "nr", "datarows")
    rows = [
        _row(number, line, labels, source) for number, line in lines if line.strip()
    ]
    if not rows:
        raise ValueError(f"{source}: there is no row of values after the labels")
    if expected is not None and expected != len(rows):
        fewer = "fewer" if len(rows) < expected else "more"
        warnings.warn(
            f"{source}: {len(rows)} rows were read, {fewer} than the {expected} in the "
            "header",
            stacklevel=3,
        )
    return labels[1:], np.array(rows), in_degrees


def header(
    name: str, columns: Sequence[str], rows: object, in_degrees: bool, source: str
) -> str:
    """Gives the header of a storage file, labels included.

    Raises:
        ValueError: If a label is empty, repeated or has blanks in it.
    """
    for label in columns:
        if not label or label.split() != [label] or list(columns).count(label) > 1:
            raise ValueError(
                f"{source}: column {label!r} cannot be written; labels must differ, "
                "must not be empty and must have no blanks in them"
            )
    note = _UNITS_NOTE if in_degrees else ""
    return (
        f"{' '.join(name.split())}\nversion=1\nnRows={rows}\n"
        f"nColumns={len(columns) + 1}\ninDegrees={'yes' if in_degrees else 'no'}\n"
        f"{note}endheader\n" + "\t".join(("time", *columns)) + "\n"
    )


def write_rows(
    file: TextIO,
    times: np.ndarray,
    values: np.ndarray,
    columns: Sequence[str],
    source: str,
) -> None:
    """Appends rows of time and values, tab-separated, with all digits.

    Raises:
        ValueError: If a time or value is not finite.
    """
    if not np.isfinite(times).all():
        raise ValueError(f"{source}: a time is not a finite number")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{source}: {columns[column]!r} is {values[row, column]} at time "
            f"{times[row]:g} s, and only finite numbers can be written"
        )
    for row in np.column_stack([times, values]).astype(float).tolist():
        file.write("\t".join(map(repr, row)) + "\n")


def _labels(line: str, source: str) -> tuple[str, ...]:
    cells = line.split("\t") if "\t" in line.strip() else line.split()
    labels = tuple(cell.strip() for cell in cells if cell.strip())
    if not labels or labels[0].lower() != "time":
        raise ValueError(
            f"{source}: the line of labels after endheader begins with "
            f"{line.strip()[:30]!r}, and it must begin with time"
        )
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(
            f"{source}: column {repeated[0]!r} occurs more than once, and each label "
            "may occur once"
        )
    return labels


def _count(fields: dict[str, str], source: str, *spellings: str) -> int | None:
    for spelling in spellings:
        text = fields.get(spelling.lower())
        if text is None:
            continue
        if not text.isdecimal():
            raise ValueError(
                f"{source}: {spelling} is {text!r}, and it must be a whole number"
            )
        return int(text)
    return None


def _in_degrees(fields: dict[str, str], source: str) -> bool:
    text = fields.get("indegrees", "no").lower()
    if text in {"yes", "y", "true"}:
        return True
    if text in {"no", "n", "false"}:
        return False
    raise ValueError(f"{source}: inDegrees is {text!r}, and it must be yes or no")


def _row(number: int, line: str, labels: Sequence[str], source: str) -> list[float]:
    cells = line.split()
    if len(cells) != len(labels):
        raise ValueError(
            f"{source}: line {number} has {len(cells)} values, but there are "
            f"{len(labels)} columns; the file is damaged or cut off"
        )
    try:
        if "_" in line:  # float() takes "1_0"
            raise ValueError
        row = list(map(float, cells))
    except ValueError:
        at = next(i for i, cell in enumerate(cells) if not _is_number(cell))
        raise ValueError(
            f"{source}: line {number} has {cells[at]!r} in column {labels[at]!r}, and "
            "it must be a number"
        ) from None
    if not math.isfinite(row[0]):
        raise ValueError(f"{source}: line {number} has {cells[0]!r} as its time")
    return row


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
