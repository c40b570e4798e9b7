"""The oracle is pyarrow; labels are compared with those of the npz file."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simspine_jax.datasets import extras, licences
from simspine_jax.datasets.simspine_npz import read_npz, write_npz
from simspine_jax.datasets.simspine_parquet import read_parquet, write_parquet
from simspine_jax.skeletons import simspine
from tests.datasets.small_spine_set import AXES, ROTATIONAL, assert_same, pairs

ROWS = 4 * (4 + 3 + 1)
COLUMNS = [
    *("subject", "action", "camera", "split", "image", "frame", "time_s"),
    *("keypoints_3d", "keypoints_3d_world", "keypoints_2d", "known", "visible"),
    *("angles", "box"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("parquet")


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    path = folder / "train.parquet"
    assert (
        write_parquet(path, pairs(), split="train", licence=licences.POSE2SIM) == ROWS
    )
    return path


def test_schema(path: Path):
    file = pq.ParquetFile(path)
    assert file.schema_arrow.names == COLUMNS
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [16, 12, 4]
    points = file.schema_arrow.field("keypoints_3d").type
    assert (points.list_size, points.value_type.list_size) == (15, 3)
    assert points.value_type.value_type == pa.float32()
    assert file.schema_arrow.field("visible").type.value_type == pa.bool_()
    about = json.loads(file.schema_arrow.metadata[b"simspine_jax"])
    assert tuple(about["names"]) == simspine.SPINE_NAMES
    assert tuple(about["coordinate_names"]) == AXES
    assert about["rotational"] == list(ROTATIONAL)
    assert about["licence"] == licences.LICENCES[licences.POSE2SIM]
    assert about["units"]["keypoints_2d"] == "px"


def test_rows_are_those_of_the_npz(folder: Path, path: Path):
    write_npz(folder / "a.npz", pairs())
    arrays = read_npz(folder / "a.npz").arrays
    rows = pq.read_table(path).to_pylist()
    assert [row["image"] for row in rows] == arrays["imgname"].tolist()
    stacked = lambda name: np.array([row[name] for row in rows], np.float32)
    np.testing.assert_array_equal(stacked("keypoints_3d"), arrays["S"][..., :3])
    world = arrays["S_world"]
    np.testing.assert_array_equal(stacked("keypoints_3d_world"), world[..., :3])
    np.testing.assert_array_equal(stacked("known"), world[..., 3])
    np.testing.assert_array_equal(stacked("keypoints_2d"), arrays["part"][..., :2])
    np.testing.assert_array_equal(stacked("visible"), arrays["part"][..., 2])
    np.testing.assert_array_equal(stacked("angles"), arrays["angles"])
    box = stacked("box")
    centre = (box[:, :2] + box[:, 2:]) / 2
    np.testing.assert_allclose(centre, arrays["center"], rtol=1e-5, atol=1e-3)
    assert {row["split"] for row in rows} == {"train"}
    assert [row["frame"] for row in rows[:5]] == [0, 1, 2, 3, 0]
    assert [row["time_s"] for row in rows[:4]] == [0.0, 0.02, 0.04, 0.06]
    assert (rows[-1]["subject"], rows[-1]["action"]) == ("S5", "Sitting.x_2")


@pytest.mark.parametrize("names", [simspine.SPINE_NAMES, simspine.NAMES])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(folder: Path, names: tuple[str, ...], dtype: type):
    file = folder / "round.parquet"
    write_parquet(file, pairs(), split="test", names=names, dtype=dtype)
    data = read_parquet(file)
    assert (data.rows, data.names, data.rate_hz) == (ROWS, names, 50.0)
    for found, (_, given) in zip(data.sequences(), pairs(), strict=True):
        assert_same(found, given, names)
        rounding = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(found.motion.q, given.motion.q, rounding)


def test_same_input_same_bytes(folder: Path, path: Path):
    other = folder / "other.parquet"
    write_parquet(other, iter(pairs()), split="train", licence=licences.POSE2SIM)
    assert other.read_bytes() == path.read_bytes()


def test_nothing_is_left_of_a_refusal(tmp_path: Path):
    given = pairs()
    for wrong, message in (
        ([], "there is no sequence to write"),
        ([given[0], given[0]], "'S1_Walking 1' is there twice"),
    ):
        with pytest.raises(ValueError, match=message):
            write_parquet(tmp_path / "a.parquet", wrong, split="train")
    object.__setattr__(given[0][1], "markers", licences.Licensed(given[0][1].markers))
    with pytest.raises(ValueError, match="may not be written out"):
        write_parquet(tmp_path / "a.parquet", given, split="train")
    assert list(tmp_path.iterdir()) == []


def test_files_refused(tmp_path: Path, path: Path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_text("hello")
    with pytest.raises(ValueError, match="not a parquet file"):
        read_parquet(tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no file of simspine_jax"):
        read_parquet(tmp_path / "a.parquet")
    table = pq.read_table(path)
    pq.write_table(table, tmp_path / "a.parquet")  # all sequences in one group
    with pytest.raises(ValueError, match="must be one sequence"):
        list(read_parquet(tmp_path / "a.parquet").sequences())


def test_a_package_that_is_not_there():
    with pytest.raises(
        ValueError, match=r"parquet needs .* nopackage, .*'simspine-jax\[datasets\]'"
    ) as caught:
        extras.load("nopackage.parquet", "parquet")
    assert "\n" not in str(caught.value)
