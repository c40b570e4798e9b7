"""From the detections of a capture to points in 3D, as several experiments take them.

The order: exchanged sides, cameras refined, lags of views, triangulation, filter.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import _capture, _mending, _trial

if TYPE_CHECKING:
    from simspine_jax import (
        CameraRig,
        Detections2D,
        MarkerTrajectory,
        Triangulation,
        TriangulationOptions,
    )
    from simspine_jax.evaluation.triangulation_summary import Summary
    from simspine_jax.fitting.trajectory_filters import FilterOptions


@dataclass(frozen=True)
class Settings:
    """Options that were checked before any work."""

    triangulation: "TriangulationOptions"
    filter: "FilterOptions"


@dataclass(frozen=True)
class Person:
    """One person.

    Attributes:
        detections: What the points were triangulated from.
        found: The points in the calibration's world, not filtered.
        summary: Of the two.
        markers: The points with Y up, filled and filtered where that was asked for.
        filled: Which of these are filled in. Shape [T, K].
        seconds: That triangulation took, compilation included.
    """

    detections: "Detections2D"
    found: "Triangulation"
    summary: "Summary"
    markers: "MarkerTrajectory"
    filled: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Points:
    """A capture, the cameras that were used, its people, and what was noticed."""

    capture: _capture.Capture
    rig: "CameraRig"
    people: tuple[Person, ...]
    metrics: dict[str, float]


def check(config: Any) -> Settings:
    """Refuses options out of range, before any file is read.

    Args:
        config: Fields of ``configs/_capture.py`` and ``frames``.

    Raises:
        ValueError: One sentence says what is allowed.
    """
    from simspine_jax.cameras.triangulation import TriangulationOptions
    from simspine_jax.fitting.trajectory_filters import FilterOptions

    _capture.check(config)
    return Settings(
        TriangulationOptions(**_trial.given(config.triangulation)),
        FilterOptions(**_trial.given(config.filter)),
    )


def find(config: Any, settings: Settings, everyone: bool = False) -> Points:
    """Reads a capture and triangulates its main person, or everyone.

    Args:
        config: As ``check`` took it.
        settings: What it returned.
        everyone: Whether to take all people; only the main person otherwise.

    Raises:
        ValueError: A file cannot be used; one sentence says why.
        FileNotFoundError: A file is not there.
    """
    capture = _capture.load(config)
    rig = capture.rig
    people, exchanged = _mending.sides(config, capture, everyone)
    gained: dict[str, float] = {}
    if config.refine:
        # The bias is that of one person in these poses.
        rig, people[0], gained = _mending.refined(rig, people[0])
    people, lags = _mending.lags(config, rig, people)
    found = tuple(_person(config, settings, rig, seen, capture) for seen in people)
    return Points(
        capture,
        rig,
        found,
        {"people": len(capture.people), **exchanged, **gained, **lags},
    )


def observe(config: Any, settings: Settings) -> _trial.Markers:
    """Returns the main person's points as markers of a trial; as ``find``."""
    points = find(config, settings)
    capture = points.capture
    return _trial.Markers(
        points.people[0].markers, capture.folder, capture.files, points
    )


def _person(
    config: Any,
    settings: Settings,
    rig: "CameraRig",
    seen: "Detections2D",
    capture: _capture.Capture,
) -> Person:
    from simspine_jax.cameras import triangulation, world_axes
    from simspine_jax.evaluation import triangulation_summary
    from simspine_jax.fitting import trajectory_filters
    from simspine_jax.io import trc

    start = time.monotonic()
    found = triangulation.triangulate(rig, seen, settings.triangulation)
    seconds = time.monotonic() - start
    if not found.valid.any():
        raise ValueError(
            f"{capture.folder}: on no keypoint in any frame do enough cameras agree"
        )
    raw = world_axes.to_trajectory(found, seen.keypoint_names, seen.rate_hz, config.up)
    trc.require_human_size(raw, capture.files[0])
    turn = np.asarray(world_axes.TO_GROUND[config.up])
    covariance = turn @ np.asarray(found.covariance) @ turn.T
    markers = trajectory_filters.filter_trajectory(raw, covariance, settings.filter)
    return Person(
        seen,
        found,
        triangulation_summary.summarise(found, seen, rig),
        markers,
        np.asarray(markers.valid) & ~np.asarray(raw.valid),
        seconds,
    )
