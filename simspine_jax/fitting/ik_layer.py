"""Inverse kinematics as a layer: markers in, joint coordinates out, differentiable."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from simspine_jax.body.model import Model
from simspine_jax.core import levenberg_marquardt as lm
from simspine_jax.fitting import ik_prepare, ik_problem, implicit_ik
from simspine_jax.fitting.ik import IkOptions, make_plan
from simspine_jax.fitting.ik_problem import IkData
from simspine_jax.types import Array, IkTasks


@dataclass(frozen=True, eq=False)
class _Fixed:
    """What a layer never changes; equal only to itself, so that it can be static."""

    plan: ik_prepare.Plan
    options: lm.LmOptions


class IkLayer(nnx.Module):
    """Fits every pose of a batch; gradients are those of the fitted minimum.

    The search is local: it starts from ``start`` or the default pose. For real trials
    take the start from ``fit_ik``.

    Attributes:
        log_weight: Logarithm of each marker's weight, trained if asked for. Shape [M].
    """

    def __init__(
        self,
        model: Model,
        marker_names: tuple[str, ...],
        tasks: IkTasks | None = None,
        *,
        objective: str = "normalised",
        max_steps: int = 60,
        train_weights: bool = False,
    ):
        """Prepares the layer.

        Args:
            model: Compiled model.
            marker_names: Markers of the points that the layer will be given.
            tasks: As in ``fit_ik``; targets that change over time are refused.
            objective: As in ``IkOptions``.
            max_steps: Evaluations allowed to one pose.
            train_weights: Make the marker weights parameters.

        Raises:
            ValueError: No marker in common, an unknown coordinate, or a task whose
                target changes over time.
        """
        plan = make_plan(model, marker_names, tasks, IkOptions(objective=objective))
        for task in plan.tasks.coordinate_tasks:
            if task.series is not None:
                raise ValueError(
                    f"the task on {task.name} follows a series over time; an IkLayer "
                    "has no time: give the task one value"
                )
        solver = lm.LmOptions(max_steps=max_steps, relative_tolerance=1e-8)
        self.fixed = _Fixed(plan, solver)
        self.index = tuple(marker_names.index(n) for n in plan.marker_names)
        kind = nnx.Param if train_weights else nnx.Variable
        self.log_weight = kind(jnp.log(jnp.asarray(plan.weights)))

    def __call__(
        self,
        points: Float[Array, "*batch k 3"],
        weight: Float[Array, "*batch k"] | None = None,
        start: Float[Array, "*batch q"] | None = None,
        model: Model | None = None,
    ) -> Float[jax.Array, "*batch q"]:
        """Returns all coordinates, rad and m.

        Args:
            points: Markers in ground, m, in the order of ``marker_names``.
            weight: Factor of each marker's weight, 0 where missing; None for one.
            start: Coordinates to start from; None for the default pose.
            model: The layer's ``plan.model`` scaled or with other marker offsets, to
                get gradients with respect to these; None for the model as given.
        """
        plan = self.fixed.plan
        model = plan.model if model is None else model
        batch = points.shape[:-2]
        points = jnp.asarray(points).reshape(-1, *points.shape[-2:])
        frames = points.shape[0]
        shown = jnp.asarray(points)[:, np.asarray(self.index, int)]
        factor = jnp.exp(self.log_weight[...])[None]
        if weight is not None:
            given = jnp.asarray(weight).reshape(frames, -1)
            factor = factor * given[:, np.asarray(self.index, int)]
        factor = jnp.broadcast_to(factor, shown.shape[:2]).astype(shown.dtype)
        targets = jnp.asarray(ik_prepare.targets(plan), shown.dtype)
        data = ik_problem.data_of(
            shown,
            factor,
            jnp.broadcast_to(targets, (frames, len(targets))),
            jnp.asarray(plan.task_weights),
            plan.normalised,
        )
        if start is None:
            q = jnp.broadcast_to(model.default_q, (frames, len(model.default_q)))
        else:
            q = jnp.asarray(start).reshape(frames, -1)
        near = _solved(self.fixed, *jax.lax.stop_gradient((model, q, data)))
        q = implicit_ik.implicit_q(plan, model, near, data)
        return q.reshape(*batch, q.shape[-1])


def _solved(fixed: _Fixed, model: Model, q: jax.Array, data: IkData) -> jax.Array:
    """Returns the coordinates of the nearest minimum of every frame."""
    plan, frames = fixed.plan, q.shape[0]
    base = jnp.asarray(model.default_q)[np.asarray(model.topology.free, int)]
    start = model.free_of(q)[:, np.asarray(plan.columns, int)]
    index = plan.unknowns
    lower, upper = jnp.asarray(model.lower)[index], jnp.asarray(model.upper)[index]
    blocks = ik_problem.single_block(
        len(plan.marker_names), len(plan.tasked), start.dtype
    )
    out = lm.solve(
        lambda x, d: ik_problem.evaluate(
            model, plan.columns, plan.tasked, blocks, base, x, d
        ),
        data,
        lm.Queue(
            jnp.clip(start, lower[None], upper[None]),
            jnp.full(frames, jnp.inf, start.dtype),
            jnp.asarray(1, jnp.int32),
            jnp.asarray(frames, jnp.int32),
        ),
        lower,
        upper,
        jnp.ones(len(plan.columns), bool),
        jnp.zeros(len(plan.columns), jnp.int32),
        1,
        min(frames, 32),
        fixed.options,
        np.float32,
    )
    return model.expand(ik_problem.place(plan.columns, out.x, base))
