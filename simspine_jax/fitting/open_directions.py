"""What the markers leave open, in words.

A direction is open where the information of the markers along it is so small that
5 mm of noise make an SD of more than half a radian: one coordinate that no marker
tells, or several that only together are told.
"""

from collections import Counter

import numpy as np
from scipy import linalg

from simspine_jax.fitting import linearised
from simspine_jax.fitting.ik_prepare import Plan

_OPEN_SD = 0.5  # rad
_LENGTH_M = 0.2  # a length of so many m is put beside an angle of 1 rad
_NOISE_M = 0.005
_PART = 0.3  # a coordinate belongs to a direction with this share of the largest
_WORDS = {
    "arm_rot": "upper-arm rotation",
    "arm_flex": "upper-arm flexion",
    "arm_add": "upper-arm adduction",
    "elbow_flex": "elbow flexion",
    "pro_sup": "forearm rotation",
    "wrist_flex": "wrist flexion",
    "wrist_dev": "wrist deviation",
    "hip_flexion": "hip flexion",
    "hip_adduction": "hip adduction",
    "hip_rotation": "hip rotation",
    "knee_angle": "knee flexion",
    "ankle_angle": "ankle flexion",
    "subtalar_angle": "subtalar angle",
    "mtp_angle": "toe angle",
    "L5_S1_Flex_Ext": "lumbar flexion",
    "L5_S1_Lat_Bending": "lumbar side bending",
    "L5_S1_axial_rotation": "lumbar rotation",
}
_SIDES = {"_r": "right ", "_l": "left "}


def in_words(coordinate: str) -> str:
    """Returns a coordinate's name as people say it: "right upper-arm rotation"."""
    if coordinate in _WORDS:
        return _WORDS[coordinate]
    side = _SIDES.get(coordinate[-2:], "")
    stem = coordinate[:-2] if side else coordinate
    return side + _WORDS.get(stem, stem.replace("_", " "))


def sentences(plan: Plan, q: np.ndarray, seen: np.ndarray) -> tuple[str, ...]:
    """Says which directions the markers leave open in at least half of the frames.

    Args:
        plan: Markers and unknowns of a fit.
        q: Fitted coordinates at some frames, rad and m. Shape [T, N].
        seen: Which of the plan's markers were seen. Shape [T, M].

    Returns:
        A sentence for each open direction.
    """
    if len(q) == 0:
        return ()
    names = [plan.model.coordinate_names[c] for c in plan.unknowns]
    angle = np.asarray(plan.model.coordinate_is_angle)[plan.unknowns]
    unit = np.where(angle, 1.0, _LENGTH_M)
    jacobian = linearised.at(plan, q).jacobian * unit
    informed = linearised.information(jacobian, seen / _NOISE_M**2)
    found: Counter[tuple[int, ...]] = Counter()
    sizes: dict[tuple[int, ...], list[float]] = {}
    signs: dict[tuple[int, ...], list[float]] = {}
    for told in informed:
        for way in _ways(told):
            parts = np.flatnonzero(np.abs(way) > _PART * np.abs(way).max())
            key = tuple(parts.tolist())
            found[key] += 1
            known = max(float(way @ told @ way), 1e-12)
            sizes.setdefault(key, []).append(known**-0.5)
            signs.setdefault(key, []).append(float(way[parts[0]] * way[parts[-1]]))
    said = []
    for key, count in sorted(found.items(), key=lambda item: item[0]):
        if 2 * count >= len(q):
            size = np.degrees(np.median(sizes[key]))
            how = f"SD {size:.0f} deg" if size < 360 else "not at all"
            together = float(np.median(signs[key])) < 0
            said.append(_sentence([in_words(names[i]) for i in key], how, together))
    return tuple(said)


def _ways(information: np.ndarray) -> np.ndarray:
    """Returns open directions, each of as few coordinates as can be. Shape [d, n]."""
    value, vector = np.linalg.eigh(information)
    open_ = vector[:, value < _OPEN_SD**-2]
    if open_.shape[1] == 0:
        return open_.T
    # Any basis of what is open will do: take that in which each of these coordinates
    # stands alone.
    order = linalg.qr(open_.T, pivoting=True)[-1]
    own = order[: open_.shape[1]]
    basis = np.linalg.solve(open_[own].T, open_.T)
    return basis / np.linalg.norm(basis, axis=1, keepdims=True)


def _sentence(words: list[str], how: str, opposite: bool) -> str:
    if len(words) == 1:
        return f"{words[0]} is not determined by these markers ({how})"
    if len(words) == 2:
        told = "sum" if opposite else "difference"
        return (
            f"of {words[0]} and {words[1]} these markers determine little more than "
            f"a weighted {told} (the rest: {how})"
        )
    return f"{', '.join(words)} are determined only in combination ({how})"
