import numpy as np
import pytest

from simspine_jax.datasets import simspine_tree
from simspine_jax.datasets.simspine_h5 import open_simspine, write_simspine
from simspine_jax.datasets.simspine_tree import open_tree
from simspine_jax.datasets.spine_sequence import SpineSequence
from simspine_jax.skeletons import simspine
from tests.datasets import spine_files as files

_CAMERA = """[54138969]
matrix = [[1145.0, 0.0, 512.0], [0.0, 1143.0, 515.0], [0.0, 0.0, 1.0]]
distortions = [-0.2, 0.24, -0.001, -0.0009, -0.002]
rotation = [0.0, 1.5707963267948966, 0.0]
translation = [0.1, 0.9, 4.0]
size = [1000, 1002]

[metadata]
adjusted = false
"""


def _trc(points: np.ndarray, names=simspine.NAMES, *, units="m", start=0) -> str:
    """A TRC as the published scripts write it, its times from frame ``start``."""
    axes = "\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, len(names) + 1))
    count, frames = len(names), len(points)
    lines = [
        "PathFileType\t4\t(X/Y/Z)\tS1.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\t"
        "OrigDataStartFrame\tOrigNumFrames",
        f"50\t50\t{frames}\t{count}\t{units}\t50\t1\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        f"\t\t{axes}\t",
        *(
            f"{i + 1}\t{(start + i) / 50:.6f}\t"
            + "\t".join("" if np.isnan(x) else f"{x:.8f}" for x in row.ravel())
            for i, row in enumerate(points)
        ),
    ]
    return "\n".join(lines) + "\n"


def _mot(values: np.ndarray, *, start=0, step=0.02) -> str:
    """A MOT as OpenSim writes it."""
    rows = [
        "\t".join(f"{x:.8f}" for x in (start / 50 + step * i, *row))
        for i, row in enumerate(values)
    ]
    head = (
        f"Coordinates\nversion=1\nnRows={len(values)}\n"
        f"nColumns={1 + len(files.AXES)}\ninDegrees=yes\nendheader"
    )
    return "\n".join([head, "\t".join(("time", *files.AXES)), *rows]) + "\n"


def _put(path, text) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def published(tmp_path):
    """A tree of two actions that begin alike, and its numbers."""
    rng = np.random.default_rng(1)
    points = np.round(rng.uniform(0, 1.7, (2, 4, 37, 3)), 8)
    points[0, 1, 2] = np.nan
    values = np.round(rng.uniform(-90, 90, (2, 4, len(files.AXES))), 8)
    root = tmp_path / "SIMSPINE"
    _put(root / "cameras/Calib_S1.toml", _CAMERA)
    _put(root / "models/S1.osim", "<OpenSimDocument/>")
    for action, p, q in zip(
        ("Sitting 1", "SittingDown 1"), points, values, strict=True
    ):
        name = f"S1_{action}"
        _put(root / f"positions/S1/{name}.trc", _trc(p))
        _put(root / f"kinematics/S1/{name}/{name}.mot", _mot(q))
        _put(root / f"kinematics/S1/{name}/_ik_marker_errors.sto", "not a motion")
    return root, points, values


def test_published_tree_is_read_number_by_number(published):
    root, points, values = published
    found = open_tree(root)
    assert found.actions == {"S1": ("Sitting 1", "SittingDown 1")}
    assert found.subjects["S1"].model_file == "S1.osim"
    rig = found.subjects["S1"].rig
    assert rig.names == ("54138969",)
    np.testing.assert_allclose(
        rig.rotation[0], [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], atol=1e-12
    )
    for sequence, p, q in zip(found, points, values, strict=True):
        there = ~np.isnan(p).any(axis=-1)
        np.testing.assert_array_equal(sequence.markers.valid, there)
        np.testing.assert_array_equal(sequence.markers.points[there], p[there])
        np.testing.assert_array_equal(sequence.markers.points[~there], 0)
        assert sequence.rotational == files.ROTATIONAL
        in_file = sequence.motion.q * np.where(files.ROTATIONAL, 180 / np.pi, 1)
        np.testing.assert_allclose(in_file, q, rtol=0, atol=1e-12)
        assert sequence.motion.rate_hz == sequence.markers.rate_hz == 50


def test_the_folder_of_the_shell_and_motions_without_a_folder_of_their_own(published):
    root, _, _ = published
    before = list(open_tree(root))
    (root / "positions").rename(root / "markers")
    for path in list(root.glob("kinematics/S1/*/*.mot")):
        path.rename(root / "kinematics/S1" / path.name)
    found = list(open_tree(root))
    assert len(found) == len(before) == 2
    for one, other in zip(found, before, strict=True):
        files.assert_same(one, other, atol=0)


