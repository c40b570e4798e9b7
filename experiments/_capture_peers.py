"""Pose2Sim's triangulation, as it is given the benchmark's detections."""

import importlib
import importlib.util
import itertools
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from simspine_jax.io.calibration import write_calibration
from simspine_jax.types import CameraRig, Detections2D

VERSION = "0.8.4"
HOW_TO = (
    "Pose2Sim is not installed and was left out: pip install --no-deps "
    f"pose2sim=={VERSION} && pip install pandas toml anytree"
)
_NEEDS = ("pandas", "toml", "anytree")
# Windows and C3D files, which triangulation does without.
_UNUSED = (
    *("matplotlib.backends.backend_qt5agg", "PyQt5", "PyQt5.QtWidgets"),
    "c3d",
)
_DEFAULTS = "S00_Demo_BatchSession/Config.toml"


def installed() -> bool:
    """Whether Pose2Sim and what its triangulation needs are there."""
    return all(importlib.util.find_spec(name) for name in ("Pose2Sim", *_NEEDS))


def pose2sim(
    rig: CameraRig, detections: Detections2D
) -> tuple[np.ndarray, np.ndarray, float]:
    """Triangulates with Pose2Sim's own functions and its default configuration.

    Returns:
        Points, m, NaN where it has none, [T, K, 3]; the views that it used, [T, C, K];
        and the mean of the errors that it returns, px, one for each point.
    """
    common, triangulation, config = _load()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "Calib.toml"
        write_calibration(file, rig)
        undistort = config["triangulation"]["undistort_points"]
        matrices = common.computeP(str(file), undistort=undistort)
        parameters = common.retrieve_calib_params(str(file))
    if undistort:
        raise ValueError("Pose2Sim's default is to leave the lens out; this one is not")
    least = config["triangulation"]["likelihood_threshold_triangulation"]
    score = np.array(detections.confidence, float)
    seen = np.concatenate([detections.points, score[..., None]], axis=-1)
    seen[score < least] = np.nan
    frames, cameras, keypoints = score.shape
    points = np.full((frames, keypoints, 3), np.nan)
    used = np.zeros(score.shape, bool)
    errors = []
    for t, k in itertools.product(range(frames), range(keypoints)):
        given = seen[t, :, k].T  # x, y and score of each view
        point, error, _, left_out = triangulation.triangulation_from_best_cameras(
            config, given, given, matrices, parameters
        )
        if np.isfinite(error):
            points[t, k] = np.ravel(point)
            used[t, :, k] = ~np.isin(np.arange(cameras), left_out)
            errors.append(error)
    return points, used, float(np.mean(errors))


def _load() -> tuple[Any, Any, dict]:
    """Returns its modules ``common`` and ``triangulation``, and its configuration."""
    for name in _NEEDS:
        importlib.import_module(name)
    windows = {name: mock.MagicMock() for name in _UNUSED}
    with mock.patch.dict(sys.modules, windows), mock.patch("matplotlib.use"):
        common = importlib.import_module("Pose2Sim.common")
        triangulation = importlib.import_module("Pose2Sim.triangulation")
    file = Path(str(common.__file__)).parent / _DEFAULTS
    return common, triangulation, tomllib.loads(file.read_text(encoding="utf-8"))
