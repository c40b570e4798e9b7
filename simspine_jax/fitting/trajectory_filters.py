"""Marker trajectories with short gaps filled and noise smoothed away along time."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from simspine_jax.core import filters, gaps, gcv_spline, kalman
from simspine_jax.types import Array, MarkerTrajectory

METHODS = ("none", "butterworth", "gcv", "kalman")
# Of a marker in m/s^2 and m/s^3 per root hertz: with noise of 5 mm at 100 Hz both
# smooth like filters with a cutoff (-3 dB) near 7 Hz.
DENSITIES = {"acceleration": 1.5, "jerk": 80.0}
_smooth = jax.jit(kalman.smooth, static_argnames=("rate_hz", "of"))


@dataclass(frozen=True)
class FilterOptions:
    """How trajectories are filled and smoothed.

    Attributes:
        method: "none"; "butterworth", zero-phase, the same for all samples; "gcv", a
            smoothing spline that finds its own cutoff for each marker; or "kalman",
            which weighs each point by its whole covariance.
        fill_frames: Longest gap to fill, frames; 0 fills none.
        fill_method: How "none" and "butterworth" fill them, one of ``gaps.METHODS``.
            The other two fill them by what they smooth with.
        cutoff_hz: Of "butterworth", -3 dB after both passes.
        order: Of one pass of "butterworth".
        degree: Of the splines of "gcv", 5 or 3.
        of: What "kalman" takes for white noise, "acceleration" or "jerk".
        density: Its root spectral density, m/s^2 or m/s^3 per root hertz; None for
            that of ``DENSITIES``.
        noise_m: Noise SD of a component of a point of weight one, m; "kalman" uses it
            where no covariances are given.

    Raises:
        ValueError: An unknown name, or a number out of range.
    """

    method: str = "butterworth"
    fill_frames: int = 0
    fill_method: str = "cubic"
    cutoff_hz: float = 6.0
    order: int = 2
    degree: int = 5
    of: str = "jerk"
    density: float | None = None
    noise_m: float = 0.005

    def __post_init__(self) -> None:  # noqa: D105
        choices = {
            "method": METHODS,
            "fill_method": gaps.METHODS,
            "degree": gcv_spline.DEGREES,
            "of": tuple(kalman.ORDERS),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(
                    f"filter: {name} must be one of {allowed}; it is {value!r}"
                )
        for name in ("cutoff_hz", "noise_m", "density"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"filter: {name} must be positive; it is {value}")
        for name, least in (("fill_frames", 0), ("order", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(
                    f"filter: {name} must be at least {least}; it is {value}"
                )


def filter_trajectory(
    trajectory: MarkerTrajectory,
    covariance: Float[Array, "t k 3 3"] | None = None,
    options: FilterOptions | None = None,
) -> MarkerTrajectory:
    """Fills short gaps, then smooths each marker.

    Filters and splines see one stretch between two gaps that stay at a time: nothing
    is carried across such a gap. The Kalman smoother sees all frames, as its model
    says how little they tell across a gap. A stretch too short to be filtered and a
    marker seen too rarely to be smoothed keep their points.

    Args:
        trajectory: Markers. A marker seen with weight 0 counts as in a gap for "gcv"
            and "kalman"; its smoothed point is returned.
        covariance: Of each point, m^2, positive definite where seen; None for the same
            noise along all axes, its variance divided by the trajectory's weights.
            "gcv" uses its traces only, "butterworth" nothing of it.
        options: None for the defaults.

    Returns:
        The trajectory with points of the same type. Filled points are those valid
        here and not in the trajectory given; their weight is the smaller one of the
        points on both sides of the gap.

    Raises:
        ValueError: Covariances of another shape, a trajectory without a rate, or a
            cutoff that the rate does not allow.
    """
    options = options or FilterOptions()
    points = np.asarray(trajectory.points)
    seen = np.asarray(trajectory.valid, bool)
    if covariance is not None and covariance.shape != (*points.shape, 3):
        raise ValueError(
            f"covariances of shape {covariance.shape} do not fit points of shape "
            f"{points.shape}; they must be {(*points.shape, 3)}"
        )
    if not (np.isfinite(trajectory.rate_hz) and trajectory.rate_hz > 0):
        raise ValueError(
            "filtering needs the frame rate of the trajectory; rate_hz is "
            f"{trajectory.rate_hz}"
        )
    filled_points, valid, filled = gaps.fill(
        points, seen, options.fill_frames, options.fill_method
    )
    weight = trajectory.weight
    told = seen if weight is None else seen & (np.asarray(weight) > 0)
    if options.method == "butterworth":
        smoothed = _butterworth(filled_points, valid, trajectory.rate_hz, options)
    elif options.method == "gcv":
        variance = _covariance(trajectory, told, covariance, options)
        variance = np.where(told, np.einsum("tkii->tk", variance), 1.0)
        inverse = np.where(told, 1 / variance, 0.0)
        smoothed = _gcv(filled_points, valid, inverse, trajectory.rate_hz, options)
    elif options.method == "kalman":
        spread = _covariance(trajectory, told, covariance, options)
        found, known = _kalman(points, spread, told, trajectory.rate_hz, options)
        smoothed = np.where(known[:, None], found, filled_points)
    else:
        smoothed = filled_points
    return trajectory.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=np.where(valid[..., None], smoothed, points).astype(points.dtype),
        valid=valid,
        weight=None if weight is None else _weight(np.asarray(weight), seen, filled),
    )


def _butterworth(
    points: np.ndarray, valid: np.ndarray, rate_hz: float, options: FilterOptions
) -> np.ndarray:
    out, needed = points.copy(), filters.samples_needed(options.order)
    for k in range(valid.shape[1]):
        for stretch in gaps.runs(valid[:, k]):
            if stretch.stop - stretch.start >= needed:
                out[stretch, k] = filters.butterworth(
                    points[stretch, k], options.cutoff_hz, rate_hz, options.order
                )
    return out


def _gcv(
    points: np.ndarray,
    valid: np.ndarray,
    weight: np.ndarray,
    rate_hz: float,
    options: FilterOptions,
) -> np.ndarray:
    out, needed = points.copy(), options.degree + 1
    for k in range(valid.shape[1]):
        for stretch in gaps.runs(valid[:, k]):
            own = weight[stretch, k]
            if np.count_nonzero(own) >= needed:
                out[stretch, k] = gcv_spline.smooth(
                    points[stretch, k], rate_hz, own, degree=options.degree
                ).x
    return out


def _kalman(
    points: np.ndarray,
    covariance: np.ndarray,
    told: np.ndarray,
    rate_hz: float,
    options: FilterOptions,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns smoothed points [T, K, 3] and which markers are known [K]."""
    # Unseen frames at the end change nothing; few lengths are few compilations.
    frames = len(points)
    added = max(64, 1 << (frames - 1).bit_length()) - frames
    inputs = [
        np.pad(a, [(0, added)] + [(0, 0)] * (a.ndim - 1))
        for a in (points, covariance.astype(points.dtype), told)
    ]
    density = np.asarray(options.density or DENSITIES[options.of], points.dtype)
    found = jax.device_get(
        _smooth(*inputs, rate_hz=float(rate_hz), density=density, of=options.of)
    )
    return found.points[:frames], found.known


def _covariance(
    trajectory: MarkerTrajectory,
    told: np.ndarray,
    covariance: Array | None,
    options: FilterOptions,
) -> np.ndarray:
    """Returns the covariances given, or those of the noise and the weights."""
    if covariance is not None:
        return np.asarray(covariance)
    variance = np.full(told.shape, options.noise_m**2)
    if trajectory.weight is not None:
        variance = variance / np.where(told, trajectory.weight, 1.0)
    return variance[..., None, None] * np.eye(3)


def _weight(weight: np.ndarray, seen: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Gives filled points the smaller weight of the points around their gap."""
    frames = np.arange(len(seen))[:, None]
    before = np.maximum.accumulate(np.where(seen, frames, 0), axis=0)
    after = np.where(seen, frames, len(seen) - 1)[::-1]
    after = np.minimum.accumulate(after, axis=0)[::-1]
    both = [np.take_along_axis(weight, at, axis=0) for at in (before, after)]
    return np.where(filled, np.minimum(*both), weight)
