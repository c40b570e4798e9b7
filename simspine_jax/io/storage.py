"""OpenSim's storage tables (.mot, .sto): motions, marker errors, anything timed.

In memory: radians, metres, seconds. In the file: degrees where its header says
``inDegrees=yes``, and then only for rotational coordinates.
"""

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from simspine_jax.io import storage_text
from simspine_jax.io.atomic import atomic_path
from simspine_jax.types import Motion

# Names OpenSim's models give translations: pelvis_tx, Abs_t1, sh_ty_r.
_TRANSLATION = re.compile(r"(.*_)?t[xyz123](_[rl])?", re.I)
# Coordinates of a patella, one function of the knee angle drives rotation and
# translation: neither kind to OpenSim, which leaves their values as they are.
_COUPLED = re.compile(r".*_beta", re.I)
# Times printed with six decimals or more are taken as exact multiples of a rate.
_TIME_ROUNDING_S = 1e-6


@runtime_checkable
class HasCoordinates(Protocol):
    """Anything that knows which coordinates are rotations, such as a model.

    ``coordinate_is_rotational`` is False for translations and for coordinates
    that OpenSim calls coupled; OpenSim writes both without conversion.
    """

    @property
    def coordinate_names(self) -> Sequence[str]:
        """N coordinate names."""
        ...

    @property
    def coordinate_is_rotational(self) -> Sequence[bool]:
        """N flags."""
        ...


@dataclass(frozen=True)
class StorageTable:
    """A storage file as it stands, nothing converted.

    Attributes:
        columns: C labels, time not among them.
        times_s: Shape [T].
        values: In the file's units, NaN where the file has it. Shape [T, C].
        in_degrees: Whether rotational columns are in degrees.
    """

    columns: tuple[str, ...]
    times_s: np.ndarray
    values: np.ndarray
    in_degrees: bool


def is_rotational_by_name(name: str) -> bool:
    """Guesses from OpenSim's naming habits whether a coordinate is a rotation.

    Translations end in ``tx``, ``ty``, ``tz``, ``t1``, ``t2`` or ``t3`` after an
    underscore, with ``_r`` or ``_l`` after that or not; ``..._beta`` is the
    coupled coordinate of a patella, which OpenSim does not convert either. This is
    right for every coordinate of Pose2Sim's models; a model knows better.
    """
    return not (_TRANSLATION.fullmatch(name) or _COUPLED.fullmatch(name))


def read_storage(path: str | os.PathLike[str]) -> StorageTable:
    """Reads a .mot or .sto file.

    Columns are separated by tabs or blanks. The header may spell its fields
    ``nRows``/``nr``/``datarows`` and ``nColumns``/``nc``/``datacolumns``, with ``=``
    or a blank; without ``inDegrees`` the values are in radians, as in OpenSim.

    Warns:
        UserWarning: If the number of rows is not the header's.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If ``path`` is a folder.
        ValueError: If endheader or the labels are missing, labels repeat or
            contradict the header's number of columns, a row has too few or too
            many columns, a cell is not a number, or there is no row.

    Source: `Storage` and `TimeSeriesTable` of OpenSim 4.6; what is refused here
    is read there with values made up or left out.
    """
    columns, table, in_degrees = storage_text.read(path)
    return StorageTable(columns, table[:, 0], table[:, 1:], in_degrees)


def read_mot(
    path: str | os.PathLike[str], model: HasCoordinates | None = None
) -> Motion:
    """Reads joint coordinates from a .mot or .sto file.

    Args:
        path: Storage file, evenly spaced in time. State files are taken too:
            ``/jointset/knee_r/knee_angle_r/value`` is ``knee_angle_r``.
        model: Says which columns are rotations; None means that their names do
            (`is_rotational_by_name`). Columns that are no coordinates of the model
            are left out.

    Returns:
        Coordinates in file order, rad and m, shape [T, N]. The rate is that of the
        time column, rounded where the times are; 1 Hz for a single row.

    Warns:
        UserWarning: If columns are left out, or as `read_storage` does.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If ``path`` is a folder.
        ValueError: As `read_storage`; also if a value is NaN, the times are not
            evenly spaced, or no column is a coordinate of the model.
    """
    table, source = read_storage(path), str(path)
    names, keep = _coordinate_columns(table.columns, model, source)
    values = table.values[:, keep]
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"{source}: {names[column]!r} is {values[row, column]} at time "
            f"{table.times_s[row]:g} s, and it must be a finite number"
        )
    if table.in_degrees:
        rotational = rotational_flags(names, model)
        values = np.where(rotational, np.radians(values), values)
    rate_hz = even_rate(table.times_s, source)
    return Motion(
        q=values,
        coordinate_names=names,
        rate_hz=rate_hz,
        start_s=float(table.times_s[0]),
    )


