"""The spine that was observed and the one that inverse kinematics simulated, blended.

The simulated spine is moved rigidly on to the anchors (``spine_alignment``): its
lengths and curvature stay. Points are then mixed, each by a share of the simulated
one. Anchors stay exactly where they were observed, equal inputs give themselves back,
and nothing is smoothed along the spine, which would flatten it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.fitting import simspine_2026, spine_alignment
from simspine_jax.fitting.spine_alignment import Alignment
from simspine_jax.fitting.spine_blend_options import (
    CHAIN,
    SHARES,
    BlendOptions,
    check,
    check_compat,
)
from simspine_jax.fitting.trajectory_filters import FilterOptions, filter_trajectory
from simspine_jax.types import Array, MarkerTrajectory

# What ``Blended.source`` counts through; "built" is a published rule's.
SOURCES = ("missing", "observed", "simulated", "blended", "built")
FILTER = FilterOptions(cutoff_hz=5.0)
_MISSING, _OBSERVED, _SIMULATED, _BLENDED, _BUILT = range(len(SOURCES))


@dataclass(frozen=True)
class Blended:
    """A spine blended from two, T frames and K markers.

    Attributes:
        markers: Those observed, in their order.
        source: Index into ``SOURCES`` of each point. Shape [T, K].
        share: Of the simulated marker in the point; 0 where missing or built. With
            covariances, a third of the trace of its gain. Shape [T, K].
        alignment: How the simulated spine was moved; None for the published step.
    """

    markers: MarkerTrajectory
    source: np.ndarray
    share: np.ndarray
    alignment: Alignment | None

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns how many frames of each marker come from each of the sources."""
        return {
            name: {
                source: int((self.source[:, k] == code).sum())
                for code, source in enumerate(SOURCES)
            }
            for k, name in enumerate(self.markers.names)
        }


def blend_spine(
    observed: MarkerTrajectory,
    simulated: MarkerTrajectory,
    options: BlendOptions | None = None,
    covariances: tuple[Float[np.ndarray, "t k 3 3"], Float[np.ndarray, "t m 3 3"]]
    | None = None,
) -> Blended:
    """Blends the spine that was observed with the simulated one.

    A point that only one of both has is taken from that one; weights of markers are
    handed on, not used.

    Args:
        observed: Markers, m; all of the simulation's frames.
        simulated: Markers of the fitted model, m, in the same ground frame.
        options: None for the defaults.
        covariances: Of the observed and the simulated points, m^2, positive definite
            where seen. They replace every share between 0 and 1 by the inverse
            covariance weighting of errors that do not depend on each other, which the
            errors of a fit to the observed points only roughly are.

    Raises:
        ValueError: Trajectories of different frames, rates or starts, a marker that an
            option names and a trajectory lacks, or covariances of another shape.

    Source: the task is SIMSPINE's (arXiv 2602.20792), the method ours.
    """
    options = options or BlendOptions()
    if options.compat:
        if covariances is not None:
            raise ValueError(f"blend: compat={options.compat!r} uses no covariances")
        return _published(observed, simulated)
    check(observed, simulated, options)
    names = observed.names
    index = lambda some: np.array([names.index(n) for n in some if n in names], int)
    own = np.asarray(observed.valid, bool)
    points = np.where(own[..., None], np.asarray(observed.points, float), 0.0)
    other, given = _in_order(simulated, simulated.points, names)
    other = np.where(given[..., None], other, 0.0)
    both = own & given

    anchors = index(n for n in CHAIN if n in options.anchors)
    move = spine_alignment.align(
        points, other, both, anchors, index(options.guides), options.scaled
    )
    follows = np.isin(names, options.followers)
    other = np.where(follows[:, None], move.points(other), other)

    share = np.array([{**SHARES, **options.shares}.get(n, 0.0) for n in names])
    share[anchors] = 0.0
    share = np.where(both, share, np.where(given & options.filled, 1.0, 0.0))
    mixed = (share > 0) & (share < 1)
    step = share[..., None] * (other - points)
    if covariances is not None:
        gain = _gain(observed, simulated, covariances, move, follows, mixed)
        by_gain = (gain @ (other - points)[..., None])[..., 0]
        step = np.where(mixed[..., None], by_gain, step)
        share = np.where(mixed, np.einsum("tkii->tk", gain) / 3, share)
    points = points + step
    taken = np.where(share > 0, _SIMULATED, _OBSERVED)
    source = np.where(own | (share > 0), np.where(mixed, _BLENDED, taken), _MISSING)
    valid = source != _MISSING
    markers = observed.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=np.where(valid[..., None], points, 0.0).astype(
            np.asarray(observed.points).dtype
        ),
        valid=valid,
        weight=_weight(observed, simulated, source),
    )
    return Blended(markers, source, share, move)


