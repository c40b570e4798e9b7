"""Joint coordinates of an action: a bounded spline or a captured clip, and a path.

Notation: F free coordinates, T frames; R = Ry(heading) Rz(tilt) Rx(list) Ry(turn) is
the pelvis in ground (X forward, Y up, Z right), a clip's mean heading being taken out.

A cubic B-spline lies in the convex hull of its control points, so that one whose
control points keep to the joint limits does, too (de Boor 1978).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline, CubicSpline
from scipy.spatial.transform import Rotation

from simspine_jax.body.model import Model
from simspine_jax.datasets.actions import (
    CLIP_SWING,
    STANDING,
    SWING,
    Action,
    of_coordinate,
)
from simspine_jax.types import Motion

_TURNS = ("pelvis_tilt", "pelvis_list", "pelvis_rotation")
_PLACE = ("pelvis_tx", "pelvis_ty", "pelvis_tz")
_ROOT_AXES = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
# On the spot: how far a person strays and turns, and how slowly.
_STRAY_M, _STRAY_RAD, _STRAY_S = 0.15, 0.5, 2.0
_SPOT_M = 0.6
_HALF_AXES_M = (0.8, 1.6)  # of the ellipse that is walked along
_SPEED = (0.85, 1.15)  # of a clip's own
_ALIKE = 2.0  # times the least distance of two frames that close a cycle


@dataclass(frozen=True)
class BaseClip:
    """A captured clip made ready for replay.

    Attributes:
        q: Free coordinates, without the clip's own place and mean heading. [T, F].
        rate_hz: Frames per second.
        speed_m_s: Mean speed of the pelvis along the floor.
        loops: Whether the last frame leads to the first; else it is replayed there
            and back.
    """

    q: np.ndarray
    rate_hz: float
    speed_m_s: float
    loops: bool


def base_clip(model: Model, motion: Motion, *, loops: bool) -> BaseClip:
    """Takes place and heading out of a clip.

    Args:
        model: Whose coordinates the motion has.
        motion: At least four frames.
        loops: Whether the motion repeats itself; it is then cut to the frames between
            two that are alike, at least half of it apart.

    Raises:
        ValueError: The model's pelvis does not turn by tilt, list and rotation.
    """
    turns, place = _root(model)
    q = np.array(model.free_of(np.asarray(motion.q)))
    attitude = Rotation.from_euler("ZXY", q[:, turns])
    forward = attitude.apply([1.0, 0.0, 0.0]).mean(axis=0)
    heading = np.arctan2(-forward[2], forward[0])
    plain = Rotation.from_euler("Y", -heading) * attitude
    step = np.diff(q[:, [place[0], place[2]]], axis=0)
    speed = float(np.linalg.norm(step, axis=1).mean() * motion.rate_hz)
    q[:, turns] = np.unwrap(plain.as_euler("ZXY"), axis=0)
    q[:, place] = 0.0
    q = np.unwrap(q, axis=0)
    return BaseClip(_cycle(q) if loops else q, motion.rate_hz, speed, loops)


def _cycle(q: np.ndarray) -> np.ndarray:
    """Returns the most frames between two that are nearly as alike as any."""
    apart = np.linalg.norm(q[:, None] - q, axis=2)
    frame = np.arange(len(q))
    length = frame - frame[:, None]
    apart[length < len(q) // 2] = np.inf
    alike = apart <= _ALIKE * apart.min()
    first, last = np.unravel_index(np.argmax(np.where(alike, length, 0)), apart.shape)
    return q[first : last + 1]


def limits(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of every free coordinate's range, rad and m. [F], [F].

    Unclamped ranges count as well; the pelvis has none.
    """
    free = np.asarray(model.topology.free, int)
    low, high = np.array(model.range)[free].T
    root = [model.free_coordinate_names.index(n) for n in (*_TURNS, *_PLACE)]
    low[root], high[root] = -np.inf, np.inf
    return low, high


def draw_motion(
    model: Model,
    action: Action,
    clips: Mapping[str, BaseClip],
    frames: int,
    rate_hz: float,
    centre_m: tuple[float, float],
    seed: int | tuple[int, ...],
) -> Motion:
    """Draws one performance of an action.

    Args:
        model: The subject.
        action: What to do.
        clips: Captured clips by name. An action with a posture of its own takes one of
            its clips or the posture; one whose clips are all missing the posture.
        frames: How many, at least 1.
        rate_hz: Frames per second.
        centre_m: Where in ground (X, Z) the person is, m.
        seed: Of the draw; the same seed gives the same motion.

    Returns:
        The motion, at height 0: whoever has the foot's keypoints puts it on the floor.

    Raises:
        ValueError: The model's pelvis does not turn by tilt, list and rotation.
    """
    turns, place = _root(model)
    rng = np.random.default_rng(seed)
    times = np.arange(frames) / rate_hz
    low, high = limits(model)
    names = model.free_coordinate_names
    known: list[BaseClip | None] = [
        clips[name] for name in action.clips if name in clips
    ]
    if not known or (action.posture and not action.walks):
        known.append(None)
    clip = known[rng.integers(len(known))]
    posture, swing = _centres(model, action, clip is not None)
    drawn = _spline(rng, posture, swing, low, high, times, action.tempo_s)
    speed = 0.0
    if clip is not None:
        pace = rng.uniform(*_SPEED)
        speed = clip.speed_m_s * pace
        played = _replay(clip, times * pace, rng.random())
        free = [names.index(name) for name in action.held if name in names]
        played[:, free] = 0.0
        drawn = np.clip(played + drawn, low, high)
    here, heading = (
        _walk(rng, times, speed, centre_m)
        if action.walks
        else _stand(rng, times, centre_m)
    )
    drawn[:, turns] = _turned(heading, drawn[:, turns])
    drawn[:, place] = here
    return Motion(np.asarray(model.expand(drawn)), model.coordinate_names, rate_hz)


