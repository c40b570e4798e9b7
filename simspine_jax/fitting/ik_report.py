"""What a fit is worth: errors, their origin, and what the markers cannot tell.

Notation: the residual of a marker is its observed minus its fitted position. Seen
from the marker's body it splits into its mean over the frames (a marker placed
wrongly on the model, or a segment of wrong size) and what fluctuates about it.
"""

from dataclasses import dataclass

import numpy as np

from simspine_jax.body.kinematics import BodyPoses
from simspine_jax.fitting import (
    identifiability,
    ik_prepare,
    limbs,
    open_directions,
    replay,
)
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.types import MarkerTrajectory

NOISE_M = 0.005  # marker noise that the predicted SDs assume
_SAMPLED_FRAMES = 64  # identifiability is judged on so many
_AT_BOUND = 1e-6  # rad or m


@dataclass(frozen=True, eq=False)
class IkReport:
    """Diagnosis of a fit: T frames, M markers used, N coordinates.

    Attributes:
        marker_names: M names.
        marker_bodies: Body of each marker.
        coordinate_names: N names.
        marker_frames: Frames in which each marker was used. Shape [M].
        marker_rms_m: Root mean square distance, 0 where never seen. Shape [M].
        marker_mean_m: Mean distance. Shape [M].
        marker_max_m: Largest distance. Shape [M].
        frame_rms_m: Root mean square distance of each frame. Shape [T].
        frame_max_m: Largest distance of each frame. Shape [T].
        frame_seen: Whether the frame had any marker. Shape [T].
        error_share: Share of each marker in the summed weighted squared error; 0
            where there is no error. Shape [M].
        offset_m: Mean residual in the axes of the marker's body. Shape [M, 3].
        offset_share: Share of each marker's squared error that this mean
            explains. Shape [M].
        at_lower: Share of frames at the lower limit. Shape [N].
        at_upper: Share of frames at the upper limit. Shape [N].
        beyond_range: Share of frames outside the range that the model writes for a
            coordinate but does not enforce. Shape [N].
        coordinate_sd: Median predicted SD under ``NOISE_M`` of marker noise, rad or
            m, inf where the markers do not tell; coupled ones follow. Shape [N].
        undetermined: Free coordinates that markers move but do not determine.
        unmoved: Free coordinates that move no marker used.
        open_directions: What the markers leave open, a sentence each.
        prior_ratio: Task curvature over marker information by coordinate.
    """

    marker_names: tuple[str, ...]
    marker_bodies: tuple[str, ...]
    coordinate_names: tuple[str, ...]
    marker_frames: np.ndarray
    marker_rms_m: np.ndarray
    marker_mean_m: np.ndarray
    marker_max_m: np.ndarray
    frame_rms_m: np.ndarray
    frame_max_m: np.ndarray
    frame_seen: np.ndarray
    error_share: np.ndarray
    offset_m: np.ndarray
    offset_share: np.ndarray
    at_lower: np.ndarray
    at_upper: np.ndarray
    beyond_range: np.ndarray
    coordinate_sd: np.ndarray
    undetermined: tuple[str, ...]
    unmoved: tuple[str, ...]
    open_directions: tuple[str, ...]
    prior_ratio: dict[str, float]

    @property
    def worst(self) -> np.ndarray:
        """Indices of the markers by falling share of the error. Shape [M]."""
        return np.argsort(-self.error_share, kind="stable")

    @property
    def offset_share_of_all(self) -> float:
        """Share of the whole weighted squared error that mean offsets explain."""
        return float(self.error_share @ self.offset_share)

    @property
    def rms_m(self) -> float:
        """Root mean square distance over all observations, m."""
        squares = (self.marker_frames * self.marker_rms_m**2).sum()
        return float(np.sqrt(squares / max(self.marker_frames.sum(), 1)))

    def segment_shares(self) -> dict[str, float]:
        """Returns the share of the error by body, falling."""
        shares = dict.fromkeys(self.marker_bodies, 0.0)
        for body, share in zip(self.marker_bodies, self.error_share, strict=True):
            shares[body] += float(share)
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def make_report(
    plan: Plan,
    trajectory: MarkerTrajectory,
    q: np.ndarray,
    prior_ratio: dict[str, float] | None = None,
    poses: BodyPoses | None = None,
) -> IkReport:
    """Diagnoses a fitted motion.

    Args:
        plan: What was fitted, from ``ik.make_plan``.
        trajectory: The markers that were fitted, m.
        q: Fitted coordinates, rad and m. Shape [T, N].
        prior_ratio: ``IkSolution.prior_ratio``.
        poses: Body poses at ``q`` if they are known already.

    Returns:
        The report.
    """
    data = ik_prepare.observations(plan, trajectory)
    poses = replay.body_poses(plan.model, q) if poses is None else poses
    weight, seen = np.asarray(data.weight), np.asarray(data.weight) > 0
    residual = np.where(
        seen[..., None],
        np.asarray(data.points) - replay.marker_points(plan.model, poses),
        0.0,
    )  # [T, M, 3]
    distance = np.sqrt((residual**2).sum(-1))  # [T, M]
    frames = seen.sum(0)
    some = np.maximum(frames, 1)
    offset, constant = _mean_offset(plan, poses, residual, weight)
    squared = (weight * distance**2).sum(0)  # [M]
    filled = np.asarray(seen.any(1))
    few = _sampled(filled)
    sd, undetermined, unmoved = _determined(plan, q[few], seen[few])
    lower, upper, beyond = _at_bounds(plan, q[filled])
    model = plan.model
    return IkReport(
        marker_names=plan.marker_names,
        marker_bodies=tuple(
            "ground" if b < 0 else model.body_names[b]
            for b in model.topology.marker_bodies
        ),
        coordinate_names=model.coordinate_names,
        marker_frames=frames,
        marker_rms_m=np.sqrt((distance**2).sum(0) / some),
        marker_mean_m=distance.sum(0) / some,
        marker_max_m=distance.max(0, initial=0.0),
        frame_rms_m=np.sqrt((distance**2).sum(1) / np.maximum(seen.sum(1), 1)),
        frame_max_m=distance.max(1, initial=0.0),
        frame_seen=filled,
        error_share=squared / (squared.sum() or 1.0),
        offset_m=offset,
        offset_share=constant / np.where(squared > 0, squared, 1.0),
        at_lower=lower,
        at_upper=upper,
        beyond_range=beyond,
        coordinate_sd=sd,
        undetermined=undetermined,
        unmoved=unmoved,
        open_directions=open_directions.sentences(plan, q[few], seen[few]),
        prior_ratio=dict(prior_ratio or {}),
    )


