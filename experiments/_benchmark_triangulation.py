"""Speed and error of triangulation against other tools, same points, one run.

Points in a room, seen by the four cameras of Human3.6M's subject S1 with noise. Some
observations are missing, and some points have one view that is far off.

Ours takes pixels of four views and finds which of them agree. "Steady" has its input
and output on the device, the noise given and all blocks in flight; "host" is
``triangulate``, which takes and returns NumPy, copies both ways and estimates the
noise. Both use the default block and never count compiling, which is the first call
less the second. Programs that the cache has are read: SIMSPINE_JAX_CACHE=off compiles.

The others get less to do: OpenCV and the loop of SVDs are given rays, whose
undistortion is not timed, and trust every view. OpenCV has only two views; it is also
timed from pixels, and so is ours on the same two views.

Errors are distances to the true points, of those for which a method has an answer.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from experiments import _ik_measure
from simspine_jax.cameras import pinhole
from simspine_jax.cameras.triangulation import (
    TriangulationOptions,
    triangulate,
    triangulate_points,
)
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.types import CameraRig, Detections2D

_SUBJECT, _RATE_HZ = "S1", 50.0
_LOW_M, _HIGH_M = (-1.5, -1.5, 0.1), (1.5, 1.5, 1.9)  # a room in Z-up coordinates
_PAIR = (0, 1)  # the views that methods for two take


class Scene(NamedTuple):
    """Points and what the cameras saw of them.

    Attributes:
        rig: C cameras.
        pixels: 0 where missing. Shape [N, C, 2].
        seen: Whether a camera saw a point. Shape [N, C].
        truth: The points, m. Shape [N, 3].
        wrong: Whether one view of a point is far off. Shape [N].
    """

    rig: CameraRig
    pixels: np.ndarray
    seen: np.ndarray
    truth: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True)
class Measured:
    """How one method did.

    Attributes:
        name: Ends the names of its metrics; "" for ours, steady and double.
        label: For the table.
        points: How many it was given.
        seconds: Of each repeat.
        error_mm: NaN where it has no answer. Shape [points].
        wrong: Which points have a view that is far off. Shape [points].
        peer: Whether it is another tool.
    """

    name: str
    label: str
    points: int
    seconds: list[float]
    error_mm: np.ndarray
    wrong: np.ndarray
    peer: bool = False

    def metrics(self) -> dict[str, float]:
        """Returns rates, errors and the share of points with an answer."""
        rates = self.points / np.array(self.seconds)
        valid = np.isfinite(self.error_mm)
        given = self.error_mm[valid]
        if not len(given):
            raise ValueError(f"{self.label}: no point was found; give it more points")
        found = {
            "points_per_second": np.median(rates),
            "points_per_second_min": rates.min(),
            "points_per_second_max": rates.max(),
            "error_mm_median": np.median(given),
            "error_mm_p95": np.percentile(given, 95),
            "valid_share": valid.mean(),
        }
        misled = self.error_mm[valid & self.wrong]
        if len(misled):
            found["error_mm_median_wrong_view"] = np.median(misled)
        end = f"_{self.name}" if self.name else ""
        return {f"{key}{end}": float(value) for key, value in found.items()}


def run(config: Any) -> tuple[list[Measured], dict[str, float], list[dict[str, float]]]:
    """Measures everything.

    Args:
        config: Of ``configs/benchmark.py:triangulation``.

    Returns:
        Each method, all metrics, and the rates by block size.
    """
    scene = make_scene(config)
    print("ours, from device to device ...", flush=True)
    ours, compiling = _steady(scene, config)
    print("ours, from host to host, by block size ...", flush=True)
    host, blocks = _by_block(scene, config)
    peak_mb = _ik_measure.peak_memory_mb()
    print("the others ...", flush=True)
    methods = [*ours, *host, *_opencv(scene, config), _svd_loop(scene, config)]
    if importlib.util.find_spec("aniposelib"):
        methods += _aniposelib(scene, config)
    metrics: dict[str, float] = {"points": config.points}
    for method in methods:
        metrics |= method.metrics()
    for name in (method.name for method in methods if method.peer):
        theirs = metrics[f"points_per_second_{name}"]
        metrics[f"ratio_{name}"] = metrics["points_per_second"] / theirs
        metrics[f"ratio_{name}_host"] = metrics["points_per_second_host"] / theirs
    best = max(blocks, key=lambda row: row["points_per_second_host"])
    metrics["block_points_fastest"] = best["block_points"]
    return methods, metrics | compiling | {"peak_memory_mb": peak_mb}, blocks


def table(
    methods: list[Measured], metrics: dict[str, float], blocks: list[dict[str, float]]
) -> str:
    """Returns what was measured, for people."""
    lines = [
        f"{'':34}{'points a second':^30}{'ours is':>9}{'error, mm':^27}{'':>8}",
        f"{'':34}{'median':>10}{'min':>10}{'max':>10}{'times':>9}"
        f"{'median':>9}{'95 %':>8}{'wrong':>9}{'valid':>9}",
    ]
    for method in methods:
        m, end = method.metrics(), f"_{method.name}" if method.name else ""
        of = lambda key, m=m, end=end: m.get(f"{key}{end}", np.nan)
        ratio = f"{metrics[f'ratio{end}']:9.2f}" if method.peer else " " * 9
        lines.append(
            f"{method.label:34}{of('points_per_second'):10.0f}"
            f"{of('points_per_second_min'):10.0f}{of('points_per_second_max'):10.0f}"
            f"{ratio}{of('error_mm_median'):9.2f}{of('error_mm_p95'):8.1f}"
            f"{of('error_mm_median_wrong_view'):9.2f}{of('valid_share'):9.3f}"
        )
    lines += ["wrong: median error of the points that have a view far off", ""]
    lines.append(f"{'block':>8}{'points a second, host':>26}{'single precision':>20}")
    for row in blocks:
        double, single = (row[f"points_per_second_{key}"] for key in _HOST)
        lines.append(f"{row['block_points']:8d}{double:26.0f}{single:20.0f}")
    lines.append(
        f"\ncompile {metrics['compile_seconds']:.1f} s, single precision "
        f"{metrics['compile_seconds_float32']:.1f} s; peak memory "
        f"{metrics['peak_memory_mb']:.0f} MB"
    )
    return "\n".join(lines)


def make_scene(config: Any) -> Scene:
    """Returns the points; the same for the same configuration.

    Raises:
        ValueError: The points do not fill whole frames.
    """
    if config.points < 1 or config.points % config.keypoints:
        raise ValueError(
            f"points must be a multiple of keypoints, {config.keypoints}; it is "
            f"{config.points}"
        )
    rig, rng = h36m_rig(_SUBJECT), np.random.default_rng(config.seed)
    truth = rng.uniform(_LOW_M, _HIGH_M, (config.points, 3))
    exact = np.asarray(pinhole.project(rig, truth[:, None]))[:, :, 0]  # [N, C, 2]
    pixels = exact + config.noise_px * rng.normal(size=exact.shape)
    seen = rng.random(exact.shape[:2]) >= config.missing_share
    wrong = (rng.random(config.points) < config.wrong_share) & seen.any(axis=1)
    # A view that was seen, at random.
    view = np.where(seen, rng.random(seen.shape), -1.0).argmax(axis=1)
    nearest_px, farthest_px = config.wrong_px
    far_px = rng.uniform(nearest_px, farthest_px, config.points)
    angle = rng.uniform(0, 2 * np.pi, config.points)
    away = far_px[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    pixels[np.flatnonzero(wrong), view[wrong]] += away[wrong]
    return Scene(rig, np.where(seen[..., None], pixels, 0.0), seen, truth, wrong)


def _steady(scene: Scene, config: Any) -> tuple[list[Measured], dict[str, float]]:
    pair, both = _pair_of(scene)
    whole = np.flatnonzero(both)[: both.sum() // config.keypoints * config.keypoints]
    cases = (
        ("", "ours, steady", scene, np.float64),
        ("float32", "ours, steady, single", scene, np.float32),
        ("two_views", "ours, steady, 2 views", _cut(pair, whole), np.float64),
    )
    measured, compiling = [], {}
    for name, label, part, dtype in cases:
        cast = lambda a, dtype=dtype: jnp.asarray(a, dtype)
        rig = jax.tree.map(cast, part.rig)
        frames = len(part.truth) // config.keypoints
        size = min(frames, _default_block() // config.keypoints)
        ends = ((0, -frames % size), *[(0, 0)] * 3)
        pixels = np.pad(_framed(part.pixels, config), ends)
        weight = np.pad(_framed(part.seen, config), ends[:3])
        parts = [slice(first, first + size) for first in range(0, frames, size)]
        given = [(cast(pixels[s]), cast(weight[s])) for s in parts]
        one = lambda block, rig=rig: triangulate_points(rig, *block, config.noise_px)
        start = lambda given=given, one=one: jax.block_until_ready(one(given[0]))
        everything = lambda given=given, one=one: jax.block_until_ready(
            [one(block) for block in given]
        )
        (first, _), (again, _) = _timed(start), _timed(start)
        end = f"_{name}" if name else ""
        compiling[f"compile_seconds{end}"] = first - again
        seconds, found = _repeated(everything, config.repeats)
        points, valid = (np.concatenate([f[i] for f in found]) for i in (0, 1))
        measured.append(_judged(name, label, part, seconds, points, valid))
    return measured, compiling


_HOST = {"host": True, "host_float32": False}


def _by_block(scene: Scene, config: Any) -> tuple[list[Measured], list[dict]]:
    """Times ``triangulate`` with every block size, in turns."""
    names = tuple(f"point_{k}" for k in range(config.keypoints))
    pixels, weight = _framed(scene.pixels, config), _framed(scene.seen, config)
    detections = Detections2D(pixels, weight.astype(float), names, _RATE_HZ)
    default = _default_block()
    sizes = sorted({*config.block_points, default})
    found, seconds = {}, {}
    calls = {
        (name, size): TriangulationOptions(float64=float64, block_points=size)
        for size in sizes
        for name, float64 in _HOST.items()
    }
    for turn in range(config.repeats + 1):
        for key, options in calls.items():
            took, answer = _timed(
                lambda options=options: triangulate(scene.rig, detections, options)
            )
            # The first turn compiles.
            seconds[key] = [*seconds[key], took] if turn else []
            if key[1] == default:
                found[key[0]] = answer
    labels = {"host": "ours, host", "host_float32": "ours, host, single"}
    measured = [
        _judged(
            *(name, label, scene, seconds[name, default]),
            *(found[name].points, found[name].valid),
        )
        for name, label in labels.items()
    ]
    blocks = []
    for size in sizes:
        rate = lambda name, size=size: config.points / np.median(seconds[name, size])
        rates = {f"points_per_second_{name}": float(rate(name)) for name in _HOST}
        blocks.append({"block_points": size, **rates})
    return measured, blocks


def _opencv(scene: Scene, config: Any) -> list[Measured]:
    pair, both = _pair_of(scene)
    pair = _cut(pair, both)
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
        seconds, flat = _repeated(call, config.repeats)
        points = (flat[:3] / flat[3]).T
        valid = np.ones(len(points), bool)
        measured.append(_judged(name, label, pair, seconds, points, valid, peer=True))
    return measured


def _svd_loop(scene: Scene, config: Any) -> Measured:
    part = _cut(scene, slice(0, config.svd_points))
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

    seconds, points = _repeated(loop, config.repeats)
    valid = np.isfinite(points).all(axis=1)
    label = "SVD a point, NumPy, rays given"
    return _judged("svd_loop", label, part, seconds, points, valid, peer=True)


def _aniposelib(scene: Scene, config: Any) -> list[Measured]:
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
        part = _cut(scene, slice(0, count))
        seen = np.where(part.seen[..., None], part.pixels, np.nan).swapaxes(0, 1)
        again = lambda call=call, seen=seen: call(seen)
        seconds, points = _repeated(again, config.repeats)
        valid = np.isfinite(points).all(axis=1)
        measured.append(_judged(name, label, part, seconds, points, valid, peer=True))
    return measured


def _judged(
    name: str,
    label: str,
    scene: Scene,
    seconds: list[float],
    points: np.ndarray,
    valid: np.ndarray,
    *,
    peer: bool = False,
) -> Measured:
    count = len(scene.truth)
    points, valid = points.reshape(-1, 3)[:count], valid.ravel()[:count]
    error_mm = 1e3 * np.linalg.norm(points - scene.truth, axis=1)
    error_mm = np.where(valid, error_mm, np.nan)
    return Measured(name, label, count, seconds, error_mm, scene.wrong, peer)


def _pair_of(scene: Scene) -> tuple[Scene, np.ndarray]:
    """Returns the scene with two views, and which points both see."""
    pair = list(_PAIR)
    rig = scene.rig
    rig = jax.tree.map(lambda a: np.asarray(a)[pair], rig).replace(
        names=tuple(rig.names[c] for c in pair)
    )
    seen = scene.seen[:, pair]
    less = scene._replace(rig=rig, pixels=scene.pixels[:, pair], seen=seen)
    return less, np.all(seen, axis=1, keepdims=True)[:, 0]


def _cut(scene: Scene, which: Any) -> Scene:
    return Scene(scene.rig, *(a[which] for a in scene[1:]))


def _framed(a: np.ndarray, config: Any) -> np.ndarray:
    """Gives [N, C, ...] the axes [T, C, K, ...]."""
    return a.reshape(-1, config.keypoints, *a.shape[1:]).swapaxes(1, 2)


def _frames_of(rig: CameraRig) -> np.ndarray:
    return np.concatenate([rig.rotation, np.array(rig.translation)[..., None]], axis=2)


def _rays(scene: Scene) -> np.ndarray:
    """Returns normalised coordinates, [N, C, 2]."""
    return np.asarray(pinhole.undistort(scene.rig, scene.pixels[:, :, None]))[:, :, 0]


def _default_block() -> int:
    return TriangulationOptions().block_points


def _repeated(call: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """Returns the seconds of each call after a first, and the last answer.

    The first may compile.
    """
    answer, seconds = call(), []
    for _ in range(repeats):
        took, answer = _timed(call)
        seconds.append(took)
    return seconds, answer


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer
