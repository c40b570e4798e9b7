"""The files that a fitted motion leaves behind, each whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simspine_jax import IkSolution, Model
    from simspine_jax.body.kinematics import BodyPoses
    from simspine_jax.fitting.ik_report import IkReport

UNITS = {
    "motion.mot": "deg and m; coupled coordinates rad, as OpenSim has it",
    "markers_fitted.trc": "m, ground frame, Y up; NaN where the frame had no marker",
    "spine_markers.trc": "m, ground frame, Y up; NaN where the frame had no marker",
    "marker_errors.sto": "m^2, m, m; 0 where the frame had no marker",
}


def write(
    workdir: Path, model: "Model", solution: "IkSolution", poses: "BodyPoses"
) -> None:
    """Writes motion, fitted markers, marker errors and spine keypoints.

    A model without the bodies of SIMSPINE's spine gets no spine_markers.trc, and
    an older one in the workdir is removed; a line says so.

    Args:
        workdir: Existing folder.
        model: The model that was fitted.
        solution: Its fit.
        poses: Body poses along the fit.
    """
    from simspine_jax.body import spine_markers
    from simspine_jax.fitting import replay
    from simspine_jax.io import storage, trc
    from simspine_jax.skeletons import simspine
    from simspine_jax.types import MarkerTrajectory

    motion = solution.motion
    seen = np.asarray(solution.marker_seen)
    filled = np.asarray(seen.any(axis=1))

    def trajectory(points: np.ndarray, names: tuple[str, ...]) -> MarkerTrajectory:
        valid = np.broadcast_to(filled[:, None], points.shape[:2])
        return MarkerTrajectory(
            points, valid, names, solution.rate_hz, solution.start_s
        )

    storage.write_mot(
        workdir / "motion.mot",
        motion,
        coordinate_is_rotational=model.coordinate_is_rotational,
    )
    fitted = replay.marker_points(model, poses)
    trc.write_trc(
        workdir / "markers_fitted.trc", trajectory(fitted, model.marker_names)
    )
    storage.write_marker_errors(
        workdir / "marker_errors.sto", motion.times_s, solution.marker_error, seen
    )
    path = workdir / "spine_markers.trc"
    missing = spine_markers.missing_bodies(model)
    if missing:
        path.unlink(missing_ok=True)
        print(f"no spine_markers.trc: the model has no body {missing[0]!r}")
        return
    spine = np.asarray(spine_markers.from_poses(model, poses))
    trc.write_trc(path, trajectory(spine, simspine.SPINE_NAMES))


def metrics(
    solution: "IkSolution", report: "IkReport", seconds: dict[str, float]
) -> dict[str, float]:
    """Returns the numbers of metrics.json.

    Args:
        solution: The fit.
        report: Its report.
        seconds: ``load``, ``fit`` (compilation included), ``compile`` and ``total``.
    """
    seen = report.frame_seen
    frames = len(seen)
    at_bound = np.maximum(report.at_lower, report.at_upper) > 0
    running = max(seconds["fit"] - seconds["compile"], 1e-9)
    return {
        "frames": frames,
        "frames_without_markers": int((~seen).sum()),
        "markers": len(report.marker_names),
        "marker_rms_mm": report.rms_m * 1e3,
        "marker_max_mm": float(report.marker_max_m.max()) * 1e3,
        "objective_mean": float(np.mean(solution.objective[seen])),
        "error_share_constant_offset": report.offset_share_of_all,
        "coordinates_undetermined": len(report.undetermined),
        "coordinates_unmoved": len(report.unmoved),
        "coordinates_at_bound": int(at_bound.sum()),
        "frames_per_second": frames / running,
        **{f"seconds_{name}": value for name, value in seconds.items()},
    }
