"""Who is who: the same person found in several views and followed over time.

Pairs of detections are judged by ``person_pairs`` and merged by ``person_groups``; the
people of each frame are then linked to those before, in 3D, or in a view where that is
all there is.

Source: assignment with tracks in 3D after Chen et al., Cross-View Tracking for
Multi-Human 3D Pose Estimation at over 100 FPS, 2020.
"""

from dataclasses import dataclass

import numpy as np
from flax import struct
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from simspine_jax.cameras import person_groups, person_pairs
from simspine_jax.cameras.person_groups import Groups
from simspine_jax.types import Array, CameraRig


@dataclass(frozen=True)
class AssociationOptions:
    """How people are told apart.

    Attributes:
        limit: Cost, as a share of the people's size in the image (the diagonal of
            the box of their keypoints), from which two detections are two people.
        min_keypoints: A detection, and a pair of them, of fewer is not used.
        min_confidence: Keypoints of less are not used.
        reach_m: How far a person gets from one frame to the next, noise included, m.
        reach: The same in one view, as a share of the person's size there.
        max_gap: Frames for which a person may be lost and still be the same.
        min_frames: People that two views see in fewer frames are left out.

    Raises:
        ValueError: A number out of range.
    """

    limit: float = 0.04
    min_keypoints: int = 3
    min_confidence: float = 0.05
    reach_m: float = 0.4
    reach: float = 0.15
    max_gap: int = 30
    min_frames: int = 3

    def __post_init__(self) -> None:  # noqa: D105
        for name in ("limit", "reach_m", "reach"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be positive; it is {getattr(self, name)}"
                )
        for name in ("min_keypoints", "max_gap", "min_frames"):
            if not getattr(self, name) >= 1:
                raise ValueError(
                    f"{name} must be at least 1; it is {getattr(self, name)}"
                )


@struct.dataclass
class Tracks:
    """N people, the one seen longest, by most views, best and largest first.

    Attributes:
        index: Which detection of a frame and view is the person; -1 where none.
            Shape [T, N, C].
        score: Sum over frames that two views see, and views, of mean confidence
            times size (share of the image's diagonal). Shape [N].
    """

    index: Array
    score: Array


@dataclass
class _Track:
    """A person so far: rows by frame, and what was last seen of them and when."""

    rows: dict[int, np.ndarray]
    score: float
    seen: int  # frames in which two views saw them
    points: np.ndarray
    known: np.ndarray
    at: int  # frame of the points
    pixels: np.ndarray
    good: np.ndarray
    size: np.ndarray
    view_at: np.ndarray  # frame of each view's pixels, [C]

    def apart_m(self, t: int, group: Groups, options: AssociationOptions) -> float:
        """Distance in 3D over what is allowed; infinite where unknown."""
        both = self.known & group.known
        if both.sum() < options.min_keypoints or t - self.at > options.max_gap:
            return np.inf
        far = np.linalg.norm(self.points[both] - group.points[both], axis=-1)
        return float(np.median(far)) / (options.reach_m * (t - self.at) ** 0.5)

    def apart_px(self, t: int, group: Groups, options: AssociationOptions) -> float:
        """Distance in the views over what is allowed; infinite where unknown."""
        fresh = np.less_equal(t - self.view_at, options.max_gap)
        both = self.good & group.good & fresh.reshape(-1, 1)
        worst = -1.0
        for c in np.flatnonzero(both.sum(axis=1) >= options.min_keypoints):
            gap = self.pixels[c, both[c]] - group.pixels[c, both[c]]
            allowed = options.reach * self.size[c] * (t - self.view_at[c]) ** 0.5
            worst = max(worst, np.median(np.linalg.norm(gap, axis=-1)) / allowed)
        return worst if worst >= 0 else np.inf

    def extend(self, t: int, group: Groups) -> None:
        """Adds what a frame shows."""
        views = group.index >= 0
        self.rows[t] = group.index
        if views.sum() >= 2:
            self.seen += 1
            self.score += float(group.quality.sum())
        if group.known.any():
            self.points, self.known, self.at = group.points, group.known, t
        self.pixels = np.where(views[:, None, None], group.pixels, self.pixels)
        self.good = np.where(views[:, None], group.good, self.good)
        self.size = np.where(views, group.size, self.size)
        self.view_at = np.where(views, t, self.view_at)


