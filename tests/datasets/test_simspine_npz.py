"""The oracles: OpenCV, NumPy, and files that NumPy wrote in the published layout."""

import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from simspine_jax.datasets import keypoint_stats, licences
from simspine_jax.datasets.simspine_npz import read_npz, write_npz
from simspine_jax.datasets.spine_sequence import to_world
from simspine_jax.io.spinepose_npz import read_spinepose_npz
from simspine_jax.skeletons import simspine
from tests.datasets.small_spine_set import (
    AXES,
    assert_same,
    changed,
    pairs,
    sequence,
    subject,
)

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
ROWS = 4 * (4 + 3 + 1)
PX, M = 1e-6, 1e-12


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("npz")


@pytest.fixture(scope="module")
def double(folder: Path) -> Path:
    assert write_npz(folder / "double.npz", pairs(), dtype=np.float64) == ROWS
    return folder / "double.npz"


def published(path: Path, **changes) -> Path:
    """Writes what SIMSPINE's own preprocessing would, without a line of our writer."""
    rng = np.random.default_rng(3)
    views = [("S9", "Eating 1", c, 3) for c in CAMERAS[:2]] + [
        ("S11", "Eating", "a", 2)
    ]
    prefixes = [(f"{s}/{s}_{a}.{c}/{s}_{a}.{c}", n) for s, a, c, n in views]
    names = [f"{p}_{i:06d}.jpg" for p, n in prefixes for i in range(n)]
    world = rng.uniform(-1, 1, (len(names), 15, 4))
    angles = rng.uniform(-90, 90, (len(names), 4))
    for array in (world, angles):
        array[3:6] = array[:3]
    world[..., 3] = 1.0
    world[0, 3, 3] = 0.0  # out of one camera's image: still known
    world[[0, 3], 5, 3] = 0.0
    arrays = {
        "metadata": {
            "root_name": "Hip",
            "root_index": 0,
            "joint_names": np.array(simspine.SPINE_NAMES),
            "param_names": np.array(AXES),
            "parent_ids": np.array([-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 5, 5, 4, 4]),
        },
        "imgname": np.array(names),
        "center": rng.random((len(names), 2)).astype(np.float32),
        "scale": rng.random(len(names)).astype(np.float32),
        "part": rng.random((len(names), 15, 3)),
        "S": rng.random((len(names), 15, 4)),
        "S_world": world,
        "angles": angles,
    }
    np.savez(path, **{**arrays, **changes})
    return path


def test_every_row_against_opencv(double: Path):
    with np.load(double, allow_pickle=True) as file:
        found = {name: file[name] for name in file.files}
    metadata = found["metadata"].item()
    assert metadata["root_name"] == "Hip"
    assert metadata["parent_ids"].tolist() == [-1, *range(10), 5, 5, 4, 4]
    assert tuple(metadata["joint_names"]) == simspine.SPINE_NAMES
    assert tuple(metadata["param_names"]) == AXES
    row = 0
    for who, one in pairs():
        columns = [one.markers.names.index(n) for n in simspine.SPINE_NAMES]
        valid = np.asarray(one.markers.valid)
        world = to_world(one.markers.points)
        for camera, name in enumerate(who.rig.names):
            turn, slide = who.rig.rotation[camera], who.rig.translation[camera]
            lens = who.rig.matrix[camera], who.rig.distortion[camera]
            wide, high = np.asarray(who.rig.image_size[camera])
            for frame in range(len(valid)):
                view = f"{one.name}.{name}"
                image = f"{one.subject}/{view}/{view}_{frame:06d}.jpg"
                assert found["imgname"][row] == image
                local = world[frame] @ turn.T + slide
                pixels, _ = cv2.projectPoints(
                    world[frame], cv2.Rodrigues(turn)[0], slide, *lens
                )
                pixels = pixels[:, 0]
                known = valid[frame][columns]
                np.testing.assert_array_equal(found["S"][row, :, 3], known)
                np.testing.assert_array_equal(found["S_world"][row, :, 3], known)
                for label, points in (("S", local), ("S_world", world[frame])):
                    expected = np.where(known[:, None], points[columns], 0)
                    np.testing.assert_allclose(found[label][row, :, :3], expected, 0, M)
                # The whole person's box, though 15 of its keypoints are stored; the
                # point 60 m away is left to the tests of the cameras.
                inside = (pixels > -0.5) & (pixels < np.array([wide, high]) - 0.5)
                seen = known & inside.all(axis=1)[columns]
                if frame:  # that point is in the first
                    ends = pixels[valid[frame]]
                    low, top = ends.min(axis=0), ends.max(axis=0)
                    longest = (top - low).max()
                    np.testing.assert_allclose(
                        found["center"][row], (low + top) / 2, 0, PX
                    )
                    np.testing.assert_allclose(
                        found["scale"][row], 1.2 * longest / 200, 0, PX
                    )
                    expected = np.where(known[:, None], pixels[columns], 0)
                    np.testing.assert_allclose(
                        found["part"][row, :, :2], expected, 0, PX
                    )
                    np.testing.assert_array_equal(found["part"][row, :, 2], seen)
                row += 1
            tilt, tx, knee, beta = np.asarray(one.motion.q).T
            angles = found["angles"][row - len(valid) : row]
            expected = np.stack([np.degrees(tilt), tx, np.degrees(knee), beta], axis=1)
            np.testing.assert_allclose(angles, expected, rtol=1e-15)
    assert row == ROWS


