"""What scaling takes: its choices, checked before any work, and its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import _capture, _trial

if TYPE_CHECKING:
    from simspine_jax import IkOptions, MarkerTrajectory
    from simspine_jax.fitting.calibration_options import CalibrationOptions
    from simspine_jax.fitting.segment_lengths import LengthOptions
    from simspine_jax.io.scale_setup import ScaleSetup

METHODS = ("setup", "lengths", "joint")
_PACKAGE = "pose2sim-0.4.15"
_DEMO = "Pose2Sim/Demo/opensim"
_FILES = ("model", "scaling", "static", "trc", "setup", "markers")


@dataclass(frozen=True)
class Options:
    """How to scale and how to judge.

    Attributes:
        methods: Names, of ``METHODS``.
        lengths: Of the segment lengths.
        joint: Of the joint calibration.
        move_markers: Whether it moves markers.
        searches: Of the fits that judge, of which each frame takes the best.
        skip_measurements: Whether measurements that cannot be taken are left out.
        held_out: Whether halves of the trial are judged too.
    """

    methods: tuple[str, ...]
    lengths: "LengthOptions"
    joint: "CalibrationOptions"
    move_markers: bool
    searches: "tuple[IkOptions, ...]"
    skip_measurements: bool
    held_out: bool


@dataclass(frozen=True)
class Inputs:
    """What was read.

    Attributes:
        trial: The model, and what scaled models are judged on.
        judged_on_static: Whether that is the static trial.
        setup: Of the ScaleTool; None where it is not used.
        setup_path: Its file.
        static: The static trial; None where it is not used.
        static_path: Its file.
        markers_path: MarkerSet that replaces the model's; None where there is none.
        files: All that were read.
    """

    trial: _trial.Trial
    judged_on_static: bool
    setup: "ScaleSetup | None"
    setup_path: Path | None
    static: "MarkerTrajectory | None"
    static_path: Path | None
    markers_path: Path | None
    files: tuple[Path, ...]


def check(config: Any) -> Options:
    """Refuses options out of range, before any file is read.

    Raises:
        ValueError: One sentence says what is allowed.
    """
    from simspine_jax import IkOptions
    from simspine_jax.fitting.calibration_options import CalibrationOptions
    from simspine_jax.fitting.ik_search_options import SearchOptions
    from simspine_jax.fitting.quiet_frames import QuietOptions
    from simspine_jax.fitting.segment_lengths import LengthOptions

    _capture.require_choice(config, "method", ("all", *METHODS))
    if config.frames < 0:
        raise ValueError(f"config.frames must not be negative; it is {config.frames}")
    if config.searches < 1:
        raise ValueError(f"config.searches must be at least 1; it is {config.searches}")
    search = _trial.given(config.search)
    first = search.get("seed", SearchOptions.seed)
    lengths, joint = _trial.given(config.lengths), _trial.given(config.joint)
    trimmed = {k: lengths.pop(k) for k in ("trimmed_share",) if k in lengths}
    move_markers = joint.pop("move_markers")
    return Options(
        METHODS if config.method == "all" else (config.method,),
        LengthOptions(QuietOptions(**lengths), **trimmed),
        CalibrationOptions(**joint),
        move_markers,
        tuple(
            IkOptions(
                search=SearchOptions(**{**search, "seed": first + k}),
                **_trial.given(config.ik),
            )
            for k in range(config.searches)
        ),
        config.skip_measurements,
        config.held_out,
    )


def load(config: Any, options: Options) -> Inputs:
    """Reads the files that the configuration names, or the demo's.

    Raises:
        ValueError: A file is missing from the configuration or cannot be used; one
            sentence says why.
        FileNotFoundError: A file is not there.
    """
    import simspine_jax as sj
    from simspine_jax.io import scale_setup, trc

    config = _with_demo(config)
    setup, setup_path = None, Path(config.scaling) if config.scaling else None
    if "setup" in options.methods and setup_path is None:
        raise ValueError(
            f"config.method is {config.method!r}, which needs a set-up of OpenSim's "
            "ScaleTool; give it as config.scaling"
        )
    if setup_path is not None:
        setup = scale_setup.read_scale_setup(setup_path)
    model = _given_or_named(config, "model", setup, setup_path)
    static_path = None
    if "setup" in options.methods:
        static_path = _given_or_named(config, "static", setup, setup_path)
    others = [name for name in options.methods if name != "setup"]
    if others and not config.trc:
        raise ValueError(
            f"config.method is {config.method!r}, which needs a trial of markers in "
            "motion; give it as config.trc"
        )
    config.model = str(model)
    on_static = not config.trc
    config.trc = config.trc or str(static_path)
    trial = _trial.load(config)
    files = [*trial.files, *([setup_path] if setup_path else [])]
    static = None
    if static_path is not None and setup is not None:
        _trial.say(f"static  {static_path}, as {setup_path} says")
        static = sj.read_trc(static_path)
        trc.require_human_size(static, static_path)
        # Again, with what the tasks of the marker placer may need.
        setup = scale_setup.read_scale_setup(str(setup_path), trial.model)
        if setup.marker_set_file and not config.markers:
            _trial.say(
                f"the markers of {setup.marker_set_file}, which the set-up names, are "
                "not used; to use them give config.markers"
            )
        files.append(static_path)
    return Inputs(
        *(trial, on_static, setup, setup_path, static, static_path),
        Path(config.markers) if config.markers else None,
        tuple(dict.fromkeys(files)),
    )


def halves(inputs: Inputs) -> "tuple[MarkerTrajectory, MarkerTrajectory] | None":
    """Returns both halves of the trial; None for the static one or a single frame."""
    whole = inputs.trial.trajectory
    middle = len(whole.points) // 2
    if inputs.judged_on_static or not middle:
        return None
    return whole.cut(slice(0, middle)), whole.cut(slice(middle, None))


def _with_demo(config: Any) -> Any:
    """Returns a copy of the configuration, with the demo's files if it names none."""
    config = config.copy_and_resolve_references().unlock()
    if any(config[name] for name in _FILES):
        return config
    from third_party import fetch

    folder = fetch.fetch(_PACKAGE) / _DEMO
    config.scaling = str(folder / "Scaling_Setup_Pose2Sim_Body25b.xml")
    config.trc = str(folder / "Balancing_for_IK.trc")
    config.setup = str(folder / "IK_Setup_Pose2Sim_Body25b.xml")
    return config


def _given_or_named(
    config: Any, name: str, setup: "ScaleSetup | None", setup_path: Path | None
) -> Path:
    """Returns the file of a field, or the one that the set-up names in its place."""
    if config[name]:
        return Path(config[name])
    what = {"model": "model to scale", "static": "static trial"}[name]
    if setup is None:
        raise ValueError(f"a {what} is needed; give it as config.{name}")
    found = setup.model_file if name == "model" else setup.scaler.marker_file
    if found is None:
        raise ValueError(f"{setup_path} names no {what}; give it as config.{name}")
    if not found.is_file():
        raise ValueError(
            f"{setup_path}: its {what} {found} is not there; give it as config.{name}"
        )
    return found
