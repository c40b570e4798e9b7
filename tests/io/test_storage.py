import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import opensim  # noqa: TID251
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simspine_jax.io import storage
from simspine_jax.reference import opensim_load
from simspine_jax.types import Motion


@pytest.fixture(autouse=True, scope="module")
def _quiet_opensim() -> None:
    opensim_load.quiet()


DATA = "time\ta\tb\n0\t1\t2\n0.1\t3\t4\n"
HEAD = "n\nversion=1\nnRows=2\nnColumns=3\ninDegrees=no\nendheader\n"
FOLDER = "Pose2Sim/S00_Demo_BatchSession/S00_P00_SingleParticipant/S00_P00_OpenSim"
TRIAL = "S00_P00_T01_BalancingTrial_filt_butterworth_0-100"


def read_text(folder: Path, text: str) -> storage.StorageTable:
    path = folder / "a.sto"
    path.write_text(text, encoding="utf-8", newline="")
    return storage.read_storage(path)


def write_text(folder: Path, text: str) -> Path:
    path = folder / "a.mot"
    path.write_text(text, encoding="utf-8")
    return path


def opensim_table(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, str]:
    table = opensim.TimeSeriesTable(str(path))
    values = table.getMatrix().to_numpy().copy()
    times = np.array(table.getIndependentColumn())
    degrees = table.getTableMetaDataString("inDegrees")
    return list(table.getColumnLabels()), times, values, degrees


def opensim_storage(path: Path) -> tuple[list[str], np.ndarray, bool]:
    """Labels and rows, time first."""
    table = opensim.Storage(str(path))
    labels, rows = table.getColumnLabels(), []
    for i in range(table.getSize()):
        state = table.getStateVector(i)
        data = state.getData()
        rows.append([state.getTime(), *(data.get(j) for j in range(data.getSize()))])
    names = [labels.get(i) for i in range(labels.getSize())]
    return names, np.array(rows), table.isInDegrees()


@pytest.mark.parametrize(
    ("head", "in_degrees"),
    [
        (HEAD, False),
        (HEAD.replace("=no", "=yes"), True),
        (HEAD.replace("inDegrees=no\n", ""), False),
        (HEAD.replace("version=1\n", ""), False),
        (HEAD.replace("inDegrees=no", "inDegrees = y"), True),
        (
            "name n\ndatacolumns 3\ndatarows 2\notherdata 1\nrange 0 1\nendheader\n",
            False,
        ),
        ("n\nnr=2\nnc=3\ninDegrees=yes\n\nUnits are S.I. units\n\nendheader\n", True),
        ("n\nversion=1\nnr 2\nnc 3\nendheader  \n", False),
        (HEAD.replace("inDegrees=no", "Angles are in degrees."), False),
        (HEAD.replace("nRows=2", "nRows=2         "), False),
    ],
)
def test_header_variants(tmp_path: Path, head: str, in_degrees: bool):
    read = read_text(tmp_path, head + DATA)
    assert read.columns == ("a", "b")
    np.testing.assert_array_equal(read.times_s, [0, 0.1])
    np.testing.assert_array_equal(read.values, [[1, 2], [3, 4]])
    assert read.in_degrees == in_degrees
    if " = " not in head:  # OpenSim takes no blanks around the sign
        assert opensim_storage(tmp_path / "a.sto")[2] == in_degrees


@pytest.mark.parametrize(
    "data",
    [
        DATA.replace("\n", "\r\n"),
        DATA.replace("\t", "   "),
        DATA.replace("\t", "\t\t"),
        DATA.replace("\t", "\t      "),
        "\n" + DATA + "\n\n",
        DATA.replace("\n", "\t\n"),
        DATA.replace("0.1", " 1E-1"),
    ],
)
def test_separators_and_line_ends(tmp_path: Path, data: str):
    read = read_text(tmp_path, HEAD + data)
    assert read.columns == ("a", "b")
    np.testing.assert_array_equal(read.values, [[1, 2], [3, 4]])


def test_labels_with_blanks_between_tabs(tmp_path: Path):
    read = read_text(tmp_path, HEAD + DATA.replace("\ta\t", "\ta one\t"))
    assert read.columns == ("a one", "b")


