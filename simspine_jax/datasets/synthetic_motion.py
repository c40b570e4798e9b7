"""Made-up trials whose true motion is known, of any length.

Notation: q coordinates (rad, m), t time (s); a coordinate swings as
``q = default + a sin(2 pi f t + phase)`` within its range.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np
from jaxtyping import Float

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.types import Array, MarkerTrajectory, Motion

_LARGEST_SWING = 0.25  # rad or m
_SHARE_OF_RANGE = 0.2
_SLOWEST_HZ, _FASTEST_HZ = 0.2, 0.8
# Flexion of the six lumbar levels of Pose2Sim's full-body model, top level last.
LUMBAR_FLEXION = (
    *("L5_S1_Flex_Ext", "L4_L5_Flex_Ext", "L3_L4_Flex_Ext"),
    *("L2_L3_Flex_Ext", "L1_L2_Flex_Ext", "L1_T12_Flex_Ext"),
)

_positions = jax.jit(marker_positions)


@dataclass(frozen=True)
class Swing:
    """How every free coordinate of a model swings.

    Attributes:
        amplitude: Half the swing, rad or m. Shape [F].
        frequency_hz: Shape [F].
        phase_rad: Shape [F].
    """

    amplitude: np.ndarray
    frequency_hz: np.ndarray
    phase_rad: np.ndarray


def draw_swing(model: Model, seed: int) -> Swing:
    """Draws a swing: a fifth of each range but at most 0.25, at 0.2 to 0.8 Hz."""
    free = np.asarray(model.topology.free, int)
    width = np.ptp(np.asarray(model.range)[free], axis=1)
    rng = np.random.default_rng(seed)
    return Swing(
        np.minimum(_LARGEST_SWING, _SHARE_OF_RANGE * width),
        rng.uniform(_SLOWEST_HZ, _FASTEST_HZ, len(free)),
        rng.uniform(0.0, 2 * np.pi, len(free)),
    )


def random_poses(model: Model, count: int, seed: int) -> Float[np.ndarray, "p n"]:
    """Draws poses evenly from the ranges of the free coordinates, rad and m.

    Ranges wider than half a turn to either side or 2 m are cut to that, clamped or
    not; coupled coordinates follow and locked ones stand at their default.
    """
    low, high = pose_ranges(model)
    drawn = np.random.default_rng(seed).uniform(low, high, (count, len(low)))
    return np.asarray(model.expand(drawn))


def pose_ranges(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the intervals that ``random_poses`` draws from. [F], [F]."""
    free = np.asarray(model.topology.free, int)
    angle = np.asarray(model.coordinate_is_angle)[free]
    widest = np.where(angle, np.pi, 2.0)
    low, high = np.asarray(model.range)[free].T
    return np.maximum(low, -widest), np.minimum(high, widest)


def swing_motion(
    model: Model, swing: Swing, frames: int, rate_hz: float, start_s: float = 0.0
) -> Motion:
    """Evaluates a swing.

    Free coordinates stay in their range, clamped or not; coupled ones follow and
    locked ones stand at their default.

    Args:
        model: Compiled model.
        swing: What ``draw_swing`` gave for it.
        frames: How many frames.
        rate_hz: Frames per second.
        start_s: Time of the first frame, s.

    Returns:
        The motion.
    """
    free = np.asarray(model.topology.free, int)
    times = start_s + np.arange(frames) / rate_hz
    turn = 2 * np.pi * swing.frequency_hz * times[:, None] + swing.phase_rad
    q = np.asarray(model.default_q)[free] + swing.amplitude * np.sin(turn)
    q = np.clip(q, *np.asarray(model.range)[free].T)
    full = np.asarray(model.expand(q))
    return Motion(full, model.coordinate_names, rate_hz, start_s)


def lumbar_ramp(
    model: Model, frames: int, rate_hz: float, flexion_rad: float
) -> Motion:
    """Bends the lumbar spine forwards evenly from 0, all else at its default.

    Args:
        model: A model with Pose2Sim's lumbar spine, whose levels are coupled.
        frames: How many frames, at least 2.
        rate_hz: Frames per second.
        flexion_rad: Sum over the six levels in the last frame; flexion counts
            positive here, and is negative in the coordinates.

    Returns:
        The motion.

    Raises:
        ValueError: The model has not these coordinates, or fewer than 2 frames.
    """
    missing = [n for n in LUMBAR_FLEXION if n not in model.coordinate_names]
    if missing:
        raise ValueError(f"the model has no coordinate {', '.join(missing)}")
    if frames < 2:
        raise ValueError(f"a ramp has at least 2 frames; asked for {frames}")
    base = model.free_of(np.asarray(model.default_q)[None])
    first = model.free_coordinate_names.index(LUMBAR_FLEXION[0])
    probe = np.tile(np.asarray(base), (2, 1))
    probe[:, first] = 0.0, 1.0
    total = lumbar_flexion(model, np.asarray(model.expand(probe)))
    q = np.tile(np.asarray(base), (frames, 1))
    ramp = np.linspace(0.0, flexion_rad, frames)
    q[:, first] = (ramp - total[0]) / (total[1] - total[0])
    return Motion(np.asarray(model.expand(q)), model.coordinate_names, rate_hz)


