"""Left and right keypoints that a detector exchanged: found, reported, put back.

Notation: ``x[t, c] = 1`` if view c has left and right exchanged in frame t, for all
pairs at once and then for each chain of them (legs, arms, face; any other pair is a
chain of its own). Two views fit as they are if the left keypoint of one lies on the
epipolar line of the left of the other, and right on right. ``D_ab`` is by how much
that fits better than left on right: the difference of Sampson's distances, each in
units of the typical one and at most ``_CAP``, summed over the pairs of the chain.
``F_c`` is by how much the keypoints in view c are nearer those last seen there than
to the other side's, in units of a usual step. The x of least

    sum_t ( sum_{a<b} D_ab [x_a != x_b] + sum_c F_c [x_c changes] + _CLEAR n_c x_c )

over all frames is found by dynamic programming; n_c are the pairs seen. Views thus
decide where they disagree, and time where they tie or all are exchanged.

Rule: keypoints are exchanged only if that lowers the sum by more than ``_CLEAR`` for
each pair exchanged, so that sides that coincide in the image, or on the epipolar
lines of all views, are left as they are. So are all views exchanged at once for more
than a few frames, which time alone does not outweigh. Where the sides of a chain are
less than ``_APART`` typical distances apart in the image, nothing is exchanged.
"""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from flax import struct

from simspine_jax.cameras import person_pairs
from simspine_jax.cameras.triangulation import require
from simspine_jax.cameras.view_offsets import sampson_px
from simspine_jax.types import CameraRig, Detections2D

Pairs = Sequence[tuple[str, str]]

_CHAINS = (
    re.compile("hip|knee|ankle|toe|heel|foot", re.IGNORECASE),
    re.compile("shoulder|elbow|wrist|hand", re.IGNORECASE),
    re.compile("eye|ear", re.IGNORECASE),
)
_CLEAR = 4.0  # gain that the exchange of one pair must be worth
_CAP = 8.0  # of the typical distance, from which all are equally wrong
_APART = 4.0  # typical distances between sides that can be told apart
_NEVER = 1e9  # price of an exchange that is not wanted
_TIME = 0.5  # weight of continuity, which crossing limbs mislead
_GAP = 5  # frames for which a keypoint last seen counts
_LEAST_PX = 1.0  # typical distances and steps are taken for no less
_SAME_M = 1e-6  # cameras nearer each other stand in the same place
_MOST_VIEWS = 12  # whose patterns are compared


@struct.dataclass
class Swaps:
    """Which keypoints are exchanged.

    Attributes:
        swapped: Whether left and right of a pair are. Shape [T, C, P].
        count: Pairs exchanged in each view, over all frames. Shape [C].
        frames: Frames of each view in which some pair is. Shape [C].
        pairs: Names of left and right of the P pairs.
        names: C camera names.
    """

    swapped: np.ndarray
    count: np.ndarray
    frames: np.ndarray
    pairs: tuple[tuple[str, str], ...] = struct.field(pytree_node=False)
    names: tuple[str, ...] = struct.field(pytree_node=False)

    def __str__(self) -> str:
        """Returns one line."""
        rows = zip(self.names, self.count, self.frames, strict=True)
        each = "; ".join(f"{name}: {n} in {t} frames" for name, n, t in rows)
        return (
            f"left and right exchanged in {int(self.count.sum())} pairs of keypoints, "
            f"of {self.swapped.size} in {len(self.swapped)} frames ({each})"
        )


def find_swaps(rig: CameraRig, detections: Detections2D, pairs: Pairs) -> Swaps:
    """Finds left and right exchanged in single views; changes nothing.

    Args:
        rig: Cameras, in the order of the views.
        detections: One person in all views.
        pairs: Names of left and right keypoints.

    Raises:
        ValueError: A name that no keypoint has, more than 12 views, or as
            ``triangulation.triangulate``.
    """
    require(rig, detections)
    if len(rig.names) > _MOST_VIEWS:
        raise ValueError(
            f"exchanged sides are found in at most {_MOST_VIEWS} views; there are "
            f"{len(rig.names)}"
        )
    index = _indices(detections, pairs)
    sides = _Sides(rig, detections, index)
    swapped = np.zeros((*sides.there.shape[:2], len(index)), bool)
    # First the whole body, on all evidence, then what each chain says against it.
    for chains in ([np.arange(len(index))], _chains(pairs)):
        views, motion = sides.between_views(), sides.over_time()
        for chain in chains if len(index) else []:
            here = sides.there[..., chain].any(axis=2).sum(axis=-1)
            price = np.where(sides.coincide(chain), _NEVER, _CLEAR * here)
            change = {ab: gain[:, chain].sum(axis=1) for ab, gain in views.items()}
            found = _decided(change, motion[..., chain].sum(axis=-1), price)
            found = found[..., None] & sides.there[..., chain].any(axis=2)
            swapped[..., chain] ^= found
            sides.exchange(chain, found)
    return Swaps(
        swapped=swapped,
        count=swapped.sum(axis=(0, 2)),
        frames=swapped.any(axis=2).sum(axis=0),
        pairs=tuple((left, right) for left, right in pairs),
        names=tuple(rig.names),
    )


