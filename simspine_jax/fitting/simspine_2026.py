"""Steps 5 and 6 as SIMSPINE published them, faults included.

For parity with published files only. Step 5 moves a spine that already agrees by up
to 9 mm, anchors included, and shears one that points elsewhere; step 6 filters at
3.3 Hz where 5 Hz is asked for (50 Hz data). ``spine_blend`` has what to use instead.

Source: the data generation that SIMSPINE (arXiv 2602.20792) released, described in
our own words.
"""

import numpy as np
from jaxtyping import Bool
from scipy import signal

from simspine_jax.core import gaps
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory

CHAIN = simspine.SPINE_CHAIN[:-1]  # without the head
REPLACED = (
    *("Head", "LClavicle", "RClavicle", "LHeel", "RHeel"),
    *("LBigToe", "RBigToe", "LSmallToe", "RSmallToe"),
)
BUILT = {"LLatissimus": "LShoulder", "RLatissimus": "RShoulder"}
SHARE = 0.8  # of the simulated chain

_SHORT_M, _LEAST_M = 1e-6, 1e-8
_STRETCH, _TO_SHOULDER = 2.0, 0.6
_HIP, _NECK, _SPINE_4, _SPINE_5 = (
    CHAIN.index(name) for name in ("Hip", "Neck", "Spine_04", "Spine_05")
)


def published_blend(
    observed: MarkerTrajectory, simulated: MarkerTrajectory
) -> tuple[MarkerTrajectory, Bool[np.ndarray, " t"]]:
    """Does step 5, the merge of the simulated spine.

    A missing point counts as NaN: what is computed from it is missing.

    Args:
        observed: What step 1 gave, m.
        simulated: What step 4 gave, m. Frames that only one of both has are left.

    Returns:
        The observed markers with those of the spine changed, and which frames were
        merged: not those whose hip and neck coincide.

    Raises:
        ValueError: One of both lacks a marker that the step uses.
    """
    sides = set(BUILT.values()) <= set(observed.names)
    _require("observed", observed, (*CHAIN, *REPLACED, *(BUILT if sides else ())))
    _require("simulated", simulated, (*CHAIN, *REPLACED))
    points = np.array(observed.points, float)
    points[~np.asarray(observed.valid, bool)] = np.nan
    source = np.array(simulated.points, float)
    source[~np.asarray(simulated.valid, bool)] = np.nan
    at = observed.names.index
    chain = [at(name) for name in CHAIN]
    frames = min(len(points), len(source))
    part, source = points[:frames], source[:frames]

    old = part[:, chain]
    new, merged = _moved(old, source[:, [simulated.names.index(n) for n in CHAIN]])
    out = part.copy()
    out[:, chain] = SHARE * new + (1 - SHARE) * _flattened(old)
    for name, shoulder in BUILT.items() if sides else ():
        reach = part[:, at(shoulder)] - new[:, _SPINE_5]
        middle = (new[:, _SPINE_4] + new[:, _SPINE_5]) / 2
        long = np.linalg.norm(reach, axis=1) > _SHORT_M
        built = middle + _TO_SHOULDER * reach
        out[:, at(name)] = np.where(long[:, None], built, part[:, at(name)])
    for name in REPLACED:
        out[:, at(name)] = source[:, simulated.names.index(name)]
    points[:frames] = np.where(merged[:, None, None], out, part)
    merged = np.pad(merged, (0, len(points) - frames))
    valid = np.isfinite(points.sum(axis=2))
    return _with(observed, np.where(valid[..., None], points, 0.0), valid), merged


def published_filter(
    trajectory: MarkerTrajectory, cutoff_hz: float = 5.0, order: int = 2
) -> MarkerTrajectory:
    """Does step 6, a Butterworth filter of half the order forwards and backwards.

    Each coordinate is filtered alone, in the runs between missing values; a value of
    exactly zero counts as missing, and a run not longer than the padding stays.

    Args:
        trajectory: Markers, m.
        cutoff_hz: Of one pass; both passes together reach -3 dB below it.
        order: Twice the order of one pass.

    Raises:
        ValueError: An order below 2, or a cutoff that the rate does not allow.
    """
    half_rate = trajectory.rate_hz / 2
    if order < 2:
        raise ValueError(f"the published filter halves the order {order}: give 2 on")
    if not 0 < cutoff_hz < half_rate:
        raise ValueError(
            f"a cutoff of {cutoff_hz:g} Hz must lie between 0 and half the rate, "
            f"{half_rate:g} Hz"
        )
    found = signal.butter(order // 2, cutoff_hz / half_rate, output="ba")
    b, a = np.asarray(found, float)
    padding = 3 * max(len(a), len(b))
    points = np.asarray(trajectory.points, float)
    usable = np.asarray(trajectory.valid, bool)[..., None] & (points != 0)
    out = points.copy()
    for k, axis in np.ndindex(points.shape[1:]):
        for run in gaps.runs(usable[:, k, axis]):
            if run.stop - run.start > padding:
                out[run, k, axis] = signal.filtfilt(b, a, points[run, k, axis])
    return _with(trajectory, out, np.asarray(trajectory.valid, bool))


def _moved(old: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns simulated chains [T, 9, 3] put between hip and neck, and which are."""
    aim = old[:, _NECK] - old[:, _HIP]
    line = source[:, _NECK] - source[:, _HIP]
    size = lambda v: np.linalg.norm(v, axis=-1)
    merged = ~((size(aim) < _SHORT_M) | (size(line) < _SHORT_M))
    against = (aim * line).sum(axis=1) < 0
    source = np.where(against[:, None, None], source[:, ::-1], source)
    line = source[:, _NECK] - source[:, _HIP]
    length = np.where(size(line) > 0, size(line), 1.0)[:, None]
    unit = line / length
    away = source - source[:, :1]
    share = (away @ unit[..., None]) / length[:, None]
    across = away - share * line[:, None]
    stretch = (size(aim)[:, None] / length)[:, None]
    new = old[:, :1] + share * aim[:, None] + across * stretch
    first, second = size(new[:, 1] - new[:, 0]), size(new[:, 2] - new[:, 1])
    long = (first > _STRETCH * second) & (second > _LEAST_M)
    pull = np.where(long, _STRETCH * second / np.where(long, first, 1.0), 1.0)
    pulled = new[:, 0] + pull[:, None] * (new[:, 1] - new[:, 0])
    new[:, 1] = np.where(long[:, None], pulled, new[:, 1])
    return new, merged


def _flattened(chain: np.ndarray) -> np.ndarray:
    """Returns chains with inner points put, one by one, between their neighbours."""
    chain = chain.copy()
    for i in range(1, chain.shape[1] - 1):
        chain[:, i] = (chain[:, i - 1] + chain[:, i + 1]) / 2
    return chain


def _require(which: str, trajectory: MarkerTrajectory, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in trajectory.names:
            raise ValueError(
                f"the {which} trajectory has no marker {name!r}, which SIMSPINE's step "
                f"5 uses; it has {', '.join(trajectory.names)}"
            )


def _with(
    trajectory: MarkerTrajectory, points: np.ndarray, valid: np.ndarray
) -> MarkerTrajectory:
    dtype = np.asarray(trajectory.points).dtype
    return trajectory.replace(  # pyright: ignore[reportAttributeAccessIssue]
        points=points.astype(dtype), valid=valid
    )
