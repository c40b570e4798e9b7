"""Data sets of captures and of Human3.6M, made of simulated people."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from experiments import build_dataset
from simspine_jax.datasets import (
    h36m,
    licences,
    simspine_h5,
    simspine_npz,
    simspine_parquet,
    spine_sequence,
)
from simspine_jax.io import trc
from simspine_jax.io.calibration import write_calibration
from simspine_jax.skeletons import coco_17, simspine
from tests.datasets.test_h36m import KEPT, place, write_cdf
from tests.experiments import built, built_files

TAKE = ("S9", "Greeting")


@pytest.fixture(scope="module")
def captured(tmp_path_factory) -> Path:
    """COCO's keypoints of two subjects: OpenPose's folder of one, a file of another."""
    root = tmp_path_factory.mktemp("captures")
    (root / "cameras").mkdir()
    columns = [simspine.NAMES.index(name) for name in coco_17.NAMES]
    for subject in ("S1", "S9"):
        one = built_files.simulated(subject, "Greeting")
        write_calibration(root / "cameras" / f"Calib_{subject}.toml", one.rig)
        points = np.asarray(one.detections.points)[:, :, columns]
        confidence = np.asarray(one.detections.confidence)[:, :, columns]
        if subject == "S9":
            few = {"points": points, "confidence": confidence}
            built_files.write_take(root, one, keypoint_names=coco_17.NAMES, **few)
            continue
        rows = np.concatenate([points, confidence[..., None]], axis=-1)
        for c, camera in enumerate(one.rig.names):
            folder = root / f"detections/S1/Greeting_1/{camera}_json"
            folder.mkdir(parents=True)
            for t, person in enumerate(rows[:, c]):
                seen = {"people": [{"pose_keypoints_2d": person.ravel().tolist()}]}
                file = folder / f"{camera}_{t:012d}_keypoints.json"
                file.write_text(json.dumps(seen))
    workdir = root / "run"
    workdir.mkdir()
    fields = {"markers": "model", "keypoints": "coco_17", "test_subjects": ("S9",)}
    build_dataset.main(built_files.captures(root, **fields), workdir)
    return workdir


def test_captures_become_a_data_set_of_two_splits(captured):
    whole = simspine_h5.open_simspine(captured / "dataset/simspine.h5")
    assert whole.names == simspine.NAMES
    for sequence in whole:
        one = built_files.simulated(sequence.subject, "Greeting")
        truth = spine_sequence.to_ground(one.points)
        assert sequence.markers.points.shape == truth.shape
        away = np.linalg.norm(sequence.markers.points - truth, axis=2)
        assert np.median(away) < 0.06  # not scaled
    for split, subject in (("train", "S1"), ("test", "S9")):
        table = simspine_parquet.read_parquet(
            captured / f"dataset/parquet/{split}.parquet"
        )
        assert [(s.subject, s.action) for s in table.sequences()] == [
            (subject, "Greeting_1")
        ]
        rows = np.load(captured / f"dataset/annotations/simspine_{split}.npz")
        assert {str(name).split("/")[0] for name in rows["imgname"]} == {subject}
    manifest = json.loads((captured / "manifest.json").read_text())
    assert list(manifest["licences"]) == [licences.OWN_CAPTURE]
    text = (captured / "dataset/LICENCES.txt").read_text()
    assert text.strip() == licences.text_of(licences.OWN_CAPTURE)


@pytest.fixture(scope="module")
def human36m(tmp_path_factory) -> tuple[Path, str]:
    """A small copy in the official layout; returns the build and what it refused."""
    root = tmp_path_factory.mktemp("h36m")
    for action in ("Greeting", "Sitting", "Waiting"):
        one = built_files.simulated("S9", action)
        write_cdf(place(root, "S9", "D3_Positions", f"{action} 1"), _pose(one.points))
    built_files.write_take(root, built_files.simulated(*TAKE))
    slow = built_files.simulated("S9", "Sitting")
    half = {
        "points": np.asarray(slow.detections.points)[::2],
        "confidence": np.asarray(slow.detections.confidence)[::2],
    }
    built_files.write_take(root, slow, rate_hz=25.0, **half)
    workdir = root / "run"
    workdir.mkdir()
    config = built.small(
        source="h36m",
        data=str(root),
        detections=str(root / "detections"),
        together=1,
        subjects=("S9",),
    )
    with pytest.raises(ValueError, match="could not be made") as caught:
        build_dataset.main(config, workdir)
    return workdir, str(caught.value)


def _pose(points: np.ndarray) -> np.ndarray:
    """The 32 joints of the files, mm. Shape [1, T, 96]."""
    joints = np.zeros((len(points), 32, 3))
    for kept, name in zip(KEPT, h36m.NAMES, strict=True):
        pair = ("Hip", "Neck") if name == "Spine" else (name, name)
        joints[:, kept] = np.mean(
            [points[:, simspine.NAMES.index(n)] for n in pair], axis=0
        )
    return 1000 * joints.reshape(1, len(points), 96)


def test_what_human36m_lacks_is_said_and_the_rest_is_complete(human36m):
    workdir, said = human36m
    assert "S9 Directions (0 of 2 takes): not in config.data" in said
    failed = json.loads((workdir / "manifest.json").read_text())["failed"]
    assert failed["S9_Waiting_1"] == "no detections"
    assert failed["S9_Sitting_1"].startswith("the detections have 25 frames per second")
    assert not [name for name in failed if not name.startswith("S9")]
    whole = simspine_h5.open_simspine(workdir / "dataset/simspine_15.h5")
    assert [sequence.name for sequence in whole] == ["S9_Greeting_1"]


def test_only_the_spine_of_human36m_is_written(human36m):
    workdir, _ = human36m
    dataset = workdir / "dataset"
    assert not (dataset / "simspine.h5").exists()
    spine = simspine.SPINE_NAMES
    assert simspine_h5.open_simspine(dataset / "simspine_15.h5").names == spine
    rows = simspine_npz.read_npz(dataset / "annotations/simspine_test.npz").arrays
    assert {rows[name].shape[1] for name in ("part", "S", "S_world")} == {15}
    table = simspine_parquet.read_parquet(dataset / "parquet/test.parquet")
    assert {one.markers.names for one in table.sequences()} == {spine}
    trial = trc.read_trc(dataset / "positions/S9/S9_Greeting_1.trc")
    assert trial.names == spine
    licence = licences.text_of(licences.DERIVED_HUMAN36M)
    assert (dataset / "LICENCES.txt").read_text().strip() == licence
    manifest = json.loads((workdir / "manifest.json").read_text())
    assert manifest["licences"] == {licences.DERIVED_HUMAN36M: licence}


def test_no_coordinate_of_human36m_is_in_any_file(human36m):
    workdir, _ = human36m
    one = built_files.simulated(*TAKE)
    joints = _pose(one.points).astype(np.float32).reshape(-1, 32, 3)[:, KEPT] / 1000
    world = joints.astype(np.float64)
    frames = [world, np.asarray(spine_sequence.to_ground(world))]
    for turn, shift in zip(one.rig.rotation, one.rig.translation, strict=True):
        frames.append(world @ np.asarray(turn).T + np.asarray(shift))
    body = np.concatenate([frame.reshape(-1, 3) for frame in frames])
    searched = 0
    for file in sorted(workdir.rglob("*")):
        for numbers in _numbers(file):
            searched += numbers.size
            assert not _triples(numbers, body), file
    assert searched > 50_000
    # The search finds what is there, also among other numbers and rounded.
    hidden = np.concatenate([[7.0, 1.0], body[40], body[99], [3.0]])
    assert _triples(hidden.astype(np.float32).astype(float), body)


def _triples(numbers: np.ndarray, body: np.ndarray) -> bool:
    """Whether three numbers in a row are a point's, within 1e-6 m."""
    order = np.argsort(body[:, 0])
    x = body[order, 0]
    starts = numbers[:-2]
    first = np.searchsorted(x, starts - 1e-6)
    last = np.searchsorted(x, starts + 1e-6)
    for i in np.flatnonzero(last > first):
        near = body[order[first[i] : last[i]]]
        if (np.abs(near - numbers[i : i + 3]) < 1e-6).all(axis=1).any():
            return True
    return False


