"""Global search for the pose of every frame of a chunk.

A single start ends in a wrong limb pose on most frames of a real trial (design
decision 7). The search: a few frames (anchors) are solved from several whole-body
starts, then all their limbs are restarted from many poses at once with the trunk
held, each limb keeping its best; the anchors exchange solutions; the other frames
are tracked from them; and where neighbouring frames disagree each tries the
other's solution until nothing improves.
"""

from dataclasses import dataclass

import numpy as np

from simspine_jax.fitting.ik_queue import Problem, run

# A lower cost must be lower by this share to count; below it is rounding.
_BETTER = 1e-9


@dataclass(frozen=True)
class SearchOptions:
    """How hard the global search tries.

    Attributes:
        anchor_stride: Frames between anchors ...
        max_anchors: ... but at most this many in a chunk.
        body_starts: Whole-body starts of every anchor.
        limb_starts: Limb poses tried at every anchor in one round.
        limb_rounds: Rounds of limb restarts, each with the trunk improved.
        neighbours: Frame offsets whose solutions a frame tries.
        jump_rad: Neighbouring frames that differ by more in any angle disagree.
        max_sweeps: Sweeps of exchange between neighbours.
        seed: Seed of the starting poses; the search is deterministic.
    """

    anchor_stride: int = 5
    max_anchors: int = 24
    body_starts: int = 8
    limb_starts: int = 32
    limb_rounds: int = 2
    neighbours: tuple[int, ...] = (1, 2, 5)
    jump_rad: float = 0.35
    max_sweeps: int = 40
    seed: int = 0


@dataclass
class Poses:
    """Best solution so far of every frame: x [T, n], cost, status, steps [T]."""

    x: np.ndarray
    cost: np.ndarray
    status: np.ndarray
    steps: np.ndarray

    def offer(self, frames: np.ndarray, solved, slack: float = _BETTER) -> np.ndarray:
        """Takes every solution that is better; returns the frames that changed."""
        cost = solved.total
        order = np.lexsort((cost, frames))
        first = np.ones(len(order), bool)
        first[1:] = frames[order][1:] != frames[order][:-1]
        best = order[first]
        self.steps += np.bincount(
            frames, weights=solved.steps, minlength=len(self.steps)
        ).astype(int)
        best = best[cost[best] < self.cost[frames[best]] * (1 - slack)]
        at = frames[best]
        self.x[at], self.cost[at] = solved.x[best], cost[best]
        self.status[at] = solved.status[best]
        return at


def search(
    problem: Problem, default: np.ndarray, free_angle: np.ndarray, spread: np.ndarray,
    root: np.ndarray, options: SearchOptions, seed: np.ndarray | None = None,
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
        np.full(total, 4, np.int32),
        np.zeros(total, int),
    )
    if total == 0 or n == 0:
        return best
    anchors = anchor_frames(total, options)
    rng = np.random.default_rng(options.seed)

    # Whole-body starts: the default pose, then it turned every way.
    starts = np.tile(default, (options.body_starts, 1))
    turned = rng.uniform(spread[:, 0], spread[:, 1], starts.shape)
    starts[1:, root] = turned[1:, root]
    _offer_all(problem, best, anchors, starts)
    for _ in range(options.limb_rounds if problem.n_blocks > 1 else 0):
        _restart_limbs(problem, best, anchors, spread, rng, options.limb_starts)
    _exchange(problem, best, anchors, (1, 2), free_angle, options, everywhere=True)

    _track(problem, best, anchors)
    few = total * 2 * len(options.neighbours) <= problem.bucket.problems
    every = np.arange(total)
    _exchange(
        problem, best, every, options.neighbours, free_angle, options, everywhere=few
    )
    return best


