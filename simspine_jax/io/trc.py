"""Marker trajectories in OpenSim's TRC format.

In memory: metres, and a mask where a marker was not seen. In the file: metres,
centimetres or millimetres as its Units field says, and NaN or blanks.
"""

import os
from pathlib import Path

import numpy as np

from simspine_jax.io import trc_text
from simspine_jax.io.atomic import atomic_path
from simspine_jax.types import MarkerTrajectory

HUMAN_EXTENT_M = (0.02, 100.0)
_TYPICAL_EXTENT_M = 1.7


def read_trc(path: str | os.PathLike[str]) -> MarkerTrajectory:
    """Reads marker trajectories from a TRC file.

    A marker is missing (``valid`` False, point 0) in a frame where any of its
    three coordinates is blank, NaN, infinite or beyond the end of the row. The rate
    is the header's DataRate and ``start_s`` the time of the first row.

    Args:
        path: TRC file with Units m, cm or mm.

    Returns:
        Points in m, shape [T, K, 3], in the frame of the file.

    Warns:
        UserWarning: If the number of rows is not the header's NumFrames (all
            rows are read), or the time column contradicts the DataRate.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If ``path`` is a folder.
        ValueError: If the file is not a TRC file, its fields, marker names, axis
            labels and columns contradict each other, its unit is unknown, or a
            cell is not a number; the message names the line.

    Source: what OpenSim 4.6 `TimeSeriesTableVec3` reads gives the same numbers
    (times `Units`); it also takes repeated names and text in place of numbers,
    which are refused here, and refuses short rows, which are taken here.
    """
    lines = trc_text.numbered_lines(path)
    parser = trc_text.RowParser(trc_text.read_header(lines, str(path)))
    values = parser.parse(lines, None)
    parser.finish()
    assert parser.start_s is not None  # finish() saw at least one row
    return to_trajectory(values, parser.header, parser.start_s)


def to_trajectory(
    values: np.ndarray, header: trc_text.TrcHeader, start_s: float
) -> MarkerTrajectory:
    """Converts a file's numbers (its unit, NaN where missing) to a trajectory.

    Args:
        values: Coordinates in the file's unit. Shape [T, K, 3].
        header: The file's header.
        start_s: Time of the first of these frames, s.
    """
    valid = np.asarray(np.isfinite(values).all(axis=-1))  # [T, K]
    points = np.where(valid[..., None], values / header.units_per_metre, 0.0)
    return MarkerTrajectory(
        points=points,
        valid=valid,
        names=header.names,
        rate_hz=header.rate_hz,
        start_s=start_s,
    )


def write_trc(
    path: str | os.PathLike[str],
    trajectory: MarkerTrajectory,
    *,
    units: str = "m",
) -> None:
    """Writes marker trajectories as a TRC file, whole or not at all.

    Numbers are written with all their digits. Missing markers are written as NaN,
    which OpenSim's InverseKinematicsTool skips; it skips blanks too, but its
    table reader refuses a row that ends with them.

    Args:
        path: Final path; a file already there is replaced.
        trajectory: At least one frame and one marker.
        units: Unit of the numbers in the file, ``m`` or ``mm``.

    Raises:
        ValueError: If shapes contradict each other, there is no frame or marker,
            a valid point is not finite, the rate is not positive, the unit is
            neither m nor mm, or a name is empty, repeated, has a tab or line
            break, or blanks at its ends.
        FileNotFoundError: If the folder does not exist.
    """
    if units not in {"m", "mm"}:
        raise ValueError(f"{path}: units is {units!r}, and it must be 'm' or 'mm'")
    points, valid = np.asarray(trajectory.points), np.asarray(trajectory.valid)
    _check_trajectory(points, valid, trajectory, str(path))
    scaled = points.astype(float) * trc_text.UNITS_PER_METRE[units]
    values = np.where(valid[..., None], scaled, np.nan).reshape(len(points), -1)
    names = trajectory.names
    rate = repr(float(trajectory.rate_hz)).removesuffix(".0")
    count, frames = len(names), len(points)
    axes = "\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, count + 1))
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(
            f"PathFileType\t4\t(X/Y/Z)\t{Path(path).name}\n"
            "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\t"
            "OrigDataStartFrame\tOrigNumFrames\n"
            f"{rate}\t{rate}\t{frames}\t{count}\t{units}\t{rate}\t1\t{frames}\n"
            "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t\n"
            f"\t\t{axes}\n\n"
        )
        for i, (time, row) in enumerate(
            zip(trajectory.times_s, values, strict=True), 1
        ):
            cells = "\t".join(map(repr, row.tolist())).replace("nan", "NaN")
            file.write(f"{i}\t{float(time)!r}\t{cells}\n")