def filter_blended(
    trajectory: MarkerTrajectory,
    options: FilterOptions = FILTER,
    compat: str | None = None,
) -> MarkerTrajectory:
    """Smooths blended markers along time.

    Args:
        trajectory: Markers, m.
        options: By default a cutoff of 5 Hz, where both passes together reach -3 dB.
        compat: "simspine-2026" for the published step, which takes the cutoff from
            the options and reaches -3 dB below it; or None.

    Raises:
        ValueError: An unknown ``compat``, or as ``filter_trajectory``.
    """
    check_compat(compat)
    if compat:
        return simspine_2026.published_filter(trajectory, options.cutoff_hz)
    return filter_trajectory(trajectory, None, options)


def _published(observed: MarkerTrajectory, simulated: MarkerTrajectory) -> Blended:
    markers, merged = simspine_2026.published_blend(observed, simulated)
    code = {
        **dict.fromkeys(CHAIN, _BLENDED),
        **dict.fromkeys(simspine_2026.REPLACED, _SIMULATED),
    }
    if set(simspine_2026.BUILT.values()) <= set(observed.names):
        code |= dict.fromkeys(simspine_2026.BUILT, _BUILT)
    by_marker = np.array([code.get(name, _OBSERVED) for name in observed.names])
    source = np.where(merged[:, None], by_marker, _OBSERVED)
    source = np.where(np.asarray(markers.valid), source, _MISSING)
    share = np.array([0.0, 0.0, 1.0, simspine_2026.SHARE, 0.0])[source]
    return Blended(markers, source, share, None)


def _in_order(
    simulated: MarkerTrajectory, values: Array, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values of named markers, and where these are valid."""
    known = [n in simulated.names for n in names]
    at = [simulated.names.index(n) if n in simulated.names else 0 for n in names]
    return np.asarray(values, float)[:, at], np.asarray(simulated.valid)[:, at] & known


def _gain(
    observed: MarkerTrajectory,
    simulated: MarkerTrajectory,
    covariances: tuple[np.ndarray, np.ndarray],
    move: Alignment,
    follows: np.ndarray,
    mixed: np.ndarray,
) -> np.ndarray:
    """Returns C (C + D)^-1 of the covariances C observed and D simulated."""
    for which, trajectory, covariance in zip(
        ("observed", "simulated"), (observed, simulated), covariances, strict=True
    ):
        if covariance.shape != (*trajectory.points.shape, 3):
            raise ValueError(
                f"blend: covariances of shape {covariance.shape} do not fit the "
                f"{which} points of shape {trajectory.points.shape}"
            )
    own = np.asarray(covariances[0], float)
    other, _ = _in_order(simulated, covariances[1], observed.names)
    other = np.where(follows[:, None, None], move.covariances(other), other)
    total = np.where(mixed[..., None, None], own + other, np.eye(3))
    # Both are symmetric, so that the transposed solution is the gain.
    return np.swapaxes(np.linalg.solve(total, own), -1, -2)


def _weight(
    observed: MarkerTrajectory, simulated: MarkerTrajectory, source: np.ndarray
) -> np.ndarray | None:
    if observed.weight is None:
        return None
    if simulated.weight is None:
        other = np.ones(source.shape)
    else:
        other, _ = _in_order(simulated, simulated.weight, observed.names)
    return np.where(source == _SIMULATED, other, np.asarray(observed.weight))