def anchor_frames(total: int, options: SearchOptions) -> np.ndarray:
    """Returns the frames that are searched from scratch, ends among them."""
    count = min(options.max_anchors, -(-total // options.anchor_stride))
    edges = np.linspace(0, total, count + 1)
    return ((edges[:-1] + edges[1:]) / 2).astype(int)


def _offer_all(
    problem: Problem, best: Poses, frames: np.ndarray, starts: np.ndarray
) -> None:
    at = np.repeat(frames, len(starts))
    best.offer(at, run(problem, at, np.tile(starts, (len(frames), 1))))


def _restart_limbs(
    problem: Problem,
    best: Poses,
    frames: np.ndarray,
    spread: np.ndarray,
    rng: np.random.Generator,
    count: int,
) -> None:
    """Restarts all limbs at once; every limb keeps the best of its restarts."""
    n = best.x.shape[1]
    limb = problem.block > 0
    drawn = rng.uniform(spread[:, 0], spread[:, 1], (count, n))
    at = np.repeat(frames, count + 1)
    start = best.x[at].reshape(len(frames), count + 1, n)
    start[:, 1:, limb] = drawn[None][:, :, limb]
    solved = run(problem, at, start.reshape(-1, n), only_limbs=True)
    x = solved.x.reshape(len(frames), count + 1, n)
    cost = solved.cost.reshape(len(frames), count + 1, -1)
    winner = cost.argmin(axis=1)  # [frames, blocks]
    combined = best.x[frames].copy()
    rows = np.arange(len(frames))
    for k in range(1, problem.n_blocks):
        columns = np.flatnonzero(problem.block == k)
        combined[:, columns] = x[rows, winner[:, k]][:, columns]
    best.offer(frames, run(problem, frames, combined))


def _track(problem: Problem, best: Poses, anchors: np.ndarray) -> None:
    """Solves every frame in runs along time, each run from its nearest anchor."""
    total = problem.n_frames
    length = max(1, -(-total // problem.bucket.lanes))
    n_runs = -(-total // length)
    frames = np.minimum(np.arange(n_runs * length), total - 1)
    nearest = anchors[np.abs(frames[:, None] - anchors[None]).argmin(axis=1)]
    best.offer(frames, run(problem, frames, best.x[nearest], run_length=length))


def _exchange(
    problem: Problem,
    best: Poses,
    frames: np.ndarray,
    offsets: tuple[int, ...],
    free_angle: np.ndarray,
    options: SearchOptions,
    *,
    everywhere: bool,
) -> None:
    """Lets frames try their neighbours' solutions until nothing improves.

    Args:
        problem: The chunk.
        best: Solutions, improved in place.
        frames: Frames that take part, ascending; offsets count along this list.
        offsets: Which neighbours.
        free_angle: Whether each unknown is an angle.
        options: See ``SearchOptions``.
        everywhere: In the first sweep every frame tries, not only where two
            neighbours disagree.
    """
    fresh = np.ones(len(frames), bool)  # solutions that neighbours have not tried
    for sweep in range(options.max_sweeps):
        target, source = [], []
        for offset in (o for d in offsets for o in (d, -d)):
            here = np.arange(len(frames))
            there = here + offset
            ok = (there >= 0) & (there < len(frames))
            here, there = here[ok], there[ok]
            ok = fresh[there]
            if not (everywhere and sweep == 0):
                ok &= _disagree(best, frames[here], frames[there], free_angle, options)
            target.append(here[ok])
            source.append(there[ok])
        at, origin = np.concatenate(target), np.concatenate(source)
        if len(at) == 0:
            return
        solved = run(problem, frames[at], best.x[frames[origin]])
        changed = best.offer(frames[at], solved)
        fresh = np.isin(frames, changed)
        if not fresh.any():
            return


def _disagree(
    best: Poses,
    here: np.ndarray,
    there: np.ndarray,
    free_angle: np.ndarray,
    options: SearchOptions,
) -> np.ndarray:
    gap = best.x[here][:, free_angle] - best.x[there][:, free_angle]
    gap = np.abs((gap + np.pi) % (2 * np.pi) - np.pi)
    return gap.max(axis=1, initial=0.0) > options.jump_rad
