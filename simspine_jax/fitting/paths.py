"""The path through the poses of a trial that is best as a whole.

A frame searched on its own may end in another pose than its neighbours at nearly the
same cost: an arm turned about itself, a trunk bent the other way. Where neighbours
jump, the pose before is carried on and the pose after is carried back, which gives the
frames between several poses to choose from. Dynamic programming then takes the path
that is best in the cost of its poses and the size of its jumps together. This works
on any model, as nothing is assumed of its joints.

Source: Viterbi, Error Bounds for Convolutional Codes, 1967.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.fitting.ik_queue import Problem, run
from simspine_jax.fitting.ik_search_options import SearchOptions

_SPEED = 5.0  # rad/s and m/s; SD of a step times the frame rate
_CAP = 30.0  # in SDs; a longer jump costs no more, the pose may be open there
_REACH = 24  # frames that a pose is carried
_ROUNDS = 6
_MOST = 8  # poses kept for a frame


@dataclass(frozen=True)
class Path:
    """A path: poses [T, n], and the frames that left the best pose they had alone."""

    x: np.ndarray
    changed: np.ndarray


def best_path(
    problem: Problem,
    x: Float[np.ndarray, "t n"],
    cost: Float[np.ndarray, " t"],
    scale: Float[np.ndarray, " t"],
    rate_hz: float,
    angle: np.ndarray,
    options: SearchOptions,
) -> Path:
    """Chooses poses that go on smoothly where they cost nearly the same.

    Args:
        problem: The chunk, frames without markers left out.
        x: Best pose of each frame, without whole turns.
        cost: Its cost as the solver has it.
        scale: Times the cost: the negative logarithm of the likelihood.
        rate_hz: Frames per second.
        angle: Whether each unknown is an angle. Shape [n].
        options: Of the search: what a jump is, and the solver's limits.
    """
    poses, costs = x[:, None], (cost * scale)[:, None]  # [T, K, n], [T, K]
    chosen = np.zeros(len(x), int)
    path = x
    tried: set[tuple[int, int, bytes]] = set()
    key = lambda t, way: (t, way, path[t].round(3).tobytes())
    step_sd = _SPEED / rate_hz
    for _ in range(_ROUNDS):
        gap = _jump(path[:-1], path[1:], angle)
        jumps = np.flatnonzero(gap > options.jump_rad).tolist()
        starts = [(t, 1) for t in jumps] + [(t + 1, -1) for t in jumps]
        starts = [s for s in starts if key(*s) not in tried]
        if not starts:
            break
        tried |= {key(*s) for s in starts}
        poses, costs = _carried(problem, path, starts, scale, poses, costs, options)
        chosen = _cheapest(poses, costs, step_sd, angle)
        path = poses[np.arange(len(x)), chosen]
    changed = _jump(path, x, angle) > options.jump_rad
    return Path(path, changed)


def _carried(problem, path, starts, scale, poses, costs, options):
    """Carries poses along time and adds them to those to choose from."""
    total = len(path)
    reach = min(_REACH, total)
    origin, way = np.array(starts).T
    along = origin[:, None] + way[:, None] * np.arange(1, reach + 1)
    inside = ((along >= 0) & (along < total)).ravel()
    at = np.clip(along, 0, total - 1).ravel()
    start = np.repeat(path[origin], reach, axis=0)
    fine = options.fine
    solved = run(problem, at, start, run_length=reach, options=fine)
    at, found, cost = at[inside], solved.x[inside], solved.total[inside]
    # Row after row of one new pose for every frame that got one.
    order = np.argsort(at, kind="stable")
    at, found, cost = at[order], found[order], cost[order]
    first = np.searchsorted(at, at)
    column = np.arange(len(at)) - first
    width = poses.shape[1]
    new = np.repeat(path[:, None], column.max(initial=-1) + 1, axis=1)
    price = np.full(new.shape[:2], np.inf)
    new[at, column], price[at, column] = found, cost * scale[at]
    poses = np.concatenate([poses, new], axis=1)
    costs = np.concatenate([costs, price], axis=1)
    if poses.shape[1] <= _MOST:
        return poses, costs
    # The first is each frame's own best; the last ones are the newest.
    keep = np.argsort(costs[:, 1:], axis=1, kind="stable")[:, : max(_MOST, width) - 1]
    keep = np.concatenate([np.zeros((total, 1), int), keep + 1], axis=1)
    rows = np.arange(total)[:, None]
    return poses[rows, keep], costs[rows, keep]


def _cheapest(
    poses: np.ndarray, costs: np.ndarray, step_sd: float, angle: np.ndarray
) -> np.ndarray:
    """Returns the pose of each frame on the cheapest path. Shape [T]."""
    total, width = costs.shape
    back = np.zeros((total, width), int)
    price = costs[0]
    for t in range(1, total):
        step = poses[t - 1][:, None] - poses[t][None]
        step[..., angle] = _wrapped(step[..., angle])
        size = np.minimum((step / step_sd) ** 2, _CAP**2).sum(axis=-1)
        through = price[:, None] + 0.5 * size
        back[t] = through.argmin(axis=0)
        price = through.min(axis=0) + costs[t]
    chosen = np.zeros(total, int)
    chosen[-1] = price.argmin()
    for t in range(total - 1, 0, -1):
        chosen[t - 1] = back[t, chosen[t]]
    return chosen


def _jump(a: np.ndarray, b: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns the largest change of an angle, whole turns taken out, rad."""
    gap = np.abs(_wrapped(a[:, angle] - b[:, angle]))
    return gap.max(axis=1, initial=0.0)


def _wrapped(turn: np.ndarray) -> np.ndarray:
    return (turn + np.pi) % (2 * np.pi) - np.pi
