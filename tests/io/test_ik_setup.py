import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import opensim  # noqa: TID251
import pytest

from simspine_jax.io import ik_setup
from simspine_jax.reference import opensim_load
from simspine_jax.types import CoordinateTask


@pytest.fixture(autouse=True, scope="module")
def _quiet_opensim() -> None:
    opensim_load.quiet()


SETUPS = "Pose2Sim/Demo/opensim/IK_Setup_Pose2Sim_Body25b.xml"


def marker(name: str, weight: object = 1, apply: str = "true") -> str:
    return (
        f'<IKMarkerTask name="{name}"><apply>{apply}</apply><weight>{weight}</weight>'
        "</IKMarkerTask>"
    )


def coordinate(
    name: str, weight: object = 1, kind: str = "default_value", value: object = 0
) -> str:
    return (
        f'<IKCoordinateTask name="{name}"><apply>true</apply><weight>{weight}</weight>'
        f"<value_type>{kind}</value_type><value>{value}</value></IKCoordinateTask>"
    )


def tool(tasks: str = marker("A"), settings: str = "") -> str:
    return (
        f'<InverseKinematicsTool name="t">{settings}<IKTaskSet><objects>{tasks}'
        "</objects></IKTaskSet></InverseKinematicsTool>"
    )


def document(inside: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<OpenSimDocument Version="40000">\n{inside}\n</OpenSimDocument>\n'
    )


def read(folder: Path, text: str, model=None):
    path = folder / "s.xml"
    path.write_text(text, encoding="utf-8")
    return ik_setup.read_ik_setup(path, model)


def motion_file(folder: Path, in_degrees: str, rows: list[tuple[float, ...]]) -> None:
    (folder / "c.mot").write_text(
        f"c\nversion=1\nnRows={len(rows)}\nnColumns=3\ninDegrees={in_degrees}\n"
        "endheader\ntime\tr\tx\n"
        + "".join("\t".join(map(repr, row)) + "\n" for row in rows)
    )


ROWS = [(round(0.015 * i - 0.03, 3), 10.0 * (i * i % 5), 2.0 + i) for i in range(8)]
FROM_FILE = coordinate("r", 1, "from_file") + coordinate("x", 1, "from_file")
FILE = "<coordinate_file>c.mot</coordinate_file>"


def test_everything_a_set_up_says(tmp_path: Path):
    tasks = read(
        tmp_path,
        document(
            tool(
                marker("A", 2) + marker("B", "1E-1") + coordinate("r", 3),
                "<model_file>m.osim</model_file><marker_file>sub/t.trc</marker_file>"
                "<coordinate_file>Unassigned</coordinate_file><output_motion_file />"
                "<accuracy>1e-7</accuracy><constraint_weight>20</constraint_weight>"
                "<time_range> 0.25 1.5</time_range>",
            )
        ),
    )
    assert tasks.marker_weights == {"A": 2.0, "B": 0.1}
    assert tasks.coordinate_tasks == (CoordinateTask("r", 3.0),)
    assert (tasks.accuracy, tasks.constraint_weight) == (1e-7, 20.0)
    assert tasks.time_range_s == (0.25, 1.5)
    assert tasks.files == {
        "model_file": tmp_path.resolve() / "m.osim",
        "marker_file": tmp_path.resolve() / "sub" / "t.trc",
    }


@pytest.mark.parametrize(
    "text",
    [
        document(tool()),
        tool(),
        f"<IKTaskSet><objects>{marker('A')}</objects></IKTaskSet>",
        document(f"<IKTaskSet name='x'><objects>{marker('A')}</objects></IKTaskSet>"),
        document(tool(settings="<time_range>-Inf Inf</time_range>")),
        document(tool(settings="<constraint_weight>Inf</constraint_weight>")),
    ],
)
def test_roots_and_defaults(tmp_path: Path, text: str):
    tasks = read(tmp_path, text)
    assert tasks.marker_weights == {"A": 1.0}
    assert tasks.coordinate_tasks == ()
    assert (tasks.accuracy, tasks.constraint_weight) == (1e-5, math.inf)
    assert tasks.time_range_s is None
    assert tasks.files == {}


def test_tasks_in_a_file_of_their_own(tmp_path: Path):
    (tmp_path / "tasks.xml").write_text(
        document(f"<IKTaskSet><objects>{marker('B', 5)}</objects></IKTaskSet>")
    )
    text = "<InverseKinematicsTool><IKTaskSet file='{}'/></InverseKinematicsTool>"
    assert read(tmp_path, text.format("tasks.xml")).marker_weights == {"B": 5.0}
    with pytest.raises(FileNotFoundError, match=r"other.xml: there is no such file"):
        read(tmp_path, text.format("other.xml"))