def rotational_flags(names: Sequence[str], model: HasCoordinates | None) -> np.ndarray:
    """Says of each named coordinate whether it is a rotation. Shape [N].

    Args:
        names: Coordinate names.
        model: Says which are; names it does not know, and all if it is None,
            are judged by `is_rotational_by_name`.
    """
    known: dict[str, bool] = {}
    if model is not None:
        known = dict(
            zip(model.coordinate_names, model.coordinate_is_rotational, strict=True)
        )
    flags = [
        known[name] if name in known else is_rotational_by_name(name) for name in names
    ]
    return np.array(flags, dtype=bool)


def write_mot(
    path: str | os.PathLike[str],
    motion: Motion,
    *,
    coordinate_is_rotational: Sequence[bool],
    in_degrees: bool = True,
) -> None:
    """Writes joint coordinates as a .mot file, whole or not at all.

    Args:
        path: Final path; a file already there is replaced.
        motion: Coordinates, rad and m, shape [T, N].
        coordinate_is_rotational: N flags; False for translations and coupled
            coordinates, which OpenSim neither writes nor reads in degrees.
        in_degrees: Whether the file has rotations in degrees, as OpenSim's own.

    Raises:
        ValueError: As `write_storage`, or if the flags are not N.
        FileNotFoundError: If the folder does not exist.
    """
    values = file_values(
        np.asarray(motion.q), coordinate_is_rotational, in_degrees, str(path)
    )
    write_storage(
        path,
        "Coordinates",
        motion.coordinate_names,
        motion.times_s,
        values,
        in_degrees=in_degrees,
    )


def file_values(
    q: np.ndarray, rotational: Sequence[bool], in_degrees: bool, source: str
) -> np.ndarray:
    """Converts coordinates to the units of a file.

    Args:
        q: Coordinates, rad and m. Shape [T, N].
        rotational: N flags.
        in_degrees: Whether rotations become degrees.
        source: The file, for messages.

    Raises:
        ValueError: If the flags are not N.
    """
    flags = np.asarray(rotational, dtype=bool)
    if flags.shape != q.shape[1:]:
        raise ValueError(
            f"{source}: coordinate_is_rotational has shape {flags.shape}, but the "
            f"coordinates have shape {q.shape}; one flag a column is needed"
        )
    return np.where(flags & in_degrees, np.degrees(q), q)


def write_marker_errors(
    path: str | os.PathLike[str],
    times_s: np.ndarray,
    marker_error_m: np.ndarray,
    valid: np.ndarray,
) -> None:
    """Writes marker distances frame by frame, as OpenSim's inverse kinematics does.

    The columns are the sum of squares (m^2, no weights), the root of their mean and
    the largest distance (m). A frame without any marker has zeros, since OpenSim's
    `Storage` cannot read NaN.

    Args:
        path: Final path, by OpenSim's habit ``..._ik_marker_errors.sto``.
        times_s: Shape [T].
        marker_error_m: Distance from model marker to measured one. Shape [T, M].
        valid: Which of them were measured. Shape [T, M].

    Raises:
        ValueError: If shapes contradict each other or a valid error is not finite.
        FileNotFoundError: If the folder does not exist.

    Source: `InverseKinematicsTool` of OpenSim 4.6; it divides by the number of all
    marker tasks, also in frames where some are missing, while the mean here is
    over the markers that are there.
    """
    error, mask = np.asarray(marker_error_m), np.asarray(valid, dtype=bool)
    if error.ndim != 2 or mask.shape != error.shape:
        raise ValueError(
            f"{path}: marker errors {error.shape} and valid {mask.shape} must both "
            "be (T, M)"
        )
    error = np.where(mask, error, 0.0)
    total = (error**2).sum(axis=1)
    rms = np.sqrt(total / np.maximum(mask.sum(axis=1), 1))
    write_storage(
        path,
        "Model Marker Errors from IK",
        ("total_squared_error", "marker_error_RMS", "marker_error_max"),
        times_s,
        np.stack([total, rms, error.max(axis=1, initial=0.0)], axis=1),
        in_degrees=False,
    )


