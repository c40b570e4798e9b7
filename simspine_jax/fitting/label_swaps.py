"""Labels that were exchanged between markers, found from a fit and taken back.

Notation: a marker's place is its fitted position; a point is an observed position
under the label it was given. Points of real trials always lie some cm from their
places: the excess of a distance is what it has above the place's usual distance.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from simspine_jax.types import MarkerTrajectory

_TOGETHER = 2 / 3  # two swaps of one flip share this part of their frames
_SIDES = (("right", "left"), ("r", "l"))


@dataclass(frozen=True)
class LabelSwap:
    """Labels exchanged over consecutive frames.

    Attributes:
        markers: A cycle: the point labelled ``markers[i]`` is where
            ``markers[i + 1]`` should be, the last where the first should be.
        first_frame: First frame, counted from 0.
        last_frame: Last frame, inclusive.
        gap_m: Mean distance of the points from the places of their labels, m.
        left_m: The same after exchanging the labels.
    """

    markers: tuple[str, ...]
    first_frame: int
    last_frame: int
    gap_m: float
    left_m: float


def find_swaps(
    observed: np.ndarray,
    seen: np.ndarray,
    fitted: np.ndarray,
    names: tuple[str, ...],
    outlier_m: float = 0.08,
    closer: float = 0.33,
    bridge_frames: int = 2,
) -> tuple[LabelSwap, ...]:
    """Finds the labels that were exchanged among markers.

    Suspects are exchanged in cycles so that the summed distance is least; in a cycle
    every point must come nearer, its excess to less than ``closer`` times what it was.
    Nothing is found where the fit follows the wrong labels, as a model may with both
    legs exchanged, or with a knee if no other marker tells how the leg is turned.

    Args:
        observed: Points, m. Shape [T, K, 3].
        seen: Whether the point was observed. Shape [T, K].
        fitted: Places of the same markers, m, from a fit that exchanged labels do
            not drag along (a robust loss). Shape [T, K, 3].
        names: K marker names.
        outlier_m: Excess above which a marker is suspect, m.
        closer: Share of the excess that exchanging may leave.
        bridge_frames: Longest gap within one swap, in frames; it is bridged only
            where no seen point speaks against it.

    Returns:
        The swaps by first frame, each from its first marker in ``names`` on. No
        marker is in two swaps in the same frame.

    Raises:
        ValueError: If the shapes do not belong together.

    Source: own rule; the assignment is SciPy's ``linear_sum_assignment``.
    """
    shape = (*observed.shape[:1], len(names))
    if not observed.shape == fitted.shape == (*shape, 3) or seen.shape != shape:
        raise ValueError(
            f"observed has shape {observed.shape}, fitted {fitted.shape} and seen "
            f"{seen.shape}; with {len(names)} names they must be [T, {len(names)}, 3] "
            f"twice and [T, {len(names)}]"
        )
    usual = _usual_distance(observed, seen, fitted)
    distance = np.linalg.norm(observed - fitted, axis=-1)  # [T, K]
    suspect = seen & (distance > usual + outlier_m)
    exchanged = np.zeros_like(suspect)
    frames = defaultdict(list)  # by cycle
    for t in np.flatnonzero(suspect.sum(1) >= 2):
        few = np.flatnonzero(suspect[t])
        between = cdist(observed[t, few], fitted[t, few])
        for cycle in _cycles(between, usual[few], closer):
            exchanged[t, few[cycle]] = True
            frames[tuple(few[cycle].tolist())].append(int(t))

    found = {}
    for cycle, at in frames.items():
        own = list(cycle)
        moved = observed[:, own] - fitted[:, np.roll(own, -1)]
        gap = np.where(seen[:, own], distance[:, own], 0.0)  # [T, cycle]
        left = np.where(seen[:, own], np.linalg.norm(moved, axis=-1), 0.0)
        against = (gap.sum(1) < left.sum(1)) | exchanged[:, own].any(1)  # [T]
        apart = [
            b - a - 1 > bridge_frames or against[a + 1 : b].any()
            for a, b in pairwise(at)
        ]
        for run in np.split(at, np.flatnonzero(apart) + 1):
            first, last = int(run[0]), int(run[-1])
            within, count = slice(first, last + 1), seen[first : last + 1, own].sum()
            found[first, cycle] = LabelSwap(
                markers=tuple(names[k] for k in cycle),
                first_frame=first,
                last_frame=last,
                gap_m=float(gap[within].sum() / count),
                left_m=float(left[within].sum() / count),
            )
    return tuple(found[key] for key in sorted(found))


def corrected(
    trajectory: MarkerTrajectory, swaps: Sequence[LabelSwap]
) -> MarkerTrajectory:
    """Returns the trajectory with the labels exchanged back.

    Args:
        trajectory: The markers, m; unchanged.
        swaps: Exchanges to take back, one after the other.

    Raises:
        ValueError: If the trajectory lacks a marker or a frame of a swap.
    """
    names, count = trajectory.names, len(trajectory.valid)
    source = np.tile(np.arange(len(names)), (count, 1))  # [T, K]
    for swap in swaps:
        if absent := [name for name in swap.markers if name not in names]:
            raise ValueError(
                f"a swap has marker {absent[0]!r}, which the trajectory does not "
                f"have; it has {', '.join(names)}"
            )
        if not 0 <= swap.first_frame <= swap.last_frame < count:
            raise ValueError(
                f"a swap of {_listed(swap.markers)} has frames {swap.first_frame} to "
                f"{swap.last_frame}; the trajectory has frames 0 to {count - 1}"
            )
        own = [names.index(name) for name in swap.markers]
        part = source[swap.first_frame : swap.last_frame + 1]  # a view
        part[:, np.roll(own, -1)] = part[:, own]
    take = lambda values: np.asarray(values)[np.arange(count)[:, None], source]
    weight = trajectory.weight
    return replace(
        trajectory,
        points=take(trajectory.points),
        valid=take(trajectory.valid),
        weight=None if weight is None else take(weight),
    )


def label_flips(swaps: Sequence[LabelSwap]) -> tuple[tuple[LabelSwap, ...], ...]:
    """Returns the left/right flips of a limb or of the whole body.

    A flip is a group of two or more left/right pairs exchanged in nearly the same
    frames. Other swaps are left out.
    """
    frames = lambda swap: set(range(swap.first_frame, swap.last_frame + 1))
    rest, flips = [swap for swap in swaps if _right_left(swap)], []
    while rest:
        all_of = frames(max(rest, key=lambda swap: len(frames(swap))))
        share = lambda swap, of: len(frames(swap) & of) / len(frames(swap) | of)
        flip = tuple(swap for swap in rest if share(swap, all_of) >= _TOGETHER)
        rest = [swap for swap in rest if swap not in flip]
        flips += [flip] if len(flip) > 1 else []
    return tuple(sorted(flips, key=_first))


def to_text(swaps: Sequence[LabelSwap]) -> list[str]:
    """Returns a sentence for each flip and each other swap; frames count from 1."""
    flips = label_flips(swaps)
    alone = [(swap,) for swap in swaps if not any(swap in flip for flip in flips)]
    return [_sentence(group) for group in sorted([*flips, *alone], key=_first)]


def _usual_distance(
    observed: np.ndarray, seen: np.ndarray, fitted: np.ndarray
) -> np.ndarray:
    """Median distance of each marker's place from the nearest point, m. Shape [K].

    It is the nearest point of any label, so that labels exchanged in most frames do
    not pass as usual, and a distance, because a residual vector turns with the body.
    """
    usual = np.zeros(seen.shape[1])
    for k in np.flatnonzero(seen.any(0)):
        at = seen[:, k]
        distance = np.linalg.norm(observed[at] - fitted[at, k, None], axis=-1)
        usual[k] = np.median(np.where(seen[at], distance, np.inf).min(1))
    return usual


def _cycles(
    distance: np.ndarray, usual: np.ndarray, closer: float
) -> Iterator[list[int]]:
    """Yields the cycles in which n points are exchanged among n places [n, n]."""
    excess, before = np.maximum(distance - usual, 0.0), np.diag(distance)[:, None]
    better = (excess < closer * (before - usual[:, None])) & (distance < before)
    better |= np.eye(len(distance), dtype=bool)
    # A worse move is shut out here, lest it spoil a cycle of good ones.
    _, place = linear_sum_assignment(np.where(better, distance, np.inf))
    moved = set(np.flatnonzero(place != np.arange(len(place))).tolist())
    while moved:
        cycle = [min(moved)]
        while (following := int(place[cycle[-1]])) != cycle[0]:
            cycle.append(following)
        moved -= set(cycle)
        yield cycle


def _right_left(swap: LabelSwap) -> tuple[str, str] | None:
    """The right and the left name of a pair that differs in nothing but the side."""
    first, last = swap.markers[0], swap.markers[-1]
    for right, left in ((first, last), (last, first)):
        for token, other in _SIDES:
            for at in re.finditer(token, right, re.IGNORECASE):
                mirrored = right[: at.start()] + other + right[at.end() :]
                if len(swap.markers) == 2 and mirrored.lower() == left.lower():
                    return right, left
    return None


def _first(group: Sequence[LabelSwap]) -> int:
    return min(swap.first_frame for swap in group)


def _sentence(group: Sequence[LabelSwap]) -> str:
    first, last = _first(group) + 1, max(swap.last_frame for swap in group) + 1
    frames = f"in frame {first}" if first == last else f"in frames {first}-{last}"
    if len(group) > 1:
        pairs = [pair for swap in group if (pair := _right_left(swap))]
        right, left = (", ".join(side) for side in zip(*pairs, strict=True))
        return f"left and right labels are exchanged {frames}: {right} with {left}"
    (swap,) = group
    what = f"{_listed(swap.markers)} are exchanged"
    if len(swap.markers) > 2:
        cycle = pairwise((*swap.markers, swap.markers[0]))
        what = _listed([f"{a} is where {b} should be" for a, b in cycle])
    rest = f"{swap.gap_m:.2f} m off, {swap.left_m:.2f} m after exchanging"
    return f"{what} {frames} ({rest})"


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"
