"""Who is who: the same person found in several views and followed over time.

Notation: detection i is a person as one view shows them, in one frame. Two views a, b
with centres o_a, o_b see a keypoint along world rays n_a, n_b; with ``b = o_b - o_a``
the rays meet if ``e = n_b . (b x n_a)`` is 0. The distance used is Sampson's: how far
(px) both pixels must move together for the rays to meet, to first order. The cost of a
pair of detections is the mean of that over their keypoints as a share of their size in
the image, so that near and far people are judged alike.

Source: Sampson distance, Hartley and Zisserman, Multiple View Geometry, 2003, section
11.4.3; assignment with tracks in 3D after Chen et al., Cross-View Tracking for
Multi-Human 3D Pose Estimation at over 100 FPS, 2020. Here other views support a pair,
and groups are merged cheapest link first.
"""

from dataclasses import dataclass, fields
from itertools import combinations

import jax
import numpy as np
from flax import struct
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from simspine_jax.cameras import pinhole
from simspine_jax.types import Array, CameraRig

_WORST = 0.2  # a keypoint that misses by more, of the size, counts as this
_BEHIND = 1e-3  # sine products from which rays surely meet behind a camera
_SAME_M = 1e-6  # cameras nearer each other stand in the same place
_FLAT = 1e-16  # squared normalised units per px, far below any camera's
_LANES = 8192  # keypoints that are undistorted at a time
_BLOCK = 2048  # frames whose pairs are in memory at a time


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


@dataclass(frozen=True)
class _Groups:
    """People of some frames or of one, the latter without the first axis.

    Attributes:
        index: Detection of each view. Shape [T, G, C].
        points: Keypoints, m. Shape [T, G, K, 3].
        known: Which of these two views see. Shape [T, G, K].
        pixels: Shape [T, G, C, K, 2].
        good: Which of these were seen. Shape [T, G, C, K].
        size: In the views, px. Shape [T, G, C].
        quality: Mean confidence times size. Shape [T, G, C].
    """

    index: np.ndarray
    points: np.ndarray
    known: np.ndarray
    pixels: np.ndarray
    good: np.ndarray
    size: np.ndarray
    quality: np.ndarray

    def of(self, *which: int) -> "_Groups":
        return _Groups(*(getattr(self, f.name)[which] for f in fields(self)))


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

    def apart_m(self, t: int, group: _Groups, options: AssociationOptions) -> float:
        """Distance in 3D over what is allowed; infinite where unknown."""
        both = self.known & group.known
        if both.sum() < options.min_keypoints or t - self.at > options.max_gap:
            return np.inf
        far = np.linalg.norm(self.points[both] - group.points[both], axis=-1)
        return float(np.median(far)) / (options.reach_m * (t - self.at) ** 0.5)

    def apart_px(self, t: int, group: _Groups, options: AssociationOptions) -> float:
        """Distance in the views over what is allowed; infinite where unknown."""
        fresh = np.less_equal(t - self.view_at, options.max_gap)
        both = self.good & group.good & fresh.reshape(-1, 1)
        worst = -1.0
        for c in np.flatnonzero(both.sum(axis=1) >= options.min_keypoints):
            gap = self.pixels[c, both[c]] - group.pixels[c, both[c]]
            allowed = options.reach * self.size[c] * (t - self.view_at[c]) ** 0.5
            worst = max(worst, np.median(np.linalg.norm(gap, axis=-1)) / allowed)
        return worst if worst >= 0 else np.inf

    def extend(self, t: int, group: _Groups) -> None:
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


_undistort = jax.jit(pinhole.undistort)


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
    ray, focal = _world_rays(rig, places, trusted)
    cost = _costs(rig, ray, focal, _sizes(places, trusted), trusted, options)
    rows = groups(cost, trusted, options)
    seen = _looked_at(rig, places, trusted, ray, rows)
    return _follow(seen, [len(row) for row in rows], options)


def pair_costs(
    rig: CameraRig,
    pixels: Float[Array, "t c p k 2"],
    confidence: Float[Array, "t c p k"],
    options: AssociationOptions = AssociationOptions(),
) -> Float[np.ndarray, "t c p c p"]:
    """Returns how badly any two detections of a frame fit one person.

    Confidence-weighted mean of the distance, of which more than ``_WORST`` counts as
    that, over common keypoints, as a share of the mean size of the two. Keypoints
    whose rays meet behind a camera are wrong. Infinite within a view, and where too
    few keypoints are common or two cameras stand in the same place.
    """
    given, places = np.asarray(confidence, float), np.asarray(pixels, float)
    ray, focal = _world_rays(rig, places, given)
    return _costs(rig, ray, focal, _sizes(places, given), given, options)


