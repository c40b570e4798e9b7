"""What each marker, and each point that could be one, tells of each coordinate.

Notation: frame t, unknowns x [n] (free coordinates that a marker moves), J_m Jacobian
of marker m [3, n], w_m its weight over the mean weight, sigma noise SD of a component
of a marker of mean weight, P curvature of coordinate tasks. Marker m gives the
information ``A_m = w_m J_m^T J_m / sigma^2``; all give ``I = sum_m A_m + P``. A weight
is read as an inverse variance, so that no added marker can do harm.

Source: Fisher information of a weighted least squares fit (Seber and Wild, Nonlinear
Regression, 1989, section 2.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Topology
from simspine_jax.body.spec import GROUND
from simspine_jax.fitting import ik_frames, ik_prepare, linearised
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_problem import IkData
from simspine_jax.types import IkTasks

Points = Mapping[str, tuple[str, tuple[float, float, float]]]
PARTS = ("trunk", "legs", "arms")
_LIMB_WORDS = {
    "legs": ("femur", "thigh", "tibia", "shank"),
    "arms": ("clavicle", "scapula", "humerus", "upperarm", "upper_arm"),
}


@dataclass(frozen=True, eq=False)
class Information:
    """What each of M markers and K candidates tells of n coordinates in T frames.

    Attributes:
        coordinates: Their names, by body part, then from the root outwards.
        angle: Whether each is an angle (rad) rather than a length (m). Shape [n].
        parts: Body part of each, of ``PARTS``.
        markers: The markers, then the candidates, in the same order of bodies each.
        used: How many of them are markers, M.
        rows: ``sqrt(w_m) J_m / sigma``, zero where a marker was not seen.
            Shape [T, M + K, 3, n].
        prior: Curvature of coordinate tasks, over sigma^2. Shape [T, n].
        noise_m: sigma, m.
    """

    coordinates: tuple[str, ...]
    angle: np.ndarray
    parts: tuple[str, ...]
    markers: tuple[str, ...]
    used: int
    rows: np.ndarray
    prior: np.ndarray
    noise_m: float

    def total(self, kept: np.ndarray | list[int]) -> np.ndarray:
        """Information of some of the markers and of the tasks. Shape [T, n, n]."""
        # Summed anew: a difference leaves rounding where nothing should be left.
        flat = self.rows[:, kept].reshape(len(self.rows), -1, self.rows.shape[-1])
        found = flat.transpose(0, 2, 1) @ flat
        each = np.arange(found.shape[-1])
        found[:, each, each] += self.prior
        return found


def information(
    plan: Plan,
    q: Float[np.ndarray, "t q"],
    data: IkData,
    candidates: Points,
    noise_m: float,
    *,
    equal: bool = False,
) -> Information:
    """Returns what markers and candidates tell of the coordinates at fitted poses.

    Args:
        plan: Markers, weights and tasks of the fit.
        q: Fitted coordinates, rad and m.
        data: What was fitted: ``ik_prepare.observations``.
        candidates: Body and offset (m) of points that could be markers, by name;
            they get the mean weight.
        noise_m: Noise SD of a component of a marker of mean weight, m.
        equal: Whether all markers have that noise, whatever their weights.

    Raises:
        ValueError: Fewer than two markers, noise that is not positive, a candidate
            with the name of a marker, or on a body that the model does not have.
    """
    if not noise_m > 0:
        raise ValueError(f"the noise of the markers must be positive; it is {noise_m}")
    require(plan, candidates)
    wide = _with_candidates(plan, candidates)
    m, k = len(plan.marker_names), len(candidates)
    scale = ik_frames.likelihood_scale(plan, data)[:, None]
    weight = np.asarray(data.weight) * scale
    weight = (weight > 0).astype(float) if equal else weight
    weight = np.concatenate([weight, np.ones((len(q), k))], axis=1)
    at = linearised.at(wide, q)
    rows = at.jacobian * np.sqrt(weight)[:, :, None, None]
    curvature, _ = linearised.tasks(wide, q, data, at.slope, linearised.sources(wide))
    prior = curvature * scale
    depth, part = _depth_first(wide.model.topology)
    bodies = np.asarray(wide.model.topology.marker_bodies)
    place = [(i >= m, PARTS.index(part[b]), depth[b], i) for i, b in enumerate(bodies)]
    markers = [i for *_, i in sorted(place)]
    heads = _driven_bodies(wide, depth)
    driven = [(PARTS.index(part[b]), depth[b], i) for i, b in enumerate(heads)]
    columns = [i for *_, i in sorted(driven)]
    unknown = wide.unknowns[columns]
    return Information(
        coordinates=tuple(wide.model.coordinate_names[c] for c in unknown),
        angle=np.asarray(wide.model.coordinate_is_angle)[unknown],
        parts=tuple(part[heads[i]] for i in columns),
        markers=tuple(wide.marker_names[i] for i in markers),
        used=m,
        rows=rows[:, markers][..., columns] / noise_m,
        prior=prior[:, columns] / noise_m**2,
        noise_m=noise_m,
    )


def require(plan: Plan, candidates: Points) -> None:
    """Refuses what cannot be analysed, before the time of a fit is spent.

    Raises:
        ValueError: As ``information``.
    """
    first, *others = plan.marker_names
    if not others:
        raise ValueError(
            f"model and trial share only the marker {first!r}; to tell "
            "what each marker contributes takes at least two"
        )
    for name in candidates:
        if name in plan.marker_names:
            raise ValueError(f"the candidate {name!r} is a marker of the trial already")
    _with_candidates(plan, candidates)


def _with_candidates(plan: Plan, candidates: Points) -> Plan:
    """The plan with candidates as markers, and the coordinates that they move."""
    topology = plan.model.topology
    own = {
        name: (GROUND if body < 0 else topology.body_names[body], tuple(offset))
        for name, body, offset in zip(
            plan.marker_names,
            topology.marker_bodies,
            np.asarray(plan.model.marker_offset).tolist(),
            strict=True,
        )
    }
    model = with_markers(plan.model, {**own, **candidates})
    tasks = IkTasks(dict.fromkeys(model.marker_names, 1.0), plan.tasks.coordinate_tasks)
    objective = "normalised" if plan.normalised else "opensim"
    return ik_prepare.plan(model, model.marker_names, tasks, objective, plan.dtype)


def _depth_first(topology: Topology) -> tuple[dict[int, int], dict[int, str]]:
    """Place of each body depth first from ground, -1, and the part it belongs to."""
    depth, part = {}, {}

    def walk(body: int, above: str) -> None:
        depth[body] = len(depth)
        name = topology.body_names[body].lower() if body >= 0 else ""
        own = (p for p, words in _LIMB_WORDS.items() if any(w in name for w in words))
        part[body] = above if above != PARTS[0] else next(own, above)
        for child, parent in enumerate(topology.parents):
            if parent == body:
                walk(child, part[body])

    walk(-1, PARTS[0])
    return depth, part


def _driven_bodies(plan: Plan, depth: dict[int, int]) -> list[int]:
    """The body nearest to ground that each unknown drives."""
    driven: dict[int, list[int]] = {}
    for entry in driven_axes(plan.model.topology):
        driven.setdefault(entry.free, []).append(entry.body)
    return [min(driven.get(c, [-1]), key=depth.__getitem__) for c in plan.columns]