def _mean_offset(
    plan: Plan, poses: BodyPoses, residual: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean residual in the body's axes [M, 3], its weighted squared error [M]."""
    bodies = np.asarray(plan.model.topology.marker_bodies, int)
    rotation = np.asarray(poses.rotation)[:, bodies]  # [T, M, 3, 3]
    local = np.einsum("tmji,tmj->tmi", rotation, residual)
    local = np.where((bodies < 0)[:, None], residual, local)
    total = weight.sum(0)  # [M]
    mean = (weight[..., None] * local).sum(0) / np.where(total > 0, total, 1.0)[:, None]
    return mean, total * (mean**2).sum(-1)


def _at_bounds(plan: Plan, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of frames at the lower and upper limit and beyond the range. [N]."""
    unknown = np.isin(np.arange(q.shape[1]), plan.unknowns)
    count = max(len(q), 1)
    low = (q <= np.asarray(plan.model.lower) + _AT_BOUND) & unknown
    high = (q >= np.asarray(plan.model.upper) - _AT_BOUND) & unknown
    first, last = np.asarray(plan.model.range).T
    beyond = ((q < first - _AT_BOUND) | (q > last + _AT_BOUND)) & unknown
    return low.sum(0) / count, high.sum(0) / count, beyond.sum(0) / count


def _sampled(filled: np.ndarray) -> np.ndarray:
    """Returns frames that stand for all that have a marker."""
    frames = np.flatnonzero(filled)
    picks = np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLED_FRAMES))
    return frames[picks.round().astype(int)]


def _determined(
    plan: Plan, q: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """SD of all coordinates [N], names not determined, names that move nothing."""
    model = plan.model
    moving = limbs.movable_columns(model.topology)
    unmoved = [c for i, c in enumerate(model.topology.free) if i not in moving]
    names = lambda indices: tuple(model.coordinate_names[c] for c in indices)
    if not len(q):
        return np.full(q.shape[1], np.inf), (), names(unmoved)
    sd = identifiability.coordinate_sd(plan, q, seen, NOISE_M)
    told = identifiability.determined(plan, sd).mean(0) >= 0.5  # [N]
    vague = [c for c in model.topology.free if not told[c] and c not in unmoved]
    return np.median(sd, axis=0), names(vague), names(unmoved)
