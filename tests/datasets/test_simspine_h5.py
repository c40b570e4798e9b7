import weakref

import h5py
import numpy as np
import pytest

from simspine_jax.datasets.simspine_h5 import open_simspine, write_simspine
from simspine_jax.datasets.spine_sequence import SpineSequence, to_ground, to_world
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory, Motion
from tests.datasets import spine_files as files


@pytest.mark.parametrize("names", [simspine.NAMES, simspine.SPINE_NAMES])
def test_published_file_is_read_number_by_number(tmp_path, names):
    numbers = files.publish_h5(tmp_path / "a.h5", names)
    found = open_simspine(tmp_path / "a.h5")
    assert list(found.subjects) == ["S9", "S11"]
    assert found.actions == {"S9": ("Sitting 1",), "S11": ("Sitting 1",)}
    assert found.names == names
    assert found.subjects["S11"].model_file == "S11.osim"
    files.assert_same_rig(found.subjects["S9"].rig, files.rig(), atol=1e-4)
    one = found.read("S9", "Sitting 1")
    assert (one.markers.rate_hz, one.motion.rate_hz, one.markers.start_s) == (50, 50, 0)
    np.testing.assert_array_equal(one.markers.points, numbers["markers"])
    assert one.markers.valid.all()
    # OpenSim leaves translations and the coupled patella as they are.
    assert one.rotational == files.ROTATIONAL
    in_file = np.where(files.ROTATIONAL, one.motion.q * 180 / np.pi, one.motion.q)
    np.testing.assert_allclose(in_file, numbers["kinematics"], rtol=0, atol=1e-12)


def test_the_world_of_the_cameras_is_the_published_roll_of_ground(tmp_path):
    points = files.publish_h5(tmp_path / "a.h5", simspine.NAMES)["markers"]
    np.testing.assert_array_equal(to_world(points), points[..., [2, 0, 1]])
    np.testing.assert_array_equal(to_ground(to_world(points)), points)


def test_columns_go_by_name_so_right_before_left_is_read_as_left_before_right(tmp_path):
    # The published writer has R before L, the published reader L before R.
    right, left = (simspine.NAMES.index(f"{s}Clavicle") for s in "RL")
    assert right < left
    points = files.publish_h5(tmp_path / "a.h5", simspine.NAMES)["markers"]
    spine = open_simspine(tmp_path / "a.h5", names=simspine.SPINE_NAMES)
    found = spine.read("S9", "Sitting 1").markers
    assert found.names == simspine.SPINE_NAMES
    assert found.names.index("LClavicle") < found.names.index("RClavicle")
    for name in ("LClavicle", "RClavicle", "LLatissimus", "RLatissimus", "Nose"):
        np.testing.assert_array_equal(
            found.points[:, found.names.index(name)],
            points[:, simspine.NAMES.index(name)],
        )


def test_a_file_in_another_order_is_read_in_the_published_one(tmp_path):
    mixed = tuple(reversed(simspine.NAMES))
    points = files.publish_h5(tmp_path / "a.h5", mixed)["markers"]
    found = next(iter(open_simspine(tmp_path / "a.h5")))
    assert found.markers.names == simspine.NAMES
    np.testing.assert_array_equal(found.markers.points, points[:, ::-1])


def test_what_is_written_is_the_published_layout(tmp_path):
    wanted = files.sequence(start_s=1.5)
    write_simspine(tmp_path / "a.h5", files.subjects("S1"), [wanted])
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["metadata/markers_names"].dtype.kind == "S"
        assert tuple(n.decode() for n in file["metadata/markers_names"]) == (
            simspine.NAMES
        )
        assert [n.decode() for n in file["metadata/kinematic_axes"]] == [*files.AXES]
        assert file["S1"].attrs["model_file"] == "S1.osim"
        assert set(file["S1/calibration"]) == {"names", "K", "dist", "R", "t", "size"}
        assert file["S1/calibration/R"].shape == (2, 3, 3)
        group = file["S1/Walking_1"]
        assert group["markers"].compression == group["kinematics"].compression == "gzip"
        assert np.isnan(group["markers"][0, 2]).all()
        assert np.isnan(group["markers"][()]).sum() == 3
        in_degrees = wanted.motion.q * np.where(files.ROTATIONAL, 180 / np.pi, 1)
        np.testing.assert_allclose(group["kinematics"][()], in_degrees, rtol=1e-14)
        times = 1.5 + np.arange(6) / 50
        np.testing.assert_allclose(group["timestamps"][()], times, rtol=0, atol=1e-15)