def test_nan_is_kept_in_a_table_and_refused_in_a_motion(tmp_path: Path):
    text = HEAD + DATA.replace("\t2", "\tNaN")
    np.testing.assert_array_equal(read_text(tmp_path, text).values[0], [1, np.nan])
    with pytest.raises(ValueError, match=r"'b' is nan at time 0 s, and it must be"):
        storage.read_mot(write_text(tmp_path, text))


@pytest.mark.parametrize(("rows", "word"), [(5, "fewer"), (1, "more")])
def test_rows_other_than_the_header_says_are_read_with_a_warning(
    tmp_path: Path, rows: int, word: str
):
    text = HEAD.replace("nRows=2", f"nRows={rows}") + DATA
    with pytest.warns(UserWarning, match=f"2 rows were read, {word} than the {rows}"):
        assert len(read_text(tmp_path, text).times_s) == 2


BAD = {
    "no line 'endheader'": HEAD.replace("endheader\n", "") + DATA,
    "no line 'endheader', so": "",
    "begins with '', and it must begin with time": HEAD,
    "begins with 'x.*', and it must begin with time": HEAD + DATA.replace("time", "x"),
    "header says 4 columns, but there are 3 labels": HEAD.replace("=3", "=4") + DATA,
    "header says 2 columns, but there are 3 labels": HEAD.replace("=3", "=2") + DATA,
    "nColumns is 'three', and it must be a whole": HEAD.replace("=3", "=three") + DATA,
    "nRows is '-2', and it must be a whole": HEAD.replace("=2", "=-2") + DATA,
    "column 'a' occurs more than once": HEAD + DATA.replace("b", "a"),
    "line 9 has 2 values, but there are 3 columns": HEAD + DATA[:-3],
    "line 8 has 4 values, but there are 3": HEAD + DATA.replace("\t2", "\t2\t5"),
    "line 9 has 'x' in column 'b', and it must": HEAD + DATA.replace("4", "x"),
    "line 9 has '4_0' in column 'b'": HEAD + DATA.replace("4", "4_0"),
    "line 8 has 'nan' as its time": HEAD + DATA.replace("\n0\t", "\nnan\t"),
    "there is no row of values": HEAD.replace("=2", "=0") + "time\ta\tb\n",
    "inDegrees is 'maybe', and it must be yes or no": HEAD.replace("=no", "=maybe")
    + DATA,
}


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, message: str):
    with pytest.raises(ValueError, match=message) as error:
        read_text(tmp_path, BAD[message])
    assert str(tmp_path / "a.sto") in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"b.mot: there is no such file"):
        storage.read_mot(tmp_path / "b.mot")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        storage.read_storage(tmp_path)


def test_rotations_become_radians_and_translations_stay(tmp_path: Path):
    text = (
        "Coordinates\ninDegrees=yes\nendheader\n"
        "time knee pelvis_tx Abs_t1 sh_ty_r knee_angle_r_beta\n"
        "1 180 180 180 180 180\n1.5 90 90 90 90 90\n"
    )
    motion = storage.read_mot(write_text(tmp_path, text))
    np.testing.assert_allclose(motion.q[0], [np.pi, 180, 180, 180, 180], rtol=1e-15)
    assert (motion.rate_hz, motion.start_s) == (2.0, 1.0)
    in_radians = storage.read_mot(write_text(tmp_path, text.replace("=yes", "=no")))
    np.testing.assert_array_equal(in_radians.q[0], [180] * 5)


def test_a_model_says_what_is_a_rotation_and_what_a_coordinate(tmp_path: Path):
    model = SimpleNamespace(
        coordinate_names=("odd_tx", "slide", "unused"),
        coordinate_is_rotational=(True, False, True),
    )
    text = "n\ninDegrees=yes\nendheader\ntime force slide odd_tx\n0 1 90 180\n"
    with pytest.warns(UserWarning, match="1 columns are no coordinates .* out: force"):
        motion = storage.read_mot(write_text(tmp_path, text), model)
    assert motion.coordinate_names == ("slide", "odd_tx")
    np.testing.assert_allclose(motion.q, [[90, np.pi]], rtol=1e-15)
    with pytest.raises(ValueError, match="no column is a coordinate of the model; .*x"):
        storage.read_mot(write_text(tmp_path, "n\nendheader\ntime x\n0 1\n"), model)


