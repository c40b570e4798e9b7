"""Which marker determines which coordinate, and what one more or less would change.

Notation: frame t, unknowns x [n] (free coordinates that a marker moves), J_m Jacobian
of marker m [3, n], w_m its weight over the mean weight, sigma noise SD of a component
of a marker of mean weight, P curvature of coordinate tasks. Marker m gives the
information ``A_m = w_m J_m^T J_m / sigma^2``; all give ``I = sum_m A_m + P``, and the
covariance of the fit is ``C = I^-1``. As ``C = sum_m C A_m C + C P C``, the share of
marker m in what is known of coordinate c is ``(C A_m C)_cc`` over the sum of these.
A weight is read as an inverse variance, so that no added marker can do harm. All of
it is linear, at the fitted poses; limits of coordinates are left out.

Source: Fisher information of a weighted least squares fit (Seber and Wild, Nonlinear
Regression, 1989, section 2.1); leaving one out as in optimal sensor placement
(Kammer, J. Guidance 14(2), 1991).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.body import couplers
from simspine_jax.body.jacobian import driven_axes
from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Topology
from simspine_jax.body.spec import GROUND
from simspine_jax.fitting import ik_prepare, uncertainty
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_problem import IkData
from simspine_jax.types import IkTasks

Points = Mapping[str, tuple[str, tuple[float, float, float]]]
PARTS = ("trunk", "legs", "arms")
LIMIT_RAD, LIMIT_M = np.deg2rad(5.0), 0.02  # a larger SD is "not determined"
HARMLESS = 1.1  # factor of an SD that nobody would notice
_LIMB_WORDS = {
    "legs": ("femur", "thigh", "tibia", "shank"),
    "arms": ("clavicle", "scapula", "humerus", "upperarm", "upper_arm"),
}
_SINGULAR = 1e6  # variance over the one with all else known; larger is looked into
_TOUCHED = 1e-6  # share (squared) in the null space that makes a coordinate unknown


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


@dataclass(frozen=True, eq=False)
class Change:
    """Median SDs with and without each of K markers, of n coordinates.

    Attributes:
        names: The markers that come or go, one at a time.
        sd_with: With that marker, rad or m; inf where open. Shape [K, n].
        sd_without: Without it. Shape [K, n].
        angle: Whether a coordinate is an angle. Shape [n].
        tie: Among coordinates that are all open without it, the one with the largest
            of these is named. Shape [K, n].
    """

    names: tuple[str, ...]
    sd_with: np.ndarray
    sd_without: np.ndarray
    angle: np.ndarray
    tie: np.ndarray

    @property
    def factor(self) -> Float[np.ndarray, "k n"]:
        """SD without the marker over SD with it; 1 where both are open."""
        return _factor(self.sd_with, self.sd_without)

    @property
    def decided(self) -> Bool[np.ndarray, "k n"]:
        """Which coordinates are determined with the marker and not without it."""
        known = determined(self.sd_with, self.angle)
        return known & ~determined(self.sd_without, self.angle)

    @property
    def most(self) -> np.ndarray:
        """The coordinate that each marker matters most to. Shape [K].

        Among those determined with it, or all where there is none.
        """
        known = determined(self.sd_with, self.angle)
        return np.lexsort((self.tie, self.factor, known), axis=1)[:, -1]

    @property
    def largest(self) -> np.ndarray:
        """Factor of the coordinate it matters most to. Shape [K]."""
        return self.factor[np.arange(len(self.names)), self.most]

    @property
    def largest_angle_rad(self) -> np.ndarray:
        """Largest difference of the SD of an angle known with it, rad. Shape [K]."""
        known = determined(self.sd_with, self.angle) & self.angle
        some = np.where(known, self.sd_with, 0.0)
        return (np.where(known, self.sd_without, 0.0) - some).max(axis=1, initial=0.0)

    @property
    def order(self) -> np.ndarray:
        """The markers by what they decide, then by their largest factor."""
        return np.lexsort((-self.largest, -self.decided.sum(axis=1)))


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Medians over the frames.

    Attributes:
        found: What it was computed from.
        share: Share of each marker in what is known of each coordinate; rows sum to
            1, or are NaN where nothing is known. Shape [n, M].
        sd: SD of each coordinate, rad or m; inf where open. Shape [n].
        drop: The markers, each left out in turn, over the frames that have it.
        add: The candidates, each added alone.
        spare: Markers that can all be left out together before any SD grows by more
            than a tenth, the least needed first.
    """

    found: Information
    share: np.ndarray
    sd: np.ndarray
    drop: Change
    add: Change
    spare: tuple[str, ...]


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
    total = np.asarray(data.total)[:, None]
    weight = np.asarray(data.weight) * total / plan.weights.mean()
    weight = (weight > 0).astype(float) if equal else weight
    weight = np.concatenate([weight, np.ones((len(q), k))], axis=1)
    rows = uncertainty.columns_of(wide, q) * np.sqrt(weight)[:, :, None, None]
    prior = _prior(wide, q, np.asarray(data.task_weight)) * total / plan.weights.mean()
    depth, part = _depth_first(wide.model.topology)
    bodies = np.asarray(wide.model.topology.marker_bodies)
    place = [(i >= m, PARTS.index(part[b]), depth[b], i) for i, b in enumerate(bodies)]
    markers = [i for *_, i in sorted(place)]
    heads = _driven_bodies(wide, depth)
    unknowns = [(PARTS.index(part[b]), depth[b], i) for i, b in enumerate(heads)]
    columns = [i for *_, i in sorted(unknowns)]
    at = wide.unknowns[columns]
    return Information(
        coordinates=tuple(wide.model.coordinate_names[c] for c in at),
        angle=np.asarray(wide.model.coordinate_is_angle)[at],
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


def analyse(found: Information) -> Sensitivity:
    """Returns shares, and SDs with each marker left out and each candidate added."""
    m = found.used
    used, names = list(range(m)), found.markers
    base = sd_of(found.total(used))
    seen = np.asarray(found.rows[:, :m].any(axis=(2, 3)))
    seen |= ~seen.any(axis=0)  # never seen: nothing changes in any frame
    dropped = [sd_of(found.total([i for i in used if i != k])) for k in used]
    added = [sd_of(found.total([*used, k])) for k in range(m, len(names))]
    n = len(found.coordinates)
    table = lambda parts: np.array(parts).reshape(-1, n)
    share, sd = shares(found), np.asarray(np.median(base, axis=0))
    drop = Change(
        names[:m],
        table([np.median(base[seen[:, k]], axis=0) for k in used]),
        table([np.median(dropped[k][seen[:, k]], axis=0) for k in used]),
        found.angle,
        np.nan_to_num(share.T),
    )
    gained = table([np.median(one, axis=0) for one in added])
    now = np.tile(sd, (len(added), 1))
    limit = np.where(found.angle, LIMIT_RAD, LIMIT_M)
    add = Change(names[m:], gained, now, found.angle, -gained / limit)
    return Sensitivity(found, share, sd, drop, add, spare(found))


def shares(found: Information) -> Float[np.ndarray, "n m"]:
    """Returns the share of each marker; rows sum to 1, or are NaN where open.

    The median over the frames, of frames where the coordinate is not open, does not
    sum to 1 by itself and leaves room for tasks; each row is divided by its sum.
    """
    used = list(range(found.used))
    rows = found.rows[:, used]
    inverse, null, _ = uncertainty.inverse_of(found.total(used))
    part = ((rows @ inverse[:, None]) ** 2).sum(axis=2)  # (C A_m C)_cc, [T, M, n]
    whole = part.sum(axis=1)
    known = (np.einsum("tii->ti", null) <= _TOUCHED) & (whole > 0)
    part = part / np.where(known, whole, 1.0)[:, None]
    result = np.full((len(found.coordinates), found.used), np.nan)
    for c in np.flatnonzero(known.any(axis=0)):
        frames = part[known[:, c], :, c]
        middle = np.median(frames, axis=0)
        # Markers may take turns, so that every median is 0; the mean then serves.
        middle = middle if middle.sum() > 0 else frames.mean(axis=0)
        result[c] = middle / middle.sum()
    return result


def spare(found: Information, factor: float = HARMLESS) -> tuple[str, ...]:
    """Returns markers that can go together, the least needed first.

    Greedy: the marker whose loss raises the largest factor least goes, as long as no
    median SD exceeds ``factor`` times that of the whole set.
    """
    kept = list(range(found.used))
    base = np.median(sd_of(found.total(kept)), axis=0)
    able, gone = list(kept), []
    while len(kept) > 1:
        cost = {}
        for k in able:
            sd = np.median(sd_of(found.total([i for i in kept if i != k])), axis=0)
            cost[k] = _factor(base, sd).max()
        # What cannot go now cannot go later either, when there are fewer.
        able = [k for k in able if cost[k] <= factor]
        if not able:
            break
        best = min(able, key=cost.__getitem__)
        kept.remove(best)
        able.remove(best)
        gone.append(found.markers[best])
    return tuple(gone)


def sd_of(total: Float[np.ndarray, "t n n"]) -> Float[np.ndarray, "t n"]:
    """Returns the SD of each coordinate for an information; inf where it is open."""
    # A plain inverse takes a tenth of the time of eigenvalues, which only frames
    # near a null space need.
    own = np.einsum("tii->ti", total)
    idle, each = own <= 0, np.arange(own.shape[1])
    scale = np.sqrt(np.where(idle, 1.0, own))
    scaled = total / scale[:, :, None] / scale[:, None]
    scaled[:, each, each] = 1.0
    try:
        inverse = np.einsum("tii->ti", np.linalg.inv(scaled))
    except np.linalg.LinAlgError:
        inverse = np.full(own.shape, np.inf)
    hard = ~((inverse > 0) & (inverse < _SINGULAR)).all(axis=1)
    sd = np.where(idle, np.inf, np.sqrt(np.abs(inverse)) / scale)
    if hard.any():
        variance, null, _ = uncertainty.inverse_of(total[hard])
        open_ = np.einsum("tii->ti", null) > _TOUCHED
        found = np.sqrt(np.maximum(np.einsum("tii->ti", variance), 0.0))
        sd[hard] = np.where(open_, np.inf, found)
    return sd


def determined(sd: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns whether an SD is below 5 degrees or 20 mm, as in ``identifiability``."""
    return sd < np.where(angle, LIMIT_RAD, LIMIT_M)


def _factor(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    both = np.isinf(small)
    return np.where(both, 1.0, large / np.where(both, 1.0, small))


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


def _prior(wide: Plan, q: np.ndarray, task_weight: np.ndarray) -> np.ndarray:
    """Curvature of the coordinate tasks as in the objective. Shape [T, n]."""
    prior = np.zeros((len(q), len(wide.columns)))
    if not wide.tasked:
        return prior
    topology = wide.model.topology
    q_free = jnp.asarray(q[:, np.asarray(topology.free, int)], wide.dtype)
    slope = np.asarray(couplers.expand_lanes(wide.model, q_free.T)[1])
    root = couplers.driving_free(topology)
    for k, c in enumerate(wide.tasked):
        if root.get(c) in wide.columns:
            at = wide.columns.index(root[c])
            prior[:, at] += task_weight[:, k] * slope[c] ** 2
    return prior


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
