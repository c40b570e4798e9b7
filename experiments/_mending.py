"""What may be wrong with a capture: exchanged sides, poor cameras, views that lag.

Exchanged sides and lags are looked for and said; nothing is mended unasked.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import _capture, _trial

if TYPE_CHECKING:
    from simspine_jax import CameraRig, Detections2D

# Exchanged sides are looked for unasked where frames times 2^views are no more.
_FEW_PATTERNS = 500_000


def sides(
    config: Any, capture: _capture.Capture, everyone: bool
) -> tuple[list["Detections2D"], dict[str, float]]:
    """Returns detections with the sides as asked, and how many were exchanged."""
    from simspine_jax.cameras import side_swaps

    people = list(capture.people if everyone else capture.people[:1])
    patterns = len(people) * len(capture.frame_numbers) * 2 ** len(capture.rig.names)
    if patterns > _FEW_PATTERNS and not config.repair_sides:
        _trial.say("exchanged sides not looked for; --config.repair_sides=True does")
        return people, {}
    find = lambda seen: side_swaps.find_swaps(capture.rig, seen, capture.pairs)
    swaps = _noticed(lambda: [find(seen) for seen in people], config.repair_sides)
    if swaps is None:
        return people, {}
    count = sum(int(found.count.sum()) for found in swaps)
    for found in swaps if count else []:
        _trial.say(str(found))
    if not count:
        _trial.say("left and right are nowhere exchanged")
    if config.repair_sides:
        people = [
            side_swaps.repaired(seen, found, capture.pairs)
            for seen, found in zip(people, swaps, strict=True)
        ]
    elif count:
        _trial.say("left as they are; --config.repair_sides=True puts them back")
    return people, {"sides_exchanged": float(count)}


def refined(
    rig: "CameraRig", seen: "Detections2D"
) -> tuple["CameraRig", "Detections2D", dict[str, float]]:
    """Returns better cameras, detections without their bias, and what was gained."""
    from simspine_jax.cameras import error_sources, held_out, refinement, triangulation

    _trial.say("refining the cameras")
    options = refinement.RefinementOptions()
    found = refinement.refine(rig, seen, options)
    steps = {"before": found.before, "cameras": found.after, "bias": found.unbiased}
    before, cameras, bias = (
        f"{e.mean_px:.1f} px mean, {e.median_px:.1f} median" for e in steps.values()
    )
    _trial.say(
        f"on frames held out {before} became {cameras} by refined cameras and {bias} "
        "by taking out as well what each view adds to each keypoint's place"
    )
    sources = error_sources.error_sources(
        found.rig,
        seen,
        triangulation.triangulate(found.rig, seen),
        held_out.frames(len(seen.points), options.held_out),
    )
    _trial.say(str(sources))
    gained = {}
    for name, error in steps.items():
        gained[f"held_out_px_mean_{name}"] = error.mean_px
        gained[f"held_out_px_median_{name}"] = error.median_px
        gained[f"held_out_agreeing_{name}"] = error.agreeing
    return found.rig, refinement.without_bias(seen, found.bias_px), gained


def lags(
    config: Any, rig: "CameraRig", people: list["Detections2D"]
) -> tuple[list["Detections2D"], dict[str, float]]:
    """Returns detections with the lags as asked, and the largest lag found."""
    from simspine_jax.cameras import view_offsets

    offsets = _noticed(
        lambda: view_offsets.estimate_offsets(rig, people[0]), config.take_out_offsets
    )
    if offsets is None:
        return people, {}
    largest = {"views_lag_frames": float(np.abs(offsets.frames).max())}
    if config.take_out_offsets:
        _trial.say(str(offsets))
        frames = offsets.frames
        return [view_offsets.apply_offsets(seen, frames) for seen in people], largest
    late = [
        f"{name} {lag:+d}"
        for name, lag in zip(offsets.names, offsets.frames.tolist(), strict=True)
        if lag
    ]
    if late:
        _trial.say(
            f"views that seem to lag {offsets.names[offsets.reference]}, frames: "
            f"{', '.join(late)}; left as they are"
            + ("" if config.refine else ", cameras calibrated badly look so too")
        )
    else:
        _trial.say("no view lags another for certain")
    return people, largest


def _noticed(look: Callable[[], Any], must: bool) -> Any:
    """Returns what was found; None where it cannot be and nobody asked for it."""
    try:
        return look()
    except ValueError as error:
        if must:
            raise
        _trial.say(f"not looked for: {error}")
        return None
