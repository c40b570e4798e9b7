"""The inverse-kinematics objective as a batched least-squares problem.

Notation: frame t, marker m with weight w_m(t) >= 0 (0 where missing), residual r_m,
coordinate tasks c with weight w_c and target q*_c, unknowns x = the columns of the
free coordinates that markers or tasks can move. The objective is

    opensim:    1/2 sum_m w_m |r_m|^2 / W  +  1/2 sum_c w_c (q_c - q*_c)^2
    normalised: 1/2 (sum_m w_m |r_m|^2 + sum_c w_c (q_c - q*_c)^2) / W

with W = sum_m w_m over the markers present in the frame, m^2 and rad^2. A robust loss
puts ``rho(|r_m|^2)`` in the place of ``|r_m|^2`` (``core.robust``).

Source: OpenSim 4.6 ``AssemblyCondition_Markers::calcGoal`` and
``AssemblyCondition_QValue``; the first form is its objective exactly.
"""

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from simspine_jax.body import couplers
from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.body.normal_equations import normal_equations
from simspine_jax.core import robust
from simspine_jax.core.levenberg_marquardt import Evaluation
from simspine_jax.core.robust import RobustLoss
from simspine_jax.types import Array

_EXACT = jax.lax.Precision.HIGHEST


@struct.dataclass
class IkData:
    """What the frames ask for.

    Attributes:
        points: Observed markers, m; 0 where missing. Shape [T, M, 3].
        weight: Marker weight over W; 0 where missing. Shape [T, M].
        task_target: Targets of the coordinate tasks, rad or m. Shape [T, C].
        task_weight: Weight of each coordinate term as it enters. Shape [T, C].
        total: W, the sum of the marker weights; 0 without markers. Shape [T].
    """

    points: Array
    weight: Array
    task_target: Array
    task_weight: Array
    total: Array


@struct.dataclass
class Blocks:
    """Block of each marker and coordinate task, one-hot. Shapes [M, K], [C, K]."""

    marker: Array
    task: Array


def data_of(
    points: Float[Array, "t m 3"],
    weight: Float[Array, "t m"],
    target: Float[Array, "t c"],
    task_weight: Float[Array, " c"],
    normalised: bool,
    xp: ModuleType = jnp,
) -> IkData:
    """Returns what frames ask for.

    Args:
        points: Observed markers, m.
        weight: Of each; 0 where missing.
        target: Of the coordinate tasks, rad or m.
        task_weight: Of the coordinate tasks.
        normalised: Which objective.
        xp: ``jax.numpy`` or ``numpy``.
    """
    total = xp.sum(weight, axis=1, keepdims=True)
    safe = xp.where(total > 0, total, 1.0)
    held = xp.broadcast_to(task_weight[None], target.shape)
    held = held / safe if normalised else held
    return IkData(points, weight / safe, target, held, total[:, 0])


def single_block(markers: int, tasks: int, dtype: np.dtype) -> Blocks:
    """Returns the one block of problems that are not cut."""
    return Blocks(jnp.ones((markers, 1), dtype), jnp.ones((tasks, 1), dtype))


def evaluate(
    model: Model,
    columns: tuple[int, ...],
    tasked: tuple[int, ...],
    blocks: Blocks,
    base: Float[Array, " f"],
    x: Float[Array, "w n"],
    data: IkData,
    loss: RobustLoss | None = None,
    precision: type | np.dtype = jnp.float32,
) -> Evaluation:
    """Returns cost by block, gradient and Gauss-Newton Hessian of every lane.

    Args:
        model: Model whose markers are those of ``data``, in its order.
        columns: Unknowns, as indices into the free coordinates.
        tasked: Coordinates with a task, as indices into all coordinates.
        blocks: See ``Blocks``.
        base: Free coordinates; those that are not unknowns keep these values.
        x: Unknowns of each lane.
        data: Observations of each lane.
        loss: Of the marker distances; None for least squares.
        precision: Of gradient and Hessian.
    """
    q_free = place(columns, x, base)
    square, gradient, hessian = normal_equations(
        model, q_free.T, columns, data.points, data.weight, precision, loss
    )
    cost = 0.5 * jnp.matmul(square, blocks.marker, precision=_EXACT)
    if tasked:
        miss, rows = task_terms(model, columns, tasked, q_free, data.task_target)
        pull = data.task_weight * miss
        push = jnp.einsum("wc,wcn->wn", pull, rows, precision=_EXACT)
        gradient = gradient + push.astype(gradient.dtype)
        weighted = rows * data.task_weight[:, :, None]
        bend = jnp.matmul(rows.mT, weighted, precision=_EXACT)
        hessian = hessian + bend.astype(hessian.dtype)
        cost = cost + 0.5 * jnp.matmul(pull * miss, blocks.task, precision=_EXACT)
    return Evaluation(cost, gradient, hessian)


def place(
    columns: tuple[int, ...], x: Float[Array, "w n"], base: Float[Array, " f"]
) -> Float[Array, "w f"]:
    """Returns all free coordinates from the unknowns and the base values."""
    still = [k for k in range(base.shape[0]) if k not in columns]
    rest = jnp.broadcast_to(base[np.asarray(still, int)], (x.shape[0], len(still)))
    order = np.argsort([*columns, *still])
    return jnp.concatenate([x, rest], axis=1)[:, order]


def task_terms(
    model: Model,
    columns: tuple[int, ...],
    tasked: tuple[int, ...],
    q_free: Float[Array, "w f"],
    target: Float[Array, "w c"],
) -> tuple[Float[Array, "w c"], Float[Array, "w c n"]]:
    """Returns ``q_c - q*_c`` and its derivative in the unknowns."""
    q, slope = couplers.expand_lanes(model, q_free.T)
    index = np.asarray(tasked, int)
    root = couplers.driving_free(model.topology)
    picks = np.array([[float(root.get(c, -1) == k) for k in columns] for c in tasked])
    rows = slope[index].T[:, :, None] * jnp.asarray(picks, q.dtype)[None]
    return q[index].T - target, rows


def outcome(
    model: Model,
    columns: tuple[int, ...],
    tasked: tuple[int, ...],
    base: Float[Array, " f"],
    x: Float[Array, "w n"],
    data: IkData,
    loss: RobustLoss | None = None,
) -> tuple[
    Float[jax.Array, "w q"],
    Float[jax.Array, " w"],
    Float[jax.Array, " w"],
    Float[jax.Array, "w m"],
]:
    """Returns coordinates, marker part, task part and marker distances, m."""
    q = model.expand(place(columns, x, base))
    distance2 = jnp.sum((marker_positions(model, q) - data.points) ** 2, axis=2)
    counted, _ = robust.apply(loss, distance2)
    marker = 0.5 * jnp.sum(data.weight * counted, axis=1)
    miss = q[:, np.asarray(tasked, int)] - data.task_target
    task = 0.5 * jnp.sum(data.task_weight * miss**2, axis=1)
    return q, marker, task, jnp.sqrt(jnp.where(data.weight > 0, distance2, 0.0))