def _numbers(file: Path) -> Iterator[np.ndarray]:
    """Yields every array of a file in the order it is stored."""
    found: list[np.ndarray] = []
    if file.suffix == ".h5":
        with h5py.File(file) as data:
            data.visititems(
                lambda _, one: (
                    found.append(one[()]) if isinstance(one, h5py.Dataset) else None
                )
            )
    elif file.suffix == ".npz":
        with np.load(file, allow_pickle=True) as data:
            found += [data[name] for name in data.files]
    elif file.suffix == ".parquet":
        import pyarrow.parquet as pq

        for column in pq.read_table(file).columns:
            flat = column.combine_chunks()
            while hasattr(flat, "flatten") and "list" in str(flat.type):
                flat = flat.flatten()
            found.append(flat.to_numpy(zero_copy_only=False))
    elif file.suffix == ".pkl":
        found += [np.asarray(a) for a in pickle.loads(file.read_bytes()).values()]
    elif file.suffix in (".trc", ".mot", ".osim", ".toml", ".json", ".csv", ".txt"):
        words = file.read_text().replace(",", " ").replace("<", " ").replace(">", " ")
        found.append(
            np.array([n for w in words.split() if (n := _float(w)) is not None])
        )
    for array in found:
        if array.dtype.kind in "fi":
            yield np.asarray(array, np.float64).ravel()


def _float(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
