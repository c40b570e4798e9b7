"""A fitted motion with what it cost and how it ended."""

from dataclasses import replace
from typing import Any

import numpy as np
from flax import struct

from simspine_jax.core import levenberg_marquardt as lm
from simspine_jax.fitting.euler_branches import Mended
from simspine_jax.types import Motion

STATUS_TEXT = lm.STATUS_TEXT
EMPTY = lm.EMPTY


@struct.dataclass
class IkSolution:
    """A fitted motion.

    Attributes:
        q: All coordinates, rad and m. Shape [T, N].
        objective: The objective that was minimised, m^2 and rad^2. Shape [T].
        objective_opensim: OpenSim's form of it. Shape [T].
        objective_normalised: The normalised form of it. Shape [T].
        marker_error: Distance of every used marker, m; 0 where missing. [T, M].
        marker_seen: Whether it was used in the frame. Shape [T, M].
        status: Index into ``STATUS_TEXT``. Shape [T].
        steps: Solver evaluations spent on the frame, restarts included. Shape [T].
        prior_ratios: Coordinate and its task's curvature over marker information.
        marker_names: M markers used.
        coordinate_names: N coordinates.
        rate_hz: Frames per second.
        start_s: Time of the first frame, s.
        rerouted: Whether the frame took another pose than the best it had alone, to go
            on smoothly. Shape [T].
        mended: Flips by 180 degrees and whole turns taken out between frames.
        noise_m: Noise SD of a marker component that the covariance goes by, m.
        covariance: Of all coordinates, rad^2 and m^2, if it was asked for; inf on the
            diagonal of what the markers leave open. Shape [T, N, N].
    """

    q: np.ndarray
    objective: np.ndarray
    objective_opensim: np.ndarray
    objective_normalised: np.ndarray
    marker_error: np.ndarray
    marker_seen: np.ndarray
    status: np.ndarray
    steps: np.ndarray
    rerouted: np.ndarray
    prior_ratios: tuple[tuple[str, float], ...] = struct.field(pytree_node=False)
    marker_names: tuple[str, ...] = struct.field(pytree_node=False)
    coordinate_names: tuple[str, ...] = struct.field(pytree_node=False)
    rate_hz: float = struct.field(pytree_node=False)
    start_s: float = struct.field(pytree_node=False, default=0.0)
    mended: Mended = struct.field(pytree_node=False, default=Mended())
    noise_m: float | None = struct.field(pytree_node=False, default=None)
    covariance: np.ndarray | None = None

    @property
    def prior_ratio(self) -> dict[str, float]:
        """Task curvature over marker information, by coordinate name."""
        return dict(self.prior_ratios)

    @property
    def coordinate_sd(self) -> np.ndarray:
        """SD of every coordinate, rad or m; inf where open. Shape [T, N].

        Raises:
            ValueError: The covariance was not asked for.
        """
        if self.covariance is None:
            raise ValueError(
                "this fit has no covariance; ask for it: IkOptions(covariance=True)"
            )
        return np.sqrt(np.einsum("tii->ti", self.covariance))

    def covariance_at(self, frame: int) -> np.ndarray:
        """Returns the covariance of one frame. Shape [N, N].

        Raises:
            ValueError: The covariance was not asked for, or the frame was not fitted.
            IndexError: There is no such frame.
        """
        if not 0 <= frame < len(self.q):
            raise IndexError(f"frame {frame} is not among the {len(self.q)} frames")
        if self.covariance is None:
            raise ValueError(
                "this fit has no covariance; ask for it: IkOptions(covariance=True)"
            )
        # A prior along time fills frames without markers in; nothing else does.
        missing = np.isinf(np.diagonal(self.covariance[frame])).any()
        if self.status[frame] == EMPTY and missing:
            raise ValueError(
                f"frame {frame} has no covariance: {STATUS_TEXT[EMPTY]}, it has no "
                "marker with a weight"
            )
        return self.covariance[frame]

    @property
    def motion(self) -> Motion:
        """The coordinates over time."""
        return Motion(self.q, self.coordinate_names, self.rate_hz, self.start_s)

    @property
    def marker_rms(self) -> np.ndarray:
        """Root mean square of the marker distances of each frame, m. Shape [T]."""
        count = np.maximum(self.marker_seen.sum(axis=1), 1)
        return np.sqrt((self.marker_error**2).sum(axis=1) / count)


_BY_FRAME = (
    *("q", "objective", "objective_opensim", "objective_normalised"),
    *("marker_error", "marker_seen", "status", "steps", "rerouted"),
)


def cut(solution: IkSolution, frames: slice, start_s: float = 0.0) -> IkSolution:
    """Returns some consecutive frames as a solution of their own.

    Args:
        solution: Of several trials, one after the other.
        frames: Of one of them.
        start_s: Time of its first frame, s.
    """
    own: dict[str, Any] = {f: getattr(solution, f)[frames] for f in _BY_FRAME}
    if solution.covariance is not None:
        own["covariance"] = solution.covariance[frames]
    return replace(solution, start_s=start_s, **own)


def concatenate(parts: list[IkSolution]) -> IkSolution:
    """Joins the solutions of consecutive pieces."""
    joined = {f: np.concatenate([getattr(p, f) for p in parts]) for f in _BY_FRAME}
    sure = [p.covariance for p in parts if p.covariance is not None]
    if sure:
        joined["covariance"] = np.concatenate(sure)
    mended = sum((p.mended for p in parts[1:]), start=parts[0].mended)
    return replace(parts[0], mended=mended, **joined)
