"""Pose2Sim's triangulation, as it is given the benchmark's detections.

The pinned package's own code. What it imports for windows, tables and C3D files, which
triangulation does without, is stood in for, so that none of that need be installed.
"""

import importlib
import itertools
import sys
import tempfile
import tomllib
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from simspine_jax.io.calibration import write_calibration
from simspine_jax.types import CameraRig, Detections2D
from third_party import fetch

_PACKAGE = "pose2sim-0.8.4"
_DEFAULTS = "Pose2Sim/S00_Demo_BatchSession/Config.toml"
_UNUSED = (
    *("matplotlib.backends.backend_qt5agg", "PyQt5", "PyQt5.QtWidgets"),
    *("c3d", "pandas", "anytree", "anytree.importer"),
)
# Imported before: what is imported while stand-ins are there is forgotten with them.
_USED = ("cv2", "matplotlib", "scipy.interpolate", "tqdm")


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
    root = fetch.fetch(_PACKAGE)
    read = lambda file: tomllib.loads(Path(file).read_text(encoding="utf-8"))
    for name in _USED:
        importlib.import_module(name)
    stand_ins: dict[str, Any] = {name: mock.MagicMock() for name in _UNUSED}
    stand_ins["toml"] = SimpleNamespace(load=read)
    with (
        mock.patch.dict(sys.modules, stand_ins),
        mock.patch.object(sys, "path", [str(root), *sys.path]),
        mock.patch.object(sys, "dont_write_bytecode", new=True),
        mock.patch("matplotlib.use"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of its sources' escape sequences
        common = importlib.import_module("Pose2Sim.common")
        triangulation = importlib.import_module("Pose2Sim.triangulation")
    return common, triangulation, read(root / _DEFAULTS)
