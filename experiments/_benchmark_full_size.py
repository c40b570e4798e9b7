"""SIMSPINE's size from disk to disk: triangulation and inverse kinematics.

Simulated detections are written first, one file for a sequence, and that is not timed.
Then every file is read, triangulated and fitted with the subject's own scaled model,
some sequences at a time, and its points (with covariances) and motion are written, each
file whole or not at all.
Killed and started again in the same workdir, it goes on where it stopped, and ends with
the same bytes; the times are then those of the sequences that this run did.

Rates are of wall time, reading and writing included, and of compilation, too. Some
sequences are simulated again at the end and their truth is compared.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import _app, _ik_measure, _reconstruct, _simulation, _trial

if TYPE_CHECKING:
    from simspine_jax.datasets.simulate import Sequence, SimulationOptions

_VIEWS, _KEYPOINTS = 4, 37


def run(config: Any, workdir: Path) -> tuple[dict[str, float], tuple[Path, ...]]:
    """Simulates what is not there, reconstructs what is not there, and judges.

    Args:
        config: Of ``configs/benchmark.py:full_size``.
        workdir: Gets the folders detections, points and motion.

    Returns:
        The metrics, and the files that the simulation was made from.
    """
    from simspine_jax.datasets import simulate

    options = simulate.SimulationOptions(**_trial.given(config.simulation))
    every = {s.name: s for s in simulate.sequences(options)}
    _trial.say("reading people and clips")
    sources = _simulation.load()
    simulated = _simulate(sources, options, every, workdir)
    found = _timed(config, sources, options, every, workdir)
    _trial.say("comparing with the truth")
    judged = _judged(sources, options, every, workdir, config.judged)
    return {**simulated, **found, **judged}, sources.files


def table(metrics: dict[str, float]) -> str:
    """Returns what was measured, for people."""
    m = metrics
    return "\n".join(
        [
            "",
            f"{m['instants']:.0f} instants x {_VIEWS} views x {_KEYPOINTS} keypoints "
            f"({m['images'] / 1e6:.2f} M images), of which this run did "
            f"{m['instants_done']:.0f}",
            f"disk to disk {m['seconds']:.1f} s: {m['instants_per_second']:.0f} "
            f"instants/s, {m['points_per_second']:.0f} points/s; triangulation "
            f"{m['seconds_triangulation']:.1f} s, inverse kinematics "
            f"{m['seconds_ik']:.1f} s; peak memory {m['peak_memory_mb']:.0f} MB",
            f"read {m['mb_read']:.0f} MB, wrote {m['mb_written']:.0f} MB; simulating "
            f"took {m['seconds_simulating']:.1f} s",
            f"against the truth: points {m['point_error_mm_median']:.1f} mm median, "
            f"{m['point_error_mm_p95']:.1f} (95 %); keypoints of the fitted model "
            f"{m['keypoint_error_mm_median']:.1f} mm median; free angles "
            f"{m['angle_error_deg_median']:.2f} deg median",
        ]
    )


def _simulate(
    sources: _simulation.Sources,
    options: "SimulationOptions",
    every: "dict[str, Sequence]",
    workdir: Path,
) -> dict[str, float]:
    from simspine_jax.datasets import simulate
    from simspine_jax.io import detections_h5, shards

    folder = workdir / "detections"
    shards.claim(folder, _settings(options))
    start = time.perf_counter()
    todo = shards.missing(folder, tuple(every))
    for name in _app.progress(todo, "simulating", len(todo)):
        made = simulate.simulate_sequence(
            sources.model, sources.survey, sources.clips, options, every[name]
        )
        detections_h5.write_detections(
            folder / f"{name}.h5", made.detections, camera_names=made.rig.names
        )
    return {"seconds_simulating": time.perf_counter() - start}


def _timed(
    config: Any,
    sources: _simulation.Sources,
    options: "SimulationOptions",
    every: "dict[str, Sequence]",
    workdir: Path,
) -> dict[str, float]:
    from simspine_jax.io import shards

    settings = _settings(options)
    settings |= {"float64_points": config.float64_points, "together": config.together}
    source, points, motion = (workdir / folder for folder in _reconstruct.FOLDERS)
    for folder in (points, motion):
        shards.claim(folder, settings)
    groups = _reconstruct.missing(every, config.together, workdir)
    todo = [name for group in groups for name in group]
    start = time.perf_counter()
    seconds = np.zeros(2)
    flow = _reconstruct.run(
        groups,
        every,
        sources,
        options,
        config.together,
        config.float64_points,
        workdir,
    )
    for done in _app.progress(flow, "reconstructing", len(groups)):
        seconds += done.seconds
    spent = max(time.perf_counter() - start, 1e-9)
    frames, size = len(todo) * options.frames, 2**20
    bytes_of = lambda folder: sum((folder / f"{n}.h5").stat().st_size for n in todo)
    return {
        "instants": float(len(every) * options.frames),
        "images": float(len(every) * options.frames * _VIEWS),
        "instants_done": float(frames),
        "seconds": spent,
        "instants_per_second": frames / spent,
        "points_per_second": frames * _KEYPOINTS / spent,
        "seconds_triangulation": seconds[0],
        "seconds_ik": seconds[1],
        "mb_read": bytes_of(source) / size,
        "mb_written": (bytes_of(points) + bytes_of(motion)) / size,
        "peak_memory_mb": _ik_measure.peak_memory_mb(),
    }


def _judged(
    sources: _simulation.Sources,
    options: "SimulationOptions",
    every: "dict[str, Sequence]",
    workdir: Path,
    count: int,
) -> dict[str, float]:
    """Compares evenly spread sequences with their truth."""
    import simspine_jax as sj
    from simspine_jax.cameras import world_axes
    from simspine_jax.datasets import simulate
    from simspine_jax.evaluation.angle_difference import coordinate_difference
    from simspine_jax.io import motion_h5
    from simspine_jax.io.triangulation_h5 import read_triangulation

    to_ground = np.asarray(world_axes.TO_GROUND["z"])
    names = tuple(every)
    of_points, of_keypoints, of_angles = [], [], []
    for index in np.linspace(0, len(names) - 1, min(count, len(names))).astype(int):
        name = names[index]
        truth = simulate.simulate_sequence(
            sources.model, sources.survey, sources.clips, options, every[name]
        )
        found = read_triangulation(workdir / "points" / f"{name}.h5")[0]
        motion = motion_h5.read_motion(workdir / "motion" / f"{name}.h5")[0]
        away = np.linalg.norm(found.points - truth.points, axis=2)
        of_points.append(away[np.asarray(found.valid)])
        fitted = np.asarray(sj.marker_positions(truth.model, motion.q))
        place = truth.points @ to_ground.T
        of_keypoints.append(np.linalg.norm(fitted - place, axis=2).ravel())
        off = coordinate_difference(
            truth.model, np.asarray(motion.q), np.asarray(truth.motion.q)
        )
        free = np.asarray(truth.model.topology.free, int)
        is_angle = np.asarray(truth.model.coordinate_is_angle)[free]
        of_angles.append(off[:, free][:, is_angle].ravel())
    points, keypoints, angles = map(
        np.concatenate, (of_points, of_keypoints, of_angles)
    )
    return {
        "judged_sequences": float(len(of_points)),
        "point_error_mm_median": 1e3 * float(np.median(points)),
        "point_error_mm_p95": 1e3 * float(np.percentile(points, 95)),
        "keypoint_error_mm_median": 1e3 * float(np.median(keypoints)),
        "angle_error_deg_median": float(np.rad2deg(np.median(np.abs(angles)))),
    }


def _settings(options: "SimulationOptions") -> dict[str, Any]:
    return asdict(options)
