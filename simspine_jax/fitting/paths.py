"""The path through the poses of a trial that is best as a whole.

A frame searched on its own may end in another pose than its neighbours at nearly the
same cost: an arm turned about itself, a trunk bent the other way. Poses of some frames
are carried on and back along time (``tracking``), and where the path jumps the poses on
both sides are, which gives every frame several poses to choose from. Dynamic
programming takes the path that is best in the cost of its poses and the size of its
jumps together. This works on any model, as nothing is assumed of its joints.

Source: Viterbi, Error Bounds for Convolutional Codes, 1967.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.fitting import tracking
from simspine_jax.fitting.ik_queue import Problem, run
from simspine_jax.fitting.ik_search_options import SearchOptions

_SPEED = 5.0  # rad/s and m/s; SD of a step times the frame rate
_CAP = 30.0  # in SDs; a longer jump costs no more, the pose may be open there
_STRIDE, _REACH = 32, 64  # frames between poses that are carried, and how far
_SHORT = 24  # how far from a jump
_ROUNDS = 5
_MOST = 16  # poses kept for a frame


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
    default: np.ndarray,
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
        default: Unknowns of the default pose; its nearest minimum is tried as well.
            Shape [n].
        options: Of the search: what a jump is, and the solver's limits.
    """
    poses, costs = x[:, None], (cost * scale)[:, None]  # [T, K, n], [T, K]
    step_sd = _SPEED / rate_hz
    path = x
    total = len(x)
    every = np.arange(min(_STRIDE // 2, total - 1), total, _STRIDE)
    near = run(problem, every, np.tile(default, (len(every), 1)), options=options.fine)
    origin, way = np.tile(every, 4), np.repeat([1, -1, 1, -1], len(every))
    start = np.concatenate([x[every], x[every], near.x, near.x])
    reach = _REACH
    tried: set[tuple[int, int, bytes]] = set()
    for _ in range(_ROUNDS):
        along = origin[:, None] + way[:, None] * np.arange(min(reach, total))
        inside = (along >= 0) & (along < total)
        frames = np.clip(along, 0, total - 1)
        found, price = tracking.track(problem, frames, start, scale, step_sd)
        poses, costs = _with_more(
            poses, costs, frames[inside], found[inside], price[inside]
        )
        path = poses[np.arange(total), _cheapest(poses, costs, step_sd, angle)]
        keys = [_key(t, w, s) for t, w, s in zip(origin, way, start, strict=True)]
        tried.update(keys)
        gap = _jump(path[:-1], path[1:], angle)
        jumps = np.flatnonzero(gap > options.jump_rad)
        origin = np.concatenate([jumps, jumps + 1])
        way = np.repeat([1, -1], len(jumps))
        new = [
            _key(t, w, path[t]) not in tried for t, w in zip(origin, way, strict=True)
        ]
        origin, way = origin[new], way[new]
        start, reach = path[origin], _SHORT
        if not len(origin):
            break
    return Path(path, _jump(path, x, angle) > options.jump_rad)


def _key(
    frame: int | np.integer, way: int | np.integer, pose: np.ndarray
) -> tuple[int, int, bytes]:
    return int(frame), int(way), pose.round(3).tobytes()


def _with_more(
    poses: np.ndarray,
    costs: np.ndarray,
    frames: np.ndarray,
    found: np.ndarray,
    price: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Adds poses to those that frames may choose from; the oldest give way."""
    order = np.argsort(frames, kind="stable")
    at = frames[order]
    column = np.arange(len(at)) - np.searchsorted(at, at)
    new = np.repeat(poses[:, :1], column.max(initial=-1) + 1, axis=1)
    dear = np.full(new.shape[:2], np.inf)
    new[at, column], dear[at, column] = found[order], price[order]
    poses = np.concatenate([poses, new], axis=1)
    costs = np.concatenate([costs, dear], axis=1)
    surplus = max(poses.shape[1] - _MOST, 0)
    kept = np.r_[0, 1 + surplus : poses.shape[1]]  # the first is the best alone
    return poses[:, kept], costs[:, kept]


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
