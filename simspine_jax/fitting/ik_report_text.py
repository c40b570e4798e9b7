"""The report of a fit as a short table for people."""

import textwrap

import numpy as np

from simspine_jax.fitting.ik_report import NOISE_M, IkReport
from simspine_jax.fitting.ik_solution import IkSolution

_ROWS = 8
_HALF = 0.5
_EXACT_M = 1e-4  # below this RMS nothing is left to explain
_WIDTH = 79


def to_text(report: IkReport) -> str:
    """Returns the errors of the worst markers and what limits the fit."""
    frames, empty = len(report.frame_seen), int((~report.frame_seen).sum())
    lines = [_headline(report, frames)]
    if report.rms_m > _EXACT_M:
        lines += ["", *_table(report)]
    lines += ["", *_wrapped(origin(report))]
    for text in (
        _bounds(report),
        _beyond(report),
        _list(
            f"Not determined by the markers (SD above 5 deg or 20 mm at {_mm(NOISE_M)} "
            "mm of noise)",
            report.undetermined,
        ),
        _list("Left open", report.open_directions),
        _list("Moved by no marker, kept at their defaults", report.unmoved),
        _priors(report),
    ):
        lines += _wrapped(text)
    if empty:
        lines += _wrapped(
            f"Without any marker: {empty} of {frames} frames "
            f"({frame_ranges(~report.frame_seen)}, counted from 1); they repeat the "
            "nearest pose in the motion and are blank in the marker files."
        )
    return "\n".join(lines)


def history(solution: IkSolution) -> str:
    """Returns what was mended along time, nothing if nothing was."""
    mended = solution.mended
    flips, turns = sum(mended.flips.values()), sum(mended.spins.values())
    lines = []
    if flips or turns > 0:
        where = ", ".join([*mended.flips, *mended.spins])
        lines += _wrapped(
            f"Taken out between frames: {flips} flips by 180 degrees and "
            f"{max(turns, 0)} turns of 360 degrees ({where})."
        )
    count = int(solution.rerouted.sum())
    if count:
        lines += _wrapped(
            f"{count} of {len(solution.q)} frames took another pose than the best they "
            f"had alone, to go on smoothly ({frame_ranges(solution.rerouted)})."
        )
    return "\n".join(lines)


def origin(report: IkReport) -> str:
    """Returns where the residual comes from, in a sentence or two."""
    if report.rms_m <= _EXACT_M:
        return f"The markers are met within {report.rms_m * 1e3:.2g} mm (RMS)."
    order = report.worst
    share = np.cumsum(report.error_share[order])
    count = int(np.searchsorted(share, _HALF)) + 1
    top = order[:count]
    names = [report.marker_names[m] for m in top]
    part = report.error_share[top] @ report.offset_share[top] / share[count - 1]
    segments = [
        f"{body} {_percent(value)}"
        for body, value in list(report.segment_shares().items())[:5]
    ]
    return (
        f"{_percent(share[count - 1])} of the squared error sits at "
        f"{', '.join(names)}: a constant offset of these markers in their bodies "
        f"explains {_percent(part)} of it (marker placement or segment size), the "
        "rest changes from frame to frame. Over all markers constant offsets "
        f"explain {_percent(report.offset_share_of_all)}. By body: "
        f"{', '.join(segments)}."
    )


def frame_ranges(mask: np.ndarray, most: int = 6) -> str:
    """Returns runs of frames, counted from 1, as "3, 8-12"."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, int), [0]])))
    runs = [
        f"{first + 1}" if last == first + 1 else f"{first + 1}-{last}"
        for first, last in edges.reshape(-1, 2)
    ]
    return ", ".join(runs[:most]) + (", ..." if len(runs) > most else "")


def _headline(report: IkReport, frames: int) -> str:
    largest = int(np.argmax(report.marker_max_m))
    return (
        f"{len(report.marker_names)} markers, {frames} frames: RMS "
        f"{_mm(report.rms_m)} mm, largest {_mm(report.marker_max_m[largest])} mm "
        f"at {report.marker_names[largest]}"
    )


def _table(report: IkReport) -> list[str]:
    width = max(map(len, report.marker_names))
    rows = [
        f"{'worst markers':<{max(width, 13)}}  body         RMS   max  share  constant"
        "  offset x, y, z",
        f"{'':<{max(width, 13)}}               mm    mm                    mm, in body",
    ]
    for m in report.worst[:_ROWS]:
        x, y, z = report.offset_m[m] * 1e3
        rows.append(
            f"{report.marker_names[m]:<{max(width, 13)}}  "
            f"{report.marker_bodies[m]:<10} {_mm(report.marker_rms_m[m]):>5} "
            f"{_mm(report.marker_max_m[m]):>5} {_percent(report.error_share[m]):>6} "
            f"{_percent(report.offset_share[m]):>9}  {x:+4.0f} {y:+4.0f} {z:+4.0f}"
        )
    return rows


def _bounds(report: IkReport) -> str:
    share = np.maximum(report.at_lower, report.at_upper)
    names = [
        f"{report.coordinate_names[c]} "
        f"({'lower' if report.at_lower[c] >= report.at_upper[c] else 'upper'}, "
        f"{_percent(share[c])} of frames)"
        for c in np.argsort(-share, kind="stable")
        if share[c] > 0
    ]
    return _list("At a limit", tuple(names))


def _beyond(report: IkReport) -> str:
    share = report.beyond_range
    names = [
        f"{report.coordinate_names[c]} ({_percent(share[c])} of frames)"
        for c in np.argsort(-share, kind="stable")
        if share[c] > 0
    ]
    return _list("Beyond a range that the model does not enforce", tuple(names))


def _priors(report: IkReport) -> str:
    held = [f"{name} {ratio:.3g}" for name, ratio in report.prior_ratio.items()]
    return _list("Strength of coordinate tasks over that of markers", tuple(held))


def _list(label: str, names: tuple[str, ...]) -> str:
    return f"{label}: {', '.join(names)}." if names else ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False)


def _mm(metres: float | np.ndarray) -> str:
    return f"{metres * 1e3:.3g}" if metres < 0.01 else f"{metres * 1e3:.1f}"


def _percent(share: float | np.ndarray) -> str:
    return f"{100 * share:.0f} %"