def repaired(detections: Detections2D, swaps: Swaps, pairs: Pairs) -> Detections2D:
    """Returns detections with what was found exchanged put back.

    Args:
        detections: Those in which the swaps were found.
        swaps: As ``find_swaps`` gives them.
        pairs: The same as it was given.

    Raises:
        ValueError: Other pairs, frames or views than the swaps have, or a name that
            no keypoint has.
    """
    given = tuple((left, right) for left, right in pairs)
    points, confidence = np.array(detections.points), np.array(detections.confidence)
    shape = (*confidence.shape[:2], len(given))
    if given != swaps.pairs or shape != swaps.swapped.shape:
        raise ValueError(
            f"the swaps are of {len(swaps.pairs)} pairs and shape "
            f"{swaps.swapped.shape}, not of these {len(given)} pairs and shape {shape}"
        )
    index = _indices(detections, pairs)
    if len(index):
        sides, other = index.T.ravel(), index.T[::-1].ravel()
        both = np.concatenate([swaps.swapped] * 2, axis=2)
        points[:, :, sides] = np.where(
            both[..., None], points[:, :, other], points[:, :, sides]
        )
        confidence[:, :, sides] = np.where(
            both, confidence[:, :, other], confidence[:, :, sides]
        )
    return Detections2D(
        points, confidence, detections.keypoint_names, detections.rate_hz
    )


class _Sides:
    """Left and right keypoints, [T, C, 2, P, ...], that can be exchanged."""

    def __init__(
        self, rig: CameraRig, detections: Detections2D, index: np.ndarray
    ) -> None:
        pixels = np.asarray(detections.points, float)
        score = np.asarray(detections.confidence, float)
        ray, focal = person_pairs.world_rays(rig, pixels[:, :, None], score[:, :, None])
        picked = lambda a: a[:, :, index.T]
        self.ray, self.focal = picked(ray[:, :, 0]), picked(focal[:, :, 0])
        self.pixels, self.there = picked(pixels), picked(score > 0)
        self.centre = np.asarray(rig.centres, float)
        self.turn = np.asarray(rig.rotation, float)
        self.typical = _LEAST_PX

    def coincide(self, chain: np.ndarray) -> np.ndarray:
        """Whether the sides of some pairs lie too near each other. [T, C]."""
        left, right = np.moveaxis(self.pixels[:, :, :, chain], 2, 0)
        both = self.there[:, :, :, chain].all(axis=2)
        apart = np.where(both, np.linalg.norm(left - right, axis=-1), 0.0).sum(axis=-1)
        return apart < _APART * self.typical * both.sum(axis=-1)

    def exchange(self, chain: np.ndarray, found: np.ndarray) -> None:
        """Exchanges the sides of some pairs where found, [T, C, P of the chain]."""
        for name in ("ray", "focal", "pixels", "there"):
            old = getattr(self, name)
            part = old[:, :, :, chain]
            where = found[:, :, None].reshape(
                *found.shape[:2], 1, -1, *(1,) * (old.ndim - 4)
            )
            old[:, :, :, chain] = np.where(where, part[:, :, ::-1], part)

    def between_views(self) -> dict[tuple[int, int], np.ndarray]:
        """D_ab of each pair of keypoints, [T, P], for each two views."""
        missed = {}
        for a, b in combinations(range(len(self.centre)), 2):
            step = self.centre[b] - self.centre[a]
            if np.linalg.norm(step) < _SAME_M:
                continue
            one = self.ray[:, a, :, None], self.focal[:, a, :, None], self.turn[a]
            two = self.ray[:, b, None], self.focal[:, b, None], self.turn[b]
            missed[a, b] = sampson_px(one, two, step)
        same = [
            miss[:, s, s][self.there[:, a, s] & self.there[:, b, s]]
            for (a, b), miss in missed.items()
            for s in range(2)
        ]
        typical = _typical(np.concatenate(same) if same else np.zeros(0))
        self.typical = typical
        return {
            (a, b): _gain(
                np.minimum(miss / typical, _CAP), self.there[:, a], self.there[:, b]
            )
            for (a, b), miss in missed.items()
        }

    def over_time(self) -> np.ndarray:
        """F_c of each pair of keypoints against where it was last seen. [T, C, P]."""
        frames = np.arange(len(self.there)).reshape(-1, 1, 1, 1)
        seen = np.maximum.accumulate(np.where(self.there, frames, -1), axis=0)
        last = np.concatenate([np.full_like(seen[:1], -1), seen[:-1]])
        recent = (last >= 0) & (frames - last <= _GAP)
        old = np.take_along_axis(
            self.pixels, np.maximum(last, 0)[..., None].astype(int), axis=0
        )
        step = self.pixels[:, :, :, None] - old[:, :, None]
        step = np.linalg.norm(step, axis=-1)  # [T, C, now, then, P]
        total = np.zeros(self.there[:, :, 0].shape)
        for c in range(step.shape[1]):
            straight = np.stack([step[:, c, s, s] for s in range(2)], axis=1)
            usual = _typical(straight[self.there[:, c] & recent[:, c]])
            near = np.minimum(step[:, c] / usual, _CAP)
            total[:, c] = _TIME * _gain(near, self.there[:, c], recent[:, c])
        return total


