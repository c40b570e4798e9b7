"""Global search for the pose of every frame of a chunk.

A single start ends in a wrong limb pose on most frames of a real trial (design
decision 7). The search: a few frames (anchors) are solved from several whole-body
starts, then all their limbs are restarted from many poses at once with the trunk
held, each limb keeping its best; the anchors exchange solutions; the other frames
are tracked from them; and where neighbouring frames disagree each tries the
other's solution until nothing improves.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from simspine_jax.core.levenberg_marquardt import LmOptions
from simspine_jax.fitting.ik_queue import Problem, Solved, run

# A cost must be lower by this share to be taken; below it is rounding.
_BETTER = 1e-9
# A start whose cost is still above this multiple of the best after a few steps is
# given up.
_HOPEFUL = 1.02
# Elbows near straight leave a curved valley: with these, tracking the flex model
# took 13 evaluations a frame instead of 20.
_LEAST_DAMPING = 1e-3
_LONGEST_STEP = 0.7  # rad, m


@dataclass(frozen=True)
class SearchOptions:
    """How hard the global search tries.

    Attributes:
        anchor_stride: Frames between anchors ...
        max_anchors: ... but at most this many in a chunk.
        body_starts: Whole-body starts of every anchor.
        limb_starts: Limb poses tried at every anchor in one round.
        limb_rounds: Rounds of limb restarts, each with the trunk improved.
        long_trial: From this many frames on a chunk has so many anchors' worth of
            neighbours that each gets a quarter of the starts and one round.
        another: A cost must be lower by this share to be another pose rather than a
            better converged one; 30 times as much in a long trial.
        neighbours: Frame offsets whose solutions a frame tries, in trials so short
            that every frame can try all; in longer ones only the next and the last
            frame are tried, where they disagree.
        wave: Frames that a better pose is carried along at most at once.
        jump_rad: Neighbouring frames that differ by more in any angle disagree.
        max_sweeps: Sweeps of exchange between neighbours.
        tolerance: Relative tolerance of the poses that are returned.
        rough: Solver limits while only the right valley is sought.
        probe_steps: Steps after which a neighbour's solution must look hopeful.
        seed: Seed of the starting poses; the search is deterministic.
    """

    anchor_stride: int = 5
    max_anchors: int = 16
    body_starts: int = 8
    limb_starts: int = 32
    limb_rounds: int = 2
    long_trial: int = 1024
    another: float = 3e-5
    neighbours: tuple[int, ...] = (1, 2, 5)
    wave: int = 64
    jump_rad: float = 0.35
    max_sweeps: int = 40
    tolerance: float = 1e-5
    rough: LmOptions = field(
        default_factory=lambda: LmOptions(
            max_steps=40,
            relative_tolerance=1e-3,
            least_damping=_LEAST_DAMPING,
            longest_step=_LONGEST_STEP,
        )
    )
    probe_steps: int = 3
    seed: int = 0

    @property
    def fine(self) -> LmOptions:
        """Solver limits of the poses that are returned."""
        return replace(self.rough, max_steps=60, relative_tolerance=self.tolerance)


@dataclass
class Poses:
    """Best solution so far of every frame: x [T, n], cost, status, steps [T]."""

    x: np.ndarray
    cost: np.ndarray
    status: np.ndarray
    steps: np.ndarray

    def offer(
        self, frames: np.ndarray, solved: Solved, another: float = 0.0
    ) -> np.ndarray:
        """Takes every better solution; returns frames better by more than a share."""
        cost = solved.total
        order = np.lexsort((cost, frames))
        first = np.ones(len(order), bool)
        first[1:] = frames[order][1:] != frames[order][:-1]
        best = order[first]
        self.steps += np.bincount(
            frames, weights=solved.steps, minlength=len(self.steps)
        ).astype(int)
        best = best[cost[best] < self.cost[frames[best]] * (1 - _BETTER)]
        at = frames[best]
        much = at[cost[best] < self.cost[at] * (1 - another)]
        self.x[at], self.cost[at] = solved.x[best], cost[best]
        self.status[at] = solved.status[best]
        return much


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
        np.full(total, 4, np.int32),
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
    _exchange(problem, best, anchors, (1, 2), free_angle, options, everywhere=True)

    _track(problem, best, anchors, options)
    if problem.n_blocks > 1:
        between = np.linspace(0, total - 1, len(anchors) + 1).round().astype(int)
        _restart_limbs(problem, best, np.unique(between), spread, rng, options)
    few = total * 2 * len(options.neighbours) <= problem.bucket.problems
    every = np.arange(total)
    _exchange(
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
        everywhere: In the first sweep every frame tries all its neighbours, not only
            one that disagrees and fits better.
    """
    here, there = _pairs(len(frames), offsets)
    if not everywhere:
        gap = _gap(best.x[frames[here]], best.x[frames[there]], free_angle)
        # Most of what there is to win comes from the neighbour that fits better.
        ok = (gap > options.jump_rad) & (
            best.cost[frames[there]] < best.cost[frames[here]]
        )
        here, there = here[ok], there[ok]
    start = best.x[frames[there]]
    changed = _try(problem, best, frames[here], start, free_angle, options)
    for _ in range(options.max_sweeps):
        here, there = _pairs(len(frames), (1,))
        gap = _gap(best.x[frames[here]], best.x[frames[there]], free_angle)
        ok = np.isin(frames[there], changed) & (gap > options.jump_rad)
        if not ok.any():
            return
        origin, way = there[ok], (here - there)[ok]
        at, start = frames[here[ok]], best.x[frames[origin]]
        hopeful = np.ones(len(at), bool)
        if not everywhere:
            hopeful = _probe(problem, best, at, start, free_angle, options)[0]
        if not hopeful.any():
            return
        changed = _carry(problem, best, frames, origin[hopeful], way[hopeful], options)


