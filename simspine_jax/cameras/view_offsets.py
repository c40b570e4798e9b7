"""By how many frames each view of a capture lags, from how badly views fit.

Notation: view c has offset d_c if what happens in frame t is in its frame ``t + d_c``.
Of two views a, b the error ``e_ab(s)`` is the median of Sampson's distance (px) of all
keypoints in frame t of a and frame ``t + s`` of b. The offsets are the set of integers
with the least sum of ``e_ab(d_b - d_a)`` over all pairs of views, found by descent
from the best shifts to each view in turn. One-frame steps that lower the reprojection
error of points of all views then refine it. All shifts are judged by the same frames.

A view is sure if its mean error to the others rises clearly up to five frames before
and after its best offset and, unless that is 0, at 0. Clearly is by a share of
``_CLEAR + _SPREAD / sqrt(n)`` for n distances; at a 0 that is k < 5 frames away, by
``(k / 5)^2`` of that, as errors rise near their minimum. A person who stands still
raises nothing: such a view has offset 0 and is not sure. Cameras that are calibrated
badly can look like late ones: on Pose2Sim's balancing capture the given calibration
yields 0, 1, 3 and 1 frames, all sure, and the refined one (``refinement``) 0 for all.
Refine first.

Source: Sampson distance, Hartley and Zisserman, Multiple View Geometry, 2003, section
11.4.3.
"""

from itertools import combinations

import jax
import numpy as np
from flax import struct
from jaxtyping import Float, Int

from simspine_jax.cameras import person_pairs, pinhole
from simspine_jax.cameras.triangulation import require
from simspine_jax.types import Array, CameraRig, Detections2D

_CLEAR, _SPREAD = 0.1, 5.0
_AWAY = 5  # frames from the best offset by which the error must have risen
_NEAR = 3  # frames that must be searched on a side for it to count
_FRAMES = 600  # that are compared, spread over the trial
_LEAST = 20  # distances from which the error of two views is known
_LEAST_FRAMES = 5  # that every shift must leave
_ROUNDS = 20  # of descent, far more than it takes
_SAME_M = 1e-6  # cameras nearer each other stand in the same place

_project = jax.jit(pinhole.project)


@struct.dataclass
class Offsets:
    """Offsets of views in frames.

    Attributes:
        frames: How many frames each view lags the reference; 0 where not sure. Shape
            [C].
        sure: Whether the trial tells the offset; all False if it tells none. Shape [C].
        error_before_px: Median reprojection error of each view as given; NaN where a
            view shares no keypoint with another. Shape [C].
        error_after_px: The same with ``frames`` applied. Shape [C].
        names: C camera names.
        reference: Index of the view that the others lag, the first sure one.
    """

    frames: np.ndarray
    sure: np.ndarray
    error_before_px: np.ndarray
    error_after_px: np.ndarray
    names: tuple[str, ...] = struct.field(pytree_node=False)
    reference: int = struct.field(pytree_node=False, default=0)

    def __str__(self) -> str:
        """Returns one line a view."""
        lines = [f"frames by which views lag {self.names[self.reference]}:"]
        rows = zip(
            self.names,
            self.frames,
            self.sure,
            self.error_before_px,
            self.error_after_px,
            strict=True,
        )
        for name, lag, sure, before, after in rows:
            known = "sure" if sure else "not sure"
            lines.append(
                f"  {name}: {int(lag):+d} ({known}), {before:.2f} px to {after:.2f} px"
            )
        return "\n".join(lines)


def estimate_offsets(
    rig: CameraRig, detections: Detections2D, max_frames: int = 10
) -> Offsets:
    """Estimates how many frames each view lags; changes nothing.

    Args:
        rig: Cameras, in the order of the views.
        detections: One person in all views.
        max_frames: Largest offset between two views that is looked for.

    Raises:
        ValueError: ``max_frames`` is less than 1, leaves too few frames of the trial,
            or is too small for two views that fit best when shifted by all of it; or
            as ``triangulation.triangulate``.
    """
    require(rig, detections)
    length = len(detections.confidence)
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1; it is {max_frames}")
    if length < 2 * max_frames + _LEAST_FRAMES:
        raise ValueError(
            f"offsets of up to {max_frames} frames take a trial of at least "
            f"{2 * max_frames + _LEAST_FRAMES} frames; this one has {length}"
        )
    count = min(_FRAMES, length - 2 * max_frames)
    base = np.linspace(max_frames, length - 1 - max_frames, count).astype(int)
    seen = _Seen(rig, detections)
    curves, weight = _curves(seen, base, max_frames)
    best = _refined(seen, base, _consistent(curves, max_frames), max_frames)
    sure = _sure(curves, weight, best)
    _require_inside(rig.names, best, sure, max_frames)
    reference = int(np.argmax(sure))
    frames = np.where(sure, best - best[reference], 0)
    return Offsets(
        frames=frames,
        sure=sure,
        error_before_px=seen.error_px(base, np.zeros_like(frames)),
        error_after_px=seen.error_px(base, frames),
        names=tuple(rig.names),
        reference=reference,
    )


