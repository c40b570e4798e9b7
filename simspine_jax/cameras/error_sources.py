"""What the reprojection error that is left consists of.

Three causes that a calibration could still hide, or cannot, are fitted to the misses of
some frames and judged by others: how much less of the squared miss they leave there. A
lens or focal length that is wrong moves pixels by where they are in the image, a camera
whose clock is off by a part of a frame moves them along their velocity, and a detector
that is wrong about a keypoint from one side moves that keypoint alike in all frames. A
miss that lasts from frame to frame is the detector's too, as noise of pixels does not.

Causes overlap, and shares do not add up to one: refine the cameras first, since what is
wrong with their places looks like all three. The points that misses are measured from
took up some of each cause, so that shares are of what is left, and a share below 0 is a
cause that is not there.
"""

import numpy as np
from flax import struct
from jaxtyping import Bool

from simspine_jax.cameras import pinhole
from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.types import Array, CameraRig, Detections2D

_LEAST = 5  # observations from which the bias of a keypoint in a view is known
_UNIT_PX = 1000.0  # places in the image count in this


@struct.dataclass
class ErrorSources:
    """Shares of the mean squared miss on frames that nothing was fitted to.

    Attributes:
        bias: Of what each keypoint has in each view, the same in all frames.
        lens: Of an affine map and cubic radial distortion of each image.
        timing: Of an offset of each view's clock.
        lasting: Correlation of the misses of neighbouring frames, biases taken out.
        offset_frames: By how much each view's clock lags, by its misses. Shape [C].
    """

    bias: float
    lens: float
    timing: float
    lasting: float
    offset_frames: Array

    def __str__(self) -> str:
        """Returns one sentence."""
        causes = {
            "biases of the detector by view and keypoint": self.bias,
            "lenses and focal lengths": self.lens,
            "clocks of cameras": self.timing,
        }
        most = max(causes, key=lambda name: causes[name])
        shares = ", ".join(f"{name} {max(s, 0):.0%}" for name, s in causes.items())
        return (
            f"of the squared error on frames held out, {shares}; what biases leave "
            f"correlates by {self.lasting:.2f} from frame to frame, which noise of "
            f"pixels would not; {most} limit it most"
        )


def error_sources(
    rig: CameraRig,
    detections: Detections2D,
    solved: Triangulation,
    held: Bool[np.ndarray, " t"],
) -> ErrorSources:
    """Returns what the misses of a triangulation consist of.

    Args:
        rig: The cameras that were triangulated with.
        detections: The detections that were.
        solved: What ``triangulate`` found.
        held: Frames that judge; causes are fitted to the others.

    Raises:
        ValueError: No observation is used in the frames that judge, or none in the
            others.
    """
    used = np.asarray(solved.used_views)
    for name, part in (("held-out", used[held]), ("other", used[~held])):
        if not part.any():
            raise ValueError(f"no observation is used in the {name} frames")
    place = np.asarray(pinhole.project(rig, np.asarray(solved.points)))
    miss = np.where(used[..., None], np.asarray(detections.points) - place, 0.0)
    fit = used & ~held[:, None, None]
    bias = _bias(miss, fit)
    lens = _lens(rig, place, miss, fit)
    timing, offset = _timing(place, np.asarray(solved.valid), miss, fit)
    judge = used & held[:, None, None]
    share = lambda part: _share(miss, part, judge)
    return ErrorSources(
        bias=share(np.broadcast_to(bias, miss.shape)),
        lens=share(lens),
        timing=share(timing),
        lasting=_lasting(miss - bias, used),
        offset_frames=offset,
    )


def _share(miss: np.ndarray, part: np.ndarray, judge: np.ndarray) -> float:
    left, whole = ((miss - part)[judge] ** 2).sum(), (miss[judge] ** 2).sum()
    return float(1 - left / whole) if whole > 0 else 0.0


def _bias(miss: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """Mean misses. [C, K, 2]."""
    count = fit.sum(axis=0)[..., None]
    mean = np.where(fit[..., None], miss, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(count >= _LEAST, mean, 0.0)


def _lens(
    rig: CameraRig, place: np.ndarray, miss: np.ndarray, fit: np.ndarray
) -> np.ndarray:
    """The part of misses that the place in the image tells. [T, C, K, 2]."""
    part = np.zeros_like(miss)
    for c, centre in enumerate(np.asarray(rig.matrix)[:, :2, 2]):
        at = (place[:, c] - centre) / _UNIT_PX
        square = (at**2).sum(axis=-1, keepdims=True)
        rows = np.concatenate([np.ones_like(square), at, square * at], axis=-1)
        seen = fit[:, c]
        part[:, c] = rows @ np.linalg.lstsq(rows[seen], miss[:, c][seen])[0]
    return part


def _timing(
    place: np.ndarray, valid: np.ndarray, miss: np.ndarray, fit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The part of misses along velocities, [T, C, K, 2], and offsets, frames, [C]."""
    speed, known = np.zeros_like(place), np.zeros_like(valid)
    speed[1:-1] = 0.5 * (place[2:] - place[:-2])
    known[1:-1] = valid[2:] & valid[1:-1] & valid[:-2]
    speed = np.where(known[:, None, :, None], speed, 0.0)
    seen = fit[..., None]
    along = np.where(seen, speed * miss, 0.0).sum(axis=(0, 2, 3))
    square = np.where(seen, speed**2, 0.0).sum(axis=(0, 2, 3))
    ahead = np.where(square > 0, along / np.where(square > 0, square, 1.0), 0.0)
    return speed * ahead[:, None, None], -ahead


def _lasting(miss: np.ndarray, used: np.ndarray) -> float:
    both = used[1:] & used[:-1]
    now, then = miss[1:][both], miss[:-1][both]
    size = np.sqrt((now**2).sum() * (then**2).sum())
    return float((now * then).sum() / size) if size > 0 else 0.0