@pytest.mark.parametrize("names", [simspine.NAMES, simspine.SPINE_NAMES])
def test_round_trip_and_the_same_bytes_every_time(tmp_path, names):
    people = files.subjects("S9", "S11")
    wanted = [
        files.sequence("S9", "Walking_1", names=names, start_s=0.4),
        files.sequence("S9", "WalkingDog_1", names=names, frames=1, seed=1),
        files.sequence("S11", "Sitting_1", names=names, frames=300, seed=2),
    ]
    for name in ("a.h5", "b.h5"):
        write_simspine(tmp_path / name, people, iter(wanted), names=names)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    found = open_simspine(tmp_path / "a.h5")
    for person in people:
        files.assert_same_rig(found.subjects[person.name].rig, person.rig, atol=1e-12)
    for sequence in (wanted[0], wanted[2]):
        files.assert_same(
            found.read(sequence.subject, sequence.action), sequence, atol=1e-12
        )
    # One frame has no rate.
    assert found.read("S9", "WalkingDog_1").motion.rate_hz == 1
    assert [s.name for s in found] == [
        "S9_WalkingDog_1",
        "S9_Walking_1",
        "S11_Sitting_1",
    ]


def test_single_precision(tmp_path):
    wanted = files.sequence(frames=40)
    path = tmp_path / "a.h5"
    write_simspine(path, files.subjects("S1"), [wanted], dtype=np.float32)
    with h5py.File(path) as file:
        assert file["S1/Walking_1/markers"].dtype == np.float32
        assert file["S1/calibration/K"].dtype == np.float32
    files.assert_same(open_simspine(path).read("S1", "Walking_1"), wanted, atol=1e-6)


def test_the_file_says_which_coordinates_are_angles(tmp_path):
    given = files.sequence()
    turned = (True, True, False, True, True)
    wanted = SpineSequence("S1", "Walking_1", given.markers, given.motion, turned)
    write_simspine(tmp_path / "a.h5", files.subjects("S1"), [wanted])
    found = open_simspine(tmp_path / "a.h5").read("S1", "Walking_1")
    files.assert_same(found, wanted, atol=1e-12)


def _markers_from(start_s: float) -> SpineSequence:
    given = files.sequence()
    markers = given.markers
    return SpineSequence(
        "S1",
        "Walking_1",
        MarkerTrajectory(markers.points, markers.valid, markers.names, 50.0, start_s),
        given.motion,
        given.rotational,
    )


def _motion(q: np.ndarray, names=files.AXES) -> SpineSequence:
    given = files.sequence(action="Other", frames=len(q))
    return SpineSequence(
        "S1", "Other", given.markers, Motion(q, names, 50.0), given.rotational
    )


