"""Tells which marker determines which angle, and what one more or less would change.

Without flags: a real balancing trial. Writes sensitivity.png, sensitivity.csv,
metrics.json and manifest.json, and prints what dropping or adding a marker does.
"""

import csv
import io
import math
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from experiments import _app, _trial

if TYPE_CHECKING:
    from simspine_jax import Model
    from simspine_jax.evaluation.ik_sensitivity import Change, Points, Sensitivity

UNITS = {"sensitivity.csv": "sd: deg or mm as the unit column says; shares: 0 to 1"}
_NOISE_MM = 5.0
_SOURCES = ("model", "spine", "segments")
_LONG_M, _FRONT_M = 0.1, 0.05  # a long segment, and how far in front of it
_DROPPED, _ADDED, _WIDTH = 25, 10, 88


def main(config: ConfigDict, workdir: Path) -> None:
    """Fits, analyses, and writes everything into the workdir."""
    with _trial.one_line_warnings():
        _run(config, workdir)


def _run(config: Any, workdir: Path) -> None:
    start = time.monotonic()
    _check(config)
    _trial.say("loading")
    import jax

    from simspine_jax.evaluation import ik_sensitivity
    from simspine_jax.figures import sensitivity as figure
    from simspine_jax.fitting import ik, ik_prepare
    from simspine_jax.fitting.ik_search_options import SearchOptions

    trial = _trial.load(config)
    model, trajectory = trial.model, trial.trajectory
    search = SearchOptions(**_trial.given(config.search))
    options = ik.IkOptions(search=search, **_trial.given(config.ik))
    plan = ik.make_plan(model, trajectory.names, trial.tasks, options)
    # Before the fit, so that a mistake does not cost a minute.
    points = candidates(config, model, plan.marker_names)
    ik_sensitivity.require(plan, points)
    count = len(trajectory.points)
    _trial.say(f"fitting {count} frames (the first time this compiles as well)")
    fit = ik.fit_ik(model, trajectory, trial.tasks, options, _trial.Progress())
    fitted = time.monotonic()
    frames = sampled(np.asarray(fit.marker_seen), config.sampled_frames)
    _trial.say(f"analysing {len(frames)} frames, {len(points)} candidate markers")
    data = ik_prepare.observations(plan, trajectory)
    data = jax.tree.map(lambda a: a[frames], data)
    noise_mm = _NOISE_MM if config.noise_mm is None else config.noise_mm
    found = ik_sensitivity.analyse(
        ik_sensitivity.information(
            plan,
            np.asarray(fit.q)[frames],
            data,
            points,
            noise_mm / 1e3,
            equal=config.weights == "equal",
        )
    )
    _trial.say(f"writing into {workdir}")
    figure.save(workdir / "sensitivity.png", found)
    _write_shares(workdir / "sensitivity.csv", found)
    seconds = {"fit": fitted - start, "total": time.monotonic() - start}
    _app.write_metrics(workdir, metrics(found, seconds))
    _app.write_manifest(workdir, config, trial.files, UNITS)
    _trial.say("\n" + to_text(found, config.weights))


def candidates(config: Any, model: "Model", used: tuple[str, ...]) -> "Points":
    """Returns the points that could become markers: body and offset by name.

    Args:
        config: Fields ``candidates`` and ``points``.
        model: The model; SIMSPINE's landmarks need the bodies of its spine.
        used: Markers of the trial.
    """
    from simspine_jax.body import spine_markers

    wanted = [part.strip() for part in config.candidates.split(",") if part.strip()]
    found: dict = {}
    if "model" in wanted:
        places = zip(model.topology.marker_bodies, model.marker_offset, strict=True)
        for name, (body, offset) in zip(model.marker_names, places, strict=True):
            if body >= 0:
                found[name] = (model.body_names[body], _triple(offset))
    if "spine" in wanted and not spine_markers.missing_bodies(model):
        found = {**_landmarks(model), **found}
    if "segments" in wanted:
        found = {**_fronts(model, used), **found}
    found = {name: place for name, place in found.items() if name not in used}
    return found | _points(config.points or "")


def sampled(seen: np.ndarray, count: int) -> np.ndarray:
    """Returns up to so many frames spread evenly over those that have a marker.

    Args:
        seen: Whether each frame has each marker. Shape [T, M].
        count: How many.
    """
    filled = np.flatnonzero(np.asarray(seen).any(axis=1))
    picks = np.linspace(0, len(filled) - 1, min(count, len(filled)))
    return filled[np.round(picks).astype(int)]


def metrics(found: "Sensitivity", seconds: dict[str, float]) -> dict[str, float]:
    """Returns the numbers of metrics.json; a factor that is infinite is left out."""
    from simspine_jax.evaluation import ik_sensitivity

    info = found.found
    known = ik_sensitivity.determined(found.sd, info.angle)
    result: dict[str, float] = {
        "frames": len(info.rows),
        "markers": info.used,
        "candidates": len(info.markers) - info.used,
        "noise_mm": info.noise_m * 1e3,
        "coordinates": len(info.coordinates),
        "coordinates_undetermined": int((~known).sum()),
        "markers_spare_together": len(found.spare),
        "markers_indispensable": int((found.drop.decided.sum(axis=1) > 0).sum()),
    }
    for name, sd, angle in zip(info.coordinates, found.sd, info.angle, strict=True):
        key = f"sd_{name}_{'deg' if angle else 'mm'}"
        result[key] = math.degrees(sd) if angle else sd * 1e3
    for verb, change in (("drop", found.drop), ("add", found.add)):
        for k, name in enumerate(change.names):
            result[f"{verb}_{name}_decides"] = int(change.decided[k].sum())
            result[f"{verb}_{name}_factor"] = float(change.largest[k])
    result |= {f"seconds_{name}": value for name, value in seconds.items()}
    return {name: value for name, value in result.items() if math.isfinite(value)}