def require_human_size(trajectory: MarkerTrajectory, source: object) -> None:
    """Refuses markers that no person could wear; the unit is then wrong.

    The size of a frame is the largest side of the box around its markers; the
    median over the frames with at least two markers is judged. With no such
    frame nothing can be judged, and nothing is refused.

    Args:
        trajectory: Markers, m.
        source: Where they came from, for the message.

    Raises:
        ValueError: If the median size is above 100 m or below 0.02 m; the
            message names the unit the numbers are probably in.
    """
    points, valid = np.asarray(trajectory.points), np.asarray(trajectory.valid)
    mask = valid[valid.sum(axis=1) >= 2][..., None]  # [t, K, 1]
    if not len(mask):
        return
    seen = points[valid.sum(axis=1) >= 2]  # [t, K, 3]
    highest = np.where(mask, seen, -np.inf).max(axis=1)
    lowest = np.where(mask, seen, np.inf).min(axis=1)
    size = float(np.median((highest - lowest).max(axis=-1)))
    low, high = HUMAN_EXTENT_M
    if low <= size <= high:
        return
    if size > high:
        advice = "the numbers are probably in " + min(
            ("centimetres", "millimetres"),
            key=lambda unit: _mismatch(size / {"c": 100.0, "m": 1000.0}[unit[0]]),
        )
        advice += " although the file says a larger unit"
    elif size > 0:
        advice = (
            "the numbers are probably in metres although the file says a smaller unit"
        )
    else:
        advice = "all markers are at one point"
    raise ValueError(
        f"{source}: the markers of a frame span {size:.3g} m (median), and a person "
        f"spans {low:g} to {high:g} m; {advice}"
    )


def _mismatch(size_m: float) -> float:
    return abs(np.log(size_m / _TYPICAL_EXTENT_M))


def _check_trajectory(
    points: np.ndarray, valid: np.ndarray, trajectory: MarkerTrajectory, source: str
) -> None:
    names = trajectory.names
    if points.shape != (*valid.shape, 3) or valid.shape[1:] != (len(names),):
        raise ValueError(
            f"{source}: points {points.shape}, valid {valid.shape} and {len(names)} "
            "names do not belong together; (T, K, 3), (T, K) and K are needed"
        )
    if 0 in valid.shape:
        raise ValueError(f"{source}: there is no frame or no marker to write")
    if not np.isfinite(points[valid]).all():
        frame, marker = np.argwhere(valid & ~np.isfinite(points).all(axis=-1))[0]
        raise ValueError(
            f"{source}: marker {names[marker]!r} is valid but not finite in frame "
            f"{frame}"
        )
    if not (np.isfinite(trajectory.rate_hz) and trajectory.rate_hz > 0):
        raise ValueError(
            f"{source}: the rate is {trajectory.rate_hz} Hz, and it must be positive"
        )
    for name in names:
        if not name or name != name.strip() or set("\t\r\n") & set(name):
            raise ValueError(
                f"{source}: marker name {name!r} cannot be written; it must not be "
                "empty, begin or end with a blank, or have a tab or line break"
            )
        if names.count(name) > 1:
            raise ValueError(f"{source}: marker {name!r} is named more than once")