def _costs(
    rig: CameraRig,
    ray: np.ndarray,
    focal: np.ndarray,
    size: np.ndarray,
    confidence: np.ndarray,
    options: AssociationOptions,
) -> np.ndarray:
    """Returns ``pair_costs`` of rays [T, C, P, K, 3]."""
    frames, cameras, people, _ = confidence.shape
    weight, turn = np.sqrt(confidence), np.asarray(rig.rotation, float)
    centre = _centres(rig)
    cost = np.full((frames, cameras, people, cameras, people), np.inf)
    for first in range(0, frames, _BLOCK):
        part = slice(first, first + _BLOCK)
        for a, b in combinations(range(cameras), 2):
            step = centre[b] - centre[a]
            if np.linalg.norm(step) < _SAME_M:
                continue
            miss = _distance_px(
                (ray[part, a], focal[part, a], turn[a]),
                (ray[part, b], focal[part, b], turn[b]),
                step,
            )
            sizes = 0.5 * (size[part, a, :, None] + size[part, b, None])
            share = miss / np.where(sizes > 0, sizes, 1.0)[..., None]
            behind = _behind(ray[part, a], ray[part, b], step)
            share = np.where(behind, _WORST, np.minimum(share, _WORST))
            both = weight[part, a, :, None] * weight[part, b, None]
            common = (both > 0).sum(axis=-1) >= options.min_keypoints
            total = np.where(common, both.sum(axis=-1), 1.0)
            mean = np.where(common, (both * share).sum(axis=-1) / total, np.inf)
            cost[part, a, :, b] = mean
            cost[part, b, :, a] = np.swapaxes(mean, 1, 2)
    return cost


def groups(
    cost: Float[np.ndarray, "t c p c p"],
    confidence: Float[Array, "t c p k"],
    options: AssociationOptions = AssociationOptions(),
) -> list[Int[np.ndarray, "g c"]]:
    """Returns the people of each frame: a detection of each view, -1 where none.

    People seen by one view only are among them. A pair is ranked by its cost and by
    how well other views support it: two people in one plane with both cameras are
    told apart by a third.
    """
    frames, cameras, people = cost.shape[:3]
    count = cameras * people
    flat = cost.reshape(frames, count, count)
    capped = np.minimum(flat, options.limit)
    ranked = capped.copy()
    for c in range(cameras):
        mine = capped[:, :, c * people : (c + 1) * people]  # [T, D, P]
        support = np.full_like(capped, options.limit)
        for k in range(people):
            through = np.maximum(mine[:, :, None, k], mine[:, None, :, k])
            support = np.minimum(support, through)
        ranked += support / cameras
    seen = np.any(np.asarray(confidence) > 0, axis=-1)
    return [_merged(flat[t], ranked[t], seen[t], options.limit) for t in range(frames)]


