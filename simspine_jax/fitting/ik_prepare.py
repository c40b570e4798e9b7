"""Turns a model, a trial and tasks into the arrays that the solver reads."""

from dataclasses import dataclass, replace

import jax
import numpy as np

from simspine_jax.body.couplers import driving_free
from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.model import Model
from simspine_jax.core.robust import RobustLoss
from simspine_jax.fitting import ik_problem, limbs
from simspine_jax.fitting.ik_problem import IkData
from simspine_jax.fitting.ik_queue import Bucket, Problem
from simspine_jax.types import IkTasks, MarkerTrajectory

OBJECTIVES = ("opensim", "normalised")


@dataclass(frozen=True)
class Plan:
    """What does not change from chunk to chunk of a trial.

    Attributes:
        model: The model with only the markers used, in the model's order.
        solver_model: The same without the bodies that carry no marker, on the device.
        marker_names: Those markers.
        weights: Their weights. Shape [M].
        tasks: The tasks asked for.
        tasked: Coordinates with a task, as indices into all coordinates.
        task_weights: Their weights. Shape [C].
        columns: Unknowns, as indices into the free coordinates.
        normalised: Whether coordinate terms are divided like marker terms.
        dtype: Precision of unknowns and costs.
        loss: Of the marker distances; None for least squares.
        block: Block of each unknown (0 is the trunk). Shape [n].
        marker_block: Block of each marker. Shape [M].
        task_block: Block of each coordinate task. Shape [C].
        n_blocks: Number of blocks.
    """

    model: Model
    solver_model: Model
    marker_names: tuple[str, ...]
    weights: np.ndarray
    tasks: IkTasks
    tasked: tuple[int, ...]
    task_weights: np.ndarray
    columns: tuple[int, ...]
    normalised: bool
    dtype: np.dtype
    loss: RobustLoss | None
    block: np.ndarray
    marker_block: np.ndarray
    task_block: np.ndarray
    n_blocks: int

    @property
    def unknowns(self) -> np.ndarray:
        """Unknowns as indices into all coordinates. Shape [n]."""
        free = np.asarray(self.model.topology.free, int)
        return free[np.asarray(self.columns, int)]


def plan(
    model: Model,
    names: tuple[str, ...],
    tasks: IkTasks | None,
    objective: str,
    dtype: np.dtype,
    loss: RobustLoss | None = None,
) -> Plan:
    """Decides markers, unknowns and blocks.

    Args:
        model: Compiled model.
        names: Markers of the trajectory.
        tasks: What to follow; None for every shared marker with weight 1.
        objective: "opensim" or "normalised".
        dtype: Precision of unknowns and costs.
        loss: Of the marker distances; None for least squares.

    Raises:
        ValueError: No marker in common, an unknown coordinate in a task, or an
            unknown objective.
    """
    if objective not in OBJECTIVES:
        raise ValueError(
            f"objective {objective!r} is not known; choose one of {OBJECTIVES}"
        )
    if tasks is None:
        tasks = IkTasks(dict.fromkeys(names, 1.0))
    wanted = {n: w for n, w in tasks.marker_weights.items() if w > 0}
    if tasks.marker_weights and not wanted:
        raise ValueError(
            f"all {len(tasks.marker_weights)} marker weights are zero; at least one "
            "marker must count"
        )
    used = [n for n in model.marker_names if n in wanted and n in names]
    if not used:
        raise ValueError(
            "no marker is shared by model, trajectory and tasks: the model has "
            f"{_some(model.marker_names)}, the trajectory {_some(names)}, the tasks "
            f"{_some(tuple(wanted))}"
        )
    held = [t for t in tasks.coordinate_tasks if t.weight > 0]
    for task in held:
        if task.name not in model.coordinate_names:
            raise ValueError(
                f"a task holds coordinate {task.name!r}, which the model does not "
                f"have; it has {_some(model.coordinate_names)}"
            )
    tasks = replace(tasks, coordinate_tasks=tuple(held))
    small = select_markers(model, tuple(used))
    topology = small.topology
    tasked = tuple(model.coordinate_names.index(t.name) for t in held)
    root = driving_free(topology)
    pulled = tuple(root[c] for c in tasked if c in root)
    columns = limbs.movable_columns(topology, pulled)
    block, marker_block, n_blocks = limbs.limb_blocks(topology, columns)
    place = {c: k for k, c in enumerate(columns)}
    task_block = [block[place[root[c]]] if c in root else 0 for c in tasked]
    return Plan(
        model=small.with_dtype(dtype),
        solver_model=carrying_bodies(small).with_dtype(dtype),
        marker_names=tuple(used),
        weights=np.array([wanted[n] for n in used], dtype),
        tasks=tasks,
        tasked=tasked,
        task_weights=np.array([t.weight for t in held], dtype),
        columns=columns,
        normalised=objective == "normalised",
        dtype=dtype,
        loss=loss,
        block=block,
        marker_block=marker_block,
        task_block=np.array(task_block, np.int32),
        n_blocks=n_blocks,
    )


