"""A scaled model for each subject of a data set, one file each.

The file is what the fits read, whichever process made it, so that a run that was
stopped goes on with the same numbers.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments._build_sources import Source, Take

if TYPE_CHECKING:
    from simspine_jax import IkTasks, Model
    from simspine_jax.datasets.capture_folder import Recording
    from simspine_jax.fitting.calibration_options import CalibrationOptions
    from simspine_jax.fitting.reconstruction import Observed, ReconstructionOptions


@dataclass(frozen=True)
class Generic:
    """The model that is scaled.

    Attributes:
        path: Its file.
        model: The model, with the markers that are fitted.
        tasks: What a fit follows.
        files: That it and its tasks were read from.
    """

    path: Path
    model: "Model"
    tasks: "IkTasks"
    files: tuple[Path, ...]


def scale(
    subject: str,
    source: Source,
    generic: Generic,
    config: Any,
    options: "ReconstructionOptions",
    calibration: "CalibrationOptions",
    folder: Path,
) -> None:
    """Writes ``<subject>.osim`` and a table of its scales, ``<subject>.txt``.

    Where a recording that it was to be scaled from could not be used, the reason is in
    ``<subject>.lacks``; once the recording can, the model is another one, and sequences
    that were made with the old one are removed.

    Args:
        subject: Whose.
        source: Of the recordings.
        generic: The model to scale.
        config: Fields ``method`` (joint, lengths or none) and ``sequences``.
        options: Of the reconstruction.
        calibration: Of the joint scaling.
        folder: Where to.

    Raises:
        ValueError: No recording of the subject can be used, the first reason is said;
            or other cameras fit much better than its own.
    """
    from simspine_jax.io import atomic, osim_write

    model = generic.model
    text = f"{subject}: the model as it is\n"
    takes = [take for take in source.takes if take.subject == subject]
    reasons: list[str] = []
    if config.method == "none":
        _require_own_cameras(subject, takes, source)
    else:
        observed, reasons = _observed(subject, takes, source, config.sequences, options)
        trials = [one.markers for one in observed]
        model, text = _METHODS[config.method](model, trials, generic.tasks, calibration)
    lacks = folder / f"{subject}.lacks"
    if reasons:
        atomic.write_text(lacks, "\n".join(reasons) + "\n")
    atomic.write_text(folder / f"{subject}.txt", text + "\n")
    # A subject whose model is there is done.
    path = folder / f"{subject}.osim"
    with atomic.atomic_path(path) as fresh:
        osim_write.write_osim(fresh, generic.path, model, name=subject)
        if path.is_file() and path.read_bytes() != fresh.read_bytes():
            for take in takes:
                made = folder.parent / "sequences" / f"{take.name}.h5"
                made.unlink(missing_ok=True)
    if not reasons:
        lacks.unlink(missing_ok=True)


def unfinished(subjects: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Returns the subjects without a model, or with one that lacks a recording."""
    from simspine_jax.io import shards

    missing = shards.missing(folder, subjects, ".osim")
    return tuple(
        name
        for name in subjects
        if name in missing or (folder / f"{name}.lacks").is_file()
    )


def _observed(
    subject: str,
    takes: list[Take],
    source: Source,
    most: int,
    options: "ReconstructionOptions",
) -> "tuple[list[Observed], list[str]]":
    """Returns what was seen in some evenly spread takes, and why not in others."""
    from simspine_jax.fitting import reconstruction

    _require_own_cameras(subject, takes, source)
    picks = np.unique(np.linspace(0, len(takes) - 1, min(most, len(takes))).astype(int))
    found, reasons = [], []
    for index in picks:
        try:
            one = source.read(takes[index])
            found.append(
                reconstruction.observe(one.rig, one.detections, one.body, options)
            )
        except (ValueError, OSError) as error:
            reasons.append(f"{takes[index].name}: {' '.join(str(error).split())}")
    if not found:
        raise ValueError(f"subject {subject} could not be scaled: {reasons[0]}")
    return found, reasons


def _require_own_cameras(subject: str, takes: list[Take], source: Source) -> None:
    """Compares rigs on the first take that can be read, where there are others'."""
    from simspine_jax.cameras import rig_check

    one = _first_readable(takes, source) if set(source.rigs) - {subject} else None
    if one is None:
        return
    own = f"{subject}'s own"
    check = rig_check.check_rig({own: one.rig, **source.rigs}, own, one.detections)
    if check.better is not None:
        error = check.error_px
        raise ValueError(
            f"the cameras of {check.better} fit the detections of {one.name} better "
            f"than its own ({error[check.better]:.1f} px against {error[own]:.1f} px); "
            "its calibration is another subject's"
        )


def _first_readable(takes: list[Take], source: Source) -> "Recording | None":
    for take in takes:
        try:
            return source.read(take)
        except (ValueError, OSError):
            continue  # Said when the sequence is to be made.
    return None


def _joint(
    model: "Model",
    trials: list[Any],
    tasks: "IkTasks",
    options: "CalibrationOptions",
) -> "tuple[Model, str]":
    from simspine_jax.fitting.calibration import calibrate
    from simspine_jax.fitting.calibration_posture import usual_sd_deg

    options = replace(options, posture_sd_deg=usual_sd_deg(trials[0].names))
    found = calibrate(model, trials, tasks, options)
    return found.model, str(found)


def _lengths(
    model: "Model", trials: list[Any], tasks: "IkTasks", options: "CalibrationOptions"
) -> "tuple[Model, str]":
    from simspine_jax.fitting.segment_lengths import scale_by_lengths

    del tasks, options
    scaled, found = scale_by_lengths(model, trials)
    return scaled, found.to_text()


_METHODS = {"joint": _joint, "lengths": _lengths}
METHODS = (*_METHODS, "none")
