"""Runs starting points for frames through the compiled solver.

Every call pads to the same number of frames, problems and lanes, so that one
compilation serves trials of any length, searches and sweeps alike.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from simspine_jax.body.model import Model
from simspine_jax.core import levenberg_marquardt as lm
from simspine_jax.core.robust import RobustLoss
from simspine_jax.fitting import ik_problem
from simspine_jax.fitting.ik_problem import Blocks, IkData


@dataclass(frozen=True)
class Bucket:
    """Padded sizes of one call."""

    frames: int
    problems: int
    lanes: int


@dataclass(frozen=True)
class Problem:
    """A chunk of frames ready to be solved; arrays are NumPy, padded to the bucket.

    Attributes:
        solver_model: Model with the shared markers and the bodies that carry them.
        columns: Unknowns, as indices into the free coordinates.
        tasked: Coordinates with a task, as indices into all coordinates.
        base: Free coordinates that the unknowns are placed into. Shape [F].
        lower: Lower limit of each unknown. Shape [n].
        upper: Upper limit. Shape [n].
        block: Block of each unknown (0 is the trunk). Shape [n].
        marker_block: Block of each marker. Shape [M].
        task_block: Block of each coordinate task. Shape [C].
        n_blocks: Number of blocks.
        data: Observations, padded. Leading axis ``bucket.frames``.
        n_frames: Frames that are real.
        loss: Of the marker distances; None for least squares.
        bucket: Padded sizes.
    """

    solver_model: Model
    columns: tuple[int, ...]
    tasked: tuple[int, ...]
    base: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    block: np.ndarray
    marker_block: np.ndarray
    task_block: np.ndarray
    n_blocks: int
    data: IkData
    n_frames: int
    loss: RobustLoss | None
    bucket: Bucket


@dataclass(frozen=True)
class Solved:
    """Results by problem: unknowns [P, n], cost by block [P, K], status, steps [P]."""

    x: np.ndarray
    cost: np.ndarray
    status: np.ndarray
    steps: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Cost summed over blocks. Shape [P]."""
        return self.cost.sum(axis=1)


def run(
    problem: Problem,
    frames: np.ndarray,
    start: np.ndarray,
    *,
    run_length: int = 1,
    only_limbs: bool = False,
    options: lm.LmOptions | None = None,
    goal: np.ndarray | None = None,
) -> Solved:
    """Solves frames from given starting points.

    Args:
        problem: The chunk.
        frames: Frame of each problem. Shape [P].
        start: Starting unknowns. Shape [P, n].
        run_length: Problems form runs of this length; within a run each starts from
            the solution of the one before it, and its own start is ignored.
        only_limbs: Hold the trunk and solve all limbs, each on its own.
        options: Limits of the solver.
        goal: A run is left when a problem does not end below this cost; the rest of
            the run keeps an infinite cost. Shape [P].

    Returns:
        Results in the order of the problems.
    """
    bucket = problem.bucket
    if goal is None:
        goal = np.full(len(frames), np.inf)
    size = bucket.problems // run_length * run_length
    parts = [
        _run_part(
            problem,
            frames[i : i + size],
            start[i : i + size],
            goal[i : i + size],
            run_length,
            only_limbs,
            options or lm.LmOptions(),
        )
        for i in range(0, max(len(frames), 1), size)
    ]
    return Solved(*(np.concatenate(p) for p in zip(*parts, strict=True)))


def _run_part(
    problem: Problem,
    frames: np.ndarray,
    start: np.ndarray,
    goal: np.ndarray,
    run_length: int,
    only_limbs: bool,
    options: lm.LmOptions,
) -> tuple[np.ndarray, ...]:
    bucket, count = problem.bucket, len(frames)
    padded = np.zeros((bucket.problems, start.shape[1]), start.dtype)
    padded[:count] = start
    below = np.full(bucket.problems, np.inf, start.dtype)
    below[:count] = goal
    frame = np.zeros(bucket.problems, np.int32)
    frame[:count] = frames
    block = problem.block if only_limbs else np.zeros_like(problem.block)
    marker_block = problem.marker_block if only_limbs else 0 * problem.marker_block
    task_block = problem.task_block if only_limbs else 0 * problem.task_block
    one_hot = np.eye(problem.n_blocks, dtype=start.dtype)
    movable = (problem.block > 0) if only_limbs else np.ones(len(problem.block), bool)
    out = _solve(
        problem.solver_model,
        problem.base,
        problem.data,
        frame,
        lm.Queue(
            padded, below, np.asarray(run_length, np.int32), np.asarray(count, np.int32)
        ),
        problem.lower,
        problem.upper,
        movable,
        block,
        Blocks(one_hot[marker_block], one_hot[task_block]),
        options,
        problem.loss,
        columns=problem.columns,
        tasked=problem.tasked,
        lanes=bucket.lanes,
    )
    out = jax.device_get(out)
    return tuple(np.asarray(a)[:count] for a in out)


@partial(jax.jit, static_argnames=("columns", "tasked", "lanes"))
def _solve(
    model: Model,
    base,
    data: IkData,
    frame,
    queue: lm.Queue,
    lower,
    upper,
    movable,
    block,
    blocks: Blocks,
    options: lm.LmOptions,
    loss: RobustLoss | None,
    *,
    columns: tuple[int, ...],
    tasked: tuple[int, ...],
    lanes: int,
) -> lm.Solutions:
    base = jnp.asarray(base)
    evaluate = lambda x, t: ik_problem.evaluate(
        model,
        columns,
        tasked,
        blocks,
        base,
        x,
        jax.tree.map(lambda a: a[t], data),
        loss,
    )
    return lm.solve(
        evaluate,
        frame,
        queue,
        lower,
        upper,
        movable,
        block,
        blocks.marker.shape[1],
        lanes,
        options,
        np.float32,
    )
