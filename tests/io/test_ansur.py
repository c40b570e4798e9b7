import numpy as np
import pytest

from simspine_jax.io import ansur
from third_party import fetch

_HEADER = ("subjectid", *ansur.LENGTHS, "weightkg", "Gender", "SubjectsBirthLocation")


def _line(gender: str = "Male", **changed: object) -> dict[str, object]:
    values: dict[str, object] = {"subjectid": 1, "weightkg": 815, "Gender": gender}
    values |= {name: 100 + i for i, name in enumerate(ansur.LENGTHS)}
    return values | {"SubjectsBirthLocation": "Québec"} | changed


def _write(path, lines, header=_HEADER):
    rows = [",".join(header)]
    rows += [",".join(str(line.get(name, "")) for name in header) for line in lines]
    path.write_bytes("\n".join(rows).encode("latin-1"))
    return path


def test_lengths_are_metres_and_mass_kilograms(tmp_path):
    men = _write(tmp_path / "men.csv", [_line(stature=1776)])
    women = _write(tmp_path / "women.csv", [_line("Female", stature=1605)])
    found = ansur.read_ansur([men, women])
    assert len(found) == 2
    np.testing.assert_allclose(found.length_m["stature"], [1.776, 1.605], rtol=1e-15)
    np.testing.assert_allclose(found.mass_kg, [81.5, 81.5], rtol=1e-15)
    assert found.male.tolist() == [True, False]


def test_the_survey_is_read_whole():
    root = fetch.fetch("nimblephysics-0.10.52.1")
    files = sorted(root.glob("nimblephysics/models/rajagopal_data/ANSUR*.csv"))
    found = ansur.read_ansur(files)
    # Numbers of men and women, and their mean statures, in the survey's report.
    assert (found.male.sum(), (~found.male).sum()) == (4082, 1986)
    assert abs(found.length_m["stature"][found.male].mean() - 1.756) < 1e-3
    assert abs(found.length_m["stature"][~found.male].mean() - 1.629) < 1e-3


def test_a_missing_column_is_named(tmp_path):
    header = tuple(name for name in _HEADER if name != "headlength")
    file = _write(tmp_path / "men.csv", [_line()], header)
    with pytest.raises(ValueError, match=r"men\.csv.*'headlength' is missing"):
        ansur.read_ansur([file])


@pytest.mark.parametrize("value", ["", "tall", "-3", "0", "nan"])
def test_a_value_that_is_no_length_is_named(tmp_path, value):
    file = _write(tmp_path / "men.csv", [_line(), _line(stature=value)])
    with pytest.raises(ValueError, match=r"men\.csv.*line 3.*stature"):
        ansur.read_ansur([file])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        ansur.read_ansur([tmp_path / "men.csv"])