def test_metres_that_the_published_header_calls_mm(published):
    root, points, _ = published
    path = root / "positions/S1/S1_SittingDown 1.trc"
    path.write_text(_trc(points[1], units="mm"))
    with pytest.warns(UserWarning, match="Units is mm, but a person is metres tall"):
        found = open_tree(root).read("S1", "SittingDown 1")
    np.testing.assert_allclose(found.markers.points, points[1], rtol=1e-14)
    # True millimetres are read as they are.
    path.write_text(_trc(1000 * points[1], units="mm"))
    found = open_tree(root).read("S1", "SittingDown 1")
    np.testing.assert_allclose(found.markers.points, points[1], rtol=1e-14)
    path.write_text(_trc(points[1] / 1000, units="m"))
    with pytest.raises(ValueError, match=r"SittingDown 1\.trc: the markers of a frame"):
        open_tree(root).read("S1", "SittingDown 1")


def test_other_orders_of_markers_and_markers_beyond_the_set(published):
    root, points, _ = published
    names = ("Extra", *reversed(simspine.NAMES))
    more = np.concatenate([points[1, :, :1], points[1, :, ::-1]], axis=1)
    path = root / "positions/S1/S1_SittingDown 1.trc"
    path.write_text(_trc(more, names))
    found = open_tree(root).read("S1", "SittingDown 1").markers
    assert found.names == simspine.NAMES
    np.testing.assert_array_equal(found.points, points[1])
    path.write_text(_trc(points[1, :, :15], simspine.SPINE_NAMES))
    found = open_tree(root).read("S1", "SittingDown 1").markers
    assert found.names == simspine.SPINE_NAMES
    path.write_text(_trc(points[1, :, :14], simspine.SPINE_NAMES[:14]))
    with pytest.raises(ValueError, match=r"SittingDown 1\.trc lacks RLatissimus"):
        open_tree(root).read("S1", "SittingDown 1")


def test_frames_go_by_time_and_not_by_row(published):
    root, points, values = published
    name = "S1_SittingDown 1"
    path = root / f"kinematics/S1/{name}/{name}.mot"
    # Frames 1 to 6 of coordinates beside frames 0 to 3 of markers.
    more = np.concatenate([values[1], values[0, :2]])
    path.write_text(_mot(more, start=1))
    with pytest.warns(UserWarning, match="6 frames from 0.02 s, but 4 from 0 s in"):
        found = open_tree(root).read("S1", "SittingDown 1")
    np.testing.assert_array_equal(found.markers.points, points[1, 1:])
    np.testing.assert_allclose(found.motion.q[:, 1], more[:3, 1], rtol=0, atol=1e-12)
    assert found.markers.start_s == found.motion.start_s == 0.02
    for given, said in (
        ({"step": 0.01}, "begin at 0 s with 100 Hz, but those of .* at 0 s with 50 Hz"),
        ({"start": 0.5}, "begin at 0.01 s with 50 Hz, but those of"),
        ({"start": 4}, "no frame is at the time of any in"),
    ):
        path.write_text(_mot(values[1], **given))
        with pytest.raises(ValueError, match=said):
            open_tree(root).read("S1", "SittingDown 1")


def test_round_trips_of_trees_and_hdf5_files(tmp_path):
    people = files.subjects("S9", "S11")
    wanted = [
        files.sequence("S9", "Walking_1", start_s=0.4),
        files.sequence("S11", "Sitting 1", frames=30, seed=1),
    ]
    root = tmp_path / "tree"
    root.mkdir()
    for person in people:
        simspine_tree.write_subject(root, person)
    for sequence in wanted:
        simspine_tree.write_sequence(root, sequence)
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*.*")) == [
        "cameras/Calib_S11.toml",
        "cameras/Calib_S9.toml",
        "kinematics/S11/S11_Sitting 1/S11_Sitting 1.mot",
        "kinematics/S9/S9_Walking_1/S9_Walking_1.mot",
        "positions/S11/S11_Sitting 1.trc",
        "positions/S9/S9_Walking_1.trc",
    ]
    simspine_tree.tree_to_h5(root, tmp_path / "a.h5")
    again = simspine_tree.h5_to_tree(tmp_path / "a.h5", tmp_path / "again")
    for found in (open_tree(root), open_simspine(tmp_path / "a.h5"), again):
        assert list(found.subjects) == ["S9", "S11"]
        for person in people:
            files.assert_same_rig(found.subjects[person.name].rig, person.rig, 1e-12)
        for one, other in zip(found, wanted, strict=True):
            files.assert_same(one, other, atol=1e-12)
    simspine_tree.tree_to_h5(root, tmp_path / "15.h5", names=simspine.SPINE_NAMES)
    assert open_simspine(tmp_path / "15.h5").names == simspine.SPINE_NAMES