def write_storage(
    path: str | os.PathLike[str],
    name: str,
    columns: Sequence[str],
    times_s: np.ndarray,
    values: np.ndarray,
    *,
    in_degrees: bool,
) -> None:
    """Writes a storage file with all digits, whole or not at all.

    Args:
        path: Final path; a file already there is replaced.
        name: First line of the file.
        columns: C labels, time not among them.
        times_s: Shape [T].
        values: In the units of the file. Shape [T, C].
        in_degrees: What the header says about rotational columns.

    Raises:
        ValueError: If shapes contradict each other, there is no row, a value is not
            finite, or a label is empty, repeated or has blanks in it.
        FileNotFoundError: If the folder does not exist.
    """
    times, table = np.asarray(times_s, dtype=float), np.asarray(values, dtype=float)
    if table.shape != (*times.shape, len(columns)) or times.ndim != 1 or not len(times):
        raise ValueError(
            f"{path}: times {times.shape}, values {table.shape} and {len(columns)} "
            "columns do not belong together; (T,), (T, C) and C are needed, T >= 1"
        )
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(
            storage_text.header(name, columns, len(times), in_degrees, str(path))
        )
        storage_text.write_rows(file, times, table, columns, str(path))


def _coordinate_columns(
    columns: Sequence[str], model: HasCoordinates | None, source: str
) -> tuple[tuple[str, ...], list[int]]:
    """Gives the names and the indices of the columns that are coordinates."""
    states = any(column.endswith("/value") for column in columns)
    names, keep, left_out = [], [], []
    for index, column in enumerate(columns):
        name = column.split("/")[-2] if column.endswith("/value") else column
        is_state = not states or column.endswith("/value")
        if is_state and (model is None or name in model.coordinate_names):
            names.append(name)
            keep.append(index)
        else:
            left_out.append(column)
    if not keep:
        raise ValueError(
            f"{source}: no column is a coordinate of the model; the columns are "
            f"{_some(columns)}"
        )
    # Speeds, activations and the like are expected beside states.
    if left_out and not states:
        warnings.warn(
            f"{source}: {len(left_out)} columns are no coordinates of the model and "
            f"are left out: {_some(left_out)}",
            stacklevel=3,
        )
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{source}: coordinate {repeated!r} has more than one column")
    return tuple(names), keep


def even_rate(times: np.ndarray, source: str) -> float:
    """Gives the rate of evenly spaced times, with no more digits than they need."""
    if len(times) == 1:
        return 1.0
    steps = np.diff(times)
    mean = (len(times) - 1) / (times[-1] - times[0]) if steps.min() > 0 else np.nan
    expected = times[0] + np.arange(len(times)) / mean
    # Times rounded to milliseconds are even up to 300 Hz; a lost frame is not.
    uneven = np.ptp(steps) * mean > 0.5 or np.abs(times - expected).max() * mean > 0.5
    if uneven or np.isnan(mean):
        row = int(np.argmax(np.abs(steps - np.median(steps)))) + 1
        raise ValueError(
            f"{source}: the times are not evenly spaced (row {row + 1} is at "
            f"{times[row]:g} s after {times[row - 1]:g} s); a motion has one rate, so "
            "resample it first"
        )
    for digits in range(10):
        rate = round(mean, digits)
        if rate > 0:
            error = times - (times[0] + np.arange(len(times)) / rate)
            if np.abs(error).max() <= _TIME_ROUNDING_S:
                return float(rate)
    return float(mean)


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