def _merged(
    cost: np.ndarray, ranked: np.ndarray, seen: np.ndarray, limit: float
) -> np.ndarray:
    """Merges the detections of a frame, cheapest link first. [G, C]."""
    cameras, people = seen.shape
    links = []
    for a, b in combinations(range(cameras), 2):
        of_a, of_b = (c * people + np.flatnonzero(seen[c]) for c in (a, b))
        part = np.ix_(of_a, of_b)
        # A pair that is not linked costs the most that a link may: 2 limits.
        value = np.where(cost[part] < limit, ranked[part], 2 * limit)
        for i, j in zip(*linear_sum_assignment(value), strict=True):
            if cost[of_a[i], of_b[j]] < limit:
                links.append((value[i, j], int(of_a[i]), int(of_b[j])))
    group = {int(i): [int(i)] for i in np.flatnonzero(seen.ravel())}
    for _, i, j in sorted(links):
        one, two = group[i], group[j]
        if one is two or {d // people for d in one} & {d // people for d in two}:
            continue
        if cost[np.ix_(one, two)].clip(max=_WORST).mean() < limit:
            one.extend(two)
            group.update(dict.fromkeys(two, one))
    found = list({id(members): members for members in group.values()}.values())
    rows = np.full((len(found), cameras), -1)
    for row, members in zip(rows, found, strict=True):
        for d in members:
            row[d // people] = d % people
    return rows


def _looked_at(
    rig: CameraRig,
    pixels: np.ndarray,
    confidence: np.ndarray,
    ray: np.ndarray,
    rows: list[np.ndarray],
) -> _Groups:
    """Returns the groups with all that following them takes; G is the most."""
    frames, cameras = confidence.shape[:2]
    most = max((len(row) for row in rows), default=0)
    index = np.full((frames, most, cameras), -1)
    for t, row in enumerate(rows):
        index[t, : len(row)] = row
    frame, view = np.arange(frames)[:, None, None], np.arange(cameras)
    weight = np.where(index[..., None] >= 0, confidence[frame, view, index], 0.0)
    seen = pixels[frame, view, index]
    size = _sizes(seen, weight)
    diagonal = np.linalg.norm(np.asarray(rig.image_size, float), axis=-1)
    points, known = _meeting(rig, ray[frame, view, index], weight)
    quality = weight.mean(axis=-1) * size / diagonal
    return _Groups(index, points, known, seen, weight > 0, size, quality)


def _follow(groups: _Groups, count: list[int], options: AssociationOptions) -> Tracks:
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


def _distance_px(
    one: tuple[np.ndarray, ...], two: tuple[np.ndarray, ...], step: np.ndarray
) -> np.ndarray:
    """Sampson's distance of rays of shape [T, P, K, 3] of two views. [T, P, P, K]."""
    (ray_a, focal_a, turn_a), (ray_b, focal_b, turn_b) = one, two
    plane_a, plane_b = np.cross(step, ray_a), np.cross(ray_b, step)
    miss = np.einsum("tpki,tqki->tpqk", plane_a, ray_b)
    # Rays have z = 1 in their camera, so that they change with x and y alone.
    slope_a = ((plane_b @ turn_a[:2].T) ** 2).sum(axis=-1)[:, None]
    slope_b = ((plane_a @ turn_b[:2].T) ** 2).sum(axis=-1)[:, :, None]
    square = slope_a / focal_a[:, :, None] ** 2 + slope_b / focal_b[:, None] ** 2
    return np.abs(miss) / np.sqrt(np.maximum(square, 1e-18))


def _behind(ray_a: np.ndarray, ray_b: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Whether rays surely come nearest behind one of the cameras. [T, P, P, K]."""
    step = step / np.linalg.norm(step)
    unit = lambda a: a / np.linalg.norm(a, axis=-1, keepdims=True)
    ray_a, ray_b = unit(ray_a), unit(ray_b)
    turn = np.einsum("tpki,tqki->tpqk", ray_a, ray_b)
    ahead_a, ahead_b = (ray_a @ step)[:, :, None], (ray_b @ step)[:, None]
    depth_a, depth_b = ahead_a - ahead_b * turn, ahead_a * turn - ahead_b
    return np.minimum(depth_a, depth_b) < -_BEHIND


def _world_rays(
    rig: CameraRig, pixels: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """World directions with z = 1 in the camera, [T, C, P, K, 3]; px per unit."""
    frames, cameras, people, keypoints = confidence.shape
    middle = np.asarray(rig.matrix, float)[:, None, None, :2, 2]
    safe = np.where(confidence[..., None] > 0, pixels, middle)
    flat = np.moveaxis(safe, 1, 0).reshape(cameras, -1, 2)
    count = flat.shape[1]
    # Blocks of one shape, so that any number of frames and people is compiled once.
    flat = np.pad(flat, ((0, 0), (0, -count % _LANES), (0, 0)), mode="edge")
    # The slopes of the lens by pixels next to these: fisheyes shrink what is far out.
    shifts = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[:, None, None]
    blocks = np.split(flat, flat.shape[1] // _LANES, axis=1)
    found = [jax.device_get(_undistort(rig, block + shifts)) for block in blocks]
    local, right, down = np.concatenate(found, axis=2)[:, :, :count]
    (a, c), (b, d) = np.moveaxis(right - local, -1, 0), np.moveaxis(down - local, -1, 0)
    focal = 1 / np.sqrt(np.maximum(np.abs(a * d - b * c), _FLAT))
    local = np.concatenate([local, np.ones_like(local[..., :1])], axis=-1)
    world = np.einsum("cli,cij->clj", local, np.asarray(rig.rotation, float))
    shape = (cameras, frames, people, keypoints)
    by_frame = lambda a: np.moveaxis(a, 0, 1)
    return by_frame(world.reshape(*shape, 3)), by_frame(focal.reshape(shape))


def _centres(rig: CameraRig) -> np.ndarray:
    turn, slide = np.asarray(rig.rotation, float), np.asarray(rig.translation, float)
    return -np.einsum("cji,cj->ci", turn, slide)


def _sizes(pixels: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Diagonal of the box of the keypoints seen, px; 0 where none is."""
    seen = (confidence > 0)[..., None]
    low = np.where(seen, pixels, np.inf).min(axis=-2)
    high = np.where(seen, pixels, -np.inf).max(axis=-2)
    return np.where(seen.any(axis=(-2, -1)), np.linalg.norm(high - low, axis=-1), 0.0)


def _meeting(
    rig: CameraRig, ray: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where rays [T, G, C, K] nearly meet, and which of them two views see."""
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    weight = confidence[..., None, None]
    apart = weight * (np.eye(3) - ray[..., :, None] * ray[..., None, :])
    right = np.einsum("tgckij,cj->tgki", apart, _centres(rig))
    known = (confidence > 0).sum(axis=2) >= 2
    matrix = np.where(known[..., None, None], apart.sum(axis=2), np.eye(3))
    # Rays that are parallel have no such place; the pull keeps it finite.
    matrix = matrix + 1e-9 * np.eye(3)
    points = np.linalg.solve(matrix, right[..., None])[..., 0]
    return np.where(known[..., None], points, 0.0), known


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
