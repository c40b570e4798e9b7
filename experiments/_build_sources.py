"""Where the recordings of a data set come from: captures, Human3.6M, simulation.

A source knows the names of its sequences before it reads any, and reads one alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import _capture

if TYPE_CHECKING:
    from simspine_jax import CameraRig, Detections2D, MarkerTrajectory, Motion
    from simspine_jax.datasets.capture_folder import CaptureTake, Recording

_PACKAGE = "pose2sim-0.8.4"
_SESSION = "Pose2Sim/S00_Demo_BatchSession"
_DEMO_SUBJECT = "P00"
_SPARE_FRAMES = 2
_DEMO_TRIALS = {
    "Balancing_1": "S00_P00_SingleParticipant/S00_P00_T01_BalancingTrial",
    "Standing_1": "S00_P00_SingleParticipant/S00_P00_T00_StaticTrial",
}


@dataclass(frozen=True)
class Take:
    """A sequence by name."""

    subject: str
    action: str

    @property
    def name(self) -> str:
        """Such as ``S1_Walking_1``."""
        return f"{self.subject}_{self.action}"


@dataclass(frozen=True)
class Truth:
    """What a simulation knows: keypoints in ground (37) and coordinates."""

    markers: "MarkerTrajectory"
    motion: "Motion"


@dataclass(frozen=True)
class Source:
    """Recordings by name.

    Attributes:
        takes: Those there are, by subject and action.
        absent: Those that were asked for and are not there, with the reason.
        read: Reads one; ValueError and OSError say why it cannot be used.
        truth: Gives what is known of one; None where nothing is.
        rigs: Cameras of subjects, those of the data and others at hand.
        split: "train" or "test" by subject.
        licence: Key of ``datasets.licences.LICENCES``.
        spine_only: Whether only the spine's keypoints may be written.
        files: That were read to know all this.
        settings: What the recordings depend on, as JSON can hold it.
    """

    takes: tuple[Take, ...]
    absent: Mapping[str, str]
    read: "Callable[[Take], Recording]"
    truth: "Callable[[Take], Truth] | None"
    rigs: "Mapping[str, CameraRig]"
    split: Callable[[str], str]
    licence: str
    spine_only: bool
    files: tuple[Path, ...]
    settings: Mapping[str, Any]


def open_source(config: Any) -> Source:
    """Returns the source that a configuration names.

    Args:
        config: Of ``configs/build_dataset.py``.

    Raises:
        ValueError: A folder cannot be used; one sentence says why.
        FileNotFoundError: A folder is not there.
    """
    _capture.require_choice(config, "source", ("captures", "h36m", "simulated"))
    from experiments import _build_simulated

    source = {
        "captures": _captures,
        "h36m": _h36m,
        "simulated": _build_simulated.open_simulated,
    }[config.source](config)
    return _only(source, tuple(config.subjects)) if config.subjects else source


def _only(source: Source, subjects: tuple[str, ...]) -> Source:
    there = tuple(dict.fromkeys(take.subject for take in source.takes))
    _require_known(subjects, there, "config.subjects")
    absent = {
        name: why
        for name, why in source.absent.items()
        if name.replace("_", " ").split()[0] in subjects
    }
    takes = tuple(take for take in source.takes if take.subject in subjects)
    return replace(source, takes=takes, absent=absent)


def _require_known(names: tuple[str, ...], there: tuple[str, ...], field: str) -> None:
    for name in names:
        if name not in there:
            raise ValueError(
                f"{field} has {name!r}, which is not a subject of the data; they are "
                f"{', '.join(there)}"
            )


def _of_rate(one: "Recording", rate_hz: float) -> "Recording":
    """Refuses another rate, as most files of a data set hold one for all."""
    if one.detections.rate_hz != rate_hz:
        raise ValueError(
            f"the detections have {one.detections.rate_hz:g} frames per second, and "
            f"the data set has config.rate_hz, {rate_hz:g}"
        )
    return one


def _form(config: Any) -> Any:
    from importlib import import_module

    from simspine_jax.cameras import world_axes
    from simspine_jax.datasets.capture_folder import DetectionFormat

    _capture.require_choice(config, "keypoints", _capture.ORDERS)
    _capture.require_choice(config, "up", tuple(world_axes.TO_GROUND))
    skeleton = import_module(f"simspine_jax.skeletons.{config.keypoints}")
    return DetectionFormat(
        skeleton.NAMES, config.rate_hz, config.up, config.metres_per_unit
    )


def _captures(config: Any) -> Source:
    from simspine_jax.datasets import capture_folder
    from simspine_jax.datasets.licences import OWN_CAPTURE, POSE2SIM

    form = _form(config)
    found = capture_folder.find_takes(config.data) if config.data else _demo_takes()
    by_name = {f"{t.subject}_{t.action}": t for t in found}
    rigs = {t.subject: capture_folder.read_rig(t, form) for t in found}
    subjects = tuple(dict.fromkeys(take.subject for take in found))
    test = tuple(config.test_subjects)
    _require_known(test, subjects, "config.test_subjects")
    return Source(
        takes=tuple(Take(t.subject, t.action) for t in found),
        absent={},
        read=lambda take: _of_rate(
            capture_folder.read_take(by_name[take.name], form), config.rate_hz
        ),
        truth=None,
        rigs=rigs,
        split=lambda subject: "test" if subject in test else "train",
        licence=OWN_CAPTURE if config.data else POSE2SIM,
        spine_only=False,
        files=tuple(dict.fromkeys(t.calibration for t in found)),
        settings={"data": str(config.data), "takes": sorted(by_name)},
    )


def _demo_takes() -> "tuple[CaptureTake, ...]":
    from simspine_jax.datasets.capture_folder import CaptureTake
    from third_party import fetch

    session = fetch.fetch(_PACKAGE) / _SESSION
    calibration = session / "S00_Calibration/Calib.qca.txt"
    return tuple(
        CaptureTake(_DEMO_SUBJECT, action, calibration, session / trial / "pose")
        for action, trial in _DEMO_TRIALS.items()
    )


def _h36m(config: Any) -> Source:
    """Human3.6M's bodies, and detections in ``<subject>/<action>`` for the spine."""
    from simspine_jax.datasets import capture_folder, h36m, simulate
    from simspine_jax.datasets.licences import DERIVED_HUMAN36M
    from simspine_jax.fitting import merge_sources
    from simspine_jax.io import h36m_cameras

    for name in ("data", "detections"):
        if not config[name]:
            raise ValueError(
                f"config.{name} is not given; h36m takes config.data, the folder (or "
                "archive) of Human3.6M, and config.detections, a folder with "
                "<subject>/<action>.h5, .json, .npz or OpenPose's folders"
            )
    form = _form(config)
    poses = h36m.open_h36m(config.data)
    seen = capture_folder.detection_files(Path(config.detections))
    takes, absent = [], {name: "not in config.data" for name in poses.missing}
    originals: dict[str, tuple[str, Path]] = {}
    for subject, actions in poses.sequences.items():
        for action in actions:
            take = Take(subject, action.replace(" ", "_"))
            found = seen.get((subject, action)) or seen.get((subject, take.action))
            if found is None:
                absent[take.name] = "no detections"
            else:
                originals[take.name] = (action, found)
                takes.append(take)
    if not takes:
        raise ValueError(
            f"{config.detections}: there are detections of no sequence that "
            f"{config.data} has"
        )

    def read(take: Take) -> "Recording":
        action, path = originals[take.name]
        rig = h36m_cameras.h36m_rig(take.subject)
        whole = poses.read(take.subject, action)
        detections = capture_folder.read_main_person(path, rig, form)
        # Its videos have a frame or two more than its poses.
        most = min(len(whole.markers.points), len(detections.points))
        longest = max(len(whole.markers.points), len(detections.points))
        if longest - most <= _SPARE_FRAMES:
            detections = _first_frames(detections, most)
            whole = replace(whole, markers=whole.markers.cut(slice(most)))
        one = capture_folder.Recording(
            *(take.subject, take.action, rig, detections),
            body=merge_sources.from_h36m(whole.markers),
            licensed=True,
        )
        return _of_rate(one, config.rate_hz)

    return Source(
        takes=tuple(takes),
        absent=absent,
        read=read,
        truth=None,
        rigs={name: h36m_cameras.h36m_rig(name) for name in h36m.SUBJECTS},
        split=simulate.split_of,
        licence=DERIVED_HUMAN36M,
        spine_only=True,
        files=(),
        settings={
            "data": str(config.data),
            "detections": str(config.detections),
            "takes": sorted(originals),
        },
    )


def _first_frames(detections: "Detections2D", count: int) -> "Detections2D":
    whole: Any = detections
    return whole.replace(
        points=whole.points[:count], confidence=whole.confidence[:count]
    )
