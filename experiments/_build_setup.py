"""The choices of a data set, checked before any work, and the generic model."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import _capture, _processes
from experiments._build_formats import FORMATS
from experiments._build_sources import Source
from experiments._build_subjects import METHODS, Generic

if TYPE_CHECKING:
    from simspine_jax import RobustLoss
    from simspine_jax.fitting.calibration_options import CalibrationOptions
    from simspine_jax.fitting.finished_sequence import FinishOptions
    from simspine_jax.fitting.reconstruction import ReconstructionOptions

_PACKAGE = "pose2sim-0.8.4"
_MODEL = "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
_SETUP = "Pose2Sim/OpenSim_Setup/IK_Setup_Pose2Sim_Body25b.xml"
_VARIANT = "generic.osim"
_MARKERS = ("model", "keypoints")
# Change the bytes of no sequence: where files are, who works, what is written of them.
_ASIDE = ("processes", "formats", "judged", "test_subjects", "subjects")


@dataclass(frozen=True)
class Setup:
    """Options of a data set.

    Attributes:
        reconstruction: Up to the fit.
        finish: From the fit to keypoints.
        together: Sequences that are fitted at a time, at most.
        calibration: Of the joint scaling.
    """

    reconstruction: "ReconstructionOptions"
    finish: "FinishOptions"
    together: int
    calibration: "CalibrationOptions"


def check(config: Any) -> Setup:
    """Refuses options out of range, before any file is read.

    Raises:
        ValueError: One sentence says what is allowed.
    """
    from simspine_jax import IkOptions, Smoothness, TriangulationOptions
    from simspine_jax.fitting.calibration_options import CalibrationOptions
    from simspine_jax.fitting.finished_sequence import FinishOptions
    from simspine_jax.fitting.reconstruction import ReconstructionOptions
    from simspine_jax.fitting.spine_blend_options import check_compat
    from simspine_jax.fitting.trajectory_filters import FilterOptions

    _capture.require_choice(config, "markers", _MARKERS)
    _capture.require_choice(config, "smooth", ("acceleration", "velocity", "none"))
    _capture.require_choice(config.scale, "method", METHODS)
    check_compat(config.compat or None)
    if config.setup and config.markers == "keypoints":
        raise ValueError(
            "config.setup is given with config.markers=keypoints, whose weights are "
            "those of the keypoints; give config.markers=model"
        )
    for name in config.formats:
        if name not in FORMATS:
            raise ValueError(
                f"config.formats has {name!r}; formats are {', '.join(FORMATS)}"
            )
    for place, name in ((config, "together"), (config.scale, "sequences")):
        if place[name] < 1:
            raise ValueError(f"config.{name} is {place[name]}; it must be at least 1")
    spine = config.spine
    if spine.rhythm_sd_deg < 0 or not 0 <= spine.cervical_share < 1:
        raise ValueError(
            f"config.spine has rhythm_sd_deg {spine.rhythm_sd_deg} and cervical_share "
            f"{spine.cervical_share}; the first must be 0 or more, the second 0 to 1"
        )
    if not 0 <= config.share <= 1:
        raise ValueError(f"config.share is {config.share}; it must be 0 to 1")
    for name in ("cutoff_hz", "posture_sd_deg"):
        if config[name] < 0:
            raise ValueError(f"config.{name} is {config[name]}; it must be 0 or more")
    smooth = None if config.smooth == "none" else Smoothness(of=config.smooth)
    return Setup(
        ReconstructionOptions(
            triangulation=TriangulationOptions(float64=config.float64_points),
            ik=IkOptions(smooth=smooth, loss=_loss(config.loss.fit_m)),
            rhythm_sd_deg=spine.rhythm_sd_deg,
            posture_sd_deg=config.posture_sd_deg,
        ),
        FinishOptions(
            share=config.share,
            smoothing=FilterOptions(cutoff_hz=config.cutoff_hz)
            if config.cutoff_hz
            else None,
            compat=config.compat or None,
        ),
        config.together,
        CalibrationOptions(loss=_loss(config.loss.scale_m)),
    )


def settings(config: Any, source: Source) -> dict[str, Any]:
    """Returns what the bytes of a sequence depend on, but for its detections."""
    plain = {k: v for k, v in config.to_dict().items() if k not in _ASIDE}
    read = (*source.files, *(Path(f) for f in (config.model, config.setup) if f))
    digests = {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in read}
    return {**plain, "source_settings": dict(source.settings), "files": digests}


def generic(config: Any, folder: Path, processes: _processes.Processes) -> Generic:
    """Returns the model that is scaled, with the spine asked for.

    Args:
        config: Fields ``model``, ``setup``, ``markers`` and ``spine``.
        folder: Where a model of another spine is written to.
        processes: One of them writes it.

    Raises:
        ValueError: The model cannot be used.
        FileNotFoundError: A file is not there.
    """
    import simspine_jax as sj
    from simspine_jax.body import spine_markers
    from simspine_jax.fitting import simspine_tasks
    from simspine_jax.io import osim_variants

    path = Path(config.model) if config.model else _fetched(_MODEL)
    files = [path]
    if config.spine.cervical_share:
        source, path = path, folder / _VARIANT
        if processes.first:
            share = config.spine.cervical_share
            osim_variants.write_variant(path, source, cervical_share=share)
        processes.wait("model")
    model = sj.load_model(path)
    if config.markers == "keypoints":
        spine_markers.require_bodies(model)
        tasks = simspine_tasks.oks_tasks()
        model = spine_markers.with_keypoints(model)
    elif config.setup or not config.model:
        files.append(Path(config.setup) if config.setup else _fetched(_SETUP))
        tasks = sj.read_ik_setup(files[-1], model)
    else:
        tasks = sj.IkTasks(dict.fromkeys(model.marker_names, 1.0))
    return Generic(path, model, tasks.without_coordinate_tasks(), tuple(files))


def publish(config: Any, scaled: Path, path: Path) -> None:
    """Writes a subject's model as the data set has it, with the levels fitted."""
    from simspine_jax.io import atomic, osim_variants

    if config.spine.rhythm_sd_deg:
        osim_variants.write_variant(path, scaled, free_lumbar=True)
    else:
        atomic.write_text(path, scaled.read_text(encoding="utf-8"))


def _loss(scale_m: float) -> "RobustLoss | None":
    from simspine_jax import RobustLoss

    return RobustLoss(kind="geman_mcclure", scale_m=scale_m) if scale_m else None


def _fetched(name: str) -> Path:
    from third_party import fetch

    return fetch.fetch(_PACKAGE) / name
