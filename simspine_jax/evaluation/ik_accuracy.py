"""How near fitted angles come to the truth, on trials whose truth is known.

Angles are judged where the markers determine them: predicted SD of a frame alone
below 5 degrees at the noise put in.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.body.model import Model
from simspine_jax.core import filters
from simspine_jax.datasets import synthetic_motion
from simspine_jax.fitting import (
    identifiability,
    ik,
    ik_frames,
    ik_prepare,
    ik_queue,
    uncertainty,
)
from simspine_jax.fitting.euler_branches import davenport_triples
from simspine_jax.fitting.ik import IkOptions
from simspine_jax.fitting.ik_queue import Bucket
from simspine_jax.fitting.smoothing import Smoothness
from simspine_jax.types import MarkerTrajectory, Motion

_INNER = 0.1  # share of a range at each end that is left out
_TIGHT = 1e-9  # relative tolerance: what is judged is the noise, not the solver


@dataclass(frozen=True)
class Coverage:
    """How often 95 % intervals hold the truth.

    Attributes:
        held: Intervals that hold it.
        judged: Intervals of determined coordinates whose truth is in the inner 80 %
            of its range.
        estimated_noise_m: Noise SD that the residuals alone suggest.
    """

    held: int
    judged: int
    estimated_noise_m: float


def coverage(
    model: Model, poses: int, noise_m: float, seed: int, lanes: int = 32
) -> Coverage:
    """Counts on random poses how often 95 % intervals hold the truth.

    Every pose is fitted from the truth to the nearest minimum. On single poses drawn
    from the whole range the global minimum is another pose in a good part of them
    (the markers fit it as well or better), which intervals of one pose cannot tell.

    Args:
        model: With the markers to observe.
        poses: How many.
        noise_m: SD of each marker component, m; given to the covariance.
        seed: Of poses and noise.
        lanes: Problems in work at once.
    """
    truth = synthetic_motion.random_poses(model, poses, seed)
    motion = Motion(truth, model.coordinate_names, 100.0)
    trial = synthetic_motion.observe(model, motion, noise_m, seed + 1)
    plan = ik.make_plan(model, trial.names, None, IkOptions())
    data = ik_prepare.observations(plan, trial)
    problem = ik_prepare.chunk_problem(plan, data, Bucket(poses, poses, lanes))
    start = np.clip(truth[:, plan.unknowns], problem.lower, problem.upper)
    options = replace(IkOptions().search.fine, relative_tolerance=_TIGHT, max_steps=200)
    found = ik_queue.run(problem, np.arange(poses), start, options=options)
    q, *_ = ik_frames.outcomes(plan, found.x, data)
    sure = uncertainty.of_frames(plan, q, data, noise_m)
    sd = sure.coordinate_sd
    free = np.asarray(model.topology.free, int)
    low, high = synthetic_motion.pose_ranges(model)
    edge = _INNER * (high - low)
    inner = (truth[:, free] > low + edge) & (truth[:, free] < high - edge)
    known = identifiability.determined(plan, sd)[:, free] & (sd[:, free] > 0)
    use = inner & known
    inside = np.abs(_apart(model, q, truth)) < uncertainty.NORMAL_95 * sd
    return Coverage(
        held=int(inside[:, free][use].sum()),
        judged=int(use.sum()),
        estimated_noise_m=ik_frames.estimated_noise(plan, q, data),
    )


def judged(
    model: Model, truth: Float[np.ndarray, "t n"], trial: MarkerTrajectory, noise_m
) -> Bool[np.ndarray, "t n"]:
    """Returns the free angles that the markers seen determine, frame by frame."""
    plan = ik.make_plan(model, trial.names, None, IkOptions())
    data = ik_prepare.observations(plan, trial)
    seen = np.asarray(data.weight) > 0
    sd = identifiability.coordinate_sd(plan, truth, seen, noise_m)
    free = np.isin(np.arange(truth.shape[1]), model.topology.free)
    angle = np.asarray(model.coordinate_is_angle)
    return identifiability.determined(plan, sd) & (sd > 0) & free & angle


def angle_rms_deg(
    model: Model,
    q: Float[np.ndarray, "t n"],
    truth: Float[np.ndarray, "t n"],
    use: Bool[np.ndarray, "t n"],
) -> float:
    """Returns the root mean square error of some angles.

    Whole turns are taken out, and of the two ways to write a rotation of three angles
    the one nearer to the truth counts, frame by frame.
    """
    q = np.array(q)
    for triple in davenport_triples(model):
        columns = list(triple.coordinates)
        own, other = q[:, columns], triple.other(q[:, columns])
        goal = truth[:, columns]
        far = [(_turned(a - goal) ** 2).sum(axis=1) for a in (own, other)]
        nearer = far[1] < far[0]
        q[:, columns] = np.where(nearer[:, None], other, own)
    return float(np.degrees(np.sqrt((_apart(model, q, truth)[use] ** 2).mean())))


def filtered_before(
    model: Model, trial: MarkerTrajectory, cutoff_hz: float, options: IkOptions
) -> np.ndarray:
    """Filters the markers, then fits every frame alone. Shape [T, N]."""
    points = filters.butterworth(np.asarray(trial.points), cutoff_hz, trial.rate_hz)
    return ik.fit_ik(model, replace(trial, points=points), options=options).q


def filtered_after(q: np.ndarray, cutoff_hz: float, rate_hz: float) -> np.ndarray:
    """Filters angles that were fitted frame by frame. Shape [T, N]."""
    return filters.butterworth(q, cutoff_hz, rate_hz)


def jointly(
    model: Model,
    trial: MarkerTrajectory,
    density: float,
    noise_m: float,
    options: IkOptions,
) -> np.ndarray:
    """Fits all frames under the acceleration prior. Shape [T, N].

    Args:
        model: Model.
        trial: Markers.
        density: For angles, rad/s^2 per root hertz; 0.3 of it in m for lengths.
        noise_m: SD of each marker component, m.
        options: Of the fit.
    """
    smooth = Smoothness(angle=density, length=0.3 * density)
    return ik.fit_ik(
        model, trial, options=replace(options, smooth=smooth, noise_m=noise_m)
    ).q


def _apart(model: Model, q: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Differences of coordinates, of angles without whole turns. Shape [T, N]."""
    angle = np.asarray(model.coordinate_is_angle)
    return np.where(angle, _turned(q - truth), q - truth)


def _turned(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi
