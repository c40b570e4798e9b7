"""What a sensitivity says, as two tables and a few sentences."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simspine_jax.evaluation.ik_sensitivity import Change, Sensitivity

_DROPPED, _ADDED, _WIDTH = 25, 10, 88


def to_text(found: "Sensitivity", weights: str) -> str:
    """Returns both tables and what they say in a few sentences."""
    from simspine_jax.evaluation import ik_sensitivity
    from simspine_jax.evaluation.ik_sensitivity import sd_text

    info, drop, add = found.found, found.drop, found.add
    width = max(map(len, (*info.markers, "marker")))
    across = max(map(len, (*info.coordinates, "matters most to")))
    lines = ["If one marker is dropped (worst first)"]
    lines += _table(found, drop, _DROPPED, width, across, gain=False)
    if add.names:
        lines += ["", f"If one marker is added (best {min(_ADDED, len(add.names))})"]
        lines += _table(found, add, _ADDED, width, across, gain=True)
    open_ = ~ik_sensitivity.determined(found.sd, info.angle)
    names = [n for n, o in zip(info.coordinates, open_, strict=True) if o]
    needed = [
        f"{drop.names[k]} ({drop.decided[k].sum()})"
        for k in drop.order
        if drop.decided[k].any()
    ]
    lines.append("")
    lines += _wrapped(
        "Indispensable, with the number of coordinates lost without it: "
        f"{', '.join(needed) or 'no single marker'}."
    )
    lines += _wrapped(
        "Can all go together before any SD grows by a tenth: "
        f"{', '.join(found.spare) or 'none'}."
    )
    if add.names and add.largest.max() > ik_sensitivity.HARMLESS:
        best = add.order[0]
        lines += _wrapped(
            f"Would help most: {add.names[best]}, for "
            f"{info.coordinates[add.most[best]]}."
        )
    elif add.names:
        lines += _wrapped("No candidate would lower an SD by a tenth.")
    lines += _wrapped(f"Not determined with this set: {', '.join(names) or 'none'}.")
    if add.names:
        for c in np.flatnonzero(open_):
            k = int(add.sd_with[:, c].argmin())
            angle, name = bool(info.angle[c]), info.coordinates[c]
            pair = (
                f"{sd_text(found.sd[c], angle)} -> {sd_text(add.sd_with[k, c], angle)}"
            )
            if add.factor[k, c] > ik_sensitivity.HARMLESS:
                unit = "deg" if angle else "mm"
                lines.append(f"  best for {name}: {add.names[k]} ({pair} {unit})")
    noise = f"{info.noise_m * 1e3:g} mm of noise on every marker component"
    if weights == "fit":
        noise += " of mean weight (variance inverse to the weight)"
    lines += _wrapped(
        f"Assumed: {noise}. SDs are medians over {len(info.rows)} frames; determined "
        "means below 5 deg or 20 mm, open that the markers do not tell it at all. All "
        "of it is linear, at the fitted poses."
    )
    return "\n".join(lines)


def _table(
    found: "Sensitivity",
    change: "Change",
    rows: int,
    width: int,
    across: int,
    *,
    gain: bool,
) -> list[str]:
    from simspine_jax.evaluation.ik_sensitivity import sd_text

    verbs = ("without", "lost", "worst angle")
    verbs = ("with it", "gained", "best angle") if gain else verbs
    lines = [
        f"{'marker':{width}}  {'matters most to':{across}}  SD now {verbs[0]:>7}     "
        f"{'factor':>7} {verbs[1]:>6} {verbs[2]:>12}"
    ]
    for k in change.order[:rows]:
        c = change.most[k]
        angle = bool(change.angle[c])
        pair = float(change.sd_without[k, c]), float(change.sd_with[k, c])
        before, after = pair if gain else pair[::-1]
        largest = float(change.largest_angle_rad[k])
        most = f"{'-' if gain else '+'}{sd_text(largest, True)} deg"
        factor = change.largest[k]
        lines.append(
            f"{change.names[k]:{width}}  {found.found.coordinates[c]:{across}}  "
            f"{sd_text(before, angle):>6} {sd_text(after, angle):>7} "
            f"{'deg' if angle else 'mm':3} "
            f"{f'{factor:.2f}x' if factor < 1e3 else 'open':>7} "
            f"{change.decided[k].sum():>6} "
            f"{most if np.isfinite(largest) else 'open':>12}"
        )
    rest = len(change.names) - rows
    return [*lines, f"... and {rest} that matter less"] if rest > 0 else lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False)
