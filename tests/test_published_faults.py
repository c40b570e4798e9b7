"""Faults of SIMSPINE's released code that do not occur here (docs/published-faults.md).

Those that a test beside its module shows are not shown again.
"""

import ast
import re
import sys
import tomllib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.datasets import actions, capture_folder, label_rows
from simspine_jax.fitting import spine_blend
from simspine_jax.fitting.body_height import body_height
from simspine_jax.fitting.spine_blend_options import BlendOptions
from simspine_jax.fitting.trajectory_filters import FilterOptions, filter_trajectory
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory
from tests.datasets import small_spine_set
from tests.test_imports import imports

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/published-faults.md"
SHOWN = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT.read_text("utf-8"))


def _sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return [path for path in found if "cache" not in path.parts]


def test_the_document_has_every_fault_and_a_test_for_each():
    rows = re.findall(r"^\| (\d+) \|.*$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, 22))
    for line in DOCUMENT.read_text("utf-8").splitlines():
        assert not re.match(r"\| \d+ \|", line) or "::test_" in line


@pytest.mark.parametrize(("path", "name"), sorted(set(SHOWN)))
def test_what_the_document_names_exists(path, name):
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_a_subject_has_its_own_takes_only(tmp_path):
    (tmp_path / "cameras").mkdir()
    for subject, names in {
        "S1": ["S11_Walking.h5", "S1 `S1`.h5"],
        "S11": ["a"],
    }.items():
        (tmp_path / f"cameras/Calib_{subject}.toml").touch()
        folder = tmp_path / "detections" / subject
        folder.mkdir(parents=True)
        for name in names:
            path = folder / name
            path.touch() if path.suffix else path.mkdir()
    takes = capture_folder.find_takes(tmp_path)
    assert [(take.subject, take.action) for take in takes] == [
        ("S1", "S1 `S1`"),
        ("S1", "S11_Walking"),
        ("S11", "a"),
    ]
    for take in takes:
        assert take.calibration.name == f"Calib_{take.subject}.toml"
        assert take.detections.parent.name == take.subject


def test_no_step_starts_a_process():
    files = [
        path
        for path in _sources("simspine_jax", "experiments")
        if path.name.startswith(("_build", "build_dataset", "_simulation"))
        or (
            path.is_relative_to(ROOT / "simspine_jax") and "reference" not in path.parts
        )
    ]
    assert len(files) > 100
    for path in files:
        names = set(imports(ast.parse(path.read_text("utf-8"))))
        starts = {n for n in names if n.split(".")[0] in ("subprocess", "opensim")}
        assert not starts, path


def test_a_height_is_a_number_or_not_known():
    names = ("LHeel", "LAnkle", "LKnee", "LHip", "LShoulder", "RShoulder", "Head")
    up = (0.02, 0.08, 0.49, 0.91, 1.42, 1.42, 1.75)
    across = (0.1, 0.1, 0.1, 0.1, 0.1, -0.1, 0.0)
    points = np.zeros((60, len(names), 3))
    points[..., 1], points[..., 0] = up, across
    points += np.random.default_rng(0).normal(0, 1e-4, points.shape)
    seen = np.ones(points.shape[:2], bool)
    found = body_height(MarkerTrajectory(points, seen, names, 50.0))
    assert isinstance(found, float)
    assert found == pytest.approx(1.73, abs=0.002)
    assert round(found, 1) == 1.7
    few = MarkerTrajectory(points[:, 1:], seen[:, 1:], names[1:], 50.0)
    assert body_height(few) is None


def _walk(frames: int) -> MarkerTrajectory:
    points = np.random.default_rng(frames).normal(0, 0.01, (frames, 37, 3))
    points[..., 1] += np.linspace(0, 1.7, 37)
    seen = np.ones(points.shape[:2], bool)
    return MarkerTrajectory(points, seen, simspine.NAMES, 50.0)


def test_blending_takes_memory_in_proportion_to_frames():
    def peak(frames: int) -> float:
        one, other = _walk(frames), _walk(frames)
        tracemalloc.start()
        try:
            spine_blend.blend_spine(one, other, BlendOptions())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(500)
    assert peak(4000) < 10 * peak(500)


@pytest.mark.parametrize("method", ["butterworth", "gcv", "kalman"])
def test_a_coordinate_of_zero_is_no_gap(method):
    time = np.arange(80) / 50.0
    points = np.zeros((80, 1, 3))
    points[:, 0, 0] = 0.1 * np.sin(2 * np.pi * time)  # exactly 0 at the start
    points[40, 0] = 0.0
    seen = np.ones((80, 1), bool)
    options = FilterOptions(method=method, cutoff_hz=6.0)
    still, moved = (
        filter_trajectory(
            MarkerTrajectory(points + away, seen, ("A",), 50.0), options=options
        )
        for away in (0.0, 2.0)
    )
    assert np.asarray(still.valid).all()
    # "gcv" searches for its cutoff, which rounding moves; a gap would be millimetres.
    np.testing.assert_allclose(still.points, moved.points - 2.0, rtol=0, atol=1e-6)


def test_boxes_hold_the_whole_person():
    one = (small_spine_set.subject(), small_spine_set.sequence())
    few, whole = (
        next(iter(label_rows.labelled([one], names, "a file")))
        for names in (simspine.SPINE_NAMES, simspine.NAMES)
    )
    np.testing.assert_array_equal(few.labels.box, whole.labels.box)
    boxes = whole.labels.box[..., 2:] - whole.labels.box[..., :2]
    np.testing.assert_allclose(boxes, _sizes(whole), atol=1e-9)
    assert (boxes > _sizes(few) + 1).any()


def _sizes(one: label_rows.LabelledSequence) -> np.ndarray:
    """Width and height of what a camera has before it. Shape [T, C, 2]."""
    pixels = np.asarray(one.labels.pixels)
    # What is not seen, or behind the camera, has no pixel.
    there = (pixels != 0).any(axis=-1, keepdims=True)
    return np.nanmax(np.where(there, pixels, np.nan), axis=2) - np.nanmin(
        np.where(there, pixels, np.nan), axis=2
    )


def test_counts_of_coordinates_are_the_models(pose2sim_08: Path):
    path = pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    model = sj.load_model(path)
    turns = dict(
        zip(model.coordinate_names, model.coordinate_is_rotational, strict=True)
    )
    # As many as SIMSPINE's files have.
    assert len(turns) == 62
    assert sum(turns.values()) == 55
    # Five lengths, and two that OpenSim calls coupled, whose unit in files is theirs.
    assert {name for name, is_angle in turns.items() if not is_angle} == {
        *("pelvis_tx", "pelvis_ty", "pelvis_tz", "Abs_t1", "Abs_t2"),
        *("knee_angle_r_beta", "knee_angle_l_beta"),
    }


def test_actions_are_whole_names():
    assert len(set(actions.NAMES)) == 15
    for whole, part in (("SittingDown", "Sitting"), ("WalkDog", "Walking")):
        assert actions.action_named(whole).name == whole
        assert actions.action_named(part).name == part
    for wrong in ("Sit", "walking", "Walk", ""):
        with pytest.raises(ValueError, match=f"there is no action '{wrong}'"):
            actions.action_named(wrong)


def test_imported_packages_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = lambda items: {re.split(r"[\[<>=]", item)[0].lower() for item in items}
    declared = names(project["dependencies"])
    optional = names(project["optional-dependencies"]["datasets"])
    packages = {"absl": "absl-py", "cv2": "opencv-python", "ml_collections": None}
    packages["ml_collections"] = "ml-collections"
    ours = {"simspine_jax", "experiments", "configs", "third_party"}
    lacking = set()
    for path in _sources("simspine_jax", "experiments", "configs", "third_party"):
        tree = ast.parse(path.read_text("utf-8"))
        for name in {name.split(".")[0] for name in imports(tree)}:
            if name in ours or name in sys.stdlib_module_names:
                continue
            if packages.get(name, name) not in declared:
                lacking.add(f"{path.relative_to(ROOT)}: {name}")
        for name in re.findall(r'extras\.load\(\s*"(\w+)', path.read_text("utf-8")):
            if name not in optional:
                lacking.add(f"{path.relative_to(ROOT)}: {name}")
    assert not lacking
