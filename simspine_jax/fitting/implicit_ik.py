"""Gradients of fitted coordinates with respect to everything the fit depends on.

Markers, their weights, coordinate targets and their weights are arrays of ``IkData``;
marker offsets and body scale factors are arrays of the ``Model``. None of the solver's
iterations is differentiated (``core.implicit``).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.body.model import Model
from simspine_jax.core import implicit
from simspine_jax.core.levenberg_marquardt import Evaluation
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
    still = jax.lax.stop_gradient((model, base, data))
    held = pressed(_evaluate(plan, *still, start), start, lower, upper)
    if polish_steps:
        flat = lambda x: _evaluate(plan, *still, x).gradient
        start = implicit.polished(flat, start, held, polish_steps)
        start = jnp.clip(start, lower, upper)
    slope = lambda x: _evaluate(plan, model, base, data, x).gradient
    x = implicit.at_minimum(slope, start, held)
    return model.expand(ik_problem.place(plan.columns, x, base))


def _evaluate(
    plan: Plan, model: Model, base: Array, data: IkData, x: Float[Array, "t n"]
) -> Evaluation:
    blocks = ik_problem.single_block(len(plan.marker_names), len(plan.tasked), x.dtype)
    return ik_problem.evaluate(
        model, plan.columns, plan.tasked, blocks, base, x, data, plan.loss, x.dtype
    )


def pressed(
    at: Evaluation,
    x: Float[Array, "t n"],
    lower: Float[Array, "1 n"],
    upper: Float[Array, "1 n"],
) -> Bool[jax.Array, "t n"]:
    """Returns the unknowns that sit at a limit and are pressed against it."""
    least = _PRESSED * at.cost
    low = jnp.asarray((x <= lower) & (at.gradient > least))
    return low | jnp.asarray((x >= upper) & (at.gradient < -least))
