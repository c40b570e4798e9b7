"""Reads the multi-view capture that a configuration names, or the demo's."""

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
_ORDERS = ("body_25b", "body_25", "coco_17", "halpe_26")


@dataclass(frozen=True)
class Capture:
    """The main person's detections, the cameras, and where images are."""

    rig: "CameraRig"
    detections: "Detections2D"
    links: tuple[tuple[str, str], ...]
    people: int
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


def load(config: Any) -> Capture:
    """Reads calibration and detections, and picks the main person.

    Args:
        config: Fields ``calibration``, ``detections``, ``videos``, ``keypoints``,
            ``rate_hz`` and ``frames``.

    Raises:
        ValueError: A file cannot be used; one sentence says why.
        FileNotFoundError: A file is not there.
    """
    from simspine_jax.fitting import people as association
    from simspine_jax.io.calibration import read_calibration
    from simspine_jax.io.openpose import read_openpose
    from third_party import fetch

    if config.keypoints not in _ORDERS:
        raise ValueError(
            f"config.keypoints is {config.keypoints!r}; it must be one of "
            f"{', '.join(_ORDERS)}"
        )
    skeleton = import_module(f"simspine_jax.skeletons.{config.keypoints}")
    demo = fetch.fetch(_CALIBRATION[0]) if _needs_demo(config) else Path()
    calibration = Path(config.calibration or demo / _CALIBRATION[1])
    folder = Path(config.detections or demo / _TRIAL / "pose")
    videos = config.videos or (None if config.detections else demo / _TRIAL / "videos")
    _trial.say(f"cameras {calibration}")
    rig = read_calibration(calibration)
    _trial.say(f"2D      {folder}")
    people: Any = read_openpose(
        folder, rig, keypoint_names=skeleton.NAMES, rate_hz=config.rate_hz
    )
    if config.frames:
        count = config.frames
        people = people.replace(
            points=people.points[:count],
            confidence=people.confidence[:count],
            frame_numbers=people.frame_numbers[:count],
        )
    folder_of_videos = Path(videos) if videos else None
    _require_sizes(rig, folder_of_videos)
    chosen = association.main_person(rig, people)
    return Capture(
        rig,
        chosen,
        skeleton.LINKS,
        int(people.points.shape[2]),
        folder_of_videos,
        tuple(int(n) for n in people.frame_numbers),
        (calibration,),
    )


def _needs_demo(config: Any) -> bool:
    return not (config.calibration and config.detections)


def _video(folder: Path | None, camera: str) -> Path | None:
    """Returns the video whose name contains the camera's, or None."""
    plain = lambda name: "".join(ch for ch in name.lower() if ch.isalnum())
    files = sorted(folder.glob("*.mp4")) if folder else []
    return next((f for f in files if plain(camera) in plain(f.stem)), None)


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
