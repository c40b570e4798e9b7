"""A smooth motion: all frames of a trial fitted jointly under a prior along time.

Notation: unknowns x_t at frames t a time dt apart, sigma the noise SD of a marker
component, S the root spectral density of the speed (rad/s per root hertz) or the
acceleration (rad/s^2 per root hertz) of a coordinate, taken as white noise. Up to a
constant the negative logarithm of the posterior, times sigma^2, is

    sum_t W_t / w f_t(x_t)  +  1/2 sigma^2 sum_t dt |D x_t|^2 / S^2

with f_t the objective of the frame alone (``ik_problem``), W_t the sum of the weights
of its markers, w their mean weight in the fit, and D the first difference over dt or
the second over dt^2. S says how lively the motion is and sigma how noisy the markers
are, neither changes with the frame rate. Seen alone, a coordinate with noise SD s per
frame is filtered like by a Butterworth filter that is run forwards and backwards, with
the cutoff f of one run at ``(2 pi f)^4 = S^2 / (s^2 dt)`` for the acceleration (second
order) and at ``(2 pi f)^2 = S^2 / (s^2 dt)`` for the speed (first order); a sine of
that frequency keeps half its amplitude.

Source: Wahba, Improper Priors, Spline Smoothing and the Problem of Guarding Against
Model Errors in Regression, 1978 (the prior); ``core.temporal_lm`` (the solver).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from simspine_jax.core import temporal_prior
from simspine_jax.core.temporal_lm import Windows
from simspine_jax.fitting import (
    ik_frames,
    ik_prepare,
    ik_problem,
    joint_problem,
    uncertainty,
)
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.joint_problem import JointProblem
from simspine_jax.fitting.uncertainty import IkUncertainty
from simspine_jax.types import MarkerTrajectory

_WINDOW = 64


@dataclass(frozen=True)
class Smoothness:
    """How a motion is expected to go on in time.

    Attributes:
        of: "acceleration" or "velocity": what is expected to be small.
        angle: Its root spectral density for angles, rad/s^2 (rad/s) per root hertz.
        length: The same for lengths, m/s^2 (m/s) per root hertz.
        window_frames: Frames whose equations are solved together, side by side with
            those of other windows; 0 for 64 on an accelerator, and on a CPU, which
            has nothing to gain from windows, for all.
        shared_frames: Frames that neighbouring windows share on each side. Neither
            changes the solution.
        max_steps: Evaluations allowed.
        tolerance: Ends when no unknown moves further in a step, rad and m.

    Raises:
        ValueError: An unknown kind, or a number out of range.
    """

    of: str = "acceleration"
    angle: float = 5.0
    length: float = 1.5
    window_frames: int = 0
    shared_frames: int = 32
    max_steps: int = 500
    tolerance: float = 1e-8

    def __post_init__(self) -> None:  # noqa: D105
        if self.of not in temporal_prior.STENCILS:
            raise ValueError(
                f"smoothness of {self.of!r} is not known; choose one of "
                f"{tuple(temporal_prior.STENCILS)}"
            )
        for name in ("angle", "length", "max_steps", "tolerance"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"smoothness: {name} must be positive; it is {value}")
        for name in ("window_frames", "shared_frames"):
            value = getattr(self, name)
            if value < 0:
                raise ValueError(
                    f"smoothness: {name} must not be negative; it is {value}"
                )


class Smooth(NamedTuple):
    """A smooth motion: coordinates [T, N], noise used, m, evaluations, last change."""

    q: np.ndarray
    noise_m: float
    steps: int
    change: float


def smooth(
    plan: Plan,
    trials: Sequence[MarkerTrajectory],
    poses: Sequence[Float[np.ndarray, "_ q"]],
    options: Smoothness,
    noise_m: float | None = None,
    fixed: Sequence[np.ndarray] | None = None,
) -> list[Smooth]:
    """Fits trials under the prior; all windows of all trials are solved side by side.

    Args:
        plan: Of the fits, one model and one set of tasks for all trials.
        trials: The markers.
        poses: Coordinates of each trial to start from, without whole turns or changes
            of Euler branch between frames (``euler_branches.mend``).
        options: See ``Smoothness``.
        noise_m: Noise SD of a marker component, m; None to estimate it from the
            residuals of the poses given.
        fixed: Frames of each trial that stay as they are; None for none.

    Returns:
        For each trial its motion. Frames without markers are filled in by the prior.

    Raises:
        ValueError: A trial without a rate, or poses of another length.
    """
    joint = _joint(plan, trials, poses, options, noise_m, fixed)
    windows = _windows(options, len(joint.problem.x))
    out = joint_problem.solve(
        joint.problem, windows, options.max_steps, options.tolerance
    )
    x, steps, change = jax.device_get(out)
    q = np.asarray(plan.model.expand(_free(plan, x[: joint.frames])))
    return [
        Smooth(part, joint.noise_m, int(steps), float(change))
        for part in np.split(q, joint.cuts)
    ]


def covariance(
    plan: Plan,
    trials: Sequence[MarkerTrajectory],
    poses: Sequence[Float[np.ndarray, "_ q"]],
    options: Smoothness,
    noise_m: float | None = None,
) -> list[IkUncertainty]:
    """Returns the covariance of smooth fits: what all frames say of each.

    Args:
        plan: Of the fits.
        trials: The markers.
        poses: Fitted coordinates of each trial, from ``smooth``.
        options: As in ``smooth``.
        noise_m: The noise that ``smooth`` used.

    It is the inverse curvature of the posterior, with the weights taken for inverse
    variances; coordinates at their limits are counted as known.

    Raises:
        ValueError: As in ``smooth``.
    """
    joint = _joint(plan, trials, poses, options, noise_m)
    windows = _windows(options, len(joint.problem.x))
    x_cov = np.asarray(joint_problem.covariance(joint.problem, windows))
    x_cov = x_cov[: joint.frames] * joint.noise_m**2
    found = []
    parts = zip(trials, poses, np.split(x_cov, joint.cuts), strict=True)
    for trial, q, part in parts:
        data = ik_prepare.observations(plan, trial)
        alone = uncertainty.of_frames(plan, q, data, joint.noise_m)
        own = np.einsum("tii->ti", part)
        by_frame = np.einsum("tii->ti", alone.x_covariance)
        # The information of the frame itself against all there is on the unknown.
        share = np.where(by_frame > 0, own / np.where(by_frame > 0, by_frame, 1), 0)
        found.append(
            replace(
                alone,
                x_covariance=part,
                null=np.zeros_like(alone.null),
                data_share=np.clip(share, 0, 1) * alone.data_share,
                solved=np.ones_like(alone.solved),
            )
        )
    return found


class _Joint(NamedTuple):
    problem: JointProblem
    frames: int
    cuts: np.ndarray
    noise_m: float


def require_rate(rate_hz: float) -> None:
    """Raises ValueError where a trial has no rate."""
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise ValueError(
            f"smoothing needs the frame rate of the trial; rate_hz is {rate_hz}"
        )


def _joint(
    plan: Plan,
    trials: Sequence[MarkerTrajectory],
    poses: Sequence[np.ndarray],
    options: Smoothness,
    noise_m: float | None,
    fixed: Sequence[np.ndarray] | None = None,
) -> _Joint:
    """Puts trials behind one another, padded to a few sizes."""
    for k, (trial, q) in enumerate(zip(trials, poses, strict=True)):
        require_rate(trial.rate_hz)
        if len(q) != len(trial.points):
            raise ValueError(
                f"trial {k} has {len(trial.points)} frames, but {len(q)} poses"
            )
    lengths = np.array([len(q) for q in poses])
    total = int(lengths.sum())
    padded = _padded(total, options.window_frames or _WINDOW)
    data = [ik_prepare.observations(plan, t) for t in trials]
    data = jax.tree.map(lambda *a: np.concatenate(a), *data)
    q = np.concatenate([np.asarray(q, plan.dtype) for q in poses])
    noise = noise_m or ik_frames.estimated_noise(plan, q, data)
    angle = np.asarray(plan.model.coordinate_is_angle)[plan.unknowns]
    density = np.where(angle, options.angle, options.length)
    linked = np.zeros(padded, bool)
    linked[:total] = True
    last = np.cumsum(lengths)
    linked[last - 1] = False
    power = 1
    if options.of == "acceleration":
        linked[last - lengths] = False
        power = 3
    stiffness = noise**2 * _rate(trials) ** power / density**2
    x = np.zeros((padded, len(plan.columns)), plan.dtype)
    x[:total] = q[:, plan.unknowns]
    scale = np.zeros(padded, plan.dtype)
    scale[:total] = ik_frames.likelihood_scale(plan, data)
    still = np.ones(padded, bool)
    still[:total] = False if fixed is None else np.concatenate(fixed)
    model = plan.solver_model
    free = np.asarray(model.topology.free, int)
    problem = JointProblem(
        model=model,
        base=jnp.asarray(model.default_q)[free],
        data=jax.tree.map(jnp.asarray, ik_prepare.padded(data, padded)),
        scale=jnp.asarray(scale),
        x=jnp.asarray(x),
        stiffness=jnp.asarray(stiffness, plan.dtype),
        linked=jnp.asarray(linked),
        fixed=jnp.asarray(still),
        lower=jnp.asarray(plan.model.lower)[plan.unknowns],
        upper=jnp.asarray(plan.model.upper)[plan.unknowns],
        loss=plan.loss,
        columns=plan.columns,
        tasked=plan.tasked,
        stencil=temporal_prior.STENCILS[options.of],
    )
    return _Joint(problem, total, last[:-1], float(noise))


def _padded(total: int, unit: int) -> int:
    """Returns 1, 2, 3, 4, 6, 8, 12, ... units: few compilations, little padding."""
    units = max(1, -(-total // unit))
    power = 1 << (units - 1).bit_length()
    fewer = 3 * power // 4
    return unit * (fewer if units <= fewer else power)


def _rate(trials: Sequence[MarkerTrajectory]) -> float:
    rates = sorted({float(trial.rate_hz) for trial in trials})
    if len(rates) > 1:
        raise ValueError(
            "trials that are smoothed together must have one rate; they have "
            f"{', '.join(f'{r:g}' for r in rates)} Hz"
        )
    return rates[0]


def _windows(options: Smoothness, padded: int) -> Windows:
    core = options.window_frames
    if not core:
        core = padded if jax.default_backend() == "cpu" else _WINDOW
    return Windows(core, options.shared_frames if core < padded else 0)


def _free(plan: Plan, x: np.ndarray) -> jax.Array:
    free = np.asarray(plan.model.topology.free, int)
    base = jnp.asarray(plan.model.default_q)[free]
    return jnp.asarray(ik_problem.place(plan.columns, jnp.asarray(x), base))