def apply_offsets(
    detections: Detections2D, frames: Int[Array, " c"] | tuple[int, ...]
) -> Detections2D:
    """Returns detections of which frame t of view c is ``t + frames[c]`` of the given.

    The length is kept. Frames that a view lacks have confidence and pixels 0.

    Args:
        detections: As given.
        frames: Offset of each view, as ``Offsets.frames``. Shape [C].

    Raises:
        ValueError: Another number of offsets than of views.
    """
    points, confidence = (
        np.asarray(detections.points),
        np.asarray(detections.confidence),
    )
    length, views = confidence.shape[:2]
    lag = np.asarray(frames)
    if lag.shape != (views,):
        raise ValueError(
            f"offsets of shape {lag.shape} were given for {views} views; one integer "
            "is needed for each"
        )
    at = np.arange(length)[:, None] + lag
    there = ((at >= 0) & (at < length))[..., None]
    at, view = np.clip(at, 0, length - 1), np.arange(views)[None]
    return Detections2D(
        np.where(there[..., None], points[at, view], 0.0),
        np.where(there, confidence[at, view], 0.0),
        detections.keypoint_names,
        detections.rate_hz,
    )


def sampson_px(
    one: tuple[np.ndarray, ...], two: tuple[np.ndarray, ...], step: np.ndarray
) -> Float[np.ndarray, "..."]:
    """Returns how far (px) both pixels must move together for their rays to meet.

    Args:
        one: World rays with z = 1 in the camera, [..., 3], px per unit, [...], and
            rotation, [3, 3], of a view.
        two: The same of the other view; leading axes broadcast.
        step: From the first camera's centre to the second's, m. Shape [3].
    """
    (ray_a, focal_a, turn_a), (ray_b, focal_b, turn_b) = one, two
    plane_a, plane_b = np.cross(step, ray_a), np.cross(ray_b, step)
    miss = (plane_a * ray_b).sum(axis=-1)
    slope_a = ((plane_b @ turn_a[:2].T) ** 2).sum(axis=-1) / focal_a**2
    slope_b = ((plane_a @ turn_b[:2].T) ** 2).sum(axis=-1) / focal_b**2
    return np.abs(miss) / np.sqrt(np.maximum(slope_a + slope_b, 1e-18))


class _Seen:
    """Detections as rays, for any choice of frames of each view."""

    def __init__(self, rig: CameraRig, detections: Detections2D) -> None:
        self.rig = rig
        self.pixels = np.asarray(detections.points, float)
        score = np.asarray(detections.confidence, float)
        self.there = score > 0
        ray, focal = person_pairs.world_rays(
            rig, self.pixels[:, :, None], score[:, :, None]
        )
        self.ray, self.focal = ray[:, :, 0], focal[:, :, 0]
        self.centre = np.asarray(rig.centres, float)
        self.turn = np.asarray(rig.rotation, float)

    def view(self, frames: np.ndarray, c: int) -> tuple[np.ndarray, ...]:
        return self.ray[frames, c], self.focal[frames, c], self.turn[c]

    def error_px(self, base: np.ndarray, lag: np.ndarray) -> np.ndarray:
        """Median distance to the points nearest all rays, px; NaN for none. [C]."""
        at, view = base[:, None] + lag, np.arange(len(lag))[None]
        there = self.there[at, view]
        there = there & (there.sum(axis=1, keepdims=True) >= 2)
        ray = self.ray[at, view]
        unit = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
        across = np.eye(3) - unit[..., :, None] * unit[..., None, :]
        across = np.where(there[..., None, None], across, 0.0)
        sums = across.sum(axis=1) + 1e-9 * np.eye(3)
        middle = np.einsum("tckij,cj->tki", across, self.centre)
        point = np.linalg.solve(sums, middle[..., None])[..., 0]
        found = np.asarray(_project(self.rig, point))
        miss = np.linalg.norm(found - self.pixels[at, view], axis=-1)
        by_view = zip(np.swapaxes(miss, 0, 1), np.swapaxes(there, 0, 1), strict=True)
        return np.array([np.median(m[s]) if s.any() else np.nan for m, s in by_view])


