"""Builds by several processes, and builds that were killed: the same bytes."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs import build_dataset as config_file
from experiments import build_dataset
from tests.experiments import built, built_files

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 400


@pytest.fixture(scope="module")
def captures(tmp_path_factory) -> Path:
    takes = {"S1": ("Greeting",), "S9": ("Greeting", "Sitting")}
    return built_files.write_captures(tmp_path_factory.mktemp("in") / "files", takes)


def fields(captures: Path) -> dict[str, object]:
    return {
        "source": "captures",
        "data": str(captures),
        "scale.method": "none",
        "together": 1,
    }


@pytest.fixture(scope="module")
def whole(captures, tmp_path_factory) -> dict[str, str]:
    """What one process makes that is left alone."""
    workdir = tmp_path_factory.mktemp("whole")
    config = config_file.get_config("tiny")
    config.update_from_flattened_dict(fields(captures))
    build_dataset.main(config, workdir)
    return built.hashes(workdir)


def started(captures: Path, workdir: Path, **processes) -> subprocess.Popen:
    given = fields(captures) | {f"processes.{n}": v for n, v in processes.items()}
    flags = [f"--config.{name}={value}" for name, value in given.items()]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments.build_dataset"),
            f"--config={ROOT / 'configs/build_dataset.py'}:tiny",
            *flags,
            f"--workdir={workdir}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )


def finished(process: subprocess.Popen) -> str:
    try:
        said, _ = process.communicate(timeout=_PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, said
    return said


def test_two_processes_make_the_bytes_of_one(captures, whole, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = [
        started(captures, tmp_path, coordinator=address, count=2, index=index)
        for index in range(2)
    ]
    said = [finished(process) for process in both]
    assert "process 1 of 2" in said[0]
    assert "3 sequences, 72 frames" in said[0]
    assert "3 sequences, 72 frames" not in said[1]
    assert built.hashes(tmp_path) == whole


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(captures, whole, tmp_path):
    for sign in ("work/sequences/*.h5", "dataset/contents.json"):
        process = started(captures, tmp_path)
        until = time.monotonic() + _PATIENCE_S
        while not list(tmp_path.glob(sign)):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = built.hashes(tmp_path)
        assert len(left) < len(whole)
        made = {n: h for n, h in left.items() if not Path(n).name.startswith(".")}
        assert made.items() <= whole.items()
    finished(started(captures, tmp_path))
    assert built.hashes(tmp_path) == whole