def observations(plan: Plan, trajectory: MarkerTrajectory) -> IkData:
    """Returns what the frames of a trajectory ask for, NumPy, without padding."""
    index = [trajectory.names.index(n) for n in plan.marker_names]
    valid = np.asarray(trajectory.valid)[:, index]
    points = np.asarray(trajectory.points, plan.dtype)[:, index]
    points = np.where(valid[..., None], points, 0.0).astype(plan.dtype)
    weight = valid * plan.weights[None]
    if trajectory.weight is not None:
        weight = weight * np.asarray(trajectory.weight, plan.dtype)[:, index]
    target = np.tile(targets(plan), (len(points), 1))
    for k, task in enumerate(plan.tasks.coordinate_tasks):
        if task.series is not None:
            target[:, k] = np.interp(trajectory.times_s, *task.series)
    data = ik_problem.data_of(
        points, weight, target, plan.task_weights, plan.normalised, np
    )
    return jax.tree.map(lambda a: a.astype(plan.dtype), data)


def targets(plan: Plan) -> np.ndarray:
    """Returns the targets of the coordinate tasks that have one value. Shape [C]."""
    default = np.asarray(plan.model.default_q)
    tasks = zip(plan.tasked, plan.tasks.coordinate_tasks, strict=True)
    return np.array([default[c] if t.value is None else t.value for c, t in tasks])


def padded(data: IkData, frames: int) -> IkData:
    """Returns observations with empty frames behind them."""
    short = frames - len(data.points)
    pad = lambda a: np.concatenate([a, np.zeros((short, *a.shape[1:]), a.dtype)])
    return jax.tree.map(lambda a: pad(np.asarray(a)), data)


def chunk_problem(plan: Plan, data: IkData, bucket: Bucket) -> Problem:
    """Pads the observations of one chunk to the bucket and puts them on the device."""
    model = plan.model
    index = plan.unknowns
    return Problem(
        columns=plan.columns,
        tasked=plan.tasked,
        solver_model=plan.solver_model,
        base=np.asarray(model.default_q)[np.asarray(model.topology.free, int)],
        lower=np.asarray(model.lower)[index],
        upper=np.asarray(model.upper)[index],
        block=plan.block,
        marker_block=plan.marker_block,
        task_block=plan.task_block,
        n_blocks=plan.n_blocks,
        data=jax.device_put(padded(data, bucket.frames)),
        n_frames=len(data.points),
        loss=plan.loss,
        bucket=bucket,
    )


def starting_ranges(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns angles among the unknowns [n], start intervals [n, 2], root turns [n].

    Angles start anywhere in their limits, in a full turn where they have none;
    lengths within 0.1 m of zero and their range.
    """
    model, index = plan.model, plan.unknowns
    angle = np.asarray(model.coordinate_is_angle)[index]
    limits = np.stack([np.asarray(model.lower), np.asarray(model.upper)], 1)[index]
    written = np.clip(np.asarray(model.range)[index], -0.1, 0.1)
    turn = np.array([-np.pi, np.pi])
    spread = np.where(angle[:, None], np.clip(limits, *turn), written)
    topology = model.topology
    base = {e.free for e in driven_axes(topology) if topology.parents[e.body] < 0}
    root = np.array([c in base for c in plan.columns], bool) & angle
    return angle, spread.astype(plan.dtype), root


def select_markers(model: Model, names: tuple[str, ...]) -> Model:
    """Returns the model with only the named markers, in the given order."""
    topology = model.topology
    index = [topology.marker_names.index(n) for n in names]
    return replace(
        model,
        topology=replace(
            topology,
            marker_names=names,
            marker_bodies=tuple(topology.marker_bodies[i] for i in index),
        ),
        marker_offset=np.asarray(model.marker_offset)[index],
    )


def carrying_bodies(model: Model) -> Model:
    """Returns the model without the bodies that carry no marker.

    Coordinates and couplers stay, so that free coordinates keep their indices.
    """
    topology = model.topology
    carrying = sorted(
        {b for m in topology.marker_bodies for b in topology.ancestors(m)}
    )
    place = {b: k for k, b in enumerate(carrying)} | {-1: -1}
    rows = np.asarray(carrying, int)
    smaller = replace(
        topology,
        body_names=tuple(topology.body_names[b] for b in carrying),
        parents=tuple(place[topology.parents[b]] for b in carrying),
        levels=tuple(
            kept
            for level in topology.levels
            if (kept := tuple(place[b] for b in level if b in place))
        ),
        marker_bodies=tuple(place[b] for b in topology.marker_bodies),
        axis_sources=tuple(
            s for b in carrying for s in topology.axis_sources[6 * b : 6 * b + 6]
        ),
    )
    names = (
        "parent_rotation",
        "parent_translation",
        "child_rotation",
        "child_translation",
        "axis_direction",
        "axis_slope",
        "axis_offset",
        "axis_is_coordinate",
        "scale_factors",
    )
    return replace(
        model,
        topology=smaller,
        **{n: np.asarray(getattr(model, n))[rows] for n in names},
    )


def _some(names: tuple[str, ...], most: int = 8) -> str:
    shown = ", ".join(names[:most]) or "none"
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")