def test_image_size_is_the_cameras_own():
    # 1001 px down is in the images of two of the four cameras.
    sizes = np.asarray(subject().rig.image_size)[:, 1].tolist()
    assert sizes == [1002, 1000, 1000, 1002]


@pytest.mark.parametrize("names", [simspine.SPINE_NAMES, simspine.NAMES])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(folder: Path, names: tuple[str, ...], dtype: type):
    path = folder / f"round-{len(names)}-{dtype.__name__}.npz"
    assert write_npz(path, pairs(), names=names, dtype=dtype) == ROWS
    data = read_npz(path)
    assert data.arrays["part"].shape == (ROWS, len(names), 3)
    assert isinstance(data.arrays["S"], np.memmap)
    assert not data.arrays["S"].flags.writeable
    for found, (_, given) in zip(data.sequences(), pairs(), strict=True):
        assert_same(found, given, names)
        rounding = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(found.motion.q, given.motion.q, rounding)
    again = folder / "again.npz"
    rigs = {one.subject: who for who, one in pairs()}
    write_npz(
        again,
        ((rigs[one.subject], one) for one in data.sequences()),
        names=names,
        dtype=dtype,
    )
    with np.load(again, allow_pickle=True) as file:
        np.testing.assert_array_equal(file["S_world"], data.arrays["S_world"])
        np.testing.assert_array_equal(file["imgname"], data.arrays["imgname"])


def test_detections_reader_reads_it(double: Path):
    data = read_npz(double)
    seen = read_spinepose_npz(double, "S1_Walking 1", CAMERAS)
    part = data.arrays["part"][:16].reshape(4, 4, 15, 3).swapaxes(0, 1)
    np.testing.assert_array_equal(seen.confidence, part[..., 2])
    shown = np.where(part[..., 2:] > 0, part[..., :2], 0)
    np.testing.assert_array_equal(seen.points, shown)


def test_same_input_same_bytes(folder: Path, double: Path):
    other = folder / "other.npz"
    write_npz(other, iter(pairs()), dtype=np.float64)
    assert other.read_bytes() == double.read_bytes()
    assert [f for f in folder.iterdir() if f.name.startswith(".")] == []


def test_memory_is_that_of_a_sequence(tmp_path: Path):
    def peak(count: int) -> int:
        who = subject()
        many = ((who, sequence(f"Walking {i}", 64)) for i in range(count))
        tracemalloc.start()
        write_npz(tmp_path / "many.npz", many)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)
    few, many = peak(4), peak(16)
    size = (tmp_path / "many.npz").stat().st_size
    # 12 sequences more, of which nothing but their names stays.
    assert many - few < size / 16


def test_published_layout(folder: Path):
    data = read_npz(published(folder / "published.npz"))
    assert data.rate_hz == 50.0
    assert data.rotational == (True, False, True, False)
    assert [(v.subject, v.action, v.camera) for v in data.views] == [
        ("S9", "Eating 1", CAMERAS[0]),
        ("S9", "Eating 1", CAMERAS[1]),
        ("S11", "Eating", "a"),
    ]
    with np.load(folder / "published.npz", allow_pickle=True) as file:
        world, angles = file["S_world"], file["angles"]
    first, second = data.sequences()
    assert first.markers.valid[0, 3]
    assert not first.markers.valid[0, 5]
    known = np.asarray(first.markers.valid)[..., None]
    expected = np.where(known, world[:3, :, :3], 0)
    np.testing.assert_array_equal(to_world(first.markers.points), expected)
    np.testing.assert_allclose(second.motion.q[:, 0], np.radians(angles[6:, 0]))
    np.testing.assert_array_equal(second.motion.q[:, 1], angles[6:, 1])


def test_compressed_and_bytes(folder: Path):
    with np.load(published(folder / "plain.npz"), allow_pickle=True) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["imgname"] = arrays["imgname"].astype("S")
    np.savez_compressed(folder / "small.npz", **arrays)
    data = read_npz(folder / "small.npz")
    assert len(list(data.sequences())) == 2
    np.testing.assert_array_equal(data.arrays["S"], arrays["S"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": np.zeros((8, 14, 3))}, r"part has shape \(8, 14, 3\).*\(8, 15, 3\)"),
        ({"imgname": np.array(["a.jpg"] * 8)}, "'a.jpg' is not named"),
        ({"imgname": np.array(["S1_a.c_000001.jpg"] * 8)}, "are not 0, 1, 2"),
        ({"metadata": np.zeros(3)}, "metadata is not a pickled dict"),
        ({"metadata": {"joint_names": ["Hip"]}}, "metadata has no 'param_names'"),
        ({"metadata": {"a": Path("x")}}, "names pathlib.*could run code"),
        ({"angles": np.arange(32.0).reshape(8, 4)}, "differs between the cameras"),
    ],
)
def test_files_refused(folder: Path, changes: dict, message: str):
    path = published(folder / "wrong.npz", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_npz(path).sequences())
    assert str(caught.value).startswith(str(path))


