"""A fitted motion with what it cost and how it ended."""

from dataclasses import replace

import numpy as np
from flax import struct

from simspine_jax.core import levenberg_marquardt as lm
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
        covariance: None; reserved for the covariance of the coordinates.
    """

    q: np.ndarray
    objective: np.ndarray
    objective_opensim: np.ndarray
    objective_normalised: np.ndarray
    marker_error: np.ndarray
    marker_seen: np.ndarray
    status: np.ndarray
    steps: np.ndarray
    prior_ratios: tuple[tuple[str, float], ...] = struct.field(pytree_node=False)
    marker_names: tuple[str, ...] = struct.field(pytree_node=False)
    coordinate_names: tuple[str, ...] = struct.field(pytree_node=False)
    rate_hz: float = struct.field(pytree_node=False)
    start_s: float = struct.field(pytree_node=False, default=0.0)
    covariance: np.ndarray | None = None

    @property
    def prior_ratio(self) -> dict[str, float]:
        """Task curvature over marker information, by coordinate name."""
        return dict(self.prior_ratios)

    @property
    def motion(self) -> Motion:
        """The coordinates over time."""
        return Motion(self.q, self.coordinate_names, self.rate_hz, self.start_s)

    @property
    def marker_rms(self) -> np.ndarray:
        """Root mean square of the marker distances of each frame, m. Shape [T]."""
        count = np.maximum(self.marker_seen.sum(axis=1), 1)
        return np.sqrt((self.marker_error**2).sum(axis=1) / count)


def concatenate(parts: list[IkSolution]) -> IkSolution:
    """Joins the solutions of consecutive pieces."""
    fields = (
        "q",
        "objective",
        "objective_opensim",
        "objective_normalised",
        "marker_error",
        "marker_seen",
        "status",
        "steps",
    )
    return replace(
        parts[0], **{f: np.concatenate([getattr(p, f) for p in parts]) for f in fields}
    )