def test_windows_separators_in_paths(tmp_path: Path):
    text = document(tool(settings=r"<marker_file>..\a\t.trc</marker_file>"))
    path = read(tmp_path, text).files["marker_file"]
    assert path == tmp_path.resolve() / ".." / "a" / "t.trc"


def test_left_out_tasks_and_absent_elements(tmp_path: Path):
    tasks = read(
        tmp_path,
        tool(
            marker("A", 1, "false")
            + marker("B", 1, "FALSE")
            + marker("C", 0)
            + marker("E", 1, "1")
            + '<IKMarkerTask name="D"><weight>4</weight></IKMarkerTask>'
            + '<IKMarkerTask name="F"/>'
            + coordinate("zero", 0, "manual_value", 1)
            + '<IKCoordinateTask name="none"/>'
            + '<IKCoordinateTask name="kind"><weight>2</weight><value>7</value>'
            "</IKCoordinateTask>"
        ),
    )
    assert tasks.marker_weights == {"C": 0.0, "E": 1.0, "D": 4.0, "F": 0.0}
    assert tasks.coordinate_tasks == (CoordinateTask("kind", 2.0),)


def test_the_first_applied_task_of_a_marker_counts(tmp_path: Path):
    text = tool(marker("A", 9, "false") + marker("A", 1) + marker("A", 5))
    with pytest.warns(
        UserWarning, match=r"'A' has several tasks; the first \(weight 1"
    ):
        assert read(tmp_path, text).marker_weights == {"A": 1.0}


def test_all_tasks_of_a_coordinate_count(tmp_path: Path):
    text = tool(coordinate("x", 1) + coordinate("x", 3, "manual_value", 0.5))
    assert read(tmp_path, text).coordinate_tasks == (
        CoordinateTask("x", 1.0),
        CoordinateTask("x", 3.0, 0.5),
    )


def test_targets_from_a_file(tmp_path: Path):
    motion_file(tmp_path, "yes", ROWS)
    times, values = np.array(ROWS)[:, 0], np.array(ROWS)[:, 1:]
    both = read(tmp_path, tool(FROM_FILE, FILE)).coordinate_tasks
    assert [task.name for task in both] == ["r", "x"]
    for task, degrees in zip(both, values.T, strict=True):
        assert task.value is None
        assert task.series is not None
        np.testing.assert_array_equal(task.series[0], times)
        np.testing.assert_allclose(task.series[1], np.radians(degrees), rtol=1e-15)
    # Only a model knows that x, by its name a rotation, is a translation.
    model = SimpleNamespace(
        coordinate_names=("r", "x"), coordinate_is_rotational=(True, False)
    )
    x = read(tmp_path, tool(FROM_FILE, FILE), model).coordinate_tasks[1]
    assert x.series is not None
    np.testing.assert_array_equal(x.series[1], values[:, 1])


def test_a_file_in_radians_is_read_as_degrees_with_a_warning(tmp_path: Path):
    motion_file(tmp_path, "no", ROWS)
    with pytest.warns(
        UserWarning, match="inDegrees is not yes, but 'r' is read as deg"
    ):
        (r,) = read(
            tmp_path, tool(coordinate("r", 1, "from_file"), FILE)
        ).coordinate_tasks
    assert r.series is not None
    np.testing.assert_allclose(r.series[1], np.radians([row[1] for row in ROWS]))