def _curves(seen: _Seen, base: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors e_ab by shift, 0 in the middle, inf beyond reach, [C, C, S]; counts."""
    cameras, middle = len(seen.centre), 2 * reach + _AWAY
    curves = np.full((cameras, cameras, 2 * middle + 1), np.inf)
    curves[:, :, middle - reach : middle + reach + 1] = 0.0
    weight = np.zeros((cameras, cameras), int)
    shifts = range(-reach, reach + 1)
    for a, b in combinations(range(cameras), 2):
        step = seen.centre[b] - seen.centre[a]
        both = [seen.there[base, a] & seen.there[base + s, b] for s in shifts]
        least = min(int(common.sum()) for common in both)
        if least < _LEAST or np.linalg.norm(step) < _SAME_M:
            continue
        weight[a, b] = weight[b, a] = least
        for s, common in zip(shifts, both, strict=True):
            miss = sampson_px(seen.view(base, a), seen.view(base + s, b), step)
            error = np.median(miss[common])
            curves[a, b, middle + s] = curves[b, a, middle - s] = error
    return curves, weight


def _of_view(curves: np.ndarray, lag: np.ndarray, c: int, at: np.ndarray) -> np.ndarray:
    """Sum of the errors of view c to the others if its offset is each of ``at``."""
    others = np.delete(np.arange(len(lag)), c)
    middle = curves.shape[2] // 2
    return curves[others, c, middle + at[:, None] - lag[others]].sum(axis=1)


def _consistent(curves: np.ndarray, reach: int) -> np.ndarray:
    """The offsets to the first view, each at most ``reach``, of least error."""
    cameras, shifts = len(curves), np.arange(-reach, reach + 1)
    middle = curves.shape[2] // 2
    inside = curves[:, :, middle - reach : middle + reach + 1]
    found: list[tuple[float, np.ndarray]] = []
    for start in range(cameras):
        star = np.argmin(inside[start], axis=1) - reach
        star[start] = 0
        lag = np.clip(star - star[0], -reach, reach)
        for _ in range(_ROUNDS):
            last = lag.copy()
            for c in range(1, cameras):
                lag[c] = shifts[np.argmin(_of_view(curves, lag, c, shifts))]
            if (lag == last).all():
                break
        total = sum(_of_view(curves, lag, c, lag[c : c + 1])[0] for c in range(cameras))
        found.append((float(total), lag))
    return min(found, key=lambda one: (one[0], int(np.abs(one[1]).sum())))[1]


def _refined(seen: _Seen, base: np.ndarray, lag: np.ndarray, reach: int) -> np.ndarray:
    """Offsets by steps of one frame while the reprojection error falls."""
    mean = lambda one: float(np.nan_to_num(seen.error_px(base, one)).mean())
    error = mean(lag)
    for _ in range(_ROUNDS):
        steps = np.concatenate([np.eye(len(lag), dtype=int)[1:]] * 2)
        steps[len(lag) - 1 :] *= -1
        tried = [lag + step for step in steps if np.ptp(lag + step) <= reach]
        errors = [mean(one) for one in tried]
        if not errors or not min(errors) < error:
            break
        error, lag = min(errors), tried[int(np.argmin(errors))]
    return lag


def _sure(curves: np.ndarray, weight: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """Whether the errors of each view rise clearly away from its offset. [C]."""
    sure = np.zeros(len(lag), bool)
    for c, best in enumerate(lag):
        count = weight[c].sum()
        if not count:
            continue
        rise = _CLEAR + _SPREAD / np.sqrt(count)
        near = np.arange(-_AWAY, _AWAY + 1)
        errors = _of_view(curves, lag, c, best + near)
        least, known = errors[_AWAY], np.flatnonzero(np.isfinite(errors))
        # At the end of what is searched there may be only one side.
        far = min(_NEAR, (curves.shape[2] // 2 - _AWAY) // 2)
        ends = [k for k in (known[0], known[-1]) if abs(k - _AWAY) >= far]
        sure[c] = bool(ends) and (errors[ends] > (1 + rise) * least).all()
        if best:
            part = min(abs(best) / _AWAY, 1.0) ** 2
            zero = _of_view(curves, lag, c, np.array([0]))[0]
            sure[c] &= bool(zero > (1 + part * rise) * least)
    return sure if sure.sum() >= 2 else np.zeros_like(sure)


def _require_inside(
    names: tuple[str, ...], lag: np.ndarray, sure: np.ndarray, reach: int
) -> None:
    """Refuses offsets at the end of what was searched.

    Raises:
        ValueError: Two sure views differ by all of ``reach``.
    """
    for a, b in combinations(np.flatnonzero(sure), 2):
        if abs(lag[b] - lag[a]) >= reach:
            raise ValueError(
                f"the views {names[a]} and {names[b]} fit best when shifted by all of "
                f"max_frames, {reach}; give a larger max_frames"
            )
