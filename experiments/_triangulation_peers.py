"""Other tools that triangulate, as they are given the benchmark's points."""

import importlib
from typing import Any

import cv2
import numpy as np

from experiments._triangulation_scene import (
    Measured,
    Scene,
    cut,
    judged,
    pair_of,
    repeated,
)
from simspine_jax.cameras import pinhole
from simspine_jax.types import CameraRig


def opencv(scene: Scene, config: Any) -> list[Measured]:
    """Times OpenCV on two views, given rays and from pixels."""
    pair, both = pair_of(scene)
    pair = cut(pair, both)
    frames = _frames_of(pair.rig)
    rays = [np.ascontiguousarray(a.T) for a in np.moveaxis(_rays(pair), 1, 0)]
    matrix, lens = np.asarray(pair.rig.matrix), np.asarray(pair.rig.distortion)
    seen = [
        (np.ascontiguousarray(pair.pixels[:, c, None]), matrix[c], lens[c])
        for c in range(len(matrix))
    ]

    def from_pixels() -> np.ndarray:
        bent = [cv2.undistortPoints(*view)[:, 0].T for view in seen]
        return cv2.triangulatePoints(*frames, *bent)

    given = lambda: cv2.triangulatePoints(*frames, *rays)
    calls = {
        "cv2_two_views": ("OpenCV, 2 views, rays given", given),
        "cv2_two_views_from_pixels": ("OpenCV, 2 views, from pixels", from_pixels),
    }
    measured = []
    for name, (label, call) in calls.items():
        seconds, flat = repeated(call, config.repeats)
        points = (flat[:3] / flat[3]).T
        valid = np.ones(len(points), bool)
        measured.append(judged(name, label, pair, seconds, points, valid, peer=True))
    return measured


def svd_loop(scene: Scene, config: Any) -> Measured:
    """Times a linear solution a point, in a loop."""
    part = cut(scene, slice(0, config.svd_points))
    frames, rays = _frames_of(part.rig), _rays(part)

    def loop() -> np.ndarray:
        points = np.full((len(rays), 3), np.nan)
        for i, (xy, seen) in enumerate(zip(rays, part.seen, strict=True)):
            if seen.sum() < 2:
                continue
            p, x = frames[seen], xy[seen]
            rows = x[:, :, None] * p[:, 2:] - p[:, :2]  # [views, 2, 4]
            flat = np.linalg.svd(rows.reshape(-1, 4))[2][-1]
            points[i] = flat[:3] / flat[3]
        return points

    seconds, points = repeated(loop, config.repeats)
    valid = np.isfinite(points).all(axis=1)
    label = "SVD a point, NumPy, rays given"
    return judged("svd_loop", label, part, seconds, points, valid, peer=True)


def aniposelib(scene: Scene, config: Any) -> list[Measured]:
    """Times its plain and its RANSAC triangulation."""
    cameras = importlib.import_module("aniposelib.cameras")
    rig = scene.rig
    group = cameras.CameraGroup(
        [
            cameras.Camera(
                matrix=np.array(rig.matrix[c]),
                dist=np.array(rig.distortion[c]),
                size=tuple(int(a) for a in rig.image_size[c]),
                rvec=cv2.Rodrigues(np.array(rig.rotation[c]))[0].ravel(),
                tvec=np.array(rig.translation[c]),
                name=name,
            )
            for c, name in enumerate(rig.names)
        ]
    )
    calls = {
        "aniposelib": ("aniposelib", config.points, group.triangulate),
        "aniposelib_ransac": (
            *("aniposelib, RANSAC", config.ransac_points),
            lambda seen: group.triangulate_ransac(seen)[0],
        ),
    }
    measured = []
    for name, (label, count, call) in calls.items():
        part = cut(scene, slice(0, count))
        seen = np.where(part.seen[..., None], part.pixels, np.nan).swapaxes(0, 1)
        again = lambda call=call, seen=seen: call(seen)
        seconds, points = repeated(again, config.repeats)
        valid = np.isfinite(points).all(axis=1)
        measured.append(judged(name, label, part, seconds, points, valid, peer=True))
    return measured


def _frames_of(rig: CameraRig) -> np.ndarray:
    return np.concatenate([rig.rotation, np.array(rig.translation)[..., None]], axis=2)


def _rays(scene: Scene) -> np.ndarray:
    """Returns normalised coordinates, [N, C, 2]."""
    return np.asarray(pinhole.undistort(scene.rig, scene.pixels[:, :, None]))[:, :, 0]
