"""A scaled model for each subject of a data set, one file each.

The file is what the fits read, whichever process made it, so that a run that was
stopped goes on with the same numbers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments._build_sources import Source, Take

if TYPE_CHECKING:
    from simspine_jax import IkTasks, Model
    from simspine_jax.datasets.capture_folder import Recording
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
    folder: Path,
) -> None:
    """Writes ``<subject>.osim`` and a table of its scales, ``<subject>.txt``.

    Args:
        subject: Whose.
        source: Of the recordings.
        generic: The model to scale.
        config: Fields ``method`` (joint, lengths or none) and ``sequences``.
        options: Of the reconstruction.
        folder: Where to.

    Raises:
        ValueError: No recording of the subject can be used; the first reason is said.
    """
    from simspine_jax.io import atomic, osim_write

    model = generic.model
    text = f"{subject}: the model as it is\n"
    if config.method != "none":
        takes = [take for take in source.takes if take.subject == subject]
        observed = _observed(subject, takes, source, config.sequences, options)
        trials = [one.markers for one in observed]
        model, text = _METHODS[config.method](model, trials, generic.tasks)
    atomic.write_text(folder / f"{subject}.txt", text + "\n")
    # Last: a subject whose model is there is done.
    osim_write.write_osim(folder / f"{subject}.osim", generic.path, model, name=subject)


def _observed(
    subject: str,
    takes: list[Take],
    source: Source,
    most: int,
    options: "ReconstructionOptions",
) -> "list[Observed]":
    """Returns what was seen in some takes, evenly spread over those there are."""
    from simspine_jax.fitting import reconstruction

    picks = np.unique(np.linspace(0, len(takes) - 1, min(most, len(takes))).astype(int))
    found, reasons = [], []
    for index in picks:
        try:
            one = source.read(takes[index])
            if not found:
                _require_own_cameras(subject, one, source)
            found.append(
                reconstruction.observe(one.rig, one.detections, one.body, options)
            )
        except (ValueError, OSError) as error:
            reasons.append(str(error))
    if not found:
        raise ValueError(f"subject {subject} could not be scaled: {reasons[0]}")
    return found


def _require_own_cameras(subject: str, one: "Recording", source: Source) -> None:
    from simspine_jax.cameras import rig_check

    rigs = {**source.rigs, subject: one.rig}
    if len(rigs) < 2:
        return
    check = rig_check.check_rig(rigs, subject, one.detections)
    if check.better is not None:
        error = check.error_px
        raise ValueError(
            f"the cameras of {check.better} fit the detections of {one.name} better "
            f"than its own ({error[check.better]:.1f} px against "
            f"{error[subject]:.1f} px); its calibration is another subject's"
        )


def _joint(model: "Model", trials: list[Any], tasks: "IkTasks") -> "tuple[Model, str]":
    from simspine_jax.fitting.calibration import calibrate

    found = calibrate(model, trials, tasks)
    return found.model, str(found)


def _lengths(
    model: "Model", trials: list[Any], tasks: "IkTasks"
) -> "tuple[Model, str]":
    from simspine_jax.fitting.segment_lengths import scale_by_lengths

    del tasks
    scaled, found = scale_by_lengths(model, trials)
    return scaled, found.to_text()


_METHODS = {"joint": _joint, "lengths": _lengths}
METHODS = (*_METHODS, "none")
