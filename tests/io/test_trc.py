import os
import warnings
from pathlib import Path

import numpy as np
import opensim  # noqa: TID251
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simspine_jax.io import trc
from simspine_jax.reference import opensim_load
from simspine_jax.types import MarkerTrajectory


@pytest.fixture(autouse=True, scope="module")
def _quiet_opensim() -> None:
    opensim_load.quiet()


ROWS = ("1\t0.5\t1\t2\t3\t4\t5\t6", "2\t0.51\t1.5\t2\t3\t4\t5\t6")
DEMO = "Pose2Sim/Demo/opensim"


def trc_text(
    rows=ROWS,
    names="A\t\t\tB\t\t",
    *,
    rate="100",
    frames: int | None = None,
    markers: object = 2,
    units="m",
    axes="X1\tY1\tZ1\tX2\tY2\tZ2",
) -> str:
    frames = len(rows) if frames is None else frames
    return (
        "PathFileType\t4\t(X/Y/Z)\ta.trc\n"
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\t"
        "OrigDataStartFrame\tOrigNumFrames\n"
        f"{rate}\t{rate}\t{frames}\t{markers}\t{units}\t{rate}\t1\t{frames}\n"
        f"Frame#\tTime\t{names}\n\t\t{axes}\n\n" + "\n".join(rows) + "\n"
    )


def read_text(folder: Path, text: str) -> MarkerTrajectory:
    path = folder / "a.trc"
    path.write_text(text, encoding="utf-8", newline="")
    return trc.read_trc(path)


