"""Gradients of fitted coordinates with respect to everything the fit depends on.

Markers, their weights, coordinate targets and their weights are arrays of ``IkData``;
marker offsets and body scale factors are arrays of the ``Model``. None of the solver's
iterations is differentiated (``core.implicit``).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.body.model import Model
from simspine_jax.core import implicit
from simspine_jax.fitting import ik_problem
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_problem import IkData
from simspine_jax.types import Array

# A gradient that presses an unknown against its limit with more than this share of
# the objective per radian holds it there.
_PRESSED = 1e-9


def implicit_q(
    plan: Plan,
    model: Model,
    q: Float[Array, "t q"],
    data: IkData,
    polish_steps: int = 4,
) -> Float[jax.Array, "t q"]:
    """Returns fitted coordinates that carry the gradients of the fit.

    Args:
        plan: Of the fit: ``ik.make_plan``.
        model: ``plan.model`` or a changed one (scaled, other marker offsets); the
            gradients of its arrays are those of the fit.
        q: Coordinates near the minimum, as from ``fit_ik``.
        data: Observations: ``ik_prepare.observations``, or arrays with gradients.
        polish_steps: Newton steps that first take q to the minimum of ``data`` and
            ``model``; without them gradients are as exact as q is converged.

    A coordinate pressed against its limit has gradient zero; so has one that no
    marker and no task determines. Jitted, vmapped and differentiated like any
    function; a second derivative is not defined.
    """
    columns = np.asarray(plan.columns, int)
    base = jnp.asarray(model.default_q)[np.asarray(model.topology.free, int)]
    start = jax.lax.stop_gradient(jnp.asarray(model.free_of(q))[:, columns])
    index = plan.unknowns
    lower, upper = (jnp.asarray(a)[index][None] for a in (model.lower, model.upper))
    objective = partial(_objective, plan, model, base, data)
    still = partial(_objective, plan, *jax.lax.stop_gradient((model, base, data)))
    held = pressed(still, start, lower, upper)
    if polish_steps:
        start = implicit.polished(still, start, held, polish_steps)
        start = jnp.clip(start, lower, upper)
    x = implicit.at_minimum(objective, start, held)
    return model.expand(ik_problem.place(plan.columns, x, base))


def _objective(
    plan: Plan, model: Model, base: Array, data: IkData, x: Float[Array, "t n"]
) -> Float[jax.Array, " t"]:
    _, marker, task, _ = ik_problem.outcome(
        model, plan.columns, plan.tasked, base, x, data, plan.loss
    )
    return marker + task


def pressed(
    objective: Callable[[Float[Array, "t n"]], Float[Array, " t"]],
    x: Float[Array, "t n"],
    lower: Float[Array, "1 n"],
    upper: Float[Array, "1 n"],
) -> Bool[jax.Array, "t n"]:
    """Returns the unknowns that sit at a limit and are pressed against it."""

    def summed(y: jax.Array) -> tuple[jax.Array, jax.Array]:
        cost = jnp.asarray(objective(y))
        return jnp.sum(cost), cost

    gradient, cost = jax.grad(summed, has_aux=True)(x)
    least = _PRESSED * cost[:, None]
    return ((x <= lower) & (gradient > least)) | ((x >= upper) & (gradient < -least))
