"""What a build says of itself: quality of each sequence, a picture and numbers."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments import _app, _build_formats, _ik_measure
from experiments._build_formats import Finished
from experiments._build_sources import Source
from experiments._processes import Processes

_COLUMNS = (
    *("frames", "frames_without_markers", "marker_rms_mm", "marker_max_mm"),
    *("violation_rate", "violations", "undetermined", "unmoved", "prior_dominated"),
)
_UNITS = {
    "simspine.h5, simspine_15.h5": "m, ground frame, Y up; deg and m; s",
    "annotations/*.npz": "m (camera and world, Z up), px, deg and m",
    "parquet/*.parquet": "m, px, deg and m, s",
    "positions/*.trc": "m, ground frame, Y up",
    "kinematics/*.mot": "deg and m; coupled coordinates rad, as OpenSim has it",
    "quality.csv": "mm; shares of 1",
}
_SAID = 5  # failures that are named; the rest are in a file


def opening(source: Source, processes: Processes) -> str:
    """Returns what is going to be made."""
    subjects = dict.fromkeys(take.subject for take in source.takes)
    lines = [f"{len(source.takes)} sequences of {len(subjects)} subjects"]
    if processes.count > 1:
        lines.append(f"process {processes.index + 1} of {processes.count}")
    lines += [f"not there: {name} ({why})" for name, why in source.absent.items()]
    return "\n".join(lines)


def failures(source: Source, work: Path) -> dict[str, str]:
    """Returns why sequences could not be made, by name; absent ones among them."""
    found = dict(source.absent)
    for take in source.takes:
        path = work / "failed" / f"{take.name}.txt"
        if path.is_file():
            found[take.name] = path.read_text(encoding="utf-8").strip()
    return found


def sentence(failed: dict[str, str], made: int, workdir: Path) -> str:
    """Returns one sentence that names some of the sequences that were not made."""
    named = "; ".join(f"{n}: {why}" for n, why in list(failed.items())[:_SAID])
    more = f"; and {len(failed) - _SAID} more" if len(failed) > _SAID else ""
    return (
        f"{len(failed)} sequences could not be made ({named}{more}); {made} are "
        f"complete in {workdir / 'dataset'}"
    )


def write(
    workdir: Path,
    config: Any,
    done: Finished,
    failed: dict[str, str],
    frames: int,
    seconds: dict[str, float],
    judged: dict[str, float],
    files: tuple[Path, ...],
) -> None:
    """Writes quality.csv, report.png, metrics.json and manifest.json; says the main.

    Args:
        workdir: Existing folder.
        config: Of the build.
        done: What was made.
        failed: Sequences that were not made, with the reason.
        frames: Made in this run, by this process.
        seconds: By stage.
        judged: Comparison with the truth; empty without one.
        files: The generic model and its set-up.
    """
    from simspine_jax.datasets import licences
    from simspine_jax.figures import saving
    from simspine_jax.io import atomic

    quality = {t.name: _quality(done.work, t.name) for t in done.takes}
    atomic.write_text(workdir / "quality.csv", _table(quality))
    rms_of = {name: row["marker_rms_mm"] for name, row in quality.items()}
    saving.save(workdir / "report.png", _picture(done, rms_of))
    rms = np.array(list(rms_of.values()))
    total = sum(row["frames"] for row in quality.values())
    views = {t.subject: len(done.source.rigs[t.subject].names) for t in done.takes}
    images = sum(quality[t.name]["frames"] * views[t.subject] for t in done.takes)
    spent = max(sum(seconds.values()), 1e-9)
    metrics = {
        "sequences": len(done.takes),
        "sequences_failed": len(failed),
        "subjects": len(views),
        "frames": total,
        "images": images,
        "frames_this_run": frames,
        "frames_per_second": frames / spent,
        "marker_rms_mm_median": float(np.median(rms)),
        "marker_rms_mm_max": float(rms.max()),
        "violation_rate": float(
            np.mean([row["violation_rate"] for row in quality.values()])
        ),
        "coordinates_prior_dominated": len(
            {name for row in quality.values() for name in row["prior_dominated"]}
        ),
        **judged,
        **{f"seconds_{name}": value for name, value in seconds.items()},
        "peak_memory_mb": _ik_measure.peak_memory_mb(),
    }
    _app.write_metrics(workdir, metrics)
    licence = {done.source.licence: licences.text_of(done.source.licence)}
    atomic.write_text(done.dataset / "LICENCES.txt", "\n".join(licence.values()) + "\n")
    _app.write_manifest(
        workdir,
        config,
        (*files, *done.source.files),
        _UNITS,
        {"licences": licence, "failed": failed},
    )
    print(_text(quality, metrics, failed, workdir), flush=True)


def _picture(done: Finished, rms_mm: dict[str, float]) -> Any:
    import simspine_jax as sj
    from simspine_jax.figures import dataset_report

    take = done.takes[0]
    _, sequence = _build_formats.read(done.work, take)
    model = sj.load_model(done.work / "subjects" / f"{take.subject}.osim")
    angles = sj.spine_angles(model, sequence.motion)
    return dataset_report.make(sequence.name, sequence.markers, angles, rms_mm)


def _quality(work: Path, name: str) -> dict[str, Any]:
    return json.loads((work / "quality" / f"{name}.json").read_text(encoding="utf-8"))


def _table(quality: dict[str, dict[str, Any]]) -> str:
    """One row for each sequence; lists are separated by blanks."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["sequence", *_COLUMNS])
    for name, row in quality.items():
        rows.writerow([name, *(_cell(row[column]) for column in _COLUMNS)])
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={share:g}" for name, share in value.items())
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _text(
    quality: dict[str, dict[str, Any]],
    metrics: dict[str, float],
    failed: dict[str, str],
    workdir: Path,
) -> str:
    m = metrics
    worst = sorted(quality.items(), key=lambda item: -item[1]["marker_rms_mm"])[:5]
    lines = [
        "",
        f"{m['sequences']} sequences, {m['frames']} frames, {m['images']} images; "
        f"{len(failed)} could not be made",
        f"marker RMS {m['marker_rms_mm_median']:.1f} mm median, "
        f"{m['marker_rms_mm_max']:.1f} at most; coordinates beyond the model's ranges "
        f"in {m['violation_rate']:.1%} of the frames",
        "",
        f"{'sequence':28} {'frames':>7} {'RMS mm':>7}  not determined",
    ]
    for name, row in worst:
        lines.append(
            f"{name:28} {row['frames']:7d} {row['marker_rms_mm']:7.1f}  "
            f"{', '.join(row['undetermined']) or 'nothing'}"
        )
    held = sorted({n for row in quality.values() for n in row["prior_dominated"]})
    lines.append(f"held by priors: {', '.join(held) or 'nothing'}")
    if "spine_error_mm_median" in m:
        lines.append(
            f"against the truth: keypoints {m['keypoint_error_mm_median']:.1f} mm "
            f"median, spine {m['spine_error_mm_median']:.1f}; angles "
            f"{m['angle_error_deg_median']:.2f} deg median"
        )
    if "lumbar_flexion_error_deg_farthest" in m:
        lines.append(
            "sum of six lumbar levels' flexion: "
            f"{m['lumbar_flexion_error_deg_rms']:.2f} deg RMS off; up to "
            f"{m['lumbar_flexion_error_deg_farthest']:.2f} on average of the frames "
            "that are bent most"
        )
    stages = ", ".join(
        f"{name.removeprefix('seconds_')} {value:.0f} s"
        for name, value in m.items()
        if name.startswith("seconds_")
    )
    lines.append(
        f"{stages}; {m['frames_per_second']:.0f} frames/s; peak memory "
        f"{m['peak_memory_mb']:.0f} MB; data set in {workdir / 'dataset'}"
    )
    return "\n".join(lines)