def opensim_table(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    table = opensim.TimeSeriesTableVec3(str(path))
    flattened = table.flatten()  # keeps alive what the matrix is a view of
    flat = flattened.getMatrix().to_numpy()
    times = np.array(table.getIndependentColumn())
    return list(table.getColumnLabels()), times, flat.reshape(len(times), -1, 3)


def test_reads_points_names_rate_and_start(tmp_path: Path):
    read = read_text(tmp_path, trc_text())
    assert read.names == ("A", "B")
    assert (read.rate_hz, read.start_s) == (100.0, 0.5)
    np.testing.assert_array_equal(read.points[:, 0], [[1, 2, 3], [1.5, 2, 3]])
    np.testing.assert_array_equal(read.points[:, 1], [[4, 5, 6], [4, 5, 6]])
    assert read.valid.all()


@pytest.mark.parametrize(
    ("units", "per_metre"),
    [("m", 1), ("mm", 1000), ("cm", 100), ("millimeters", 1000), ("Meters", 1)],
)
def test_units_are_converted_to_metres(tmp_path: Path, units: str, per_metre: int):
    read = read_text(tmp_path, trc_text(units=units))
    np.testing.assert_array_equal(read.points[0, 0], np.array([1, 2, 3]) / per_metre)


def test_crlf_bom_and_blank_lines_change_nothing(tmp_path: Path):
    plain = read_text(tmp_path, trc_text())
    text = "\ufeff" + trc_text().replace("\n", "\r\n") + "\r\n\t\t\r\n"
    read = read_text(tmp_path, text)
    np.testing.assert_array_equal(read.points, plain.points)
    assert read.names == plain.names


def test_undecodable_bytes_in_the_path_of_the_first_line_do_no_harm(tmp_path: Path):
    path = tmp_path / "a.trc"
    path.write_bytes(trc_text().replace("a.trc", "J\xe9.trc").encode("latin-1"))
    assert trc.read_trc(path).names == ("A", "B")


@pytest.mark.parametrize(
    ("row", "valid"),
    [
        ("1\t0\t\t\t\t4\t5\t6", [False, True]),
        ("1\t0\t1\t2\t3\t\t\t", [True, False]),
        ("1\t0\t1\t2\t3", [True, False]),
        ("1\t0\t1\t2\t3\t4\t5", [True, False]),
        ("1\t0", [False, False]),
        ("1\t0\t1\t \t3\t4\t5\t6", [False, True]),
        ("1\t0\tNaN\tnan\tNAN\t4\t5\t6", [False, True]),
        ("1\t0\t-nan(ind)\t1.#QNAN\t1\t4\t5\t6", [False, True]),
        ("1\t0\tinf\t2\t3\t4\t5\t6", [False, True]),
        ("1\t0\t1\t2\t3\t4\tnan\t6", [True, False]),
        ("\t0\t1\t2\t3\t4\t5\t6", [True, True]),
        ("1\t0\t1\t2\t3\t4\t5\t6\t\t", [True, True]),
    ],
)
def test_what_counts_as_missing(tmp_path: Path, row: str, valid: list[bool]):
    read = read_text(tmp_path, trc_text((row, "2\t0.01\t1\t2\t3\t4\t5\t6")))
    assert read.valid[0].tolist() == valid
    full = np.array([[1.0, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(read.points[0], full * np.array(valid)[:, None])
    assert read.valid[1].all()


def test_exponents_signs_and_bare_points(tmp_path: Path):
    read = read_text(tmp_path, trc_text(("1\t0E0\t1E-3\t-2e+1\t.5\t-4.\t+5\t6",)))
    np.testing.assert_array_equal(read.points[0], [[0.001, -20, 0.5], [-4, 5, 6]])


@pytest.mark.parametrize(
    "names",
    ["A one\t\t\tB\t\t", " A one \t\t\tB", "A one\tB", "A one\t\tB\t\t\t\t"],
)
def test_names_as_opensim_reads_them(tmp_path: Path, names: str):
    read = read_text(tmp_path, trc_text(names=names))
    assert read.names == ("A one", "B")
    assert opensim_table(tmp_path / "a.trc")[0] == ["A one", "B"]


@pytest.mark.parametrize(
    ("frames", "word"), [(5, "fewer"), (1, "more")], ids=["fewer", "more"]
)
def test_rows_other_than_numframes_are_read_with_a_warning(
    tmp_path: Path, frames: int, word: str
):
    with pytest.warns(UserWarning, match=f"2 data rows were read, {word} than"):
        read = read_text(tmp_path, trc_text(frames=frames))
    assert read.points.shape == (2, 2, 3)
    assert len(opensim_table(tmp_path / "a.trc")[1]) == 2


def test_times_that_contradict_the_rate_are_warned_of_once(tmp_path: Path):
    rows = [f"{i}\t{i * 0.02}\t1\t2\t3\t4\t5\t6" for i in range(1, 6)]
    with pytest.warns(UserWarning, match=r"line 8 has time 0.04 s, but 100 Hz") as seen:
        read_text(tmp_path, trc_text(rows))
    assert len(seen) == 1


def test_times_rounded_to_milliseconds_are_no_contradiction(tmp_path: Path):
    rows = [f"{i}\t{i / 120:.3f}\t1\t2\t3\t4\t5\t6" for i in range(1, 200)]
    read = read_text(tmp_path, trc_text(rows, rate="120"))
    assert read.rate_hz == 120


BAD = {
    "not a TRC file: line 1 is 'hello'": "hello\nworld\n",
    "not a TRC file: line 1 is ''": "",
    "NumMarkers is 3, but line 4 names 2": trc_text(markers=3),
    "NumMarkers is 1, but line 4 names 2": trc_text(markers=1),
    "NumMarkers is 0, and it must be at least 1": trc_text(
        markers=0, names="", axes=""
    ),
    "NumMarkers is 'two', and it must be a number": trc_text(markers="two"),
    "line 5 has 5 axis labels .* 2 markers need 6": trc_text(axes="X1\tY1\tZ1\tX2\tY2"),
    "line 5 has 6 axis labels": trc_text(axes="1\t2\t3\t4\t5\t6"),
    "marker 'A' is named more than once": trc_text(names="A\t\t\tA\t\t"),
    "line 4 begins with": trc_text().replace("Frame#", "Number"),
    "Units is 'furlong', and it must be one of m, cm, mm": trc_text(units="furlong"),
    "Units is ''": trc_text(units=""),
    "no field DataRate": trc_text().replace("DataRate\t", "Speed\t", 1),
    "DataRate is 0, and it must be a positive": trc_text(rate="0"),
    "DataRate is '59,94', and it must be a number": trc_text(rate="59,94"),
    "no data row": trc_text(()),
    "the widest data row has 5 columns, but 2 markers need 8": trc_text(
        ("1\t0\t1\t2\t3",)
    ),
    "line 7 has 9 columns, but 2 markers allow 8": trc_text(
        ("1\t0\t1\t2\t3\t4\t5\t6\t7",)
    ),
    "line 8 has 'x' as a coordinate of marker 'B'": trc_text(
        (ROWS[0], "2\t0.51\t1\t2\t3\t4\tx\t6")
    ),
    "line 7 has '1_0' as a coordinate of marker 'A'": trc_text(
        ("1\t0\t1_0\t2\t3\t4\t5\t6",)
    ),
    "line 7 has '1,5' as a coordinate": trc_text(("1\t0\t1,5\t2\t3\t4\t5\t6",)),
    "line 7 has 'x' in its second column, .* time": trc_text(
        ("1\tx\t1\t2\t3\t4\t5\t6",)
    ),
    "line 7 has '' in its second column": trc_text(("1\t\t1\t2\t3\t4\t5\t6",)),
    "line 7 has 'NaN' in its second column": trc_text(("1\tNaN\t1\t2\t3\t4\t5\t6",)),
    "line 7 has '' in its second": trc_text((ROWS[0].replace("\t", "  "),)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, message: str):
    with pytest.raises(ValueError, match=message) as error:
        read_text(tmp_path, BAD[message])
    assert str(tmp_path / "a.trc") in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"b.trc: there is no such file"):
        trc.read_trc(tmp_path / "b.trc")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        trc.read_trc(tmp_path)


@pytest.mark.parametrize(
    ("name", "frames"), [("Balancing_for_IK", 100), ("Standing_for_Scaling", 25)]
)
def test_real_trials_equal_opensim(pose2sim_04: Path, name: str, frames: int):
    path = pose2sim_04 / DEMO / f"{name}.trc"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        read = trc.read_trc(path)
    # The header of the standing trial says 50 frames.
    assert [str(w.message).count("fewer than the NumFrames of 50") for w in seen] == (
        [1] if frames == 25 else []
    )
    names, times, points = opensim_table(path)
    assert read.points.shape == (frames, 21, 3)
    assert list(read.names) == names
    np.testing.assert_array_equal(read.points, points)
    np.testing.assert_allclose(read.times_s, times, rtol=0, atol=1e-9)
    assert read.valid.all()
    trc.require_human_size(read, path)


def random_trajectory(seed: int, frames: int, markers: int) -> MarkerTrajectory:
    rng = np.random.default_rng(seed)
    valid = rng.random((frames, markers)) < 0.7
    valid[0] = True
    points = np.where(valid[..., None], rng.normal(size=(frames, markers, 3)), 0.0)
    return MarkerTrajectory(
        points=points * 10.0 ** rng.integers(-8, 4, size=points.shape),
        valid=valid,
        names=tuple(f"marker {i}" for i in range(markers)),
        rate_hz=float(rng.choice([25, 59.94, 100, 1000 / 3])),
        start_s=float(rng.normal()),
    )


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 7), markers=st.integers(1, 5)
)
def test_round_trip_in_metres_is_exact(
    tmp_path: Path, seed: int, frames: int, markers: int
):
    written = random_trajectory(seed, frames, markers)
    path = tmp_path / "r.trc"
    trc.write_trc(path, written)
    read = trc.read_trc(path)
    np.testing.assert_array_equal(read.points, written.points)
    np.testing.assert_array_equal(read.valid, written.valid)
    assert (read.names, read.rate_hz, read.start_s) == (
        written.names,
        written.rate_hz,
        written.start_s,
    )


def test_round_trip_in_millimetres(tmp_path: Path):
    written = random_trajectory(0, 20, 4)
    trc.write_trc(tmp_path / "r.trc", written, units="mm")
    read = trc.read_trc(tmp_path / "r.trc")
    np.testing.assert_allclose(read.points, written.points, rtol=1e-15)
    np.testing.assert_array_equal(read.valid, written.valid)


@pytest.mark.parametrize("units", ["m", "mm"])
def test_opensim_reads_what_is_written(tmp_path: Path, units):
    written = random_trajectory(1, 12, 3)
    path = tmp_path / "r.trc"
    trc.write_trc(path, written, units=units)
    names, times, points = opensim_table(path)
    expected = np.where(written.valid[..., None], written.points, np.nan)
    expected = expected * (1000.0 if units == "mm" else 1.0)
    assert names == list(written.names)
    np.testing.assert_allclose(times, written.times_s, rtol=1e-14)
    np.testing.assert_allclose(points, expected, rtol=1e-14)
    data = opensim.MarkerData(str(path))
    assert data.getDataRate() == written.rate_hz
    assert data.getNumFrames() == 12
    first = [data.getFrame(0).getMarker(k).to_numpy() for k in range(3)]
    np.testing.assert_allclose(first, expected[0], rtol=1e-14)


def test_opensim_inverse_kinematics_skips_missing_markers(tmp_path: Path):
    """A body on a slider halves the way between its markers, or goes to one."""
    model = opensim.Model()
    body = opensim.Body("b", 1, opensim.Vec3(0), opensim.Inertia(1, 1, 1))
    joint = opensim.SliderJoint("j", model.getGround(), body)
    joint.updCoordinate().setName("x")
    model.addBody(body)
    model.addJoint(joint)
    for name in "AB":
        model.addMarker(opensim.Marker(name, body, opensim.Vec3(0)))
    model.finalizeConnections()
    model.printToXML(str(tmp_path / "m.osim"))
    valid = np.array([[True, True], [True, False], [False, True], [True, True]])
    points = np.zeros((4, 2, 3))
    points[:, 0, 0] = 1.0
    trial = MarkerTrajectory(
        points=points, valid=valid, names=("A", "B"), rate_hz=100.0
    )
    trc.write_trc(tmp_path / "t.trc", trial, units="mm")
    tool = opensim.InverseKinematicsTool()
    tool.set_model_file(str(tmp_path / "m.osim"))
    tool.set_marker_file(str(tmp_path / "t.trc"))
    tool.setOutputMotionFileName(str(tmp_path / "o.mot"))
    tool.set_accuracy(1e-10)
    tool.set_report_errors(False)
    for name in "AB":
        task = opensim.IKMarkerTask()
        task.setName(name)
        task.setWeight(1.0)
        tool.upd_IKTaskSet().cloneAndAppend(task)
    assert tool.run()
    table = opensim.TimeSeriesTable(str(tmp_path / "o.mot"))
    x = table.getDependentColumn("x").to_numpy()
    np.testing.assert_allclose(x, [0.5, 1.0, 0.0, 0.5], atol=1e-6)


GOOD = random_trajectory(2, 3, 2)
UNWRITABLE = {
    "do not belong together": GOOD.replace(names=("A",)),
    "no frame or no marker": GOOD.replace(
        points=np.zeros((0, 2, 3)), valid=np.ones((0, 2), bool)
    ),
    "'marker 0' is valid but not finite in frame 0": GOOD.replace(
        points=GOOD.points * np.nan
    ),
    "the rate is 0.0 Hz": GOOD.replace(rate_hz=0.0),
    "marker name 'a\\\\tb' cannot be written": GOOD.replace(names=("a\tb", "c")),
    "marker name '' cannot": GOOD.replace(names=("", "c")),
    "marker name ' c' cannot": GOOD.replace(names=("a", " c")),
    "'c' is named more than once": GOOD.replace(names=("c", "c")),
}


@pytest.mark.parametrize("message", UNWRITABLE)
def test_what_cannot_be_written_leaves_no_file(tmp_path: Path, message: str):
    with pytest.raises(ValueError, match=message):
        trc.write_trc(tmp_path / "a.trc", UNWRITABLE[message])
    assert os.listdir(tmp_path) == []


def test_unknown_unit_to_write(tmp_path: Path):
    with pytest.raises(ValueError, match="units is 'in', and it must be 'm' or 'mm'"):
        trc.write_trc(tmp_path / "a.trc", GOOD, units="in")


def test_writing_leaves_its_input_alone(tmp_path: Path):
    points, valid = GOOD.points.copy(), GOOD.valid.copy()
    trc.write_trc(tmp_path / "a.trc", GOOD, units="mm")
    np.testing.assert_array_equal(GOOD.points, points)
    np.testing.assert_array_equal(GOOD.valid, valid)


def person(scale: float) -> MarkerTrajectory:
    """Markers 1.7 m apart along y; the second frame has one wild marker."""
    points = np.zeros((5, 3, 3))
    points[:, 1, 1], points[:, 2, 0] = 1.7, 0.5
    points[1, 2, 0] = 1e9
    points = points * scale + 1000.0  # far from the origin, which must not matter
    return MarkerTrajectory(
        points=points, valid=np.ones((5, 3), bool), names=("a", "b", "c"), rate_hz=60.0
    )


@pytest.mark.parametrize(
    ("scale", "unit"),
    [
        (1000, "in millimetres although the file says a larger unit"),
        (100, "in centimetres although the file says a larger unit"),
        (0.001, "in metres although the file says a smaller unit"),
        (0.01, "in metres although the file says a smaller unit"),
        (0, "all markers are at one point"),
    ],
)
def test_inhuman_sizes_are_refused_with_the_likely_unit(scale: float, unit: str):
    with pytest.raises(ValueError, match=f"^x.trc: .*{unit}$"):
        trc.require_human_size(person(scale), "x.trc")


@pytest.mark.parametrize("scale", [0.05, 1, 10])
def test_human_sizes_pass(scale: float):
    trc.require_human_size(person(scale), "x.trc")


def test_size_is_not_judged_by_missing_or_single_markers():
    lonely = person(1000).replace(valid=np.array([[True, False, False]] * 5))
    trc.require_human_size(lonely, "x.trc")
    zeros = person(1)
    masked = np.ones((5, 3), bool)
    masked[:, 2] = False
    far = np.where(masked[..., None], zeros.points, 1e6)
    trc.require_human_size(zeros.replace(points=far, valid=masked), "x.trc")