def lumbar_flexion(model: Model, q: Float[Array, "t n"]) -> Float[np.ndarray, " t"]:
    """Returns the flexion summed over the six lumbar levels, rad, forward positive."""
    index = [model.coordinate_names.index(n) for n in LUMBAR_FLEXION]
    return -np.asarray(q)[:, index].sum(axis=1)


def observe(
    model: Model, motion: Motion, noise_m: float = 0.0, seed: int = 0
) -> MarkerTrajectory:
    """Sees the model's markers.

    Args:
        model: Compiled model.
        motion: Its motion.
        noise_m: SD of the Gaussian noise on each component, m.
        seed: Of the noise.

    Returns:
        All markers of the model in every frame.
    """
    points = np.asarray(_positions(model, np.asarray(motion.q)), np.float64)
    points = points + noise_m * np.random.default_rng(seed).normal(size=points.shape)
    return MarkerTrajectory(
        points=points,
        valid=np.ones(points.shape[:2], bool),
        names=model.marker_names,
        rate_hz=motion.rate_hz,
        start_s=motion.start_s,
    )


def displaced(
    trajectory: MarkerTrajectory,
    share: float,
    distance_m: tuple[float, float],
    seed: int,
) -> tuple[MarkerTrajectory, np.ndarray]:
    """Moves some observations far away, as mistaken detections are.

    Args:
        trajectory: The trial.
        share: Of its observations.
        distance_m: Least and largest distance, m; the direction is random.
        seed: Of the choice.

    Returns:
        The trial, and which observations were moved [T, K].
    """
    rng = np.random.default_rng(seed)
    points = np.array(trajectory.points)
    moved = (rng.random(points.shape[:2]) < share) & np.asarray(trajectory.valid)
    way = rng.normal(size=points.shape)
    way /= np.linalg.norm(way, axis=2, keepdims=True)
    far = rng.uniform(*distance_m, points.shape[:2])
    points += (moved * far)[..., None] * way
    return replace(trajectory, points=points), moved


def repeat_with_noise(
    trajectory: MarkerTrajectory, frames: int, noise_m: float, seed: int
) -> MarkerTrajectory:
    """Plays a trial forwards and backwards in turn, with other noise on every frame.

    The motion stays continuous; the turning frames are played once.

    Args:
        trajectory: The trial, at least one frame.
        frames: Frames wanted.
        noise_m: SD of the Gaussian noise on each component, m; missing markers stay
            missing.
        seed: Of the noise.

    Returns:
        The trial of that length, at the same rate.
    """
    return next(repeated_pieces(trajectory, frames, noise_m, seed, frames))


def repeated_pieces(
    trajectory: MarkerTrajectory,
    frames: int,
    noise_m: float,
    seed: int,
    piece_frames: int,
) -> Iterator[MarkerTrajectory]:
    """Yields ``repeat_with_noise`` in consecutive pieces of bounded memory."""
    if len(trajectory.points) < 1 or frames < 1 or piece_frames < 1:
        raise ValueError(
            f"cannot repeat {len(trajectory.points)} frames to {frames} in pieces of "
            f"{piece_frames}; all three must be positive"
        )
    rng = np.random.default_rng(seed)
    points, valid = np.asarray(trajectory.points), np.asarray(trajectory.valid)
    weight = None if trajectory.weight is None else np.asarray(trajectory.weight)
    frame_of = partial(_there_and_back, len(points))
    for first in range(0, frames, piece_frames):
        index = frame_of(np.arange(first, min(first + piece_frames, frames)))
        noisy = points[index] + noise_m * rng.normal(size=points[index].shape)
        yield replace(
            trajectory,
            points=np.where(valid[index][..., None], noisy, 0.0),
            valid=valid[index],
            weight=None if weight is None else weight[index],
            start_s=trajectory.start_s + first / trajectory.rate_hz,
        )


def _there_and_back(length: int, frame: np.ndarray) -> np.ndarray:
    place = frame % max(2 * length - 2, 1)
    return np.minimum(place, 2 * length - 2 - place)