def _root(model: Model) -> tuple[list[int], list[int]]:
    names = model.free_coordinate_names
    axes = np.asarray(model.axis_direction)[0, :3]
    if not all(n in names for n in (*_TURNS, *_PLACE)) or not np.allclose(
        axes, _ROOT_AXES
    ):
        raise ValueError(
            "the model's pelvis must turn about Z, X and Y by pelvis_tilt, pelvis_list "
            "and pelvis_rotation, and be moved by pelvis_tx, pelvis_ty and pelvis_tz; "
            f"its first coordinates are {', '.join(names[:6])}"
        )
    return [names.index(n) for n in _TURNS], [names.index(n) for n in _PLACE]


def _centres(
    model: Model, action: Action, on_a_clip: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns posture and half-width of the swing of each free coordinate. [F], [F]."""
    default = np.asarray(model.default_q)[np.asarray(model.topology.free, int)]
    posture, swing = np.array(default), np.zeros(len(default))
    for i, name in enumerate(model.free_coordinate_names):
        if name in ("pelvis_rotation", *_PLACE):
            posture[i] = 0.0
            continue
        if on_a_clip and name not in action.held:
            posture[i], swing[i] = 0.0, CLIP_SWING
            continue
        for values in (STANDING, action.posture):
            given = of_coordinate(values, name)
            posture[i] = posture[i] if given is None else given
        for values in (SWING, action.swing):
            given = of_coordinate(values, name)
            swing[i] = swing[i] if given is None else given
    return posture, swing


def _spline(
    rng: np.random.Generator,
    centre: np.ndarray,
    half_width: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    times: np.ndarray,
    tempo_s: float,
) -> np.ndarray:
    """Returns a cubic B-spline with control points within limits. [T, F]."""
    pieces = int(np.ceil((times[-1] + 1e-9) / tempo_s)) + 1
    control = centre + half_width * rng.uniform(-1, 1, (pieces + 3, len(centre)))
    knots = tempo_s * np.arange(-3, pieces + 4)
    return BSpline(knots, np.clip(control, low, high), 3)(times)


def _replay(clip: BaseClip, times: np.ndarray, phase: float) -> np.ndarray:
    """Returns a clip played on and on, from a phase of it. [T, F]."""
    if clip.loops:
        part = np.linspace(0.0, 1.0, len(clip.q))[:, None]
        closed = clip.q - part * (clip.q[-1] - clip.q[0])
        closed[-1] = closed[0]
    else:
        closed = np.concatenate([clip.q, clip.q[-2::-1]])
    length = len(closed) - 1
    spline = CubicSpline(np.arange(length + 1), closed, bc_type="periodic")
    return spline((phase * length + clip.rate_hz * times) % length)


def _stand(
    rng: np.random.Generator, times: np.ndarray, centre_m: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns place [T, 3] and heading [T] of a person who stays on the spot."""
    spot = np.asarray(centre_m) + rng.uniform(-_SPOT_M, _SPOT_M, 2)
    middle = np.array([*spot, rng.uniform(-np.pi, np.pi)])
    width = np.array([_STRAY_M, _STRAY_M, _STRAY_RAD])
    endless = np.full(3, np.inf)
    x, z, heading = _spline(rng, middle, width, -endless, endless, times, _STRAY_S).T
    return np.stack([x, np.zeros_like(x), z], axis=1), heading


def _walk(
    rng: np.random.Generator,
    times: np.ndarray,
    speed_m_s: float,
    centre_m: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns place [T, 3] and heading [T] along an ellipse at even speed."""
    a, b = rng.uniform(*_HALF_AXES_M, 2)
    angle = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, 721)
    x, z = a * np.cos(angle), b * np.sin(angle)
    length = np.append(0.0, np.cumsum(np.hypot(np.diff(x), np.diff(z))))
    round_ = rng.choice((-1.0, 1.0)) * speed_m_s * times / length[-1]
    at = CubicSpline(length / length[-1], np.stack([x, z], axis=1))
    whole = np.floor(round_)
    here, slope = at(round_ - whole), at(round_ - whole, 1) * np.sign(round_[-1] or 1)
    heading = np.unwrap(np.arctan2(-slope[:, 1], slope[:, 0]))
    here = here + np.asarray(centre_m)
    place = np.stack([here[:, 0], np.zeros(len(times)), here[:, 1]], axis=1)
    return place, heading


def _turned(heading: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Returns tilt, list and rotation of a pelvis turned to a heading. [T, 3]."""
    whole = Rotation.from_euler("Y", heading[:, None]) * Rotation.from_euler(
        "ZXY", turns
    )
    return np.unwrap(whole.as_euler("ZXY"), axis=0)
