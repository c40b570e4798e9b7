"""The files and numbers that triangulated people leave behind."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from experiments._points import Person, Points

if TYPE_CHECKING:
    from simspine_jax.evaluation.triangulation_summary import Summary

_FILES = {"markers": ".trc", "points": ".h5", "detections": ".h5", "filled": ".csv"}
_UNITS = {
    "markers.trc": "m, ground frame, Y up; NaN where not valid",
    "points.h5": "m and m^2, the calibration's world; px",
    "detections.h5": "px",
    "filled.csv": "frames, counted from 1",
    "cameras.toml": "px, rad, m",
}


def write(workdir: Path, points: Points, numbered: bool = False) -> dict[str, str]:
    """Writes markers, points and detections of each person; older files are removed.

    Cameras are written where they are not those of the calibration that was read.

    Args:
        workdir: Existing folder.
        points: What was found.
        numbered: Whether the names get ``_1``, ``_2`` and so on.

    Returns:
        Units of the files by name.
    """
    from simspine_jax.io import (
        atomic,
        calibration,
        detections_h5,
        trc,
        triangulation_h5,
    )

    units: dict[str, str] = {}
    for n, person in enumerate(points.people, start=1):
        name = {
            stem: f"{stem}_{n}{suffix}" if numbered else f"{stem}{suffix}"
            for stem, suffix in _FILES.items()
        }
        trc.write_trc(workdir / name["markers"], person.markers)
        triangulation_h5.write_triangulation(
            workdir / name["points"],
            person.found,
            keypoint_names=person.detections.keypoint_names,
            camera_names=points.rig.names,
            rate_hz=person.detections.rate_hz,
        )
        detections_h5.write_detections(
            workdir / name["detections"],
            person.detections,
            camera_names=points.rig.names,
        )
        written = ["markers", "points", "detections"]
        if person.filled.any():
            atomic.write_text(workdir / name["filled"], _filled_table(person))
            written.append("filled")
        units |= {name[stem]: _UNITS[stem + _FILES[stem]] for stem in written}
    if points.rig is not points.capture.rig:
        calibration.write_calibration(workdir / "cameras.toml", points.rig)
        units["cameras.toml"] = _UNITS["cameras.toml"]
    # What an earlier run left of other people would be taken for this one's.
    for stem, suffix in {**_FILES, "report": ".png", "cameras": ".toml"}.items():
        own = re.compile(rf"{stem}(_\d+)?{re.escape(suffix)}")
        for path in workdir.iterdir():
            if own.fullmatch(path.name) and path.name not in units:
                path.unlink()
    return units


def metrics(person: Person) -> dict[str, float]:
    """Returns the numbers of metrics.json about a person."""
    summary, parts = person.summary, person.summary.parts
    shares = {} if parts is None else vars(parts)
    return {
        "reprojection_px_mean": summary.mean_px,
        "reprojection_px_median": summary.median_px,
        **{f"error_share_{name}": float(share) for name, share in shares.items()},
        "observations_used_fraction": summary.used_fraction,
        "points_valid_fraction": summary.valid_fraction,
        "points_filled": int(person.filled.sum()),
        "noise_px": summary.noise_px,
        **{
            f"thigh_{side}_m_{what}": value
            for side, pair in zip("lr", summary.thigh_m, strict=False)
            for what, value in zip(("mean", "sd"), pair, strict=True)
        },
    }


def to_text(summary: "Summary") -> str:
    """Returns the total of a person in one line, and what limits it in another."""
    total = (
        f"all: mean {summary.mean_px:.2f} px, median {summary.median_px:.2f} px over "
        f"{summary.used_fraction:.1%} of the observations; "
        f"{summary.valid_fraction:.1%} of the points valid; "
        f"noise {summary.noise_px:.1f} px a component"
    )
    return total if summary.parts is None else f"{total}\n{summary.parts}"


def _filled_table(person: Person) -> str:
    """One row for each gap that was filled, frames counted from 1 as in the .trc."""
    from simspine_jax.core import gaps

    rows = [
        f"{name},{gap.start + 1},{gap.stop}"
        for k, name in enumerate(person.markers.names)
        for gap in gaps.runs(person.filled[:, k])
    ]
    return "\n".join(["marker,first_frame,last_frame", *rows]) + "\n"
