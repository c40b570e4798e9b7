"""Which marker determines which coordinate, and what one more or less would change.

Notation: A_m information of marker m, P of coordinate tasks and I of all, as in
``ik_information``; the covariance of the fit is ``C = I^-1``. As
``C = sum_m C A_m C + C P C``, the share of marker m in what is known of coordinate c
is ``(C A_m C)_cc`` over the sum of these. All of it is linear, at the fitted poses;
limits of coordinates are left out.

Source: covariance as in ``ik_information``; leaving one out as in optimal sensor
placement (Kammer, J. Guidance 14(2), 1991).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from simspine_jax.evaluation.ik_information import Information
from simspine_jax.fitting import uncertainty

LIMIT_RAD, LIMIT_M = np.deg2rad(5.0), 0.02  # a larger SD is "not determined"
HARMLESS = 1.1  # factor of an SD that nobody would notice
_SINGULAR = 1e6  # variance over the one with all else known; larger is looked into
_ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Change:
    """Median SDs with and without each of K markers, of n coordinates.

    Attributes:
        names: The markers that come or go, one at a time.
        sd_with: With that marker, rad or m; inf where open. Shape [K, n].
        sd_without: Without it. Shape [K, n].
        angle: Whether a coordinate is an angle. Shape [n].
        tie: Among coordinates that are all open without it, the one with the largest
            of these is named. Shape [K, n].
    """

    names: tuple[str, ...]
    sd_with: np.ndarray
    sd_without: np.ndarray
    angle: np.ndarray
    tie: np.ndarray

    @property
    def factor(self) -> Float[np.ndarray, "k n"]:
        """SD without the marker over SD with it; 1 where both are open."""
        return _factor(self.sd_with, self.sd_without)

    @property
    def decided(self) -> Bool[np.ndarray, "k n"]:
        """Which coordinates are determined with the marker and not without it."""
        known = determined(self.sd_with, self.angle)
        return known & ~determined(self.sd_without, self.angle)

    @property
    def most(self) -> np.ndarray:
        """The coordinate that each marker matters most to. Shape [K].

        Among those determined with it, or all where there is none.
        """
        known = determined(self.sd_with, self.angle)
        return np.lexsort((self.tie, self.factor, known), axis=1)[:, -1]

    @property
    def largest(self) -> np.ndarray:
        """Factor of the coordinate it matters most to. Shape [K]."""
        return self.factor[np.arange(len(self.names)), self.most]

    @property
    def largest_angle_rad(self) -> np.ndarray:
        """Largest difference of the SD of an angle known with it, rad. Shape [K]."""
        known = determined(self.sd_with, self.angle) & self.angle
        some = np.where(known, self.sd_with, 0.0)
        return (np.where(known, self.sd_without, 0.0) - some).max(axis=1, initial=0.0)

    @property
    def order(self) -> np.ndarray:
        """The markers by what they decide, then by their largest factor."""
        return np.lexsort((-self.largest, -self.decided.sum(axis=1)))


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Medians over the frames.

    Attributes:
        found: What it was computed from.
        share: Share of each marker in what is known of each coordinate; rows sum to
            1, or are NaN where nothing is known. Shape [n, M].
        sd: SD of each coordinate, rad or m; inf where open. Shape [n].
        drop: The markers, each left out in turn, over the frames that have it.
        add: The candidates, each added alone.
        spare: Markers that can all be left out together before any SD grows by more
            than a tenth, the least needed first.
    """

    found: Information
    share: np.ndarray
    sd: np.ndarray
    drop: Change
    add: Change
    spare: tuple[str, ...]


def analyse(found: Information) -> Sensitivity:
    """Returns shares, and SDs with each marker left out and each candidate added."""
    m = found.used
    used, names = list(range(m)), found.markers
    base = sd_of(found.total(used))
    seen = np.asarray(found.rows[:, :m].any(axis=(2, 3)))
    seen |= ~seen.any(axis=0)  # never seen: nothing changes in any frame
    dropped = [sd_of(found.total([i for i in used if i != k])) for k in used]
    added = [sd_of(found.total([*used, k])) for k in range(m, len(names))]
    n = len(found.coordinates)
    table = lambda parts: np.array(parts).reshape(-1, n)
    share, sd = shares(found), np.asarray(np.median(base, axis=0))
    drop = Change(
        names[:m],
        table([np.median(base[seen[:, k]], axis=0) for k in used]),
        table([np.median(dropped[k][seen[:, k]], axis=0) for k in used]),
        found.angle,
        np.nan_to_num(share.T),
    )
    gained = table([np.median(one, axis=0) for one in added])
    now = np.tile(sd, (len(added), 1))
    limit = np.where(found.angle, LIMIT_RAD, LIMIT_M)
    add = Change(names[m:], gained, now, found.angle, -gained / limit)
    return Sensitivity(found, share, sd, drop, add, spare(found))