def test_state_files_give_their_coordinate_values(tmp_path: Path):
    text = (
        "n\nendheader\ntime /jointset/j/knee/value /jointset/j/knee/speed "
        "/forceset/m/activation /jointset/k/hip/value\n0 1 2 3 4\n"
    )
    motion = storage.read_mot(write_text(tmp_path, text))
    assert motion.coordinate_names == ("knee", "hip")
    np.testing.assert_array_equal(motion.q, [[1, 4]])
    twice = text.replace("/k/hip/", "/k/knee/")
    with pytest.raises(ValueError, match="coordinate 'knee' has more than one column"):
        storage.read_mot(write_text(tmp_path, twice))


@pytest.mark.parametrize("rate_hz", [60, 100, 59.94, 1000 / 3, 29.97002997])
def test_the_rate_is_found_behind_printed_times(tmp_path: Path, rate_hz: float):
    rows = "".join(f"{7 + i / rate_hz:.8f} 0\n" for i in range(500))
    motion = storage.read_mot(
        write_text(tmp_path, "n\nendheader\ntime a\n" + rows),
    )
    np.testing.assert_allclose(motion.times_s[-1], 7 + 499 / rate_hz, atol=1e-6)
    if rate_hz in {60, 100, 59.94}:
        assert motion.rate_hz == rate_hz


@pytest.mark.parametrize("times", ["0 0.1 0.3", "0 0.1 0.1", "0 -0.1 -0.2", "1 1 1"])
def test_uneven_times_are_refused_in_a_motion(tmp_path: Path, times: str):
    rows = "".join(f"{time} 0\n" for time in times.split())
    with pytest.raises(ValueError, match=r"not evenly spaced \(row \d"):
        storage.read_mot(write_text(tmp_path, "n\nendheader\ntime a\n" + rows))


@pytest.mark.parametrize("name", ["body25b", "LSTM"])
def test_published_motions_equal_opensim(pose2sim_08: Path, name: str):
    folder = pose2sim_08 / FOLDER
    path = folder / f"{TRIAL}_{name}.mot"
    read = storage.read_storage(path)
    labels, times, values, degrees = opensim_table(path)
    assert list(read.columns) == labels
    np.testing.assert_array_equal(read.times_s, times)
    np.testing.assert_array_equal(read.values, values)
    assert read.in_degrees
    assert degrees == "yes"
    motion = storage.read_mot(path)
    assert motion.rate_hz == 60.0
    model = opensim.Model(str(folder / f"Model_Pose2Sim_{name}_scaled.osim"))
    model.initSystem()
    table = opensim.TimeSeriesTable(str(path))
    model.getSimbodyEngine().convertDegreesToRadians(table)
    expected = table.getMatrix().to_numpy().copy()
    np.testing.assert_allclose(motion.q, expected, rtol=1e-14, atol=0)


def test_names_tell_rotations_in_every_model(
    pose2sim_04: Path, pose2sim_08: Path, pose2sim_10: Path
):
    """OpenSim's motion type 1 is rotational, 2 translational, 3 coupled."""
    seen, models = {1: 0, 2: 0, 3: 0}, 0
    for folder in (pose2sim_04, pose2sim_08, pose2sim_10):
        for path in sorted(folder.rglob("*.osim")):
            model = opensim.Model(str(path))
            model.initSystem()
            models += 1
            coordinates = model.getCoordinateSet()
            for i in range(coordinates.getSize()):
                coordinate = coordinates.get(i)
                kind = coordinate.getMotionType()
                seen[kind] += 1
                name = coordinate.getName()
                assert storage.is_rotational_by_name(name) == (kind == 1), name
    assert models >= 3
    assert min(seen.values()) > 0


def random_motion(seed: int, frames: int, count: int) -> Motion:
    rng = np.random.default_rng(seed)
    return Motion(
        q=rng.normal(size=(frames, count)) * 10.0 ** rng.integers(-9, 3, size=count),
        coordinate_names=tuple(f"c{i}" for i in range(count)),
        rate_hz=float(rng.choice([50, 59.94, 100])),
        start_s=float(rng.normal()),
    )


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 6),
    count=st.integers(1, 5),
    in_degrees=st.booleans(),
)
def test_motion_round_trip(
    tmp_path: Path, seed: int, frames: int, count: int, in_degrees: bool
):
    written = random_motion(seed, frames, count)
    rotational = [i % 2 == 0 for i in range(count)]
    model = SimpleNamespace(
        coordinate_names=written.coordinate_names, coordinate_is_rotational=rotational
    )
    path = tmp_path / "r.mot"
    storage.write_mot(
        path, written, coordinate_is_rotational=rotational, in_degrees=in_degrees
    )
    read = storage.read_mot(path, model)
    np.testing.assert_allclose(read.q, written.q, rtol=1e-15, atol=0)
    assert read.coordinate_names == written.coordinate_names
    assert read.start_s == written.start_s
    assert read.rate_hz == (written.rate_hz if frames > 1 else 1.0)


