"""What a merge joins: markers with how good they are, over the same frames."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.skeletons import h36m_17
from simspine_jax.types import Array, MarkerTrajectory

FRAMES = ("equal", "overlap")
# The middles of two parts of one person are not farther apart than this.
_FARTHEST_M = 1.5


@dataclass(frozen=True)
class Source:
    """Markers and how good they are.

    Attributes:
        name: For messages and the record of origins.
        markers: In the ground frame, m. A marker of weight 0 counts as not seen.
        covariance: Of each point, m^2, positive definite where seen; other weights of
            the markers are then not used. Shape [T, K, 3, 3].
        sd_m: In its place, SD of a component of a point of weight one, m; a point's
            variance is its square over the point's weight.

    Raises:
        ValueError: Shapes that contradict each other, points that are seen but not
            finite, not exactly one of covariance and SD, or one that is not positive.
    """

    name: str
    markers: MarkerTrajectory
    covariance: Float[Array, "t k 3 3"] | None = None
    sd_m: float | None = None

    def __post_init__(self) -> None:  # noqa: D105
        _check_markers(self)
        if (self.covariance is None) == (self.sd_m is None):
            found = "neither" if self.sd_m is None else "both"
            raise ValueError(
                f"{self.name}: the markers need either a covariance or sd_m; found "
                f"{found}"
            )
        if self.sd_m is not None and not (np.isfinite(self.sd_m) and self.sd_m > 0):
            raise ValueError(
                f"{self.name}: sd_m must be a positive number of metres; it is "
                f"{self.sd_m}"
            )
        if self.covariance is not None:
            _check_covariance(self, self.covariance)

    @property
    def seen(self) -> Bool[np.ndarray, "t k"]:
        """Which points count."""
        valid = np.asarray(self.markers.valid, bool)
        weight = self.markers.weight
        return valid if weight is None else valid & (np.asarray(weight) > 0)

    def spread(self) -> Float[np.ndarray, "t k 3 3"]:
        """Returns the covariance of each point, m^2; the identity where not seen."""
        seen = self.seen
        if self.covariance is None:
            assert self.sd_m is not None
            weight = self.markers.weight
            told = np.ones(seen.shape) if weight is None else np.asarray(weight, float)
            variance = self.sd_m**2 / np.where(seen, told, 1.0)
            found = variance[..., None, None] * np.eye(3)
        else:
            found = np.asarray(self.covariance, float)
        return np.where(seen[..., None, None], found, np.eye(3))

    def times(self) -> str:
        """Says which frames there are, for messages."""
        markers = self.markers
        return (
            f"{self.name} has {len(markers.points)} frames at {markers.rate_hz:g} Hz "
            f"from {markers.start_s:g} s"
        )


def from_h36m(
    trajectory: MarkerTrajectory, *, mid_torso_is_t8: bool = False
) -> MarkerTrajectory:
    """Returns joints of Human3.6M under SIMSPINE's names, matched by name.

    Args:
        trajectory: 17 joints or some of them, by their own names or by those of
            SIMSPINE's 16 (``skeletons.h36m_17``), in any order, in the ground frame.
        mid_torso_is_t8: Whether to take the mid-torso joint for the keypoint of the
            eighth thoracic vertebra, as SIMSPINE does. It is a joint of the actors'
            model and not a vertebra that was seen, so that it is left out otherwise.

    Returns:
        The joints that SIMSPINE has, in the order given.

    Raises:
        ValueError: A name that no joint of Human3.6M has, or two of one joint.
    """
    names = dict(h36m_17.SIMSPINE_NAMES)
    if mid_torso_is_t8:
        names[h36m_17.MID_TORSO] = h36m_17.T8
    for name in trajectory.names:
        if name not in names and name != h36m_17.MID_TORSO:
            raise ValueError(
                f"{name!r} is no joint of Human3.6M; known are "
                f"{', '.join((*names, h36m_17.MID_TORSO))}"
            )
    keep = np.flatnonzero([name in names for name in trajectory.names])
    renamed = tuple(names[trajectory.names[k]] for k in keep)
    if len(set(renamed)) < len(renamed):
        twice = next(name for name in renamed if renamed.count(name) > 1)
        raise ValueError(f"more than one joint of Human3.6M is {twice!r}")
    weight = trajectory.weight
    return trajectory.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=trajectory.points[:, keep],
        valid=trajectory.valid[:, keep],
        names=renamed,
        weight=None if weight is None else weight[:, keep],
    )


def aligned(first: Source, second: Source, frames: str) -> tuple[slice, slice]:
    """Returns the frames of both sources that belong together.

    Args:
        first: A source.
        second: Another.
        frames: "equal" or "overlap".

    Raises:
        ValueError: Rates that drift apart by half a frame, no common frame, or, with
            "equal", other numbers of frames or starts half a frame apart.
    """
    one, two = first.markers, second.markers
    counts = (len(one.points), len(two.points))
    rate = one.rate_hz
    both = f"{first.times()}, and {second.times()}"
    drift = max(counts) * abs(1.0 - rate / two.rate_hz)
    if not drift < 0.5:
        raise ValueError(f"{both}; the rates must agree within half a frame")
    late = (two.start_s - one.start_s) * rate
    if frames == "equal":
        if counts[0] != counts[1] or not abs(late) < 0.5:
            raise ValueError(
                f"{both}; number and start of the frames must agree within half a "
                'frame, or frames="overlap" cuts what only one has'
            )
        return slice(0, counts[0]), slice(0, counts[1])
    shift = round(late)
    start, stop = max(shift, 0), min(counts[0], counts[1] + shift)
    if stop <= start:
        raise ValueError(f"{both}; they have no frame in common")
    return slice(start, stop), slice(start - shift, stop - shift)


def check_place(first: Source, second: Source, own: slice, other: slice) -> None:
    """Refuses two sources that cannot be of one person in one frame and unit.

    Raises:
        ValueError: The middles of their markers are far apart in most frames.
    """
    middles, seen = [], []
    for source, frames in ((first, own), (second, other)):
        mask = source.seen[frames]
        count = mask.sum(axis=1)
        points = np.asarray(source.markers.points, float)[frames]
        total = np.where(mask[..., None], points, 0.0).sum(axis=1)
        middles.append(total / np.maximum(count, 1)[:, None])
        seen.append(count > 0)
    shared = seen[0] & seen[1]
    if not shared.any():
        return
    apart = np.linalg.norm(middles[0] - middles[1], axis=1)[shared]
    distance = float(np.median(apart))
    if distance > _FARTHEST_M:
        raise ValueError(
            f"the middles of the markers of {first.name} and {second.name} are "
            f"{distance:.3g} m apart (median), and parts of one person at most "
            f"{_FARTHEST_M:g} m; the two are not in the same ground frame or unit"
        )


def _check_markers(source: Source) -> None:
    markers = source.markers
    shape, names = np.shape(markers.points), markers.names
    if np.shape(markers.valid) != shape[:2] or shape[1:] != (len(names), 3):
        raise ValueError(
            f"{source.name}: points {shape}, valid {np.shape(markers.valid)} and "
            f"{len(names)} names do not belong together; (T, K, 3), (T, K) and K are "
            "needed"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{source.name}: marker {twice!r} is named more than once")
    if not (np.isfinite(markers.rate_hz) and markers.rate_hz > 0):
        raise ValueError(
            f"{source.name}: the rate must be positive; it is {markers.rate_hz} Hz"
        )
    weight = markers.weight
    if weight is not None and not (
        np.shape(weight) == shape[:2]
        and np.isfinite(weight).all()
        and (np.asarray(weight) >= 0).all()
    ):
        raise ValueError(
            f"{source.name}: the weights, of shape {np.shape(weight)}, must be finite, "
            f"not negative and of shape {shape[:2]}"
        )
    bad = source.seen & ~np.isfinite(np.asarray(markers.points)).all(axis=-1)
    if bad.any():
        frame, marker = np.argwhere(bad)[0]
        raise ValueError(
            f"{source.name}: marker {names[marker]!r} is valid but not finite in frame "
            f"{frame}"
        )


def _check_covariance(source: Source, covariance: Array) -> None:
    shape = (*np.shape(source.markers.points), 3)
    if np.shape(covariance) != shape:
        raise ValueError(
            f"{source.name}: covariances of shape {np.shape(covariance)} do not fit "
            f"the points; they must be {shape}"
        )
    spread = source.spread()
    finite = np.asarray(np.isfinite(spread).all(axis=(2, 3)))
    usable = np.where(finite[..., None, None], spread, np.eye(3))
    mirrored = np.swapaxes(usable, 2, 3)
    even = np.isclose(usable, mirrored, rtol=1e-6, atol=0.0).all(axis=(2, 3))
    positive = np.linalg.eigvalsh((usable + mirrored) / 2).min(axis=-1) > 0
    bad = ~(finite & positive & even)
    if bad.any():
        frame, marker = np.argwhere(bad)[0]
        raise ValueError(
            f"{source.name}: the covariance of marker "
            f"{source.markers.names[marker]!r} in frame {frame} is not finite, "
            "symmetric and positive definite"
        )
