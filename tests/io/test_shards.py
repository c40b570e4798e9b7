import hashlib
import json
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from simspine_jax.io import shards

# Slow enough on purpose, so that a signal finds it at work.
_WORKER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    import numpy as np
    import h5py
    from simspine_jax.io import shards
    from simspine_jax.io.atomic import atomic_path

    folder = Path(sys.argv[1])
    names = [f"s{i}" for i in range(5)]
    shards.claim(folder, {"frames": 1000})
    read = lambda name: np.random.default_rng(int(name[1:])).normal(size=(200, 50))

    def write(name, values):
        with atomic_path(folder / f"{name}.h5") as path, h5py.File(path, "w") as file:
            for part in range(4):
                file[f"part{part}"] = values[part::4]
                file.flush()
                time.sleep(0.01)

    for name, _ in shards.stream(
        shards.missing(folder, names), read, lambda _, a: np.cumsum(a, axis=0), write
    ):
        print(name, flush=True)
    """
)


def _hashes(folder):
    files = sorted(path for path in folder.iterdir())
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _start(folder):
    command = [sys.executable, "-c", _WORKER, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path):
    once, often = tmp_path / "once", tmp_path / "often"
    assert _start(once).communicate()[0].split() == [f"s{i}" for i in range(5)]
    rng, kills = random.Random(4), 0
    for _ in range(2):
        worker = _start(often)
        assert worker.stdout is not None
        # From its first finished shard on, after any part of the next ones.
        first = worker.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.12))
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        kills += worker.returncode == -signal.SIGKILL
        if not first or worker.returncode == 0:
            break
    _start(often).communicate()
    assert kills >= 2
    assert _hashes(often) == _hashes(once)
    assert len(_hashes(often)) == 6


def test_stream_keeps_order_and_gives_every_shard(tmp_path):
    seen, lock = [], threading.Lock()

    def write(name, made):
        with lock:
            seen.append((name, made))

    names = [f"n{i}" for i in range(5)]
    done = list(shards.stream(names, len, lambda name, size: (name, size), write))
    assert done == [(n, (n, 2)) for n in names]
    assert seen == done
    assert list(shards.stream([], len, lambda *a: a, write)) == []


@pytest.mark.parametrize("step", ["read", "compute", "write"])
def test_an_error_in_any_step_comes_out(step):
    def fail(*_):
        raise ValueError(f"{step} failed")

    steps = {"read": len, "compute": lambda n, s: s, "write": lambda n, m: None}
    steps[step] = fail
    with pytest.raises(ValueError, match=f"{step} failed"):
        list(shards.stream(["a", "b"], **steps))


def test_missing_lists_what_is_not_there(tmp_path):
    (tmp_path / "b.h5").touch()
    assert shards.missing(tmp_path, ("a", "b", "c")) == ("a", "c")


def test_a_folder_belongs_to_its_settings(tmp_path):
    folder = tmp_path / "out"
    shards.claim(folder, {"seed": 1, "sizes": (2, 3)})
    (folder / ".s1-00ff.h5").touch()  # of a killed run
    (folder / "s0.h5").touch()
    shards.claim(folder, {"seed": 1, "sizes": [2, 3]})
    assert {path.name for path in folder.iterdir()} == {"s0.h5", shards.SETTINGS}
    with pytest.raises(ValueError, match=r"seed = 1.*now it is 2"):
        shards.claim(folder, {"seed": 2, "sizes": (2, 3)})
    with pytest.raises(ValueError, match=r"sizes"):
        shards.claim(folder, {"seed": 1})
    assert json.loads((folder / shards.SETTINGS).read_text()) == {
        "seed": 1,
        "sizes": [2, 3],
    }


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"files but no settings\.json"):
        shards.claim(tmp_path, {})
