"""Builds a spine data set in the SIMSPINE formats from multi-view captures.

Without flags: a real capture's detections. Writes the folder dataset, with simspine.h5,
simspine_15.h5, annotations (.npz and statistics), parquet, and SIMSPINE's tree of
cameras, models, positions and kinematics; beside it quality.csv, report.png,
metrics.json and manifest.json. Sequences that cannot be made are named at the end, and
the rest is complete. Started again, it goes on where it stopped.
"""

import time
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments import (
    _app,
    _build_formats,
    _build_judge,
    _build_report,
    _build_sequences,
    _build_setup,
    _build_sources,
    _build_subjects,
    _processes,
    _trial,
)


def main(config: ConfigDict, workdir: Path) -> None:
    """Scales the subjects, makes the sequences, and writes the data set."""
    processes = _processes.join(config.processes)
    with _trial.one_line_warnings():
        _build(config, workdir, processes)


def _build(config: Any, workdir: Path, processes: _processes.Processes) -> None:
    from simspine_jax.io import shards

    start = time.monotonic()
    setup = _build_setup.check(config)
    source = _build_sources.open_source(config)
    _trial.say(_build_report.opening(source, processes))
    work = workdir / "work"
    if processes.first:
        work.mkdir(exist_ok=True)
        settings = _build_setup.settings(config, source)
        for name in ("subjects", *_build_sequences.FOLDERS):
            shards.claim(work / name, settings)
    processes.wait("folders")
    generic = _build_setup.generic(config, work / "subjects", processes)
    _scale(config, source, setup, generic, work, processes)
    scaled = time.monotonic()
    frames = _sequences(config, source, setup, generic, work, processes)
    made = time.monotonic()
    done = _build_formats.Finished(
        takes=tuple(
            take
            for take in source.takes
            if (work / "sequences" / f"{take.name}.h5").is_file()
        ),
        source=source,
        work=work,
        dataset=workdir / "dataset",
        spine_only=source.spine_only,
        model=lambda subject, path: _build_setup.publish(
            config, work / "subjects" / f"{subject}.osim", path
        ),
    )
    if done.takes:
        _formats(config, done, processes)
    seconds = {
        "scale": scaled - start,
        "sequences": made - scaled,
        "formats": time.monotonic() - made,
    }
    failures = _build_report.failures(source, work)
    if processes.first and done.takes:
        judged = _build_judge.judge(done, config.judged)
        _build_report.write(
            workdir, config, done, failures, frames, seconds, judged, generic.files
        )
    processes.wait("reported")
    if failures:
        raise ValueError(_build_report.sentence(failures, len(done.takes), workdir))


def _scale(
    config: Any,
    source: _build_sources.Source,
    setup: _build_setup.Setup,
    generic: _build_subjects.Generic,
    work: Path,
    processes: _processes.Processes,
) -> None:
    from simspine_jax.io import atomic

    folder = work / "subjects"
    subjects = tuple(dict.fromkeys(take.subject for take in source.takes))
    mine = processes.share(subjects)
    todo = _build_subjects.unfinished(mine, folder)
    for subject in _app.progress(todo, "scaling subjects", len(todo)):
        reason = folder / f"{subject}.failed"
        reason.unlink(missing_ok=True)
        try:
            _build_subjects.scale(
                *(subject, source, generic, config.scale),
                *(setup.reconstruction, setup.calibration, folder),
            )
        except ValueError as error:
            atomic.write_text(reason, str(error) + "\n")
    processes.wait("subjects")


def _sequences(
    config: Any,
    source: _build_sources.Source,
    setup: _build_setup.Setup,
    generic: _build_subjects.Generic,
    work: Path,
    processes: _processes.Processes,
) -> int:
    """Returns the frames that this process made."""
    todo = _build_sequences.unfinished(
        _build_sequences.groups(source.takes, config.together, processes), work
    )
    made = _build_sequences.Work(
        source=source,
        generic=generic,
        setup=setup,
        folder=work,
    )
    flow = _build_sequences.run(made, todo)
    frames = sum(_app.progress(flow, "making sequences", len(todo)))
    processes.wait("sequences")
    return frames


def _formats(
    config: Any, done: _build_formats.Finished, processes: _processes.Processes
) -> None:
    if processes.first:
        _build_formats.claim(done, {"licence": done.source.licence})
    processes.wait("data set")
    files = _build_formats.outputs(done, tuple(config.formats))
    todo = [n for n in processes.share(tuple(files)) if not (done.dataset / n).exists()]
    for name in _app.progress(todo, "writing files", len(todo)):
        path = done.dataset / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files[name](path)
    processes.wait("formats")


if __name__ == "__main__":
    _app.run(main, "build_dataset")
