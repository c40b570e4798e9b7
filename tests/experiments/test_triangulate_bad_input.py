"""Captures that cannot be triangulated, end to end: one sentence, and no file."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import triangulate as configuration
from experiments import triangulate
from simspine_jax.cameras import triangulation
from simspine_jax.cameras.triangulation import Triangulation
from simspine_jax.io.calibration import write_calibration
from tests import refusals, small_captures
from tests.small_captures import FRAMES, SmallCapture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def capture(tmp_path: Path) -> SmallCapture:
    return small_captures.write(tmp_path)


def config_of(capture: SmallCapture, **fields) -> ConfigDict:
    config = configuration.get_config()
    given = {"calibration": capture.calibration, "detections": capture.detections}
    config.update({name: str(path) for name, path in given.items()})
    config.update({"keypoints": "coco_17", "rate_hz": 50.0} | fields)
    return config


@pytest.fixture
def refused(capture: SmallCapture) -> Callable[..., str]:
    """Runs the experiment, which must refuse; gives the one sentence it prints."""
    workdir = capture.folder / "out"
    workdir.mkdir()

    def sentence(**fields) -> str:
        config = config_of(capture, **fields)
        said = refusals.sentence(triangulate.main, config, workdir)
        return said.replace(str(capture.folder), "FOLDER")

    return sentence


def spoil(
    capture: SmallCapture, change: Callable[[int, int, np.ndarray], None]
) -> None:
    """Changes the rows of every file in place."""
    for c in range(len(capture.rig.names)):
        for t in range(FRAMES):
            rows = capture.rows(c, t)
            change(c, t, rows)
            capture.write_rows(c, t, rows)


def keep_cameras(capture: SmallCapture, count: int) -> None:
    arrays = ("matrix", "distortion", "rotation", "translation", "image_size")
    few = {name: np.asarray(getattr(capture.rig, name))[:count] for name in arrays}
    names = capture.rig.names[:count]
    write_calibration(capture.calibration, capture.rig.replace(names=names, **few))


def test_one_camera(capture: SmallCapture, refused):
    keep_cameras(capture, 1)
    assert refused() == (
        "FOLDER/calibration.toml: there is 1 camera, and triangulation takes at least 2"
    )


def test_cameras_that_never_see_the_same_point(capture: SmallCapture, refused):
    def in_turn(c: int, t: int, rows: np.ndarray) -> None:
        if t % 3 != c:
            rows[:] = 0.0

    spoil(capture, in_turn)
    assert refused() == (
        "FOLDER/pose: no person is seen by two cameras in enough frames, though there "
        "are 30 detections in 30 frames"
    )


def test_a_calibration_without_a_camera_that_has_detections(
    capture: SmallCapture, refused
):
    keep_cameras(capture, 2)
    assert refused() == (
        "FOLDER/pose/cam3_json: there are detections of a camera that the calibration "
        "lacks; it has cam1, cam2"
    )


def test_a_camera_without_detections(capture: SmallCapture, refused):
    shutil.rmtree(capture.detections / "cam3_json")
    assert "camera 'cam3' of the calibration has no detections" in refused()


def test_frames_that_cannot_be_aligned(capture: SmallCapture, refused):
    for t in range(FRAMES):
        capture.file(1, t).rename(capture.file(1, t + 1000))
    assert "they have cam1 0 to 29, cam2 1000 to 1029, cam3 0 to 29" in refused()


def test_numbers_that_count_no_frames(capture: SmallCapture, refused):
    for c in range(3):
        for t in range(1, FRAMES):
            capture.file(c, t).rename(capture.file(c, 100_000 * t**2 + t))
    assert "too far apart to count frames" in refused()


@pytest.mark.parametrize("value", [float("nan"), -0.5])
def test_confidences_that_are_none(capture: SmallCapture, refused, value: float):
    rows = capture.rows(1, 4)
    rows[0, 3, 2] = value
    capture.write_rows(1, 4, rows)
    sentence = refused()
    assert sentence.startswith(
        "FOLDER/pose/cam2_json/cam2_000004.json: keypoint 'LEar'"
    )
    assert str(value) in sentence


@pytest.mark.parametrize(
    ("size", "why"),
    [((1030, 1080), "differ by more than 2%"), ((1080, 1000), "turned by 90 degrees")],
)
def test_images_of_another_size(
    capture: SmallCapture, refused, size: tuple[int, int], why: str
):
    of_calibration = np.tile([1000, 1080], (3, 1))
    rig = capture.rig.replace(image_size=of_calibration)
    write_calibration(capture.calibration, rig)
    capture.write_video(0, *size)
    sentence = refused(videos=str(capture.videos))
    assert f"camera 'cam1': the images are {size[0]} x {size[1]} pixels" in sentence
    assert why in sentence


def test_images_of_nearly_the_size_are_a_warning(capture: SmallCapture, capsys):
    capture.write_video(0, 990, 1000)
    workdir = capture.folder / "out"
    workdir.mkdir()
    triangulate.main(config_of(capture, videos=str(capture.videos)), workdir)
    assert (workdir / "markers.trc").is_file()
    said = capsys.readouterr().err
    assert re.fullmatch(r"warning: camera 'cam1': .* the difference is ignored\n", said)


def test_videos_that_are_not_there(capture: SmallCapture, refused):
    folder = capture.videos
    assert "FOLDER/videos: there is no such folder" in refused(videos=str(folder))
    folder.mkdir()
    assert "no file is named like a camera" in refused(videos=str(folder))


def test_millimetres(capture: SmallCapture, refused):
    text = capture.calibration.read_text()
    larger = lambda row: str([1e3 * float(x) for x in row[1].split(",")])
    text = re.sub(r"(?<=translation = )\[(.*)\]", larger, text)
    capture.calibration.write_text(text)
    assert "probably in millimetres" in refused()
    workdir = capture.folder / "out"
    triangulate.main(config_of(capture, metres_per_unit=0.001), workdir)
    assert (workdir / "markers.trc").is_file()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"keypoints": "x"}, "config.keypoints is 'x'; it must be one of body_25b"),
        ({"up": "x"}, "config.up is 'x'; it must be one of z, y, -y"),
        ({"people": "x"}, "config.people is 'x'; it must be one of main, all"),
        ({"frames": -1}, "config.frames is -1; it must be 0"),
        ({"rate_hz": 0.0}, "config.rate_hz is 0.0; it must be positive"),
        ({"filter": {"method": "x"}}, "filter: method must be one of"),
        ({"filter": {"fill_method": "x"}}, "filter: fill_method must be one of"),
        ({"filter": {"fill_frames": -1}}, "filter: fill_frames must be at least 0"),
        ({"triangulation": {"min_views": 1}}, "min_views must be at least 2"),
        ({"detections": None}, "config.calibration is given without config.detections"),
    ],
)
def test_choices_are_checked_before_any_file_is_read(
    refused, monkeypatch, fields: dict, sentence: str
):
    monkeypatch.setattr(triangulate._capture, "load", lambda _: pytest.fail("read"))
    assert refused(**fields).startswith(sentence)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"calibration": "a.toml"}, "a.toml: there is no such file or folder"),
        ({"detections": "a"}, "a: there is no such folder"),
        ({"keypoints": "body_25"}, "a person has 17 keypoints"),
        ({"take_out_offsets": True, "frames": 8}, "at least 25 frames"),
    ],
)
def test_other_mistakes(refused, fields: dict, sentence: str):
    assert sentence in refused(**fields)


def test_points_on_which_no_cameras_agree(refused, monkeypatch):
    def nothing(rig, detections, options) -> Triangulation:
        shape = np.shape(detections.confidence)
        frames, cameras, keypoints = shape
        return Triangulation(
            points=np.zeros((frames, keypoints, 3)),
            valid=np.zeros((frames, keypoints), bool),
            reprojection_error=np.zeros(shape),
            covariance=np.zeros((frames, keypoints, 3, 3)),
            used_views=np.zeros(shape, bool),
            noise_px=1.0,
        )

    monkeypatch.setattr(triangulation, "triangulate", nothing)
    assert refused() == (
        "FOLDER/pose: on no keypoint in any frame do enough cameras agree"
    )


def test_the_command_exits_with_2_and_one_sentence(capture: SmallCapture):
    keep_cameras(capture, 2)
    command = [sys.executable, "-m", "experiments.triangulate", "--workdir=out"]
    command += [f"--config.calibration={capture.calibration}"]
    command += [f"--config.detections={capture.detections}"]
    done = subprocess.run(
        [*command, "--config.keypoints=coco_17"],
        cwd=capture.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "cam3_json" in done.stderr
    assert not list((capture.folder / "out").iterdir())