@pytest.mark.parametrize(
    ("sequences", "said"),
    [
        ([], "a.h5: there is no sequence to write"),
        ([files.sequence("S2")], "'S2_Walking_1' is of no subject given"),
        ([files.sequence()] * 2, "/S1 has 'Walking_1' twice"),
        ([files.sequence(action="calibration")], "'calibration' cannot be the name"),
        ([files.sequence(action="a/b")], "'a/b' cannot be the name"),
        ([files.sequence(names=simspine.SPINE_NAMES)], "S1_Walking_1 lacks REye, LEye"),
        ([_markers_from(0.5)], "starts at 0.5 s in its markers and at 0 s"),
        ([_motion(np.full((3, 5), np.nan))], "a coordinate that is not finite"),
        (
            [files.sequence(), _motion(np.zeros((3, 5)), ("a", "b", "c", "d", "e"))],
            "'S1_Other' has other coordinates than the sequence before it",
        ),
    ],
)
def test_sequences_that_cannot_be_written_leave_no_file(tmp_path, sequences, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        write_simspine(tmp_path / "a.h5", files.subjects("S1"), sequences)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_failure_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.h5"
    write_simspine(path, files.subjects("S1"), [files.sequence()])
    before = path.read_bytes()

    def broken():
        yield files.sequence(seed=5)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_simspine(path, files.subjects("S1"), broken())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_sequences_are_let_go_as_they_are_written(tmp_path):
    seen: list[weakref.ref] = []

    def made():
        for take in range(5):
            # The last one may still be in hand while the next is made.
            assert not any(ref() is not None for ref in seen[:-1])
            sequence = files.sequence(action=f"Walking_{take}")
            seen.append(weakref.ref(sequence))
            yield sequence

    write_simspine(tmp_path / "a.h5", files.subjects("S1"), made())
    assert len(seen) == 5


def test_fisheyes_and_other_sets_of_keypoints_are_refused(tmp_path):
    person = files.subjects("S1")[0]
    rig = person.rig.replace(fisheye=(False, True), distortion=np.zeros((2, 4)))
    with pytest.raises(ValueError, match="camera of S1 has a fisheye lens"):
        write_simspine(tmp_path / "a.h5", [type(person)("S1", rig)], [files.sequence()])
    with pytest.raises(ValueError, match="2 keypoints are asked for; they must be"):
        write_simspine(
            tmp_path / "a.h5", [person], [files.sequence()], names=("Hip", "Neck")
        )


def _set(file: h5py.File, name: str, values) -> None:
    del file[name]
    file[name] = values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.pop("metadata/markers_names"), "/metadata/markers_names is missi"),
        (
            lambda f: _set(f, "metadata/kinematic_axes", np.array([b"a"] * 5)),
            "/metadata/kinematic_axes has 'a' more than once",
        ),
        (
            lambda f: _set(f, "metadata/markers_names", np.array([b"Hip", b"Tail"])),
            "markers_names has 'Tail', which is none of SIMSPINE's",
        ),
        (
            lambda f: _set(f, "metadata/markers_names", np.array([b"Hip", b"Neck"])),
            "markers_names lacks Spine_01, Spine_02, Spine_03, Spine_04, Spine_05, ...",
        ),
        (lambda f: f.pop("S9/calibration"), "/S9/calibration is missing"),
        (lambda f: f.pop("S11/calibration/t"), "/S11/calibration/t is missing"),
        (
            lambda f: _set(f, "S9/calibration/K", np.zeros((1, 3, 3))),
            "/S9/calibration/K has shape (1, 3, 3), and its first axis must be the 2",
        ),
        (
            lambda f: _set(f, "S9/calibration/K", np.ones((2, 2, 3))),
            "/S9/calibration: camera '54138969': matrix has 6 numbers",
        ),
        (
            lambda f: _set(f, "S9/calibration/R", np.ones((2, 3, 3))),
            "camera '54138969': the rotation is not one",
        ),
        (lambda f: f.pop("S9/Sitting 1/timestamps"), "/S9/Sitting 1/timestamps is mis"),
        (
            lambda f: _set(f, "S9/Sitting 1/timestamps", np.zeros(0)),
            "/S9/Sitting 1 is empty",
        ),
        (
            lambda f: _set(f, "S9/Sitting 1/kinematics", np.zeros((3, 5))),
            "/S9/Sitting 1/kinematics has shape (3, 5), and (4, 5) is needed",
        ),
        (
            lambda f: _set(f, "S9/Sitting 1/markers", np.zeros((4, 15, 3))),
            "/S9/Sitting 1/markers has shape (4, 15, 3), and (4, 37, 3) is needed",
        ),
        (
            lambda f: _set(f, "S9/Sitting 1/timestamps", [0, 0.02, 0.06, 0.08]),
            "/S9/Sitting 1/timestamps: the times are not evenly spaced",
        ),
        (
            lambda f: _set(f, "S9/Sitting 1/kinematics", np.full((4, 5), np.nan)),
            "/S9/Sitting 1/kinematics has a number that is not finite in frame 0",
        ),
    ],
)
def test_files_with_faults_are_refused_with_their_field(tmp_path, change, said):
    path = tmp_path / "a.h5"
    files.publish_h5(path, simspine.NAMES)
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        open_simspine(path).read("S9", "Sitting 1")
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.h5: there is no such file"):
        open_simspine(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_text("no")
    with pytest.raises(ValueError, match=r"a\.h5: not an HDF5 file"):
        open_simspine(tmp_path / "a.h5")
    files.publish_h5(tmp_path / "a.h5", simspine.SPINE_NAMES)
    found = open_simspine(tmp_path / "a.h5")
    with pytest.raises(
        ValueError, match="/S9/Sitting is not there; there are Sitting 1"
    ):
        found.read("S9", "Sitting")
    with pytest.raises(ValueError, match="/S1/Sitting is not there; there are S9, S11"):
        found.read("S1", "Sitting")
    with pytest.raises(ValueError, match="lacks REye"):
        open_simspine(tmp_path / "a.h5", names=simspine.NAMES)
