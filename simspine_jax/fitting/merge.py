"""Markers of two origins in one trajectory, each as good as its covariance says.

Such as a body of known quality (motion capture) and a spine that was triangulated.
Nothing is overwritten silently: a marker that both have is an error unless a rule is
asked for, frames are never cut unless that is asked for, and the result says of every
point where it comes from.

SIMSPINE takes Human3.6M's mid-torso joint for the eighth thoracic vertebra (its
Spine_04). That joint belongs to the actors' model and is no detected vertebra, so that
``from_h36m`` leaves it out unless it is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from simspine_jax.fitting.merge_sources import (
    FRAMES,
    Source,
    aligned,
    check_place,
    from_h36m,
)
from simspine_jax.types import MarkerTrajectory

__all__ = ["Merged", "Source", "from_h36m", "merge"]

# Where a point of the result comes from.
NONE, FIRST, SECOND, FUSED = range(4)
CONFLICTS = ("error", "first", "fuse")
REFERENCE_SD_M = 0.005


@dataclass(frozen=True)
class Merged:
    """Markers of two sources.

    Attributes:
        markers: All markers, those of the first source first, at its times. The weight
            is the inverse of the mean variance of a component, 1 at the reference SD; 0
            where not seen.
        covariance: Of each point, m^2; 0 where not seen. Shape [T, K, 3, 3].
        origin: NONE, FIRST, SECOND or FUSED for each point. Shape [T, K].
        sources: Names of the two sources.
        on_conflict: The rule for markers that both have.
        dropped: Frames of each source that were cut away.
        disagreement: By marker that both have: the distance of the two (m, root mean
            square), and their squared distance over what the covariances let expect (1
            if these are right); NaN if both see it in no frame.
    """

    markers: MarkerTrajectory
    covariance: Float[np.ndarray, "t k 3 3"]
    origin: Int[np.ndarray, "t k"]
    sources: tuple[str, str]
    on_conflict: str
    dropped: tuple[int, int]
    disagreement: dict[str, tuple[float, float]]

    @property
    def source_of(self) -> dict[str, tuple[str, ...]]:
        """Names of the sources that each marker's points come from."""
        told = {}
        for k, name in enumerate(self.markers.names):
            used = self.origin[:, k]
            told[name] = tuple(
                source
                for source, alone in zip(self.sources, (FIRST, SECOND), strict=True)
                if np.isin(used, (alone, FUSED)).any()
            )
        return told

    @property
    def fallback_frames(self) -> dict[str, np.ndarray]:
        """By marker that both have: the frames where it fell back.

        With "first" to the second source; with "fuse" to one source alone. Frames in
        which nothing is seen are not among them.
        """
        fallen = (SECOND,) if self.on_conflict == "first" else (FIRST, SECOND)
        column = self.markers.names.index
        return {
            name: np.flatnonzero(np.isin(self.origin[:, column(name)], fallen))
            for name in self.disagreement
        }

    def to_text(self) -> str:
        """Says in a few lines what comes from where, and what was cut."""
        origins: dict[tuple[str, ...], list[str]] = {}
        for name, used in self.source_of.items():
            origins.setdefault(used, []).append(name)
        lines = [
            f"{' and '.join(used) or 'not seen'}: {', '.join(names)}"
            for used, names in origins.items()
        ]
        fallen = self.fallback_frames
        for name, (distance, ratio) in self.disagreement.items():
            lines.append(
                f"{name}: the sources are {distance * 1e3:.1f} mm apart (RMS), "
                f"{ratio:.2g} times the expected square; fell back in "
                f"{len(fallen[name])} frames"
            )
        for name, count in zip(self.sources, self.dropped, strict=True):
            if count:
                lines.append(f"{name}: {count} frames outside the overlap were dropped")
        return "\n".join(lines)


class _Points(NamedTuple):
    """Some points of a source: positions, covariances (identity if unseen), seen."""

    points: Float[np.ndarray, "*n 3"]
    spread: Float[np.ndarray, "*n 3 3"]
    seen: Bool[np.ndarray, "*n"]

    def map(self, take: Callable[[np.ndarray], np.ndarray]) -> "_Points":
        return _Points(*(take(part) for part in self))


