"""NumPy itself reads what is written by rows; pickles of code are not run."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from simspine_jax.io import plain_pickle
from simspine_jax.io.npz import npz_writer, open_npz


def test_rows_joined_as_numpy_has_them(tmp_path: Path):
    rng = np.random.default_rng(0)
    numbers = rng.random((7, 3, 2))
    words = np.array(["a", "bb", "", "dddd", "e", "ffffff", "é"])
    path = tmp_path / "a.npz"
    with npz_writer(path) as writer:
        writer.attach("about", {"names": np.array(["x", "yy"]), "rate": 50.0})
        for first, last in ((0, 3), (3, 3), (3, 7)):
            # Of the width that each piece has by itself.
            text = np.array(words[first:last].tolist(), dtype=str)
            writer.append({"numbers": numbers[first:last], "words": text})
        assert writer.rows == 7
    with np.load(path, allow_pickle=True) as file:
        assert file.files == ["about", "numbers", "words"]
        np.testing.assert_array_equal(file["numbers"], numbers)
        np.testing.assert_array_equal(file["words"], words)
        assert file["about"].item()["rate"] == 50.0
    found = open_npz(path, ("about", "words", "numbers"), pickled=("about",))
    assert found["about"]["names"].tolist() == ["x", "yy"]
    assert isinstance(found["words"], np.memmap)
    np.testing.assert_array_equal(found["numbers"], numbers)
    np.testing.assert_array_equal(found["words"], words)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_rows_that_do_not_fit(tmp_path: Path):
    for wrong, message in (
        ({"a": np.zeros((2, 3)), "b": np.zeros(1)}, r"lengths \[1, 2\]"),
        ({"a": np.zeros((2, 3))}, "must be one number of rows of a, b"),
        ({"a": np.zeros((2, 4)), "b": np.zeros(2)}, r"shape \(4,\) and type float64"),
        ({"a": np.zeros((2, 3), "f"), "b": np.zeros(2)}, "type float32"),
    ):
        with (  # noqa: PT012 - the second of two rows is refused
            pytest.raises(ValueError, match=message),
            npz_writer(tmp_path / "a.npz") as writer,
        ):
            writer.append({"a": np.zeros((2, 3)), "b": np.zeros(2)})
            writer.append(wrong)
    assert list(tmp_path.iterdir()) == []


def test_arrays_in_fortran_order_and_empty(tmp_path: Path):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez(tmp_path / "a.npz", array=array, empty=np.zeros((0, 4)))
    found = open_npz(tmp_path / "a.npz", ("array", "empty"))
    np.testing.assert_array_equal(found["array"], array)
    assert found["empty"].shape == (0, 4)


def test_damaged(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).random(1000))
    data = bytearray(path.read_bytes())
    data[2000:2100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="the npz file is damaged"):
        open_npz(path, ("a",))


class Run:
    def __init__(self, what: Path) -> None:
        self.what = what

    def __reduce__(self):
        return Path.touch, (self.what,)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles(protocol: int):
    value = {
        "a": [np.arange(6.0).reshape(2, 3), np.float32(2.5), (1, None, "é", b"x")],
        "names": np.array(["x", "yy"]),
        "set": {1, 2},
        "ordered": OrderedDict(b=1 + 2j),
        "objects": np.array([{"a": 1}, None], dtype=object),
    }
    found = plain_pickle.loads(pickle.dumps(value, protocol=protocol), "here")
    np.testing.assert_array_equal(found["a"][0], value["a"][0])
    assert found["a"][1:] == value["a"][1:]
    assert found["names"].tolist() == ["x", "yy"]
    assert found["objects"].tolist() == [{"a": 1}, None]
    assert (found["set"], found["ordered"]) == (value["set"], value["ordered"])


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_before_it_runs(tmp_path: Path, protocol: int):
    trap = tmp_path / "trap"
    data = pickle.dumps({"a": Run(trap)}, protocol=protocol)
    with pytest.raises(ValueError, match=r"here: the pickle names .* run code"):
        plain_pickle.loads(data, "here")
    np.savez(tmp_path / "a.npz", a=np.array([Run(trap)], dtype=object))
    with pytest.raises(ValueError, match="could run code"):
        open_npz(tmp_path / "a.npz", ("a",), pickled=("a",))
    with pytest.raises(ValueError, match="is stored as a pickle"):
        open_npz(tmp_path / "a.npz", ("a",))
    assert not trap.exists()
    with pytest.raises(ValueError, match="the pickle is damaged"):
        plain_pickle.loads(b"\x80", "here")