def shares(found: Information) -> Float[np.ndarray, "n m"]:
    """Returns the share of each marker; rows sum to 1, or are NaN where open.

    The median over the frames, of frames where the coordinate is not open, does not
    sum to 1 by itself and leaves room for tasks; each row is divided by its sum.
    """
    used = list(range(found.used))
    rows = found.rows[:, used]
    inverse, null, _ = uncertainty.inverse_of(found.total(used))
    part = ((rows @ inverse[:, None]) ** 2).sum(axis=2)  # (C A_m C)_cc, [T, M, n]
    whole = part.sum(axis=1)
    # Where tasks alone inform a coordinate, the markers' part is rounding.
    told = whole > _ROUNDING * np.einsum("tii->ti", inverse)
    known = (np.einsum("tii->ti", null) <= uncertainty.TOUCHED) & told
    part = part / np.where(known, whole, 1.0)[:, None]
    result = np.full((len(found.coordinates), found.used), np.nan)
    for c in np.flatnonzero(known.any(axis=0)):
        frames = part[known[:, c], :, c]
        middle = np.median(frames, axis=0)
        # Markers may take turns, so that every median is 0; the mean then serves.
        middle = middle if middle.sum() > 0 else frames.mean(axis=0)
        result[c] = middle / middle.sum()
    return result


def spare(found: Information, factor: float = HARMLESS) -> tuple[str, ...]:
    """Returns markers that can go together, the least needed first.

    Greedy: the marker whose loss raises the largest factor least goes, as long as no
    median SD exceeds ``factor`` times that of the whole set.
    """
    kept = list(range(found.used))
    base = np.median(sd_of(found.total(kept)), axis=0)
    able, gone = list(kept), []
    while len(kept) > 1:
        cost = {}
        for k in able:
            sd = np.median(sd_of(found.total([i for i in kept if i != k])), axis=0)
            cost[k] = _factor(base, sd).max()
        # What cannot go now cannot go later either, when there are fewer.
        able = [k for k in able if cost[k] <= factor]
        if not able:
            break
        best = min(able, key=cost.__getitem__)
        kept.remove(best)
        able.remove(best)
        gone.append(found.markers[best])
    return tuple(gone)


def sd_of(total: Float[np.ndarray, "t n n"]) -> Float[np.ndarray, "t n"]:
    """Returns the SD of each coordinate for an information; inf where it is open."""
    # A plain inverse takes a tenth of the time of eigenvalues, which only frames
    # near a null space need.
    own = np.einsum("tii->ti", total)
    idle, each = own <= 0, np.arange(own.shape[1])
    scale = np.sqrt(np.where(idle, 1.0, own))
    scaled = total / scale[:, :, None] / scale[:, None]
    scaled[:, each, each] = 1.0
    try:
        inverse = np.einsum("tii->ti", np.linalg.inv(scaled))
    except np.linalg.LinAlgError:
        inverse = np.full(own.shape, np.inf)
    hard = ~((inverse > 0) & (inverse < _SINGULAR)).all(axis=1)
    sd = np.where(idle, np.inf, np.sqrt(np.abs(inverse)) / scale)
    if hard.any():
        variance, null, _ = uncertainty.inverse_of(total[hard])
        open_ = np.einsum("tii->ti", null) > uncertainty.TOUCHED
        found = np.sqrt(np.maximum(np.einsum("tii->ti", variance), 0.0))
        sd[hard] = np.where(open_, np.inf, found)
    return sd


def determined(sd: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns whether an SD is below 5 degrees or 20 mm, as in ``identifiability``."""
    return sd < np.where(angle, LIMIT_RAD, LIMIT_M)


def sd_text(value: float, angle: bool) -> str:
    """Returns an SD, given in rad or m, in degrees or mm; "open" where it is inf."""
    if not np.isfinite(value):
        return "open"
    shown = np.degrees(value) if angle else value * 1e3
    if shown < 0.995:
        return f"{shown:.2f}"
    return f"{shown:.1f}" if shown < 99.95 else ">100"


def _factor(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    both = np.isinf(small)
    return np.where(both, 1.0, large / np.where(both, 1.0, small))
