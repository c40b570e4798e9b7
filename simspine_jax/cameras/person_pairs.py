"""How well two detections of different views fit one person.

Notation: detection i is a person as one view shows them, in one frame. Two views a, b
with centres o_a, o_b see a keypoint along world rays n_a, n_b; with ``b = o_b - o_a``
the rays meet if ``e = n_b . (b x n_a)`` is 0. The distance used is Sampson's: how far
(px) both pixels must move together for the rays to meet, to first order. The cost of a
pair of detections is the mean of that over their keypoints as a share of their size in
the image, so that near and far people are judged alike.

Source: Sampson distance, Hartley and Zisserman, Multiple View Geometry, 2003, section
11.4.3.
"""

from itertools import combinations

import jax
import numpy as np
from jaxtyping import Float

from simspine_jax.cameras import pinhole
from simspine_jax.types import Array, CameraRig

WORST = 0.2  # a keypoint that misses by more, of the size, counts as this
_BEHIND = 1e-3  # sine products from which rays surely meet behind a camera
_SAME_M = 1e-6  # cameras nearer each other stand in the same place
_FLAT = 1e-16  # squared normalised units per px, far below any camera's
_LANES = 8192  # keypoints that are undistorted at a time
_BLOCK = 2048  # frames whose pairs are in memory at a time

_undistort = jax.jit(pinhole.undistort)


def pair_costs(
    rig: CameraRig,
    pixels: Float[Array, "t c p k 2"],
    confidence: Float[Array, "t c p k"],
    min_keypoints: int = 3,
) -> Float[np.ndarray, "t c p c p"]:
    """Returns how badly any two detections of a frame fit one person.

    Confidence-weighted mean of the distance, of which more than ``WORST`` counts as
    that, over common keypoints, as a share of the mean size of the two. Keypoints
    whose rays meet behind a camera are wrong. Infinite within a view, and where too
    few keypoints are common or two cameras stand in the same place.
    """
    given, places = np.asarray(confidence, float), np.asarray(pixels, float)
    ray, focal = world_rays(rig, places, given)
    return costs_of(rig, ray, focal, sizes_of(places, given), given, min_keypoints)


def costs_of(
    rig: CameraRig,
    ray: np.ndarray,
    focal: np.ndarray,
    size: np.ndarray,
    confidence: np.ndarray,
    min_keypoints: int,
) -> np.ndarray:
    """Returns ``pair_costs`` of rays [T, C, P, K, 3]."""
    frames, cameras, people, _ = confidence.shape
    weight, turn = np.sqrt(confidence), np.asarray(rig.rotation, float)
    centre = np.asarray(rig.centres, float)
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
            share = np.where(behind, WORST, np.minimum(share, WORST))
            both = weight[part, a, :, None] * weight[part, b, None]
            common = (both > 0).sum(axis=-1) >= min_keypoints
            total = np.where(common, both.sum(axis=-1), 1.0)
            mean = np.where(common, (both * share).sum(axis=-1) / total, np.inf)
            cost[part, a, :, b] = mean
            cost[part, b, :, a] = np.swapaxes(mean, 1, 2)
    return cost


def world_rays(
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


def sizes_of(pixels: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Diagonal of the box of the keypoints seen, px; 0 where none is."""
    seen = (confidence > 0)[..., None]
    low = np.where(seen, pixels, np.inf).min(axis=-2)
    high = np.where(seen, pixels, -np.inf).max(axis=-2)
    return np.where(seen.any(axis=(-2, -1)), np.linalg.norm(high - low, axis=-1), 0.0)


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
