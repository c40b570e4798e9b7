import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simspine_jax.io import atomic


def test_writes_the_text_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "a.txt"
    atomic.write_text(path, "Größe\n1\n")
    assert path.read_bytes() == "Größe\n1\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_replaces_an_older_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old, and longer")
    atomic.write_text(str(path), "new")
    assert path.read_text() == "new"


def test_temporary_path_has_the_folder_and_suffix_of_the_final_one(tmp_path: Path):
    with atomic.atomic_path(tmp_path / "report.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert temporary.name != "report.png"
        temporary.write_bytes(b"1")
        assert not (tmp_path / "report.png").exists()
    assert (tmp_path / "report.png").read_bytes() == b"1"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_interrupted_write_leaves_what_was_there(tmp_path: Path, error: type):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with atomic.atomic_path(path) as temporary:
            temporary.write_text("half of a f")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_killed_process_leaves_no_partial_file(tmp_path: Path, kill: signal.Signals):
    path = tmp_path / "a.txt"
    program = (
        "import os, sys\n"
        "from simspine_jax.io import atomic\n"
        "with atomic.atomic_path(sys.argv[1]) as temporary:\n"
        "    with open(temporary, 'w') as file:\n"
        "        file.write('half of a f'), file.flush()\n"
        "        os.kill(os.getpid(), int(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program, str(path), str(int(kill))]
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run(command, cwd=root, check=False).returncode == -kill
    assert not path.exists()


def test_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"a\.txt: the folder .*none does not"):
        atomic.write_text(tmp_path / "none" / "a.txt", "x")


def test_folder_in_place_of_the_file(tmp_path: Path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        atomic.write_text(tmp_path, "x")


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with (
        pytest.raises(FileNotFoundError, match="nothing was written"),
        atomic.atomic_path(path),
    ):
        pass
    assert path.read_text() == "old"


def test_new_files_have_ordinary_permissions(tmp_path: Path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    atomic.write_text(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode
