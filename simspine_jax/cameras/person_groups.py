"""Who is who in one frame: detections of different views merged into people.

Source: assignment of pairs of views; other views support a pair, and groups are merged
cheapest link first, which is ours.
"""

from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from simspine_jax.cameras.person_pairs import WORST, sizes_of
from simspine_jax.types import Array, CameraRig


@dataclass(frozen=True)
class Groups:
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

    def of(self, *which: int) -> "Groups":
        """Returns those of a frame, or one of a frame."""
        return Groups(*(getattr(self, f.name)[which] for f in fields(self)))


def groups(
    cost: Float[np.ndarray, "t c p c p"],
    confidence: Float[Array, "t c p k"],
    limit: float,
) -> list[Int[np.ndarray, "g c"]]:
    """Returns the people of each frame: a detection of each view, -1 where none.

    People seen by one view only are among them. A pair is ranked by its cost and by
    how well other views support it: two people in one plane with both cameras are
    told apart by a third.
    """
    frames, cameras, people = cost.shape[:3]
    count = cameras * people
    flat = cost.reshape(frames, count, count)
    capped = np.minimum(flat, limit)
    ranked = capped.copy()
    for c in range(cameras):
        mine = capped[:, :, c * people : (c + 1) * people]  # [T, D, P]
        support = np.full_like(capped, limit)
        for k in range(people):
            through = np.maximum(mine[:, :, None, k], mine[:, None, :, k])
            support = np.minimum(support, through)
        ranked += support / cameras
    seen = np.any(np.asarray(confidence) > 0, axis=-1)
    return [_merged(flat[t], ranked[t], seen[t], limit) for t in range(frames)]


def looked_at(
    rig: CameraRig,
    pixels: np.ndarray,
    confidence: np.ndarray,
    ray: np.ndarray,
    rows: list[np.ndarray],
) -> Groups:
    """Returns the groups with all that following them takes; G is the most."""
    frames, cameras = confidence.shape[:2]
    most = max((len(row) for row in rows), default=0)
    index = np.full((frames, most, cameras), -1)
    for t, row in enumerate(rows):
        index[t, : len(row)] = row
    frame, view = np.arange(frames)[:, None, None], np.arange(cameras)
    weight = np.where(index[..., None] >= 0, confidence[frame, view, index], 0.0)
    seen = pixels[frame, view, index]
    size = sizes_of(seen, weight)
    diagonal = np.linalg.norm(np.asarray(rig.image_size, float), axis=-1)
    points, known = _meeting(rig, ray[frame, view, index], weight)
    quality = weight.mean(axis=-1) * size / diagonal
    return Groups(index, points, known, seen, weight > 0, size, quality)


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
        if cost[np.ix_(one, two)].clip(max=WORST).mean() < limit:
            one.extend(two)
            group.update(dict.fromkeys(two, one))
    found = list({id(members): members for members in group.values()}.values())
    rows = np.full((len(found), cameras), -1)
    for row, members in zip(rows, found, strict=True):
        for d in members:
            row[d // people] = d % people
    return rows


def _meeting(
    rig: CameraRig, ray: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where rays [T, G, C, K] nearly meet, and which of them two views see."""
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    weight = confidence[..., None, None]
    apart = weight * (np.eye(3) - ray[..., :, None] * ray[..., None, :])
    right = np.einsum("tgckij,cj->tgki", apart, np.asarray(rig.centres))
    known = (confidence > 0).sum(axis=2) >= 2
    matrix = np.where(known[..., None, None], apart.sum(axis=2), np.eye(3))
    # Rays that are parallel have no such place; the pull keeps it finite.
    matrix = matrix + 1e-9 * np.eye(3)
    points = np.linalg.solve(matrix, right[..., None])[..., 0]
    return np.where(known[..., None], points, 0.0), known
