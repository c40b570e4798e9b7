"""The joint problem of smooth trials: every frame's own part, and the prior.

Its numbers are pytree leaves, so that trials of one padded size share a compilation.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from simspine_jax.body.curvature import residual_curvature
from simspine_jax.body.model import Model
from simspine_jax.core import temporal_lm, temporal_prior
from simspine_jax.core.robust import RobustLoss
from simspine_jax.core.temporal_lm import Frames, Smoothed, Windows
from simspine_jax.core.temporal_prior import Prior
from simspine_jax.fitting import ik_problem
from simspine_jax.fitting.ik_problem import IkData

_LANES = 64  # frames evaluated together: bounds memory


@struct.dataclass
class JointProblem:
    """Frames of all trials behind one another, padded: T frames, n unknowns.

    Attributes:
        model: As the solver takes it.
        base: Free coordinates where nothing is unknown. Shape [F].
        data: Markers and tasks of the frames.
        scale: What each frame's objective counts in the joint cost. Shape [T].
        x: Unknowns to start from. Shape [T, n].
        stiffness: Of the prior, see ``temporal_prior``. Shape [n].
        linked: Whether the prior's difference at a frame counts. Shape [T].
        fixed: Frames that stay as they are. Shape [T].
        lower: Lower limits of the unknowns. Shape [n].
        upper: Upper limits. Shape [n].
        loss: Of the marker distances.
        columns: Unknowns among the free coordinates.
        tasked: Coordinates with a task.
        stencil: One of ``temporal_prior.STENCILS``.
    """

    model: Model
    base: Float[Array, " f"]
    data: IkData
    scale: Float[Array, " t"]
    x: Float[Array, "t n"]
    stiffness: Float[Array, " n"]
    linked: Bool[Array, " t"]
    fixed: Bool[Array, " t"]
    lower: Float[Array, " n"]
    upper: Float[Array, " n"]
    loss: RobustLoss | None
    columns: tuple[int, ...] = struct.field(pytree_node=False)
    tasked: tuple[int, ...] = struct.field(pytree_node=False)
    stencil: tuple[float, float, float] = struct.field(pytree_node=False)

    @property
    def prior(self) -> Prior:
        """What ties the frames."""
        return Prior(self.stencil, self.stiffness, self.linked)


@partial(jax.jit, static_argnames="windows")
def solve(
    problem: JointProblem,
    windows: Windows,
    max_steps: int | Array,
    tolerance: float | Array,
) -> Smoothed:
    """Returns the minimum nearest to the start; see ``temporal_lm.solve``."""
    return temporal_lm.solve(
        partial(_evaluate, problem),
        problem.x,
        problem.prior,
        problem.lower,
        problem.upper,
        problem.fixed,
        windows,
        max_steps,
        tolerance,
    )


@partial(jax.jit, static_argnames="windows")
def covariance(problem: JointProblem, windows: Windows) -> Float[Array, "t n n"]:
    """Returns the inverse curvature at ``x``, zero where fixed or pressed on limits."""
    at, x = _evaluate(problem, problem.x), problem.x
    gradient = at.gradient + temporal_prior.gradient(problem.prior, x)
    held = (x <= problem.lower[None]) & (gradient > 0)
    held |= (x >= problem.upper[None]) & (gradient < 0)
    active = ~held & ~problem.fixed[:, None]
    blocks = temporal_lm.marginal_covariance(at.hessian, active, problem.prior, windows)
    both = active[:, :, None] & active[:, None, :]
    return jnp.where(both, blocks, 0.0)


def _evaluate(p: JointProblem, x: Array) -> Frames:
    """Every frame's own cost, gradient and Hessian, in the joint cost's units."""
    markers = p.data.points.shape[1]
    blocks = ik_problem.single_block(markers, len(p.tasked), x.dtype)
    lanes = next(k for k in range(_LANES, 0, -1) if x.shape[0] % k == 0)
    cut = lambda a: jnp.reshape(a, (x.shape[0] // lanes, lanes, *a.shape[1:]))

    def some(part) -> Frames:
        x, data, scale = part
        found = ik_problem.evaluate(
            p.model, p.columns, p.tasked, blocks, p.base, x, data, p.loss, x.dtype
        )
        bend = residual_curvature(
            p.model,
            ik_problem.place(p.columns, x, p.base).T,
            p.columns,
            data.points,
            data.weight,
            p.loss,
        )
        return Frames(
            found.cost[:, 0] * scale,
            found.gradient * scale[:, None],
            found.hessian * scale[:, None, None],
            bend * scale[:, None, None],
        )

    parts = jax.lax.map(some, jax.tree.map(cut, (x, p.data, p.scale)))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), parts)