def merge(
    body: Source,
    pseudo: Source,
    *,
    on_conflict: str = "error",
    frames: str = "equal",
    reference_sd_m: float = REFERENCE_SD_M,
) -> Merged:
    """Joins markers of known quality and pseudo-markers by name.

    Args:
        body: First source; its times are kept.
        pseudo: Second source, in the same ground frame.
        on_conflict: For a marker that both have: "error"; "first", the first source
            where it sees the marker, else the second; or "fuse", the mean weighted by
            the inverse covariances where both see it, else the one that does.
        frames: "equal": both have the same number of frames and begin together;
            "overlap": frames that only one has are cut and counted.
        reference_sd_m: SD of a component at which a weight is one, m.

    Returns:
        The merged markers and where each point comes from.

    Raises:
        ValueError: A marker in both sources; frames, rates or starts that do not agree
            within half a frame; sources that are not in one ground frame or unit; an
            unknown option.

    Source: best linear unbiased estimate of two independent observations. It mends
    SIMSPINE's released merge, which overwrites by order of joints, leaves frames beyond
    the shorter file unmerged, and fails with 17 joints.
    """
    for option, value, allowed in (
        ("on_conflict", on_conflict, CONFLICTS),
        ("frames", frames, FRAMES),
    ):
        if value not in allowed:
            raise ValueError(f"{option} must be one of {allowed}; it is {value!r}")
    if not (np.isfinite(reference_sd_m) and reference_sd_m > 0):
        raise ValueError(
            f"reference_sd_m must be a positive number of metres; it is "
            f"{reference_sd_m}"
        )
    both = [name for name in body.markers.names if name in pseudo.markers.names]
    if both and on_conflict == "error":
        raise ValueError(
            f"{body.name} and {pseudo.name} both have {', '.join(both)}; on_conflict "
            f"must say which counts, one of {CONFLICTS[1:]}"
        )
    own, other = aligned(body, pseudo, frames)
    check_place(body, pseudo, own, other)
    first, second = _points(body, own), _points(pseudo, other)
    extra = [k for k, name in enumerate(pseudo.markers.names) if name not in both]
    names = (*body.markers.names, *(pseudo.markers.names[k] for k in extra))
    apart = second.map(lambda part: part[:, extra])
    merged = _Points(
        *(np.concatenate(pair, axis=1) for pair in zip(first, apart, strict=True))
    )
    known = np.arange(len(names)) < len(body.markers.names)
    origin = np.where(merged.seen, np.where(known, FIRST, SECOND), NONE)
    disagreement = {}
    for name in both:
        k, k2 = names.index(name), pseudo.markers.names.index(name)
        one = first.map(lambda part, k=k: part[:, k])
        two = second.map(lambda part, k=k2: part[:, k])
        joined, origin[:, k] = _joined(one, two, on_conflict == "fuse")
        for part, column in zip(merged, joined, strict=True):
            part[:, k] = column
        disagreement[name] = _disagreement(one, two)
    return Merged(
        _trajectory(merged, names, body.markers, own.start, reference_sd_m),
        np.where(merged.seen[..., None, None], merged.spread, 0.0),
        origin,
        (body.name, pseudo.name),
        on_conflict,
        (
            len(body.markers.points) - len(origin),
            len(pseudo.markers.points) - len(origin),
        ),
        disagreement,
    )


def _points(source: Source, frames: slice) -> _Points:
    points = np.asarray(source.markers.points, float)
    return _Points(points, source.spread(), source.seen).map(lambda p: p[frames])


def _joined(one: _Points, two: _Points, fuse: bool) -> tuple[_Points, np.ndarray]:
    """Joins one marker's points [T, 3] of two sources; returns their origins too."""
    shared = one.seen & two.seen
    points = np.where(one.seen[:, None], one.points, two.points)
    spread = np.where(one.seen[:, None, None], one.spread, two.spread)
    origin = np.where(one.seen, FIRST, np.where(two.seen, SECOND, NONE))
    if fuse:
        # P = A - A (A + B)^-1 A: symmetric, and no inverse of a small covariance.
        gain = np.linalg.solve(one.spread + two.spread, one.spread).swapaxes(1, 2)
        step = np.einsum("tij,tj->ti", gain, two.points - one.points)
        fused = one.spread - gain @ one.spread
        points = np.where(shared[:, None], one.points + step, points)
        spread = np.where(
            shared[:, None, None], (fused + fused.swapaxes(1, 2)) / 2, spread
        )
        origin = np.where(shared, FUSED, origin)
    return _Points(points, spread, one.seen | two.seen), origin


def _disagreement(one: _Points, two: _Points) -> tuple[float, float]:
    shared = one.seen & two.seen
    if not shared.any():
        return float("nan"), float("nan")
    apart = (two.points - one.points)[shared]
    total = (one.spread + two.spread)[shared]
    squared = np.einsum("ti,tij,tj->t", apart, np.linalg.inv(total), apart)
    rms = np.sqrt(np.square(apart).sum(axis=1).mean())
    return float(rms), float(squared.mean() / 3)


def _trajectory(
    merged: _Points,
    names: tuple[str, ...],
    like: MarkerTrajectory,
    start: int,
    reference_sd_m: float,
) -> MarkerTrajectory:
    variance = np.einsum("tkii->tk", merged.spread) / 3
    return MarkerTrajectory(
        points=np.where(merged.seen[..., None], merged.points, 0.0),
        valid=merged.seen,
        names=names,
        rate_hz=like.rate_hz,
        start_s=like.start_s + start / like.rate_hz,
        weight=np.where(merged.seen, reference_sd_m**2 / variance, 0.0),
    )