def to_text(found: "Sensitivity", weights: str) -> str:
    """Returns both tables and what they say in a few sentences."""
    from simspine_jax.evaluation import ik_sensitivity

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
            pair = f"{_sd(found.sd[c], angle)} -> {_sd(add.sd_with[k, c], angle)}"
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
        most = f"{'-' if gain else '+'}{_sd(largest, True)} deg"
        factor = change.largest[k]
        lines.append(
            f"{change.names[k]:{width}}  {found.found.coordinates[c]:{across}}  "
            f"{_sd(before, angle):>6} {_sd(after, angle):>7} "
            f"{'deg' if angle else 'mm':3} "
            f"{f'{factor:.2f}x' if factor < 1e3 else 'open':>7} "
            f"{change.decided[k].sum():>6} "
            f"{most if np.isfinite(largest) else 'open':>12}"
        )
    rest = len(change.names) - rows
    return [*lines, f"... and {rest} that matter less"] if rest > 0 else lines


def _write_shares(path: Path, found: "Sensitivity") -> None:
    from simspine_jax.io import atomic

    info, out = found.found, io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["coordinate", "part", "sd", "unit", *info.markers[: info.used]])
    for c, name in enumerate(info.coordinates):
        angle = info.angle[c]
        sd = math.degrees(found.sd[c]) if angle else found.sd[c] * 1e3
        cells = [f"{x:.6g}" for x in (sd, *found.share[c])]
        unit = "deg" if angle else "mm"
        writer.writerow([name, info.parts[c], cells[0], unit, *cells[1:]])
    atomic.write_text(path, out.getvalue())


def _landmarks(model: "Model") -> dict:
    """SIMSPINE's points of trunk and head, scaled as ``spine_markers`` does."""
    from simspine_jax.body.spine_markers import GENERIC
    from simspine_jax.skeletons.simspine_markers import MARKERS

    found = {}
    for name, (body, place) in MARKERS.items():
        if body in GENERIC:
            b = model.body_names.index(body)
            factor, joint = GENERIC[body]
            scale = np.asarray(model.scale_factors)[b] / factor
            away = scale * (np.array(place) - joint)
            found[name] = (body, _triple(np.asarray(model.child_translation)[b] + away))
    return found


def _fronts(model: "Model", used: tuple[str, ...]) -> dict:
    """5 cm in front (X) of the middle of every long segment that carries a marker."""
    from simspine_jax.body.jacobian import driven_axes

    topology = model.topology
    moved = {entry.body for entry in driven_axes(topology)}
    ends = [topology.marker_bodies[model.marker_names.index(n)] for n in used]
    carrying = {b for end in ends for b in topology.ancestors(end)}
    found = {}
    for b in sorted(carrying & moved):
        start = np.asarray(model.child_translation)[b]
        children = [c for c, parent in enumerate(topology.parents) if parent == b]
        axes = [np.asarray(model.parent_translation)[c] - start for c in children]
        axis = max(axes, key=np.linalg.norm, default=np.zeros(3))
        if np.linalg.norm(axis) > _LONG_M:
            middle = start + axis / 2 + [_FRONT_M, 0.0, 0.0]
            found[f"{topology.body_names[b]} front"] = (
                topology.body_names[b],
                _triple(middle),
            )
    return found


def _points(text: str) -> dict:
    found = {}
    for item in filter(None, (part.strip() for part in text.split(";"))):
        try:
            name, body, *numbers = item.split()
            x, y, z = map(float, numbers)
        except ValueError:
            raise ValueError(
                f"config.points has {item!r}; a point is a name, a body and three "
                "numbers in metres, such as 'C7 torso -0.05 0.41 0'"
            ) from None
        found[name] = (body, (x, y, z))
    return found


def _check(config: Any) -> None:
    if config.weights not in ("equal", "fit"):
        raise ValueError(f"config.weights is {config.weights!r}; it is equal or fit")
    if config.sampled_frames < 1:
        raise ValueError(
            f"config.sampled_frames is {config.sampled_frames}; it takes at least 1"
        )
    if config.noise_mm is not None and not config.noise_mm > 0:
        raise ValueError(f"config.noise_mm is {config.noise_mm}; it must be positive")
    for part in config.candidates.split(","):
        if part.strip() and part.strip() not in _SOURCES:
            raise ValueError(
                f"config.candidates names {part.strip()!r}; it knows "
                f"{', '.join(_SOURCES)}"
            )


def _triple(offset: Any) -> tuple[float, float, float]:
    x, y, z = np.asarray(offset, float).tolist()
    return x, y, z


def _sd(value: float, angle: bool) -> str:
    if not np.isfinite(value):
        return "open"
    shown = math.degrees(value) if angle else value * 1e3
    if shown < 0.995:
        return f"{shown:.2f}"
    return f"{shown:.1f}" if shown < 99.95 else ">100"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False)


if __name__ == "__main__":
    _app.run(main, "sensitivity")
