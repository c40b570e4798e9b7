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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import _ik_measure
from experiments import _triangulation_peers as peers
from experiments import _triangulation_scene as scenes
from simspine_jax.cameras.triangulation import (
    TriangulationOptions,
    triangulate,
    triangulate_points,
)
from simspine_jax.types import Detections2D

_RATE_HZ = 50.0


def run(
    config: Any,
) -> tuple[list[scenes.Measured], dict[str, float], list[dict[str, float]]]:
    """Measures everything.

    Args:
        config: Of ``configs/benchmark.py:triangulation``.

    Returns:
        Each method, all metrics, and the rates by block size.
    """
    scene = scenes.make_scene(config)
    print("ours, from device to device ...", flush=True)
    ours, compiling = _steady(scene, config)
    print("ours, from host to host, by block size ...", flush=True)
    host, blocks = _by_block(scene, config)
    peak_mb = _ik_measure.peak_memory_mb()
    print("the others ...", flush=True)
    methods = [
        *ours,
        *host,
        *peers.opencv(scene, config),
        peers.svd_loop(scene, config),
    ]
    if importlib.util.find_spec("aniposelib"):
        methods += peers.aniposelib(scene, config)
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
    methods: list[scenes.Measured],
    metrics: dict[str, float],
    blocks: list[dict[str, float]],
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


def _steady(
    scene: scenes.Scene, config: Any
) -> tuple[list[scenes.Measured], dict[str, float]]:
    pair, both = scenes.pair_of(scene)
    whole = np.flatnonzero(both)[: both.sum() // config.keypoints * config.keypoints]
    cases = (
        ("", "ours, steady", scene, np.float64),
        ("float32", "ours, steady, single", scene, np.float32),
        ("two_views", "ours, steady, 2 views", scenes.cut(pair, whole), np.float64),
    )
    measured, compiling = [], {}
    for name, label, part, dtype in cases:
        cast = lambda a, dtype=dtype: jnp.asarray(a, dtype)
        rig = jax.tree.map(cast, part.rig)
        frames = len(part.truth) // config.keypoints
        size = min(frames, _default_block() // config.keypoints)
        ends = ((0, -frames % size), *[(0, 0)] * 3)
        pixels = np.pad(scenes.framed(part.pixels, config), ends)
        weight = np.pad(scenes.framed(part.seen, config), ends[:3])
        parts = [slice(first, first + size) for first in range(0, frames, size)]
        given = [(cast(pixels[s]), cast(weight[s])) for s in parts]
        one = lambda block, rig=rig: triangulate_points(rig, *block, config.noise_px)
        start = lambda given=given, one=one: jax.block_until_ready(one(given[0]))
        everything = lambda given=given, one=one: jax.block_until_ready(
            [one(block) for block in given]
        )
        (first, _), (again, _) = scenes.timed(start), scenes.timed(start)
        end = f"_{name}" if name else ""
        compiling[f"compile_seconds{end}"] = first - again
        seconds, found = scenes.repeated(everything, config.repeats)
        points, valid = (np.concatenate([f[i] for f in found]) for i in (0, 1))
        measured.append(scenes.judged(name, label, part, seconds, points, valid))
    return measured, compiling


_HOST = {"host": True, "host_float32": False}


def _by_block(
    scene: scenes.Scene, config: Any
) -> tuple[list[scenes.Measured], list[dict]]:
    """Times ``triangulate`` with every block size, in turns."""
    names = tuple(f"point_{k}" for k in range(config.keypoints))
    pixels, weight = (
        scenes.framed(scene.pixels, config),
        scenes.framed(scene.seen, config),
    )
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
            took, answer = scenes.timed(
                lambda options=options: triangulate(scene.rig, detections, options)
            )
            # The first turn compiles.
            seconds[key] = [*seconds[key], took] if turn else []
            if key[1] == default:
                found[key[0]] = answer
    labels = {"host": "ours, host", "host_float32": "ours, host, single"}
    measured = [
        scenes.judged(
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


def _default_block() -> int:
    return TriangulationOptions().block_points
