"""Global search for the pose of every frame of a chunk.

A single start ends in a wrong limb pose on most frames of a real trial (design
decision 7). The search: a few frames (anchors) are solved from several whole-body
starts, then all their limbs are restarted from many poses at once with the trunk
held, each limb keeping its best; the anchors exchange solutions; the other frames
are tracked from them; and where neighbouring frames disagree one tries the other's
solution, and a better one is carried along time (``ik_exchange``).
"""

from dataclasses import replace

import numpy as np

from simspine_jax.core.levenberg_marquardt import EMPTY
from simspine_jax.fitting.ik_exchange import Poses, exchange
from simspine_jax.fitting.ik_queue import Problem, run
from simspine_jax.fitting.ik_search_options import SearchOptions


def search(
    problem: Problem,
    default: np.ndarray,
    free_angle: np.ndarray,
    spread: np.ndarray,
    root: np.ndarray,
    options: SearchOptions,
    seed: np.ndarray | None = None,
) -> Poses:
    """Returns the best pose found for every frame of the chunk.

    Args:
        problem: The chunk.
        default: Unknowns of the default pose. Shape [n].
        free_angle: Whether each unknown is an angle. Shape [n].
        spread: Interval from which starts are drawn. Shape [n, 2].
        root: Whether each unknown turns the whole body. Shape [n].
        options: See ``SearchOptions``.
        seed: Unknowns of the frame before the chunk, where there is one. Shape [n].
    """
    total, n = problem.n_frames, len(default)
    dtype = default.dtype
    best = Poses(
        np.tile(default, (total, 1)),
        np.full(total, np.inf, dtype),
        np.full(total, EMPTY, np.int32),
        np.zeros(total, int),
    )
    if total == 0 or n == 0:
        return best
    anchors = anchor_frames(total, options)
    if total >= options.long_trial:
        options = replace(
            options,
            body_starts=-(-options.body_starts // 4),
            limb_starts=-(-options.limb_starts // 4),
            limb_rounds=1,
            another=30 * options.another,
        )
    rng = np.random.default_rng(options.seed)

    # Whole-body starts: the default pose, then it turned every way.
    starts = np.tile(default, (options.body_starts, 1))
    turned = rng.uniform(spread[:, 0], spread[:, 1], starts.shape)
    starts[1:, root] = turned[1:, root]
    if seed is not None:
        starts = np.concatenate([starts, seed[None]])
    at = np.repeat(anchors, len(starts))
    start = np.tile(starts, (len(anchors), 1))
    best.offer(at, run(problem, at, start, options=options.rough))
    for _ in range(options.limb_rounds if problem.n_blocks > 1 else 0):
        _restart_limbs(problem, best, anchors, spread, rng, options)
    best.offer(anchors, run(problem, anchors, best.x[anchors], options=options.fine))
    exchange(problem, best, anchors, (1, 2), free_angle, options, everywhere=True)

    _track(problem, best, anchors, options)
    if problem.n_blocks > 1:
        between = np.linspace(0, total - 1, len(anchors) + 1).round().astype(int)
        _restart_limbs(problem, best, np.unique(between), spread, rng, options)
    few = total * 2 * len(options.neighbours) <= problem.bucket.problems
    every = np.arange(total)
    exchange(
        problem,
        best,
        every,
        options.neighbours if few else (1,),
        free_angle,
        options,
        everywhere=few,
    )
    return best


def anchor_frames(total: int, options: SearchOptions) -> np.ndarray:
    """Returns the frames that are searched from scratch, ends among them."""
    count = min(options.max_anchors, -(-total // options.anchor_stride))
    edges = np.linspace(0, total, count + 1)
    return ((edges[:-1] + edges[1:]) / 2).astype(int)


def _restart_limbs(
    problem: Problem,
    best: Poses,
    frames: np.ndarray,
    spread: np.ndarray,
    rng: np.random.Generator,
    options: SearchOptions,
) -> None:
    """Restarts all limbs at once; every limb keeps the best of its restarts."""
    n, count = best.x.shape[1], options.limb_starts
    limb = problem.block > 0
    drawn = rng.uniform(spread[:, 0], spread[:, 1], (count, n))
    at = np.repeat(frames, count + 1)
    start = best.x[at].reshape(len(frames), count + 1, n)
    start[:, 1:, limb] = drawn[None][:, :, limb]
    start = start.reshape(-1, n)
    solved = run(problem, at, start, only_limbs=True, options=options.rough)
    x = solved.x.reshape(len(frames), count + 1, n)
    cost = solved.cost.reshape(len(frames), count + 1, -1)
    winner = cost.argmin(axis=1)  # [frames, blocks]
    combined = best.x[frames].copy()
    rows = np.arange(len(frames))
    for k in range(1, problem.n_blocks):
        columns = np.flatnonzero(problem.block == k)
        combined[:, columns] = x[rows, winner[:, k]][:, columns]
    best.offer(frames, run(problem, frames, combined, options=options.rough))


def _track(
    problem: Problem, best: Poses, anchors: np.ndarray, options: SearchOptions
) -> None:
    """Solves every frame in runs along time, each run from its nearest anchor."""
    total = problem.n_frames
    # Long runs start far from an anchor less often, many runs keep lanes busy.
    length = min(32, max(1, total // (8 * problem.bucket.lanes)))
    n_runs = -(-total // length)
    frames = np.minimum(np.arange(n_runs * length), total - 1)
    nearest = anchors[np.abs(frames[:, None] - anchors[None]).argmin(axis=1)]
    solved = run(
        problem, frames, best.x[nearest], run_length=length, options=options.fine
    )
    best.offer(frames, solved)
