"""Reads the multi-view capture that a configuration names, or the demo's."""

import math
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import _trial

if TYPE_CHECKING:
    from simspine_jax.types import CameraRig, Detections2D

_DEMO = "Pose2Sim/S00_Demo_BatchSession"
_CALIBRATION = ("pose2sim-0.8.4", f"{_DEMO}/S00_Calibration/Calib.qca.txt")
_TRIAL = f"{_DEMO}/S00_P00_SingleParticipant/S00_P00_T01_BalancingTrial"
_LEAST_VIEWS = 2
ORDERS = ("body_25b", "body_25", "coco_17", "halpe_26")


@dataclass(frozen=True)
class Capture:
    """People's detections, the main person's first, the cameras, where images are.

    ``links`` and ``pairs`` are names of keypoints: of lines to draw, of left and right.
    """

    rig: "CameraRig"
    people: tuple["Detections2D", ...]
    links: tuple[tuple[str, str], ...]
    pairs: tuple[tuple[str, str], ...]
    folder: Path
    videos: Path | None
    frame_numbers: tuple[int, ...]
    files: tuple[Path, ...]

    def image(self, camera: str, frame: int) -> np.ndarray | None:
        """Returns a camera's image at a frame, RGB, or None where there is none."""
        import cv2

        file = _video(self.videos, camera)
        if file is None:
            return None
        video = cv2.VideoCapture(str(file))
        video.set(cv2.CAP_PROP_POS_FRAMES, self.frame_numbers[frame])
        read, image = video.read()
        video.release()
        return image[:, :, ::-1] if read else None


def check(config: Any) -> None:
    """Refuses choices that there are not, before any file is read.

    Args:
        config: As ``load`` takes it, with ``up``.

    Raises:
        ValueError: One sentence says what is allowed.
    """
    from simspine_jax.cameras import world_axes

    choices = {"keypoints": ORDERS, "up": tuple(world_axes.TO_GROUND)}
    for name, allowed in choices.items():
        require_choice(config, name, allowed)
    if bool(config.calibration) != bool(config.detections):
        given, lacks = "calibration", "detections"
        if config.detections:
            given, lacks = lacks, given
        raise ValueError(
            f"config.{given} is given without config.{lacks}; a capture takes both, "
            "and the demo neither"
        )
    if not (math.isfinite(config.rate_hz) and config.rate_hz > 0):
        raise ValueError(f"config.rate_hz is {config.rate_hz}; it must be positive")
    if config.frames < 0:
        raise ValueError(
            f"config.frames is {config.frames}; it must be 0, which means all, or more"
        )


def require_choice(config: Any, name: str, allowed: tuple[str, ...]) -> None:
    """Refuses a field that is none of the values allowed."""
    if config[name] not in allowed:
        raise ValueError(
            f"config.{name} is {config[name]!r}; it must be one of {', '.join(allowed)}"
        )


def load(config: Any) -> Capture:
    """Reads calibration and detections, and tells people apart.

    Args:
        config: Fields ``calibration``, ``metres_per_unit``, ``detections``,
            ``sequence``, ``videos``, ``keypoints``, ``rate_hz`` and ``frames``.

    Raises:
        ValueError: A file cannot be used; one sentence says why.
        FileNotFoundError: A file is not there.
    """
    from simspine_jax.fitting import people as association
    from simspine_jax.io.calibration import read_calibration
    from simspine_jax.io.detection_files import read_detections_of
    from simspine_jax.skeletons import simspine
    from third_party import fetch

    skeleton = import_module(f"simspine_jax.skeletons.{config.keypoints}")
    demo = Path() if config.detections else fetch.fetch(_CALIBRATION[0])
    calibration = Path(config.calibration or demo / _CALIBRATION[1])
    folder = Path(config.detections or demo / _TRIAL / "pose")
    videos = config.videos or (None if config.detections else demo / _TRIAL / "videos")
    _trial.say(f"cameras {calibration}")
    rig = read_calibration(calibration, metres_per_unit=config.metres_per_unit)
    if len(rig.names) < _LEAST_VIEWS:
        raise ValueError(
            f"{calibration}: there is {len(rig.names)} camera, and triangulation takes "
            f"at least {_LEAST_VIEWS}"
        )
    folder_of_videos = Path(videos) if videos else None
    if config.videos:
        _require_videos(rig, Path(config.videos))
    _require_sizes(rig, folder_of_videos)
    _trial.say(f"2D      {folder}")
    seen: Any = read_detections_of(
        folder,
        rig,
        keypoint_names=skeleton.NAMES,
        rate_hz=config.rate_hz,
        sequence=config.sequence,
    )
    names = seen.keypoint_names
    links = (*skeleton.LINKS, *simspine.SPINE_LINKS)
    if config.frames:
        count = config.frames
        seen = seen.replace(
            points=seen.points[:count],
            confidence=seen.confidence[:count],
            frame_numbers=seen.frame_numbers[:count],
        )
    people, report = association.associate_with_report(rig, seen)
    if not people:
        raise ValueError(
            f"{folder}: no person is seen by two cameras in enough frames, though "
            f"there are {report.detections} detections in {report.frames} frames"
        )
    _trial.say(str(report))
    return Capture(
        rig,
        tuple(people),
        tuple((a, b) for a, b in links if a in names and b in names),
        tuple((n, f"R{n[1:]}") for n in names if n[0] == "L" and f"R{n[1:]}" in names),
        folder,
        folder_of_videos,
        tuple(int(n) for n in seen.frame_numbers),
        (calibration, *([folder] if folder.is_file() else [])),
    )


def _video(folder: Path | None, camera: str) -> Path | None:
    """Returns the video whose name contains the camera's, or None."""
    plain = lambda name: "".join(ch for ch in name.lower() if ch.isalnum())
    files = sorted(folder.glob("*.mp4")) if folder else []
    return next((f for f in files if plain(camera) in plain(f.stem)), None)


def _require_videos(rig: "CameraRig", folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if not any(_video(folder, camera) for camera in rig.names):
        raise ValueError(
            f"{folder}: no file is named like a camera, <camera>.mp4; the calibration "
            f"has {', '.join(rig.names)}"
        )


def _require_sizes(rig: "CameraRig", folder: Path | None) -> None:
    """Refuses videos of another size than the calibration's; warns of small ones."""
    import cv2

    from simspine_jax.io.image_size import require_image_size

    for camera in rig.names:
        file = _video(folder, camera)
        if file is not None:
            video = cv2.VideoCapture(str(file))
            size = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
            width, height = (int(video.get(which)) for which in size)
            video.release()
            require_image_size(rig, camera, width, height)