BAD = {
    r"malformed at line 3, column \d+ \(mismatched tag\)": document("<a><b></a>"),
    r"malformed at line 1, column \d+ \(no element found\)": "",
    "found ScaleTool, where an InverseKinematicsTool or an IKTaskSet": document(
        "<ScaleTool/>"
    ),
    "found Model, where": "<Model/>",
    "found nothing, where": document(""),
    "InverseKinematicsTool has no IKTaskSet": document("<InverseKinematicsTool/>"),
    "weight of task 'A' is '-1', and it must": tool(marker("A", -1)),
    "weight of task 'A' is 'heavy', and it must": tool(marker("A", "heavy")),
    "weight of task 'A' is 'Inf', and it must be a finite": tool(marker("A", "Inf")),
    "weight of task 'r' is '-0.5', and it must": tool(coordinate("r", -0.5)),
    "weight of task 'r' is 'nan', and it must": tool(coordinate("r", "nan")),
    "apply of task 'A' is 'perhaps'": tool(marker("A", 1, "perhaps")),
    "all 2 marker tasks have weight 0": tool(marker("A", 0) + marker("B", 0)),
    "an IKMarkerTask has no name": tool(marker("")),
    "an IKCoordinateTask has no name": tool(coordinate("")),
    "task is of type IKOrientationTask, .* .orientations cannot": tool(
        "<IKOrientationTask name='o'><weight>1</weight></IKOrientationTask>"
    ),
    "value_type of task 'r' is 'silly', and it must be one of default_value, manual": (
        tool(coordinate("r", 1, "silly"))
    ),
    "value of task 'r' is 'up', and it must": tool(
        coordinate("r", 1, "manual_value", "up")
    ),
    "'r' takes its value from_file, but coordinate_file names no file": tool(FROM_FILE),
    "'q' takes its value from_file, but .*c.mot has no such column": tool(
        coordinate("q", 1, "from_file"), FILE
    ),
    "accuracy is 'fine', and it must": tool(settings="<accuracy>fine</accuracy>"),
    "constraint_weight is '-2', and it must": tool(
        settings="<constraint_weight>-2</constraint_weight>"
    ),
    "time_range is '1', and it must": tool(settings="<time_range>1</time_range>"),
    "time_range is '2 1', and it must": tool(settings="<time_range>2 1</time_range>"),
    "time_range is 'a b', and it must": tool(settings="<time_range>a b</time_range>"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_set_ups_are_refused_in_one_sentence(tmp_path: Path, message: str):
    motion_file(tmp_path, "yes", ROWS)
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, BAD[message])
    assert str(tmp_path / "s.xml") in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_and_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no.xml: there is no such file"):
        ik_setup.read_ik_setup(tmp_path / "no.xml")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        ik_setup.read_ik_setup(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"c.mot: there is no such file"):
        read(tmp_path, tool(FROM_FILE, FILE))


@pytest.mark.parametrize("rows", [[(0.0, 1.0, 1.0)] * 2, [(0.0, math.nan, 1.0)]])
def test_unusable_targets_in_a_file(tmp_path: Path, rows: list[tuple[float, ...]]):
    motion_file(tmp_path, "yes", rows)
    with pytest.raises(ValueError, match="column 'r' must have finite values at incr"):
        read(tmp_path, tool(FROM_FILE, FILE))


def test_the_set_up_of_the_real_trial_equals_opensim(pose2sim_04: Path):
    path = pose2sim_04 / SETUPS
    tasks = ik_setup.read_ik_setup(path)
    reference = opensim.InverseKinematicsTool(str(path), False)
    task_set = reference.get_IKTaskSet()
    weights = {
        task_set.get(i).getName(): task_set.get(i).getWeight()
        for i in range(task_set.getSize())
    }
    held = {"L5_S1_Flex_Ext": weights.pop("L5_S1_Flex_Ext")}
    assert dict(tasks.marker_weights) == weights
    assert {task.name: task.weight for task in tasks.coordinate_tasks} == held
    assert tasks.coordinate_tasks[0].value is None
    assert tasks.accuracy == reference.get_accuracy()
    assert tasks.constraint_weight == reference.get_constraint_weight() == math.inf
    assert tasks.time_range_s == (reference.getStartTime(), reference.getEndTime())
    assert tasks.files["marker_file"] == path.parent / "Balancing_for_IK.trc"


def test_every_published_set_up_is_read(
    pose2sim_04: Path, pose2sim_08: Path, pose2sim_10: Path
):
    paths = [
        path
        for folder in (pose2sim_04, pose2sim_08, pose2sim_10)
        for path in sorted(folder.rglob("IK_Setup*.xml"))
    ]
    assert paths
    for path in paths:
        assert len(ik_setup.read_ik_setup(path).marker_weights) > 5


@pytest.fixture
def slider_and_pin(tmp_path: Path) -> Path:
    """A model with markers A, B on a slider x, and C on a pin r, default 0.3 rad."""
    model = opensim.Model()
    for kind, name, default in (
        (opensim.SliderJoint, "x", 0.0),
        (opensim.PinJoint, "r", 0.3),
    ):
        body = opensim.Body(f"b{name}", 1, opensim.Vec3(0), opensim.Inertia(1, 1, 1))
        joint = kind(f"j{name}", model.getGround(), body)
        joint.updCoordinate().setName(name)
        joint.updCoordinate().setDefaultValue(default)
        model.addBody(body)
        model.addJoint(joint)
        for marker_name in {"x": "AB", "r": "C"}[name]:
            model.addMarker(opensim.Marker(marker_name, body, opensim.Vec3(0)))
    model.finalizeConnections()
    model.printToXML(str(tmp_path / "m.osim"))
    (tmp_path / "t.trc").write_text(
        "PathFileType\t4\t(X/Y/Z)\tt.trc\n"
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\t"
        "OrigDataStartFrame\tOrigNumFrames\n100\t100\t3\t3\tm\t100\t1\t3\n"
        "Frame#\tTime\tA\t\t\tB\t\t\tC\t\t\n\t\tX1\tY1\tZ1\tX2\tY2\tZ2\tX3\tY3\tZ3\n\n"
        + "".join(f"{i + 1}\t{i / 100}\t1" + "\t0" * 8 + "\n" for i in range(3))
    )
    return tmp_path


def opensim_solves(folder: Path, tasks: str, settings: str = "") -> dict:
    """Runs OpenSim on a set-up; x and r (rad) of each frame."""
    settings += (
        f"<model_file>{folder}/m.osim</model_file><accuracy>1e-10</accuracy>"
        f"<marker_file>{folder}/t.trc</marker_file><report_errors>false</report_errors>"
        f"<output_motion_file>{folder}/o.mot</output_motion_file>"
    )
    (folder / "s.xml").write_text(document(tool(tasks, settings)))
    assert opensim.InverseKinematicsTool(str(folder / "s.xml")).run()
    table = opensim.TimeSeriesTable(str(folder / "o.mot"))
    return {
        "x": table.getDependentColumn("x").to_numpy().copy(),
        "r": np.radians(table.getDependentColumn("r").to_numpy()),
    }


@pytest.mark.filterwarnings("ignore:.*several tasks:UserWarning")
@pytest.mark.parametrize(
    "tasks",
    [
        marker("A", 1) + marker("B", 3),
        marker("A", 1) + marker("B", 3) + marker("A", 9),
        marker("A", 1, "false") + marker("B", 3) + marker("A", 9),
        marker("A", 0) + marker("A", 1) + marker("B", 3),
        '<IKMarkerTask name="A"/>' + marker("B", 3),
        '<IKMarkerTask name="A"><weight>1</weight></IKMarkerTask>' + marker("B", 3),
        marker("A", 1, "TRUE") + marker("B", 3, "False"),
        marker("A", 1, "1") + marker("B", 3, "0"),
        marker("A", 1) + coordinate("x", 1) + coordinate("x", 3),
        marker("A", 1) + coordinate("x", 0, "manual_value", 5),
        marker("A", 1)
        + '<IKCoordinateTask name="x"><value>5</value></IKCoordinateTask>',
        marker("A", 1) + coordinate("r", 1, "manual_value", 1.2),
        marker("A", 1) + coordinate("r", 1, "default_value", 1.2),
    ],
)
def test_opensim_follows_the_tasks_as_they_are_read(slider_and_pin: Path, tasks: str):
    """The minimum of the objective for what we read is where OpenSim goes."""
    solved = opensim_solves(slider_and_pin, tasks)
    ours = ik_setup.read_ik_setup(slider_and_pin / "s.xml")
    # A is seen at 1 and B at 0: mean of their pull, then the coordinate tasks.
    total = sum(ours.marker_weights.values())
    pull, stiffness = ours.marker_weights.get("A", 0.0) / total, 1.0
    r = 0.3
    for task in ours.coordinate_tasks:
        if task.name == "x":
            pull += task.weight * (task.value or 0.0)
            stiffness += task.weight
        else:
            r = 0.3 if task.value is None else task.value
    np.testing.assert_allclose(solved["x"], pull / stiffness, atol=1e-6)
    np.testing.assert_allclose(solved["r"], r, atol=1e-6)


@pytest.mark.parametrize("in_degrees", ["yes", "no"])
@pytest.mark.filterwarnings("ignore:.*is read as degrees:UserWarning")
def test_opensim_reads_targets_from_a_file_as_we_do(
    slider_and_pin: Path, in_degrees: str
):
    folder = slider_and_pin
    rows = [(round(0.01 * i - 0.02, 2), *row[1:]) for i, row in enumerate(ROWS)]
    motion_file(folder, in_degrees, rows)
    file = f"<coordinate_file>{folder}/c.mot</coordinate_file>"
    solved = opensim_solves(folder, marker("A") + FROM_FILE, file)
    model = SimpleNamespace(
        coordinate_names=("x", "r"), coordinate_is_rotational=(False, True)
    )
    series = {
        task.name: task.series[1][2:5]
        for task in ik_setup.read_ik_setup(folder / "s.xml", model).coordinate_tasks
        if task.series is not None
    }
    np.testing.assert_allclose(solved["r"], series["r"], atol=1e-6)
    np.testing.assert_allclose(solved["x"], (1 + series["x"]) / 2, atol=1e-6)