def test_markers_are_written_in_metres_and_say_so(tmp_path):
    wanted = files.sequence()
    simspine_tree.write_sequence(tmp_path, wanted)
    lines = (tmp_path / "positions/S1/S1_Walking_1.trc").read_text().splitlines()
    assert lines[2].split("\t")[4] == "m"
    cells = [float(cell) for cell in lines[6].split("\t")]
    np.testing.assert_array_equal(cells[2:5], wanted.markers.points[0, 0])


def test_nothing_is_remembered_of_what_the_tree_once_was(published, tmp_path):
    root, points, values = published
    path = tmp_path / "a.h5"
    simspine_tree.tree_to_h5(root, path)
    name = "S1_Walking 1"
    _put(root / f"positions/S1/{name}.trc", _trc(points[0]))
    _put(root / f"kinematics/S1/{name}.mot", _mot(values[0]))
    (root / "positions/S1/S1_Sitting 1.trc").unlink()
    (root / "kinematics/S1/S1_Sitting 1/S1_Sitting 1.mot").unlink()
    simspine_tree.tree_to_h5(root, path)
    assert open_simspine(path).actions == {"S1": ("SittingDown 1", "Walking 1")}


class _Model:
    coordinate_names = files.AXES
    coordinate_is_rotational = (True, True, False, True, True)


def test_a_model_says_which_coordinates_are_angles(tmp_path):
    given, turned = files.sequence(), _Model.coordinate_is_rotational
    wanted = SpineSequence("S1", "Walking_1", given.markers, given.motion, turned)
    simspine_tree.write_subject(tmp_path, files.subjects("S1")[0])
    simspine_tree.write_sequence(tmp_path, wanted)
    found = open_tree(tmp_path, models={"S1": _Model()}).read("S1", "Walking_1")
    files.assert_same(found, wanted, atol=1e-12)
    simspine_tree.tree_to_h5(tmp_path, tmp_path / "a.h5", models={"S1": _Model()})
    found = open_simspine(tmp_path / "a.h5").read("S1", "Walking_1")
    files.assert_same(found, wanted, atol=1e-12)


def test_half_a_sequence_is_left_out_and_said(published):
    root, _, _ = published
    (root / "kinematics/S1/S1_Sitting 1/S1_Sitting 1.mot").unlink()
    (root / "positions/S1/.S1_Lying 1-12ab34cd.trc").write_text("half written")
    with pytest.warns(UserWarning, match="S1_Sitting 1 has no file in kinematics/"):
        found = open_tree(root)
    assert found.actions == {"S1": ("SittingDown 1",)}
    with pytest.raises(ValueError, match="no sequence 'Sitting 1' of 'S1'; there are"):
        found.read("S1", "Sitting 1")


def test_trees_with_faults_are_refused(published, tmp_path):
    root, _, _ = published
    with pytest.raises(FileNotFoundError, match="elsewhere: there is no such folder"):
        open_tree(tmp_path / "elsewhere")
    (root / "markers").mkdir()
    with pytest.raises(ValueError, match="has 2 of positions and markers"):
        open_tree(root)
    (root / "markers").rmdir()
    stray = root / "positions/S1/S11_Sitting 1.trc"
    stray.write_text("")
    with pytest.raises(
        ValueError, match=r"a file of S1 must be named S1_<action>\.trc"
    ):
        open_tree(root)
    stray.unlink()
    twice = root / "kinematics/S1/S1_Sitting 1.mot"
    twice.write_text("")
    with pytest.raises(ValueError, match="the same sequence is in"):
        open_tree(root)
    twice.unlink()
    (root / "cameras/Calib_S1.toml").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"Calib_S1\.toml: there is no such file"
    ):
        open_tree(root)


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'a/b' cannot be a part of a file's name"):
        simspine_tree.write_sequence(tmp_path, files.sequence(action="a/b"))
    with pytest.raises(FileNotFoundError, match="elsewhere: there is no such folder"):
        simspine_tree.write_sequence(tmp_path / "elsewhere", files.sequence())
    assert not list(tmp_path.iterdir())
    write_simspine(tmp_path / "a.h5", files.subjects("S1"), [files.sequence()])
    with pytest.raises(FileNotFoundError):
        simspine_tree.h5_to_tree(tmp_path / "a.h5", tmp_path / "no/tree")