def bad(which: str):
    who, one = pairs()[0]
    points = np.array(one.markers.points)
    points[1, 0] = np.nan
    return {
        "twice": ([(who, one), (who, one)], "'S1_Walking 1' is there twice"),
        "nobody": ([(subject("S5"), one)], "is not of the subject 'S5'"),
        "none": ([], "there is no sequence to write"),
        "nan": ([(who, changed(one, points=points))], "is not finite"),
        "axes": (
            [(who, one), (who, changed(one, action="b", rotational=(True,) * 4))],
            "S1_b' has other coordinates than 'S1_Walking 1'",
        ),
        "names": (
            [(who, changed(one, names=("Hap", *simspine.NAMES[1:])))],
            "lacks Hip",
        ),
    }[which]


@pytest.mark.parametrize("which", ["twice", "nobody", "none", "nan", "axes", "names"])
def test_sequences_refused(tmp_path: Path, which: str):
    given, message = bad(which)
    with pytest.raises(ValueError, match=message):
        write_npz(tmp_path / "a.npz", given)
    assert list(tmp_path.iterdir()) == []


def test_licensed_markers_are_refused(tmp_path: Path):
    who, one = pairs()[0]
    object.__setattr__(one, "markers", licences.Licensed(one.markers))
    with pytest.raises(ValueError, match="may not be written out.*Human3.6M"):
        write_npz(tmp_path / "a.npz", [(who, one)])
    with pytest.raises(ValueError, match="it must be one of Human3.6M"):
        write_npz(tmp_path / "a.npz", [(who, pairs()[0][1])], licence="free")
    assert list(tmp_path.iterdir()) == []


def test_statistics_against_numpy(folder: Path, double: Path, monkeypatch):
    monkeypatch.setattr(keypoint_stats, "_ROWS", 5)
    data = read_npz(double)
    keypoint_stats.write_stats(folder, keypoint_stats.npz_stats(data))
    for kind, rows in (("3d", data.arrays["S"]), ("2d", data.arrays["part"])):
        values, counted = rows[..., :-1], rows[..., -1] > 0
        assert not counted.all()
        for suffix, relative in (("", False), ("_rel", True)):
            file = folder / f"joint{kind}{suffix}_stats.pkl"
            found = pickle.loads(file.read_bytes())
            for k in range(15):
                kept = counted[:, k] & (counted[:, 0] if relative else True)
                mine = values[kept, k] - (values[kept, 0] if relative and k else 0)
                np.testing.assert_allclose(found["mean"][k], mine.mean(axis=0), 1e-12)
                np.testing.assert_allclose(
                    found["std"][k], mine.std(axis=0), 1e-10, 1e-10
                )


def test_statistics_far_from_zero():
    values = np.random.default_rng(0).normal(1e6, 1e-2, (3000, 2, 3))
    counted = np.ones((3000, 2), bool)
    parts = [
        keypoint_stats.moments(values[i : i + 7], counted[i : i + 7])
        for i in range(0, 3000, 7)
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole = keypoint_stats.joined(whole, part)
    std = np.sqrt(whole.squares / whole.count)
    np.testing.assert_allclose(std, values.std(axis=0), rtol=1e-6)


def test_a_keypoint_never_seen_has_no_statistics(tmp_path: Path):
    who, one = pairs()[0]
    valid = np.array(one.markers.valid)
    valid[:, simspine.NAMES.index("Head")] = False
    path = tmp_path / "a.npz"
    write_npz(path, [(who, changed(one, valid=valid))])
    with pytest.raises(ValueError, match="Head is in no row"):
        keypoint_stats.npz_stats(read_npz(path))


def test_a_rate_of_its_own(tmp_path: Path):
    who, one = pairs()[0]
    slow = replace(
        one,
        markers=one.markers.replace(rate_hz=25.0),
        motion=one.motion.replace(rate_hz=25.0),
    )
    write_npz(tmp_path / "a.npz", [(who, slow)])
    assert next(read_npz(tmp_path / "a.npz").sequences()).motion.rate_hz == 25.0
    with pytest.raises(ValueError, match="has 25 Hz, and 'S1_Walking 1' has 50 Hz"):
        write_npz(tmp_path / "b.npz", [(who, one), (who, replace(slow, action="b"))])
