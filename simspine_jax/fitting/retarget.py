"""Captured clips of other skeletons as motions of a model.

Every joint of the model is given a place that keeps the model's proportions. Pelvis,
thorax, head and feet turn as in the clip from their rest pose, the lumbar spine half
as far as the thorax; thighs, shanks and arms point where those of the clip point. The
middle of the hips moves as in the clip times the ratio of the legs' lengths, lifted so
that the feet come as low in the clip as those of the standing model are. Inverse
kinematics of these places, as markers, gives the coordinates.

Each frame is fitted near the frame before it (``tracking``), and the first is reached
from standing with hanging arms in steps, so that there is one branch of every angle all
along and no search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.markers import with_markers
from simspine_jax.body.model import Model
from simspine_jax.fitting import ik_frames, ik_prepare, tracking
from simspine_jax.fitting.ik import IkOptions, make_plan
from simspine_jax.fitting.ik_queue import Bucket
from simspine_jax.fitting.retarget_places import (
    LEAD_FRAMES,
    landmarks,
    placed,
    read,
    standing,
)
from simspine_jax.io.clip import Clip
from simspine_jax.types import CoordinateTask, IkTasks, MarkerTrajectory, Motion

_WEIGHTS = {"heel": 0.1, "toes": 0.1, "tip": 0.1, "hinge": 0.05}
# Weights of staying near the default: the foot has one hinge where the clip's is free,
# and the spine no limits. The points weigh twice as much on the foot, and
# 500 times on the spine.
_HELD = {
    "subtalar_angle_l": 1e-3,
    "subtalar_angle_r": 1e-3,
    "L5_S1_Flex_Ext": 1e-3,
    "L5_S1_Lat_Bending": 1e-3,
    "L5_S1_axial_rotation": 1e-3,
}
# How far a point may be off, m, against what a coordinate moves in a frame, rad or m.
_NOISE_M, _STEP_SD = 0.003, 0.1
_UNIT = 64  # frames; few padded sizes, few compilations
_AT_LIMIT = 1e-6  # rad, m


@dataclass(frozen=True)
class Retargeted:
    """A clip as a motion of a model.

    Attributes:
        name: Of the clip.
        motion: Coordinates, at the clip's rate.
        error_m: Mean distance of hips, knees, ankles, shoulders, elbows, wrists, spine
            and head from where they should be, m. Shape [T].
        at_limit: Whether some free coordinate stands at its limit. Shape [T].
    """

    name: str
    motion: Motion
    error_m: np.ndarray
    at_limit: np.ndarray


def retarget(model: Model, clips: Sequence[Clip]) -> tuple[Retargeted, ...]:
    """Makes motions of a model from captured clips.

    Args:
        model: A model with the bodies of Pose2Sim's full-body models, whose default
            pose stands upright facing X with straight legs.
        clips: Of skeletons in ``io.clip.SKELETONS``, whose rest pose stands upright
            facing X, and elbows bend forwards from it. All that are given in one
            call share one compilation.

    Returns:
        A motion for each clip. Coordinates that no point depends on, such as those of
        the wrists, stay at their default.

    Raises:
        ValueError: The model lacks a body or coordinate, or a clip is of no known
            skeleton or has its arms forwards at rest.
    """
    upright = standing(model)
    marked = with_markers(model, landmarks(model, upright))
    points = np.asarray(marker_positions(marked, upright))
    stand = dict(zip(marked.marker_names, points, strict=True))
    stand["hips"] = (stand["left_hip"] + stand["right_hip"]) / 2
    if not clips:
        return ()
    places = [placed(stand, read(stand, clip)) for clip in clips]
    names = tuple(n for n in marked.marker_names if n in places[0])
    rows = [np.stack([p[n] for n in names], axis=1) for p in places]
    done = []
    parts = zip(clips, _followed(marked, upright, names, rows), strict=True)
    for clip, (q, error) in parts:
        motion = Motion(q, model.coordinate_names, clip.rate_hz)
        done.append(Retargeted(clip.name, motion, error, _at_limit(model, q)))
    return tuple(done)


def _followed(
    marked: Model,
    standing: Float[np.ndarray, " n"],
    names: tuple[str, ...],
    rows: Sequence[Float[np.ndarray, "_ m 3"]],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fits places of all clips side by side.

    Returns:
        Of each clip coordinates [T, N] and mean distances, m [T], without the lead.
    """
    weights = {n: _WEIGHTS.get(n.rsplit("_", 1)[-1], 1.0) for n in names}
    known = [n for n in _HELD if n in marked.coordinate_names]
    tasks = IkTasks(weights, tuple(CoordinateTask(n, _HELD[n]) for n in known))
    plan = make_plan(marked, names, tasks, IkOptions())
    points = np.concatenate(rows)
    seen = np.ones(points.shape[:2], bool)
    data = ik_prepare.observations(plan, MarkerTrajectory(points, seen, names, 1.0))
    size = -(-len(points) // _UNIT) * _UNIT
    problem = ik_prepare.chunk_problem(plan, data, Bucket(size, size, 1))
    lengths = np.array([len(r) for r in rows])
    first = np.cumsum(lengths) - lengths
    steps = np.arange(-(-lengths.max() // _UNIT) * _UNIT)
    along = first[:, None] + np.minimum(steps, lengths[:, None] - 1)
    start = np.tile(standing[plan.unknowns], (len(rows), 1))
    scale = ik_frames.likelihood_scale(plan, data) / _NOISE_M**2
    poses, _ = tracking.track(problem, along, start, scale, _STEP_SD)
    x = np.concatenate([p[:n] for p, n in zip(poses, lengths, strict=True)])
    q, _, _, distance = ik_frames.outcomes(plan, x, data)
    error = distance[:, plan.weights == 1].mean(axis=1)
    return [
        (q[a + LEAD_FRAMES : a + n], error[a + LEAD_FRAMES : a + n])
        for a, n in zip(first, lengths, strict=True)
    ]


def _at_limit(model: Model, q: Float[np.ndarray, "t n"]) -> np.ndarray:
    free = np.asarray(model.topology.free, int)
    low, high = np.asarray(model.lower)[free], np.asarray(model.upper)[free]
    close = (q[:, free] < low + _AT_LIMIT) | (q[:, free] > high - _AT_LIMIT)
    return np.asarray(close.any(axis=1))
