import os
import tracemalloc
from pathlib import Path

import numpy as np
import opensim  # noqa: TID251
import pytest

from simspine_jax.io import storage, streams, trc
from simspine_jax.reference import opensim_load
from simspine_jax.types import MarkerTrajectory, Motion


@pytest.fixture(autouse=True, scope="module")
def _quiet_opensim() -> None:
    opensim_load.quiet()


def trial(frames: int, markers: int = 4) -> MarkerTrajectory:
    rng = np.random.default_rng(frames)
    valid = rng.random((frames, markers)) < 0.8
    valid[0] = True
    points = np.where(valid[..., None], rng.normal(size=(frames, markers, 3)), 0.0)
    return MarkerTrajectory(
        points=points,
        valid=valid,
        names=tuple(f"m{i}" for i in range(markers)),
        rate_hz=120.0,
        start_s=2.5,
    )


def motion(start: int, stop: int) -> Motion:
    frame = np.arange(start, stop)
    return Motion(
        q=np.stack([np.sin(frame), np.cos(frame)], axis=1),
        coordinate_names=("knee", "pelvis_tx"),
        rate_hz=100.0,
        start_s=start / 100,
    )


def writer(path: Path, flags: tuple[bool, ...] = (True, False)) -> streams.MotWriter:
    return streams.MotWriter(
        path, ("knee", "pelvis_tx"), coordinate_is_rotational=flags
    )


@pytest.mark.parametrize("chunk", [1, 7, 10, 20, 21])
def test_pieces_together_are_the_whole_trial(tmp_path: Path, chunk: int):
    path = tmp_path / "a.trc"
    trc.write_trc(path, trial(20))
    whole = trc.read_trc(path)
    reader = streams.TrcReader(path, chunk_frames=chunk)
    assert (reader.names, reader.rate_hz) == (whole.names, whole.rate_hz)
    assert reader.header_frames == 20
    for _ in range(2):  # each iteration starts at the top
        pieces = list(reader)
        lengths = [len(piece.points) for piece in pieces]
        assert lengths[:-1] == [chunk] * (len(pieces) - 1)
        for field in ("points", "valid"):
            joined = np.concatenate([getattr(piece, field) for piece in pieces])
            np.testing.assert_array_equal(joined, getattr(whole, field))
        times = np.concatenate([piece.times_s for piece in pieces])
        np.testing.assert_allclose(times, whole.times_s, rtol=0, atol=1e-12)


def test_reading_needs_no_more_memory_for_a_longer_trial(tmp_path: Path):
    peaks = []
    for frames in (2000, 16000):
        path = tmp_path / f"{frames}.trc"
        trc.write_trc(path, trial(frames, 3))
        reader = streams.TrcReader(path, chunk_frames=500)
        tracemalloc.start()
        assert sum(len(piece.points) for piece in reader) == frames
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_errors_and_warnings_below_the_header_come_while_iterating(tmp_path: Path):
    path = tmp_path / "a.trc"
    trc.write_trc(path, trial(6))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]))
    with pytest.warns(UserWarning, match="4 data rows were read, fewer than the"):
        assert len(list(streams.TrcReader(path, chunk_frames=2))) == 2
    path.write_text("".join([*lines[:-1], lines[-1].replace("\t", "\tx", 3)]))
    pieces = iter(streams.TrcReader(path, chunk_frames=2))
    next(pieces)
    next(pieces)
    with pytest.raises(ValueError, match="line 12 has 'x.* in its second column"):
        next(pieces)


def test_a_trial_without_rows_or_with_too_narrow_rows(tmp_path: Path):
    path = tmp_path / "a.trc"
    trc.write_trc(path, trial(1))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:6]))
    with pytest.raises(ValueError, match="no data row"):
        list(streams.TrcReader(path))
    path.write_text("".join(lines[:6]) + "1\t2.5\t1\t2\t3\n")
    with pytest.raises(
        ValueError, match="widest data row has 5 columns, but 4 markers"
    ):
        list(streams.TrcReader(path))


def test_bad_header_missing_file_and_bad_chunk(tmp_path: Path):
    path = tmp_path / "a.trc"
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        streams.TrcReader(path)
    path.write_text("nothing")
    with pytest.raises(ValueError, match="not a TRC file"):
        streams.TrcReader(path)
    with pytest.raises(ValueError, match="chunk_frames is 0, and it must be positive"):
        streams.TrcReader(path, chunk_frames=0)


def test_motion_written_in_pieces_is_the_motion_written_at_once(tmp_path: Path):
    path = tmp_path / "a.mot"
    with writer(path) as out:
        for start, stop in ((0, 40), (40, 40), (40, 100), (100, 123)):
            out.write(motion(start, stop))
        assert not path.exists()
    assert os.listdir(tmp_path) == ["a.mot"]
    read = storage.read_mot(path)
    np.testing.assert_allclose(read.q, motion(0, 123).q, rtol=1e-15)
    assert (read.rate_hz, read.start_s) == (100.0, 0.0)
    table = opensim.TimeSeriesTable(str(path))
    assert table.getTableMetaDataString("nRows").strip() == "123"
    expected = motion(0, 123).q.copy()
    expected[:, 0] = np.degrees(expected[:, 0])
    values = table.getMatrix().to_numpy().copy()
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    assert opensim.Storage(str(path)).getSize() == 123


def write_all(path: Path, *pieces: Motion, stop: BaseException | None = None) -> None:
    with writer(path) as out:
        for piece in pieces:
            out.write(piece)
        if stop is not None:
            raise stop


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_interrupted_writer_leaves_what_was_there(tmp_path: Path, kind):
    path = tmp_path / "a.mot"
    path.write_text("old")
    with pytest.raises(kind, match="stop"):
        write_all(path, motion(0, 10), stop=kind("stop"))
    assert os.listdir(tmp_path) == ["a.mot"]
    assert path.read_text() == "old"


def test_no_frame_at_all_is_an_error_and_leaves_no_file(tmp_path: Path):
    with pytest.raises(ValueError, match="a.mot: no frame was written"):
        write_all(tmp_path / "a.mot")
    assert os.listdir(tmp_path) == []


PIECES = {
    "piece has other coordinates": motion(10, 20).replace(coordinate_names=("a", "b")),
    "piece begins at 0.05 s, but frames up to 0.09 s": motion(5, 20),
    "'knee' is nan at time 0.1 s": motion(10, 11).replace(q=np.array([[np.nan, 0]])),
}


@pytest.mark.parametrize("message", PIECES)
def test_bad_pieces_are_refused_and_leave_no_file(tmp_path: Path, message: str):
    with pytest.raises(ValueError, match=message):
        write_all(tmp_path / "a.mot", motion(0, 10), PIECES[message])
    assert os.listdir(tmp_path) == []


def test_flags_names_and_folder_are_checked_on_entering(tmp_path: Path):
    with pytest.raises(ValueError, match="one flag a column is needed"):
        writer(tmp_path / "a.mot", (True,)).__enter__()
    bad = streams.MotWriter(
        tmp_path / "a.mot", ("a b",), coordinate_is_rotational=[True]
    )
    with pytest.raises(ValueError, match="column 'a b' cannot be written"):
        bad.__enter__()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        writer(tmp_path / "no" / "a.mot").__enter__()
    assert os.listdir(tmp_path) == []


def test_writing_outside_the_block(tmp_path: Path):
    with pytest.raises(RuntimeError, match="outside its with block"):
        writer(tmp_path / "a.mot").write(motion(0, 1))
