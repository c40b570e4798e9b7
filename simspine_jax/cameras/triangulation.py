"""Triangulation of detections in calibrated views, at data-set scale.

Each point is where the reprojection error in pixels, lens included, is least over the
views that agree (``robust_points``). Points are handled in blocks of one padded shape:
one compilation for any mix of missing views, memory that does not grow with frames.

Source: Hartley and Sturm, Triangulation, 1997 (the error that is minimised); SIMSPINE
eq. 1 has a Huber penalty in place of the views' agreement.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float

from simspine_jax.cameras import pinhole, rays, robust_points
from simspine_jax.cameras.robust_points import Effort
from simspine_jax.core.staging import stage
from simspine_jax.types import Array, CameraRig, Detections2D

_SAMPLE = 4096  # points from which the noise is estimated
# The first guess is small and grows to what agrees with itself: misses of views that
# are wrong spread evenly over any reach, those of good ones do not.
_FIRST_NOISE_PX, _ROUNDS, _SETTLED = 0.5, 16, 0.01
_LEAST_NOISE_PX = 0.02


@dataclass(frozen=True)
class TriangulationOptions:
    """How points are triangulated.

    Attributes:
        noise_px: SD of a pixel component at confidence 1; None to estimate it from
            the views that agree.
        reach: Distance in these SDs up to which a view agrees with a point.
        min_views: Views that must agree.
        min_confidence: Detections of less are not used.
        float64: Double precision; single is for accelerators.
        block_points: Points in memory at a time.

    Raises:
        ValueError: A number out of range.
    """

    noise_px: float | None = None
    reach: float = 4.0
    min_views: int = 2
    min_confidence: float = 0.0
    float64: bool = True
    block_points: int = 16384

    @property
    def dtype(self) -> type:
        """Of all numbers."""
        return np.float64 if self.float64 else np.float32

    def __post_init__(self) -> None:  # noqa: D105
        if self.noise_px is not None and not self.noise_px > 0:
            raise ValueError(
                f"noise_px must be positive or None; it is {self.noise_px}"
            )
        for name, least in (("reach", 1.0), ("min_views", 2), ("block_points", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(
                    f"{name} must be at least {least:g}; it is {getattr(self, name)}"
                )


@struct.dataclass
class Triangulation:
    """Points in the world of the rig.

    Attributes:
        points: m; 0 where not valid. Shape [T, K, 3].
        valid: Whether enough views agree on one place. Shape [T, K].
        reprojection_error: Distance to each detection, px; 0 where nothing was
            detected or the point is not valid. Shape [T, C, K].
        covariance: m^2; 0 where not valid. Shape [T, K, 3, 3].
        used_views: Views that agree with the point. Shape [T, C, K].
        noise_px: SD of a pixel component, given or estimated.
    """

    points: Array
    valid: Array
    reprojection_error: Array
    covariance: Array
    used_views: Array
    noise_px: Array | float


def triangulate(
    rig: CameraRig,
    detections: Detections2D,
    options: TriangulationOptions = TriangulationOptions(),
) -> Triangulation:
    """Triangulates every keypoint of every frame; NumPy in, NumPy out.

    Args:
        rig: Cameras, in the order of the detections' views.
        detections: Pixels and confidences.
        options: See ``TriangulationOptions``.

    Raises:
        ValueError: Fewer than two cameras, other cameras than views, confidences
            that are negative or not numbers, or no point that two views see.
    """
    require(rig, detections)
    frames, cameras, keypoints = np.shape(detections.confidence)
    noise = options.noise_px or estimated_noise(rig, detections, options)
    size = max(1, min(frames, options.block_points // max(keypoints, 1)))
    cast, dtype = _cast(rig, options), options.dtype
    whole = (
        np.empty((frames, keypoints, 3), dtype),
        np.empty((frames, keypoints), bool),
        np.empty((frames, cameras, keypoints), dtype),
        np.empty((frames, keypoints, 3, 3), dtype),
        np.empty((frames, cameras, keypoints), bool),
    )

    def collect(first: int, found: tuple[Array, ...]) -> None:
        for into, part in zip(whole, found, strict=True):
            into[first : first + size] = np.asarray(part)[: frames - first]

    # While one block is computed, the one before is copied.
    before: tuple[int, tuple[Array, ...]] | None = None
    for first in range(0, frames, size):
        part = slice(first, first + size)
        found = triangulate_points(
            cast,
            _padded(detections.points[part], size, options),
            _padded(_trusted(detections.confidence[part], options), size, options),
            noise,
            reach=options.reach,
            min_views=options.min_views,
        )
        if before is not None:
            collect(*before)
        before = first, found
    if before is not None:
        collect(*before)
    return Triangulation(*whole, noise_px=float(noise))


@partial(jax.jit, static_argnames=("reach", "min_views"))
def triangulate_points(
    rig: CameraRig,
    pixels: Float[Array, "t c k 2"],
    confidence: Float[Array, "t c k"],
    noise_px: Float[Array, ""] | float,
    *,
    reach: float = 4.0,
    min_views: int = 2,
) -> tuple[Array, Array, Array, Array, Array]:
    """Returns the first five fields of ``Triangulation``; jitted, differentiable.

    Gradients of the points with respect to pixels, confidences and cameras are those
    of the minimum; which views agree is taken as given.
    """
    frames, cameras, keypoints = confidence.shape
    lanes = jnp.moveaxis(jnp.asarray(confidence), 1, 0).reshape(cameras, -1)
    seen = pinhole.by_camera(pixels)
    views = rays.views_of(rig)
    go = jnp.asarray(noise_px) > 0
    observed = rays.rays_of(go, rig, seen, lanes)
    found = robust_points.fit(go, views, observed, Effort(noise_px, reach, min_views))
    point = found.point + jnp.asarray(views.origin)[:, None]
    error = stage(go, _distances, *jax.lax.stop_gradient((rig, point, seen)))
    keep = found.valid[None]
    by_frame = lambda a: jnp.moveaxis(a.reshape(cameras, frames, keypoints), 0, 1)
    xx, xy, xz, yy, yz, zz = found.covariance
    rows = jnp.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1)
    rows = jnp.where(found.valid[:, None], rows * noise_px**2, 0.0)
    return (
        jnp.where(keep, point, 0.0).T.reshape(frames, keypoints, 3),
        found.valid.reshape(frames, keypoints),
        by_frame(jnp.where(keep & (lanes > 0), error, 0.0)),
        rows.reshape(frames, keypoints, 3, 3),
        by_frame(found.used & keep),
    )


def _distances(rig: CameraRig, point: Array, seen: Array) -> Array:
    u, v = pinhole.project_lanes(rig, point)
    return jnp.sqrt((u - seen[..., 0]) ** 2 + (v - seen[..., 1]) ** 2)


def estimated_noise(
    rig: CameraRig, detections: Detections2D, options: TriangulationOptions
) -> float:
    """Returns the SD of a pixel component at confidence 1, from views that agree.

    The mean square of the misses of some points over their degrees of freedom.
    """
    frames, _, keypoints = np.shape(detections.confidence)
    count = max(1, min(frames, _SAMPLE // max(keypoints, 1)))
    few = np.linspace(0, frames - 1, count).astype(int)
    pixels = _padded(np.asarray(detections.points)[few], count, options)
    trusted = _trusted(np.asarray(detections.confidence)[few], options)
    weight = np.asarray(_padded(trusted, count, options))
    noise, small = _FIRST_NOISE_PX, _cast(rig, options)
    for _ in range(_ROUNDS):
        _, valid, error, _, used = jax.device_get(
            triangulate_points(
                small,
                pixels,
                weight,
                noise,
                reach=options.reach,
                min_views=options.min_views,
            )
        )
        good = used & valid[:, None]
        freedom = (2 * good.sum(axis=1) - 3)[valid].sum()
        if freedom < 1:
            noise *= 2
            continue
        last, square = noise, (weight * error**2)[good].sum() / freedom
        noise = max(float(np.sqrt(square)), _LEAST_NOISE_PX)
        if abs(noise - last) < _SETTLED * last:
            break
    return noise


def require(rig: CameraRig, detections: Detections2D) -> None:
    """Refuses detections that cannot be triangulated.

    Raises:
        ValueError: As ``triangulate``.
    """
    cameras = len(rig.names)
    if cameras < 2:
        raise ValueError(
            f"triangulation takes at least two cameras; the rig has {cameras}"
        )
    views = np.shape(detections.points)[1]
    if views != cameras:
        raise ValueError(
            f"the detections have {views} views, but the rig {cameras} cameras "
            f"({', '.join(rig.names)})"
        )
    confidence = np.asarray(detections.confidence)
    if not (confidence >= 0).all():
        t, c, k = np.argwhere(~(confidence >= 0))[0]
        raise ValueError(
            f"the confidence of {detections.keypoint_names[k]} in frame {t} of camera "
            f"{rig.names[c]} is {confidence[t, c, k]}; it must be 0 or more"
        )
    if not ((confidence > 0).sum(axis=1) >= 2).any():
        raise ValueError(
            "no keypoint is seen by two cameras in the same frame; cameras that "
            "never see the same point cannot be triangulated from"
        )


def _trusted(confidence: Array, options: TriangulationOptions) -> np.ndarray:
    given = np.asarray(confidence)
    if options.min_confidence <= 0:
        return given
    return np.where(given >= options.min_confidence, given, 0.0)


def _cast(rig: CameraRig, options: TriangulationOptions) -> CameraRig:
    return jax.tree.map(lambda a: np.asarray(a, options.dtype), rig)


def _padded(a: Array, frames: int, options: TriangulationOptions) -> np.ndarray:
    a = np.asarray(a, options.dtype)
    if len(a) == frames:
        return a
    empty = np.zeros((frames - len(a), *a.shape[1:]), options.dtype)
    return np.concatenate([a, empty])
