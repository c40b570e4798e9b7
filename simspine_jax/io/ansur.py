"""Body measurements of the ANSUR II survey (US Army, 2012; public domain).

The public files have one line for a person, lengths in mm and the mass in tenths of a
kilogram. Source: Gordon et al. 2014, "2012 Anthropometric Survey of U.S. Army
Personnel", NATICK/TR-15/007.
"""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Columns that are no lengths are left alone, but for the mass.
LENGTHS = (
    *("stature", "cervicaleheight", "trochanterionheight"),
    *("lateralfemoralepicondyleheight", "lateralmalleolusheight"),
    *("bicristalbreadth", "biacromialbreadth"),
    *("acromionradialelength", "radialestylionlength", "handlength"),
    *("footlength", "footbreadthhorizontal"),
    *("headlength", "headbreadth", "tragiontopofhead"),
)


@dataclass(frozen=True)
class Measurements:
    """People and their measurements.

    Attributes:
        length_m: P lengths by the survey's name of the measurement, m.
        mass_kg: Shape [P].
        male: Whether the survey's person is a man. Shape [P].
    """

    length_m: dict[str, np.ndarray]
    mass_kg: np.ndarray
    male: np.ndarray

    def __len__(self) -> int:
        """Returns the number of people."""
        return len(self.mass_kg)


def read_ansur(paths: Iterable[str | os.PathLike[str]]) -> Measurements:
    """Reads the survey's public files.

    Args:
        paths: ``ANSUR_II_MALE_Public.csv``, the women's file, or both.

    Returns:
        Everybody in the order of the files.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A column is missing, or a value is no positive number.
    """
    rows, male = [], []
    columns = (*LENGTHS, "weightkg")
    for path in map(Path, paths):
        # The survey's birth places are not UTF-8.
        with path.open(newline="", encoding="latin-1") as file:
            table = csv.DictReader(file)
            missing = [
                name
                for name in (*columns, "Gender")
                if name not in (table.fieldnames or ())
            ]
            if missing:
                raise ValueError(f"{path}: the column {missing[0]!r} is missing")
            for row in table:
                rows.append([_positive(row, name, table, path) for name in columns])
                male.append(row["Gender"] == "Male")
    values = np.array(rows, np.float64).reshape(-1, len(columns))
    lengths = {name: 1e-3 * values[:, i] for i, name in enumerate(LENGTHS)}
    return Measurements(lengths, 0.1 * values[:, -1], np.array(male, bool))


def _positive(
    row: dict[str, str], name: str, table: csv.DictReader, path: Path
) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = np.nan
    if not (np.isfinite(value) and value > 0):
        raise ValueError(
            f"{path}: line {table.line_num}, {name} is {row[name]!r}, and it must be a "
            "positive number"
        )
    return value
