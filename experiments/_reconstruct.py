"""Files of simulated detections to files of points and motion, some sequences together.

Sequences of one subject that are fitted together share the work of the search, and lose
no less than that many when the run is killed.
"""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments import _simulation

if TYPE_CHECKING:
    from simspine_jax import Detections2D, IkSolution, Model, Triangulation
    from simspine_jax.datasets.simulate import Sequence, SimulationOptions

FOLDERS = ("detections", "points", "motion")


class Done(NamedTuple):
    """Sequences that are on disk, and the seconds of triangulation and fit."""

    names: tuple[str, ...]
    seconds: tuple[float, float]


class _Made(NamedTuple):
    points: "Triangulation"
    fit: "IkSolution"
    seconds: tuple[float, float]


def missing(
    every: "Mapping[str, Sequence]", together: int, workdir: Path
) -> tuple[tuple[str, ...], ...]:
    """Returns the groups of sequences that have no motion yet.

    Args:
        every: Sequences by name.
        together: Sequences in a group at most; all of one subject.
        workdir: Has the folders, claimed.
    """
    from simspine_jax.io import shards

    groups = []
    for _, names in itertools.groupby(every, lambda name: every[name].subject):
        own = tuple(names)
        groups += [own[i : i + together] for i in range(0, len(own), together)]
    left = set(shards.missing(workdir / "motion", tuple(every)))
    return tuple(group for group in groups if left & set(group))


def run(
    groups: tuple[tuple[str, ...], ...],
    every: "Mapping[str, Sequence]",
    sources: _simulation.Sources,
    options: "SimulationOptions",
    together: int,
    float64_points: bool,
    workdir: Path,
) -> Iterator[Done]:
    """Reconstructs groups with each subject's own scaled model.

    Yields:
        Each group when it is on disk.
    """
    import simspine_jax as sj
    from simspine_jax.cameras import world_axes
    from simspine_jax.datasets import simulate
    from simspine_jax.fitting import simspine_tasks
    from simspine_jax.io import detections_h5, h36m_cameras, shards

    tasks = simspine_tasks.published_tasks().without_coordinate_tasks()
    triangulation = sj.TriangulationOptions(float64=float64_points)
    fit = sj.IkOptions(chunk_frames=options.frames * together)
    models = {
        subject: simulate.subject_model(
            sources.model, sources.survey, subject, options.seed
        )[1]
        for subject in options.subjects
    }
    by_name = {group[0]: group for group in groups}

    def read(name: str) -> "Detections2D":
        files = [workdir / FOLDERS[0] / f"{n}.h5" for n in by_name[name]]
        parts = [detections_h5.read_detections(file) for file in files]
        first: Any = parts[0]
        return first.replace(
            points=np.concatenate([part.points for part in parts]),
            confidence=np.concatenate([part.confidence for part in parts]),
        )

    def compute(name: str, seen: "Detections2D") -> _Made:
        subject = every[name].subject
        start = time.perf_counter()
        found = sj.triangulate(h36m_cameras.h36m_rig(subject), seen, triangulation)
        middle = time.perf_counter()
        markers = world_axes.to_trajectory(found, seen.keypoint_names, seen.rate_hz)
        fitted = sj.fit_ik(models[subject], markers, tasks, fit)
        return _Made(found, fitted, (middle - start, time.perf_counter() - middle))

    def write(name: str, made: _Made) -> None:
        for index, one in enumerate(by_name[name]):
            frames = slice(index * options.frames, (index + 1) * options.frames)
            _write(one, made, frames, models[every[name].subject], options, workdir)

    for name, made in shards.stream(tuple(by_name), read, compute, write):
        yield Done(by_name[name], made.seconds)


def _write(
    name: str,
    made: _Made,
    frames: slice,
    model: "Model",
    options: "SimulationOptions",
    workdir: Path,
) -> None:
    from simspine_jax import Motion
    from simspine_jax.io import h36m_cameras, motion_h5, triangulation_h5

    _, points, motion = (workdir / folder / f"{name}.h5" for folder in FOLDERS)
    fields = ("points", "valid", "reprojection_error", "covariance", "used_views")
    own = {field: getattr(made.points, field)[frames] for field in fields}
    triangulation_h5.write_triangulation(
        points,
        dataclasses.replace(made.points, **own),
        keypoint_names=model.marker_names,
        camera_names=h36m_cameras.NAMES,
        rate_hz=options.rate_hz,
    )
    # Last, so that a sequence with a motion is complete.
    motion_h5.write_motion(
        motion,
        Motion(made.fit.q[frames], made.fit.coordinate_names, options.rate_hz),
        marker_rms=made.fit.marker_rms[frames],
        status=made.fit.status[frames],
    )
