"""Calibration of a trial's model before it is fitted, and its posture."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import _trial

if TYPE_CHECKING:
    from simspine_jax.fitting.calibration_result import Calibration

_POSTURE_SD_DEG, _NOISE_M = 45.0, 0.01


def calibrated(config: Any, trial: _trial.Trial) -> "Calibration | None":
    """Calibrates the demo's model, or the user's where that is asked for."""
    wanted = config.calibrate if config.calibrate is not None else not config.model
    if not wanted:
        return None
    from simspine_jax.fitting import ik
    from simspine_jax.fitting.calibration import calibrate
    from simspine_jax.fitting.calibration_options import CalibrationOptions
    from simspine_jax.fitting.calibration_posture import usual_sd_deg

    # Refuses markers that do not belong to the model, in the words of the fit.
    ik.make_plan(trial.model, trial.trajectory.names, trial.tasks, ik.IkOptions())
    _trial.say(
        "calibrating: scales, marker places and poses together "
        "(--config.calibrate=False takes the model as it is)"
    )
    options = CalibrationOptions(posture_sd_deg=usual_sd_deg(trial.trajectory.names))
    found = calibrate(trial.model, trial.trajectory, trial.tasks, options)
    _trial.say(
        f"marker RMS {1e3 * found.rms_before_m:.1f} mm before, "
        f"{1e3 * found.rms_after_m:.1f} mm after"
    )
    return found


def held_upright(config: Any, trial: _trial.Trial) -> _trial.Trial:
    """Adds weak tasks on trunk and neck for the demo's model, or where asked for.

    Its markers tell little of the lumbar spine, which has no limits in the model.
    """
    sd_deg = config.posture_sd_deg
    if sd_deg is None:
        sd_deg = 0.0 if config.model else _POSTURE_SD_DEG
    if not sd_deg or config.ik.objective != "normalised":
        return trial
    from simspine_jax import IkTasks
    from simspine_jax.fitting.posture_tasks import posture_tasks

    near = posture_tasks(trial.model, sd_deg, _NOISE_M)
    if not near:
        return trial
    _trial.say(
        f"posture lumbar levels in sum and neck within {sd_deg:g} degrees (SD) of "
        "upright (--config.posture_sd_deg=0: no such prior)"
    )
    tasks = trial.tasks or IkTasks(dict.fromkeys(trial.trajectory.names, 1.0))
    tasks = replace(tasks, coordinate_tasks=(*tasks.coordinate_tasks, *near))
    return replace(trial, tasks=tasks)


def write(
    workdir: Path, trial: _trial.Trial, calibration: "Calibration | None"
) -> dict[str, float]:
    """Writes the calibrated model and its table; older ones are removed."""
    from simspine_jax.io import atomic, osim_write

    files = [workdir / name for name in ("calibrated.osim", "calibration.txt")]
    if calibration is None:
        for file in files:
            file.unlink(missing_ok=True)
        return {}
    osim_write.write_osim(files[0], trial.model_path, trial.model)
    atomic.write_text(files[1], f"{calibration}\n")
    return {
        "calibration_rms_before_mm": 1e3 * calibration.rms_before_m,
        "calibration_rms_after_mm": 1e3 * calibration.rms_after_m,
    }
