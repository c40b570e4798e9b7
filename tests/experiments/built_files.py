"""Folders of captures and of Human3.6M's layout, made of simulated people."""

import functools
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from simspine_jax.datasets import simulate
from simspine_jax.datasets.simulate import Simulated
from simspine_jax.io import detections_h5
from simspine_jax.io.calibration import write_calibration
from tests.experiments import built

FRAMES = 24
_sources = functools.cache(built.sources)


@functools.cache
def simulated(subject: str, action: str, frames: int = FRAMES) -> Simulated:
    """A take with its truth."""
    sources = _sources()
    options = simulate.SimulationOptions(frames=frames)
    sequence = simulate.Sequence(subject, action, 1)
    return simulate.simulate_sequence(
        sources.model, sources.survey, sources.clips, options, sequence
    )


def write_take(root: Path, one: Simulated, **changes) -> Path:
    """Writes a take's detections, or others in their place."""
    folder = root / "detections" / one.sequence.subject
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{one.sequence.action}_{one.sequence.take}.h5"
    seen = one.detections.replace(**changes)
    detections_h5.write_detections(path, seen, camera_names=one.rig.names)
    return path


def write_captures(root: Path, takes: dict[str, tuple[str, ...]]) -> Path:
    """Writes cameras and takes, by subject to actions, in our layout."""
    (root / "cameras").mkdir(parents=True)
    for subject, actions in takes.items():
        for action in actions:
            write_take(root, simulated(subject, action))
        rig = simulated(subject, actions[0]).rig
        write_calibration(root / "cameras" / f"Calib_{subject}.toml", rig)
    return root


def captures(root: Path, **fields) -> ConfigDict:
    """A build of a folder of captures; each sequence is fitted alone."""
    given = {"source": "captures", "data": str(root), "together": 1, "rate_hz": 50.0}
    return built.small(**(given | fields))


def giant(one: Simulated) -> np.ndarray:
    """Pixels of the same person at twice the size. Shape [T, C, 37, 2]."""
    from simspine_jax.cameras import pinhole

    foot = np.asarray(one.points).mean(axis=(0, 1)) * [1, 1, 0]
    return np.asarray(pinhole.project(one.rig, foot + 2 * (one.points - foot)))
