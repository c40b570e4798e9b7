"""Places the markers of an OpenSim model along a motion, by forward kinematics.

Without flags: Pose2Sim's scaled model along its balancing trial. Writes markers.trc,
keypoints.trc (SIMSPINE's 37 keypoints, where the model has their bodies), report.png,
metrics.json and manifest.json.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from experiments import _app, _trial

if TYPE_CHECKING:
    from simspine_jax import Model, Motion

_DEMO = "Pose2Sim/S00_Demo_BatchSession/S00_P00_SingleParticipant/S00_P00_OpenSim"
_MODEL = f"{_DEMO}/Model_Pose2Sim_body25b_scaled.osim"
_MOTION = f"{_DEMO}/S00_P00_T01_BalancingTrial_filt_butterworth_0-100_body25b.mot"
_IN_M = "m, ground frame, Y up"


def main(config: ConfigDict, workdir: Path) -> None:
    """Simulates and writes everything into the workdir."""
    with _trial.one_line_warnings():
        _simulate(config, workdir)


def _simulate(config: Any, workdir: Path) -> None:
    start = time.monotonic()
    import simspine_jax as sj
    from simspine_jax.figures import simulated_markers as figure
    from simspine_jax.fitting import complete_motion, replay

    model_path, motion_path = _paths(config)
    _trial.say(f"model   {model_path}")
    model = sj.load_model(model_path, config.markers)
    _trial.say(f"motion  {motion_path}")
    motion = _motion(motion_path, model, config.frames)
    if not model.marker_names:
        raise ValueError(f"{model_path}: the model has no marker to place")
    full = complete_motion.complete(model, motion)
    for names, how in (
        (full.from_couplers, "computed by couplers"),
        (full.at_default, "at their default values"),
    ):
        if names:
            _trial.say(
                f"{len(names)} coordinates that the motion lacks are {how}: "
                f"{', '.join(names)}"
            )
    poses = replay.body_poses(model, full.q)
    _trial.say(f"writing into {workdir}")
    units = {"markers.trc": _IN_M}
    _write(workdir / "markers.trc", model, poses, motion)
    keypoints = _with_keypoints(model) if config.keypoints else None
    if keypoints is None:
        (workdir / "keypoints.trc").unlink(missing_ok=True)
    else:
        units["keypoints.trc"] = _IN_M
        _write(workdir / "keypoints.trc", keypoints, poses, motion)
    titles = figure.Titles(model_path.name, motion_path.name)
    figure.draw(workdir / "report.png", model, poses, motion.times_s, titles)
    _app.write_metrics(
        workdir,
        {
            "frames": len(full.q),
            "rate_hz": motion.rate_hz,
            "markers": len(model.marker_names),
            "keypoints": 0 if keypoints is None else len(keypoints.marker_names),
            "coordinates_from_couplers": len(full.from_couplers),
            "coordinates_at_default": len(full.at_default),
            "seconds_total": time.monotonic() - start,
        },
    )
    files = [model_path, motion_path, *([config.markers] if config.markers else [])]
    _app.write_manifest(workdir, config, files, units)
    _trial.say(
        f"{len(full.q)} frames at {motion.rate_hz:g} Hz of {len(model.marker_names)} "
        f"markers{'' if keypoints is None else ' and 37 keypoints'}"
    )


def _paths(config: Any) -> tuple[Path, Path]:
    """Returns model and motion, the demo's where neither is given."""
    given = [name for name in ("model", "motion") if config[name]]
    if len(given) == 1:
        other = "motion" if given[0] == "model" else "model"
        raise ValueError(
            f"config.{given[0]} is given and config.{other} is not; a motion belongs "
            "to its model, so give both, or none for the demo"
        )
    if given:
        return Path(config.model), Path(config.motion)
    from third_party import fetch

    folder = fetch.fetch("pose2sim-0.8.4")
    return folder / _MODEL, folder / _MOTION


def _motion(path: Path, model: "Model", frames: int) -> "Motion":
    """Reads a motion with all its coordinates, the first frames or all."""
    from simspine_jax.io import storage

    if frames < 0:
        raise ValueError(f"config.frames must not be negative; it is {frames}")
    # With a model, what is no coordinate of it is left out, and here it is refused.
    named = storage.read_mot(path).coordinate_names
    other = [name for name in named if name not in model.coordinate_names]
    if other:
        raise ValueError(
            f"{path}: {len(other)} of the {len(named)} coordinates are not the "
            f"model's: {', '.join(other)}"
        )
    motion = storage.read_mot(path, model)
    return replace(motion, q=motion.q[: frames or None])


def _with_keypoints(model: "Model") -> "Model | None":
    """Returns the model with the 37 keypoints; says why where it cannot have them."""
    from simspine_jax.body import spine_markers

    try:
        return spine_markers.with_keypoints(model)
    except ValueError as error:
        _trial.say(f"no keypoints.trc: {error}")
        return None


def _write(path: Path, model: "Model", poses: Any, motion: "Motion") -> None:
    from simspine_jax.fitting import replay
    from simspine_jax.io import trc
    from simspine_jax.types import MarkerTrajectory

    points = replay.marker_points(model, poses)
    seen = np.ones(points.shape[:2], bool)
    trc.write_trc(
        path,
        MarkerTrajectory(
            points, seen, model.marker_names, motion.rate_hz, motion.start_s
        ),
    )


if __name__ == "__main__":
    _app.run(main, "simulate_markers")
