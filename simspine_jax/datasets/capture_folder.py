"""Folders of multi-view captures: cameras of subjects, 2D detections of their takes.

    cameras/Calib_S1.toml          any calibration that ``read_calibration`` takes
    detections/S1/Walking_1.h5     or .json, .npz, or OpenPose's folder of each camera

Subjects and actions are named by the files; ``Calib_S1`` is S1's calibration and
nobody else's.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from simspine_jax.cameras import world_axes
from simspine_jax.fitting import people
from simspine_jax.io.calibration import read_calibration
from simspine_jax.io.detection_files import read_detections_of
from simspine_jax.types import CameraRig, Detections2D, MarkerTrajectory

_PREFIX = "Calib_"
_SUFFIXES = (".h5", ".json", ".npz")


@dataclass(frozen=True)
class Recording:
    """A take as the cameras saw it.

    Attributes:
        subject: Name of the subject.
        action: Name of the action with its take.
        rig: The cameras; their world has Z up.
        detections: Of the main person.
        body: Body markers known otherwise, in ground (Y up), m; None without.
        licensed: Whether the body markers may not be written out.
    """

    subject: str
    action: str
    rig: CameraRig
    detections: Detections2D
    body: MarkerTrajectory | None = None
    licensed: bool = False

    @property
    def name(self) -> str:
        """Such as ``S1_Walking_1``."""
        return f"{self.subject}_{self.action}"


@dataclass(frozen=True)
class CaptureTake:
    """The files of a take."""

    subject: str
    action: str
    calibration: Path
    detections: Path


@dataclass(frozen=True)
class DetectionFormat:
    """What files of detections do not say of themselves.

    Attributes:
        keypoint_names: The detector's order, for OpenPose's files.
        rate_hz: Frames per second; our own files know theirs.
        up: Axis of the calibration's world that points up: z, y or -y.
        metres_per_unit: Of the calibration, where it does not say.
    """

    keypoint_names: tuple[str, ...]
    rate_hz: float
    up: str = "z"
    metres_per_unit: float | None = None


def find_takes(root: str | os.PathLike[str]) -> tuple[CaptureTake, ...]:
    """Returns the takes of a folder, by subject and action.

    Raises:
        FileNotFoundError: The folder, or one of its two, is not there.
        ValueError: No take, a subject without a calibration, or two files of one take.
    """
    root = Path(root)
    for folder in (root, root / "cameras", root / "detections"):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: there is no such folder")
    calibrations = _calibrations(root / "cameras")
    takes = []
    for (subject, action), path in detection_files(root / "detections").items():
        if subject not in calibrations:
            raise ValueError(
                f"{root / 'cameras'}: subject {subject!r} has detections but no "
                f"calibration, {_PREFIX}{subject} with any of its suffixes"
            )
        takes.append(CaptureTake(subject, action, calibrations[subject], path))
    return tuple(takes)


def detection_files(folder: Path) -> dict[tuple[str, str], Path]:
    """Returns the files or folders of detections by subject and action.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: No take, or two files of one take.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    found: dict[tuple[str, str], Path] = {}
    for subject in sorted(p for p in folder.glob("[!.]*") if p.is_dir()):
        for path in sorted(subject.iterdir()):
            if path.name.startswith(".") or not (
                path.is_dir() or path.suffix.lower() in _SUFFIXES
            ):
                continue
            key = (subject.name, path.name if path.is_dir() else path.stem)
            if key in found:
                raise ValueError(
                    f"{subject}: {key[1]!r} is there twice, as {found[key].name} and "
                    f"{path.name}"
                )
            found[key] = path
    if not found:
        raise ValueError(
            f"{folder}: there is no take, <subject>/<action> as a folder or with one "
            f"of {', '.join(_SUFFIXES)}"
        )
    return found


def read_take(take: CaptureTake, form: DetectionFormat) -> Recording:
    """Reads the main person of a take.

    Args:
        take: Its files.
        form: What they do not say of themselves.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A file cannot be used, or two cameras see nobody.
    """
    rig = _calibrated(take, form)
    detections = read_main_person(take.detections, rig, form)
    upright = world_axes.with_z_up(rig, form.up)
    return Recording(take.subject, take.action, upright, detections)


def read_main_person(path: Path, rig: CameraRig, form: DetectionFormat) -> Detections2D:
    """Returns what the cameras saw of the main person.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: It cannot be used, or two cameras see nobody.
    """
    try:
        seen = read_detections_of(
            path, rig, keypoint_names=form.keypoint_names, rate_hz=form.rate_hz
        )
    except FileNotFoundError:
        raise
    except OSError as error:
        # HDF5 says what is wrong, but not in which file.
        raise ValueError(f"{path}: the file cannot be read ({error})") from None
    found, report = people.associate_with_report(rig, seen)
    if not found:
        raise ValueError(
            f"{path}: no person is seen by two cameras in enough frames, though there "
            f"are {report.detections} detections in {report.frames} frames"
        )
    return found[0]


def read_rig(take: CaptureTake, form: DetectionFormat) -> CameraRig:
    """Returns the cameras of a take; their world has Z up.

    Raises:
        FileNotFoundError: The calibration is not there.
        ValueError: It cannot be used.
    """
    return world_axes.with_z_up(_calibrated(take, form), form.up)


def _calibrated(take: CaptureTake, form: DetectionFormat) -> CameraRig:
    return read_calibration(take.calibration, metres_per_unit=form.metres_per_unit)


def _calibrations(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        subject = path.name.partition(".")[0].removeprefix(_PREFIX)
        if not path.name.startswith(_PREFIX) or not subject:
            continue
        if subject in found:
            raise ValueError(
                f"{folder}: subject {subject!r} has two calibrations, "
                f"{found[subject].name} and {path.name}"
            )
        found[subject] = path
    return found