def _pairs(count: int, offsets: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns every index and its neighbours on both sides, flat."""
    here = np.concatenate([np.arange(count)] * (2 * len(offsets)))
    there = here + np.repeat([s * o for o in offsets for s in (1, -1)], count)
    ok = (there >= 0) & (there < count)
    return here[ok], there[ok]


def _carry(
    problem: Problem,
    best: Poses,
    frames: np.ndarray,
    origin: np.ndarray,
    direction: np.ndarray,
    options: SearchOptions,
) -> np.ndarray:
    """Carries poses along time while they win; returns the frames that changed."""
    # Lanes that would idle start further along.
    runs = int(np.clip(problem.bucket.lanes // len(origin), 1, options.wave // 4))
    length = options.wave // runs
    along = origin[:, None] + direction[:, None] * np.arange(1, runs * length + 1)
    inside = (along >= 0) & (along < len(frames))
    at = frames[np.clip(along, 0, len(frames) - 1)].ravel()
    goal = np.where(inside.ravel(), best.cost[at] * (1 - options.another), -np.inf)
    start = np.repeat(best.x[frames[origin]], runs * length, axis=0)
    solved = run(problem, at, start, run_length=length, options=options.fine, goal=goal)
    return best.offer(at, solved, options.another)


def _try(
    problem: Problem,
    best: Poses,
    frames: np.ndarray,
    start: np.ndarray,
    free_angle: np.ndarray,
    options: SearchOptions,
) -> np.ndarray:
    """Tries starts for frames; returns the frames that took another pose."""
    hopeful, x = _probe(problem, best, frames, start, free_angle, options)
    frames, start = frames[hopeful], x[hopeful]
    if len(frames) == 0:
        return frames
    solved = run(problem, frames, start, options=options.fine)
    return best.offer(frames, solved, options.another)


def _probe(
    problem: Problem,
    best: Poses,
    frames: np.ndarray,
    start: np.ndarray,
    free_angle: np.ndarray,
    options: SearchOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Takes a few steps from each start and returns whether to go on, and from where.

    A start is given up if its cost is not near the best by then, or if it is on its
    way to the pose that the frame has already.
    """
    if len(frames) == 0:
        return np.zeros(0, bool), start
    few = replace(options.fine, max_steps=options.probe_steps)
    probe = run(problem, frames, start, options=few)
    now = best.x[frames]
    lower = probe.total < best.cost[frames] * (1 - options.another)
    near = probe.total < best.cost[frames] * _HOPEFUL
    apart = _gap(probe.x, now, free_angle) > 0.5 * _gap(start, now, free_angle)
    return lower | (near & apart), probe.x


def _gap(a: np.ndarray, b: np.ndarray, free_angle: np.ndarray) -> np.ndarray:
    """Returns the largest angle between poses, whole turns taken out, rad. [P]."""
    gap = a[:, free_angle] - b[:, free_angle]
    gap = np.abs((gap + np.pi) % (2 * np.pi) - np.pi)
    return gap.max(axis=1, initial=0.0)
