"""Exchange of poses between the frames of a chunk.

Every frame keeps the best pose found for it. Where neighbouring frames disagree one
tries the other's pose for a few steps, goes on if that looks hopeful, and a pose that
wins is carried along time while it wins.
"""

from dataclasses import dataclass, replace

import numpy as np

from simspine_jax.fitting.ik_queue import Problem, Solved, run
from simspine_jax.fitting.ik_search_options import SearchOptions

# A cost must be lower by this share to be taken; below it is rounding.
_BETTER = 1e-9
# A start whose cost is still above this multiple of the best after a few steps is
# given up.
_HOPEFUL = 1.02


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


def exchange(
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
    hopeful, x = _probe(problem, best, frames[here], start, free_angle, options)
    at = frames[here][hopeful]
    if len(at) == 0:
        return
    solved = run(problem, at, x[hopeful], options=options.fine)
    changed = best.offer(at, solved, options.another)
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
