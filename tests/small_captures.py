"""Made-up captures in the files that a real one has: TOML, OpenPose's JSON, videos."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import jax
import numpy as np

from simspine_jax.cameras import pinhole
from simspine_jax.io.calibration import write_calibration
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.skeletons import coco_17
from simspine_jax.types import CameraRig

FRAMES, RATE_HZ = 30, 50.0
# Across, ahead and up, m.
_STANDING = {
    **{"Nose": (0, 0.1, 1.62), "Eye": (0.03, 0.08, 1.66), "Ear": (0.08, 0, 1.63)},
    **{"Shoulder": (0.2, 0, 1.42), "Elbow": (0.27, 0.02, 1.12)},
    **{"Wrist": (0.3, 0.15, 0.9), "Hip": (0.1, 0, 0.92)},
    **{"Knee": (0.11, 0.04, 0.5), "Ankle": (0.11, 0, 0.08)},
}
_project = jax.jit(pinhole.project)


@dataclass(frozen=True)
class SmallCapture:
    """Where the files are."""

    folder: Path
    rig: CameraRig

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.toml"

    @property
    def detections(self) -> Path:
        return self.folder / "pose"

    @property
    def videos(self) -> Path:
        return self.folder / "videos"

    def file(self, camera: int, frame: int) -> Path:
        name = self.rig.names[camera]
        return self.detections / f"{name}_json" / f"{name}_{frame:06d}.json"

    def rows(self, camera: int, frame: int) -> np.ndarray:
        """The x, y and confidence of each person in a file. [N, K, 3]."""
        people = json.loads(self.file(camera, frame).read_text())["people"]
        rows = [np.array(person["pose_keypoints_2d"], float) for person in people]
        return np.stack(rows).reshape(len(rows), -1, 3)

    def write_rows(self, camera: int, frame: int, rows: np.ndarray) -> None:
        people = [{"pose_keypoints_2d": person.ravel().tolist()} for person in rows]
        self.file(camera, frame).write_text(json.dumps({"people": people}))

    def write_video(self, camera: int, width: int, height: int) -> None:
        self.videos.mkdir(exist_ok=True)
        path = self.videos / f"{self.rig.names[camera]}.mp4"
        code = cv2.VideoWriter.fourcc(*"mp4v")
        video = cv2.VideoWriter(str(path), code, RATE_HZ, (width, height))
        video.write(np.zeros((height, width, 3), np.uint8))
        video.release()


def body() -> np.ndarray:
    """A person who turns, walks and swings, Z up, m. Shape [T, K, 3]."""
    turn = np.linspace(0, 1.2, FRAMES)
    still = np.array(
        [
            np.array(_STANDING[name.lstrip("LR") if name != "Nose" else name])
            * ([-1, 1, 1] if name.startswith("L") else [1, 1, 1])
            for name in coco_17.NAMES
        ]
    )
    phase = np.arange(still.size).reshape(still.shape)
    moving = still + 0.03 * np.sin(5 * turn[:, None, None] + phase)
    cos, sin = np.cos(turn), np.sin(turn)
    flat = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    moving[..., :2] = moving[..., :2] @ flat
    moving[..., 0] += 0.5 * turn[:, None]
    return moving


def write(folder: Path, people: int = 1, views: int = 3) -> SmallCapture:
    """Writes a capture of people who stand a metre apart, with exact detections."""
    whole = h36m_rig("S1")
    arrays = ("matrix", "distortion", "rotation", "translation", "image_size")
    rig = whole.replace(
        names=tuple(f"cam{c + 1}" for c in range(views)),
        **{name: np.asarray(getattr(whole, name))[:views] for name in arrays},
    )
    capture = SmallCapture(folder, rig)
    write_calibration(capture.calibration, rig)
    places = np.array([[0.9 * n, -0.7 * n, 0.0] for n in range(people)])
    points = body()[:, None] + places[:, None]
    pixels = np.asarray(_project(rig, points))  # [T, N, C, K, 2]
    rows = np.concatenate([pixels, np.full((*pixels.shape[:-1], 1), 0.9)], axis=-1)
    for c in range(views):
        capture.file(c, 0).parent.mkdir(parents=True)
        for t in range(FRAMES):
            capture.write_rows(c, t, rows[t, :, c])
    return capture