def associate(
    rig: CameraRig,
    pixels: Float[Array, "t c p k 2"],
    confidence: Float[Array, "t c p k"],
    options: AssociationOptions = AssociationOptions(),
) -> Tracks:
    """Finds people across views and over time; deterministic.

    Args:
        rig: Cameras, in the order of the views.
        pixels: Detections, in any order in each view and frame.
        confidence: 0 where nothing was seen.
        options: See ``AssociationOptions``.

    Raises:
        ValueError: Fewer than two cameras, other cameras than views, or confidences
            that are negative or not numbers.
    """
    _require(rig, confidence)
    given = np.asarray(confidence, float)
    trusted = np.where(given >= options.min_confidence, given, 0.0)
    enough = (trusted > 0).sum(axis=-1) >= options.min_keypoints
    trusted = np.where(enough[..., None], trusted, 0.0)
    places = np.where(trusted[..., None] > 0, np.asarray(pixels, float), 0.0)
    if not enough.any():
        return Tracks(np.zeros((len(given), 0, given.shape[1]), int), np.zeros(0))
    ray, focal = person_pairs.world_rays(rig, places, trusted)
    size = person_pairs.sizes_of(places, trusted)
    cost = person_pairs.costs_of(rig, ray, focal, size, trusted, options.min_keypoints)
    rows = person_groups.groups(cost, trusted, options.limit)
    seen = person_groups.looked_at(rig, places, trusted, ray, rows)
    return _follow(seen, [len(row) for row in rows], options)


def _follow(groups: Groups, count: list[int], options: AssociationOptions) -> Tracks:
    """Links the groups of each frame to the tracks so far: in 3D, then in views."""
    frames, _, cameras = groups.index.shape
    tracks: list[_Track] = []
    for t in range(frames):
        free = [groups.of(t, g) for g in range(count[t])]
        alive = [x for x in tracks if t - x.view_at.max() <= options.max_gap]
        for apart in (_Track.apart_m, _Track.apart_px):
            table = [[apart(x, t, g, options) for g in free] for x in alive]
            shape = (len(alive), len(free))
            value = np.minimum(np.array(table, float).reshape(shape), 1.0)
            pairs = zip(*linear_sum_assignment(value), strict=True)
            pairs = [(i, j) for i, j in pairs if value[i, j] < 1]
            for i, j in pairs:
                alive[i].extend(t, free[j])
            alive = [x for i, x in enumerate(alive) if i not in {i for i, _ in pairs}]
            free = [g for j, g in enumerate(free) if j not in {j for _, j in pairs}]
        for group in free:
            if (group.index >= 0).sum() >= 2:
                never = np.full(cameras, -1 - options.max_gap)
                last = (group.pixels, group.good, group.size, never)
                tracks.append(_Track({}, 0.0, 0, group.points, group.known, t, *last))
                tracks[-1].extend(t, group)
    kept = [x for x in tracks if x.seen >= min(options.min_frames, frames)]
    kept.sort(key=lambda x: -x.score)  # stable: of equals the first comes first
    index = np.full((frames, len(kept), cameras), -1)
    for n, track in enumerate(kept):
        for t, row in track.rows.items():
            index[t, n] = row
    return Tracks(index, np.array([x.score for x in kept]))


def _require(rig: CameraRig, confidence: Array) -> None:
    cameras, views = len(rig.names), np.shape(confidence)[1]
    if cameras < 2:
        raise ValueError(
            f"people are told apart by at least two cameras; the rig has {cameras}"
        )
    if views != cameras:
        raise ValueError(
            f"the detections have {views} views, but the rig {cameras} cameras "
            f"({', '.join(rig.names)})"
        )
    if not (np.asarray(confidence) >= 0).all():
        raise ValueError("some confidence is negative or not a number")