@pytest.mark.parametrize("in_degrees", [True, False])
def test_opensim_reads_what_is_written(tmp_path: Path, in_degrees: bool):
    written = random_motion(0, 20, 3)
    path = tmp_path / "r.mot"
    storage.write_mot(
        path,
        written,
        coordinate_is_rotational=[True, False, True],
        in_degrees=in_degrees,
    )
    expected = written.q.copy()
    if in_degrees:
        expected[:, [0, 2]] = np.degrees(expected[:, [0, 2]])
    labels, times, values, degrees = opensim_table(path)
    assert labels == ["c0", "c1", "c2"]
    assert degrees == ("yes" if in_degrees else "no")
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    np.testing.assert_allclose(times, written.times_s, rtol=1e-14)
    labels, rows, flag = opensim_storage(path)
    assert labels == ["time", "c0", "c1", "c2"]
    assert flag == in_degrees
    np.testing.assert_allclose(rows[:, 1:], expected, rtol=1e-14)


def test_marker_errors_by_hand_and_in_opensim(tmp_path: Path):
    path = tmp_path / "t_ik_marker_errors.sto"
    errors = np.array([[3.0, 4.0], [3.0, np.nan], [9.0, 9.0]])
    valid = np.array([[True, True], [True, False], [False, False]])
    storage.write_marker_errors(path, np.array([0.0, 0.5, 1.0]), errors, valid)
    expected = [[25, np.sqrt(12.5), 4], [9, 3, 3], [0, 0, 0]]
    labels, _, values, degrees = opensim_table(path)
    assert labels == ["total_squared_error", "marker_error_RMS", "marker_error_max"]
    assert degrees == "no"
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    np.testing.assert_allclose(opensim_storage(path)[1][:, 1:], expected, rtol=1e-14)
    np.testing.assert_array_equal(storage.read_storage(path).values, values)


def test_marker_errors_of_wrong_shape(tmp_path: Path):
    with pytest.raises(ValueError, match=r"errors \(3, 2\) and valid \(3, 1\) must"):
        storage.write_marker_errors(
            tmp_path / "a.sto", np.zeros(3), np.zeros((3, 2)), np.ones((3, 1), bool)
        )


UNWRITABLE = {
    "do not belong together": (("a", "b"), np.zeros(2), np.zeros((2, 1))),
    "do not belong together; .* T >= 1": (("a",), np.zeros(0), np.zeros((0, 1))),
    "'b' is nan at time 3 s, and only finite": (
        ("a", "b"),
        np.array([2.0, 3.0]),
        np.array([[1, 1], [1, np.nan]]),
    ),
    "a time is not a finite number": (("a",), np.array([np.inf]), np.zeros((1, 1))),
    "column 'a b' cannot be written": (("a b",), np.zeros(1), np.zeros((1, 1))),
    "column '' cannot be written": (("",), np.zeros(1), np.zeros((1, 1))),
    "column 'a' cannot be written": (("a", "a"), np.zeros(1), np.zeros((1, 2))),
}


@pytest.mark.parametrize("message", UNWRITABLE)
def test_what_cannot_be_written_leaves_no_file(tmp_path: Path, message: str):
    columns, times, values = UNWRITABLE[message]
    with pytest.raises(ValueError, match=message):
        storage.write_storage(
            tmp_path / "a.sto", "n", columns, times, values, in_degrees=False
        )
    assert os.listdir(tmp_path) == []


def test_one_flag_a_coordinate_is_needed(tmp_path: Path):
    with pytest.raises(ValueError, match="one flag a column is needed"):
        storage.write_mot(
            tmp_path / "a.mot", random_motion(0, 2, 3), coordinate_is_rotational=[True]
        )
    assert os.listdir(tmp_path) == []
