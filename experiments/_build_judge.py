"""Simulated sequences of a finished data set against their truth."""

from typing import Any

import numpy as np

from experiments import _build_formats
from experiments._build_formats import Finished

_NEARLY = 0.9


def judge(done: Finished, count: int) -> dict[str, float]:
    """Compares evenly spread sequences; nothing where the source knows no truth.

    Args:
        done: The sequences.
        count: How many to compare at most.

    Returns:
        Errors of keypoints (mm), of free angles and of the sum of the lumbar levels'
        flexion (deg); the last also on average over the frames that are bent to within
        a tenth of the farthest, which is its part that is no noise.
    """
    from simspine_jax.datasets.synthetic_motion import LUMBAR_FLEXION
    from simspine_jax.skeletons import simspine

    if done.source.truth is None or not count:
        return {}
    spine = [simspine.NAMES.index(name) for name in simspine.SPINE_NAMES]
    keypoints, angles, flexion, farthest = [], [], [], []
    picks = np.linspace(0, len(done.takes) - 1, min(count, len(done.takes)))
    for index in np.unique(picks.astype(int)):
        take = done.takes[index]
        _, made = _build_formats.read(done.work, take)
        truth = done.source.truth(take)
        valid = np.asarray(made.markers.valid)
        away = np.linalg.norm(made.markers.points - truth.markers.points, axis=2)
        keypoints.append(np.where(valid, away, np.nan))
        off = _differences(made.motion, truth.motion, made.rotational)
        angles.append(np.abs(off).ravel())
        if set(LUMBAR_FLEXION) <= set(made.motion.coordinate_names):
            bent = [_sum(one, LUMBAR_FLEXION) for one in (made.motion, truth.motion)]
            flexion.append(bent[0] - bent[1])
            most = np.abs(bent[1]) >= _NEARLY * np.abs(bent[1]).max()
            farthest.append(flexion[-1][most].mean())
    away = 1e3 * np.concatenate(keypoints)
    found = {
        "judged_sequences": float(len(keypoints)),
        "keypoint_error_mm_median": float(np.nanmedian(away)),
        "keypoint_error_mm_p95": float(np.nanpercentile(away, 95)),
        "spine_error_mm_median": float(np.nanmedian(away[:, spine])),
        "angle_error_deg_median": _degrees(np.median(np.concatenate(angles))),
    }
    if flexion:
        every = np.concatenate(flexion)
        found["lumbar_flexion_error_deg_rms"] = _degrees(np.sqrt(np.mean(every**2)))
        found["lumbar_flexion_error_deg_max"] = _degrees(np.abs(every).max())
        found["lumbar_flexion_error_deg_farthest"] = _degrees(np.abs(farthest).max())
    return found


def _differences(made: Any, truth: Any, rotational: tuple[bool, ...]) -> np.ndarray:
    """Angles' differences, rad, within half a turn. Shape [T, A]."""
    names = [
        name
        for name, turns in zip(made.coordinate_names, rotational, strict=True)
        if turns and name in truth.coordinate_names
    ]
    pick = lambda m: np.asarray(m.q)[:, [m.coordinate_names.index(n) for n in names]]
    return np.angle(np.exp(1j * (pick(made) - pick(truth))))


def _sum(motion: Any, names: tuple[str, ...]) -> np.ndarray:
    columns = [motion.coordinate_names.index(name) for name in names]
    return np.asarray(motion.q)[:, columns].sum(axis=1)


def _degrees(angle: Any) -> float:
    return float(np.rad2deg(angle))
