"""Names in SIMSPINE's files: its two sets of keypoints, and how names are sorted."""

import re
from collections.abc import Sequence

import numpy as np

from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory


def keypoint_set(names: Sequence[str], source: object) -> tuple[str, ...]:
    """Returns SIMSPINE's 37 keypoints if all are among names, else its 15 if these are.

    Raises:
        ValueError: Neither are.
    """
    if set(names) >= set(simspine.NAMES):
        return simspine.NAMES
    require_keypoints(names, simspine.SPINE_NAMES, str(source))
    return simspine.SPINE_NAMES


def with_keypoints(
    markers: MarkerTrajectory, names: Sequence[str], source: object
) -> MarkerTrajectory:
    """Returns the markers ``names``, in this order, without weights.

    Raises:
        ValueError: One is not there, or ``names`` are not a published set.
    """
    require_keypoints(markers.names, names, str(source))
    columns = [markers.names.index(name) for name in names]
    return MarkerTrajectory(
        np.asarray(markers.points)[:, columns],
        np.asarray(markers.valid)[:, columns],
        tuple(names),
        markers.rate_hz,
        markers.start_s,
    )


def require_keypoints(have: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Refuses names that lack a keypoint of a published set.

    Raises:
        ValueError: One is not there, or ``wanted`` are not a published set.
    """
    if tuple(wanted) not in (simspine.NAMES, simspine.SPINE_NAMES):
        raise ValueError(
            f"{where}: {len(wanted)} keypoints are asked for; they must be the 37 of "
            "simspine.NAMES or the 15 of simspine.SPINE_NAMES, in their order"
        )
    missing = [name for name in wanted if name not in have]
    if missing:
        raise ValueError(
            f"{where} lacks {', '.join(missing[:5])}{', ...' * (len(missing) > 5)}; "
            f"all {len(wanted)} keypoints of the set are needed"
        )


def by_number(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts S9 before S11."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
