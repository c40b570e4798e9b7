"""A TRC and a MOT of the same frames, read as one."""

import warnings
from pathlib import Path

import numpy as np

from simspine_jax.io import storage, trc, trc_text
from simspine_jax.types import MarkerTrajectory, Motion

# Printed times are rounded, but never by more of a frame than this.
_SAME_FRAME = 0.1


def read_pair(
    places: Path, angles: Path, model: storage.HasCoordinates | None = None
) -> tuple[MarkerTrajectory, Motion]:
    """Reads markers and coordinates of the frames that both files have.

    Args:
        places: TRC file; the rate and the times are its.
        angles: MOT file.
        model: As ``read_mot``.

    Returns:
        Both with the same frames.

    Warns:
        UserWarning: Frames that only one file has are left out, or the TRC says mm but
            is in metres, as the published ones; also as ``read_trc`` and ``read_mot``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As ``read_trc`` and ``read_mot``; or the times of the two do not
            belong together.
    """
    markers = _in_metres(trc.read_trc(places), places)
    return _together(markers, storage.read_mot(angles, model), places, angles)


def _in_metres(markers: MarkerTrajectory, path: Path) -> MarkerTrajectory:
    """Mends the published files, which say mm although their numbers are metres."""
    header = trc_text.read_header(trc_text.numbered_lines(path), str(path))
    try:
        trc.require_human_size(markers, path)
    except ValueError:
        if header.units_per_metre != 1000:
            raise
        larger = MarkerTrajectory(
            1000 * np.asarray(markers.points),
            markers.valid,
            markers.names,
            markers.rate_hz,
            markers.start_s,
        )
        trc.require_human_size(larger, path)
        warnings.warn(
            f"{path}: Units is mm, but a person is metres tall in these numbers; they "
            "are taken for metres",
            stacklevel=3,
        )
        return larger
    return markers


def _together(
    markers: MarkerTrajectory, motion: Motion, places: Path, angles: Path
) -> tuple[MarkerTrajectory, Motion]:
    """Cuts both to the frames that both have, at the times of the markers."""
    rate, times = markers.rate_hz, motion.times_s
    ahead = (times - markers.start_s) * rate  # frames of the markers
    first = round(float(ahead[0]))
    if np.abs(ahead - first - np.arange(len(ahead))).max() > _SAME_FRAME:
        raise ValueError(
            f"{angles}: the times begin at {times[0]:g} s with {motion.rate_hz:g} Hz, "
            f"but those of {places} at {markers.start_s:g} s with {rate:g} Hz; the "
            "frames must be the same"
        )
    frames, q = len(markers.points), np.asarray(motion.q)
    kept = slice(max(first, 0), min(frames, first + len(q)))
    if kept.start >= kept.stop:
        raise ValueError(f"{angles}: no frame is at the time of any in {places}")
    if not kept.stop - kept.start == frames == len(q):
        warnings.warn(
            f"{angles}: {len(q)} frames from {times[0]:g} s, but {frames} from "
            f"{markers.start_s:g} s in {places}; the {kept.stop - kept.start} that "
            "both have are read",
            stacklevel=3,
        )
    cut = markers.cut(kept)
    q = q[kept.start - first : kept.stop - first]
    return cut, Motion(q, motion.coordinate_names, rate, cut.start_s)
