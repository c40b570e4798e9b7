"""HDF5 files on a disk that takes no more, in a process that HDF5 might end."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from simspine_jax.io import own_h5

ROOT = Path(__file__).resolve().parents[2]
_FULL = """
import resource, sys
import numpy as np
from simspine_jax.io import own_h5

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
numbers = np.random.default_rng(0).normal(size=(40, 500))
try:
    with own_h5.created(sys.argv[1]) as file:
        for i, row in enumerate(numbers):
            group = file.create_group(f"group {i}")
            group.create_dataset("packed", data=row, compression="gzip", shuffle=True)
            group.create_dataset("plain", data=row)
except OSError as error:
    print(f"{error.filename}: {error.strerror}")
    sys.exit(2)
"""


@pytest.mark.parametrize("size", [100, 20_000, 200_000])
def test_a_full_disk_is_one_error_and_no_file(tmp_path, size):
    path = tmp_path / "full.h5"
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(path), str(size)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == f"{path}: File too large\n"
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_what_hdf5_writes_itself(tmp_path):
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(70, 1000))
    plain, ours = tmp_path / "plain.h5", tmp_path / "ours.h5"

    def fill(file: h5py.File) -> None:
        for i, row in enumerate(numbers):
            file.create_dataset(f"{i % 3}/{i}", data=row, compression="gzip")
        file.attrs["name"] = "numbers"

    with h5py.File(plain, "w") as file:
        fill(file)
    with own_h5.created(ours) as file:
        fill(file)
    assert ours.read_bytes() == plain.read_bytes()
    with pytest.raises(KeyError, match="mine"), own_h5.created(ours) as file:
        raise KeyError("mine")
    assert ours.read_bytes() == plain.read_bytes()
    assert sorted(tmp_path.iterdir()) == [ours, plain]