def _typical(distance: np.ndarray) -> float:
    return max(float(np.median(distance)) if distance.size else 0.0, _LEAST_PX)


def _gain(miss: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """By how much same sides fit better than opposite ones.

    Args:
        miss: Distances of side s of one and side r of two. Shape [T, 2, 2, P].
        one: Which sides are seen. Shape [T, 2, P].
        two: The same of the other.

    A side counts where the other thing has both. Shape [T, P].
    """
    all_one, all_two = one.all(axis=1), two.all(axis=1)
    total = np.zeros(all_one.shape)
    for s in range(2):
        same = miss[:, s, s]
        total += np.where(all_two & one[:, s], miss[:, s, 1 - s] - same, 0.0)
        left = all_one & ~all_two & two[:, s]
        total += np.where(left, miss[:, 1 - s, s] - same, 0.0)
    return total


def _decided(
    views: dict[tuple[int, int], np.ndarray], motion: np.ndarray, price: np.ndarray
) -> np.ndarray:
    """Returns x of least sum, [T, C] bool.

    Args:
        views: D_ab, [T] for each two views.
        motion: F_c. Shape [T, C].
        price: Of an exchange in each view. Shape [T, C].
    """
    frames, cameras = price.shape
    pattern = np.arange(2**cameras)
    bits = (pattern[:, None] >> np.arange(cameras)) & 1  # [2^C, C]
    cost = price @ bits.T.astype(float)
    for (a, b), gain in views.items():
        cost += gain[:, None] * (bits[:, a] != bits[:, b])[None]
    # The price of a change adds up over views, so that each view is taken in turn.
    came = np.zeros((frames, cameras, len(pattern)), bool)
    best = cost[0]
    for t in range(1, frames):
        for c in range(cameras):
            changed = best[pattern ^ (1 << c)] + motion[t, c]
            came[t, c] = changed < best
            best = np.where(came[t, c], changed, best)
        best = best + cost[t]
    at, found = int(np.argmin(best)), np.zeros((frames, cameras), bool)
    for t in range(frames - 1, -1, -1):
        found[t] = bits[at] > 0
        for c in range(cameras - 1, -1, -1):
            at ^= int(came[t, c, at]) << c
    return found


def _chains(pairs: Pairs) -> list[np.ndarray]:
    """Indices of pairs that are exchanged together."""
    groups: dict[object, list[int]] = {}
    for p, (left, _) in enumerate(pairs):
        key = next((n for n, chain in enumerate(_CHAINS) if chain.search(left)), left)
        groups.setdefault(key, []).append(p)
    return [np.array(group) for group in groups.values()]


def _indices(detections: Detections2D, pairs: Pairs) -> np.ndarray:
    """Indices of left and right keypoints, [P, 2]."""
    names = tuple(detections.keypoint_names)
    for name in (name for pair in pairs for name in pair):
        if name not in names:
            raise ValueError(
                f"there is no keypoint {name!r}; there are {', '.join(names)}"
            )
    found = [[names.index(left), names.index(right)] for left, right in pairs]
    return np.array(found, int).reshape(-1, 2)
