import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments import _app, _records

ROOT = Path(__file__).resolve().parents[2]

EXPERIMENT = '''
"""A toy experiment."""

from experiments import _app


def main(config, workdir):
    import jax
    import jax.numpy as jnp
    import numpy as np

    print("dtype", jnp.ones(1).dtype)
    print("cache", jax.config.jax_compilation_cache_dir)
    if config.fault == "file":
        open("absent.trc")
    if config.fault == "ours":
        from simspine_jax.io import atomic

        atomic.write_text("nowhere/a.txt", "x")
    if config.fault == "traced":
        def check(x):
            raise ValueError("traced: a sentence")

        jax.jit(check)(1.0)
    if config.fault == "library":
        np.zeros(2).reshape(3)
    if config.fault == "bug":
        config.fault.no_such_attribute
    _app.write_metrics(workdir, {"value": config.solver.value})
    _app.write_manifest(workdir, config, [__file__], {"value": "m"})


if __name__ == "__main__":
    _app.run(main, "toy")
'''

CONFIG = """
from ml_collections import ConfigDict


def get_config(arg=""):
    if arg not in ("", "tiny"):
        raise ValueError(f"configs/toy.py has no variant {arg!r}; it has tiny")
    config = ConfigDict()
    config.fault = ""
    config.float64 = True
    config.solver = dict(value=0.5 if arg else 1.5, limit=float("inf"), steps=3)
    return config
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a toy experiment in it."""
    clone = tmp_path_factory.mktemp("clone")
    for folder in ("experiments", "configs"):
        (clone / folder).mkdir()
        (clone / folder / "__init__.py").touch()
    for folder in ("simspine_jax", "third_party"):
        (clone / folder).symlink_to(ROOT / folder, target_is_directory=True)
    for name in ("_app.py", "_records.py"):
        text = (ROOT / "experiments" / name).read_text(encoding="utf-8")
        (clone / "experiments" / name).write_text(text, encoding="utf-8")
    (clone / "experiments" / "toy.py").write_text(EXPERIMENT.strip())
    (clone / "configs" / "toy.py").write_text(CONFIG.strip())
    return clone


@pytest.fixture
def toy(project: Path, tmp_path: Path):
    """Runs the toy from an empty folder."""

    def run(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "experiments.toy", *flags]
        variables = {**os.environ, "PYTHONPATH": str(project), **environment}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def metrics(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())


def test_runs_with_no_flag_from_any_folder(toy, tmp_path: Path):
    done = toy()
    assert (done.returncode, done.stderr) == (0, "")
    assert "dtype float64" in done.stdout
    folder = tmp_path / "runs" / "toy"
    assert metrics(folder) == {"value": 1.5}
    assert sorted(os.listdir(folder)) == ["manifest.json", "metrics.json"]


def test_manifest_says_what_made_the_results(toy, project: Path, tmp_path: Path):
    assert toy("--workdir=here", "--config.solver.steps=7").returncode == 0
    manifest = json.loads((tmp_path / "here" / "manifest.json").read_text())
    assert manifest["command"] == (
        "python -m experiments.toy --workdir=here --config.solver.steps=7"
    )
    solver = {"value": 1.5, "limit": "Infinity", "steps": 7}
    assert manifest["config"]["solver"] == solver
    assert manifest["units"] == {"value": "m"}
    program = project / "experiments" / "toy.py"
    assert manifest["inputs"] == {str(program): _records._sha256(program)}
    assert manifest["packages"]["numpy"] == np.__version__
    assert manifest["git_commit"] is None


@pytest.mark.parametrize("form", ["--config=configs/toy.py:tiny", "--config"])
def test_variant_is_found_from_any_folder(toy, tmp_path: Path, form: str):
    flags = [form] if "=" in form else [form, "configs/toy.py:tiny"]
    assert toy(*flags, "--workdir=w").returncode == 0
    assert metrics(tmp_path / "w") == {"value": 0.5}


def test_own_config_file_comes_before_the_project_s(toy, tmp_path: Path):
    (tmp_path / "mine.py").write_text(CONFIG.replace("1.5", "2.5"))
    assert toy("--config=mine.py", "--workdir=w").returncode == 0
    assert metrics(tmp_path / "w") == {"value": 2.5}


def test_overrides_and_precision(toy, tmp_path: Path):
    done = toy("--config.solver.value=2", "--config.float64=false")
    assert done.returncode == 0
    assert "dtype float32" in done.stdout
    assert metrics(tmp_path / "runs" / "toy") == {"value": 2.0}


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--config.falt=x", '\'falt\'; Did you mean "fault" instead of "falt"?'),
        ("--config.solver.stepz=1", '"steps" instead of "stepz"?'),
        ("--config.solver.steps=few", "--config.solver.steps=few: invalid literal"),
        ("--config=configs/toy.py:huge", "has no variant 'huge'; it has tiny"),
        ("--config=configs/toi.py", "'configs/toi.py', which is not a file; the proj"),
        ("--config=", "names '', which is not a file"),
        ("--worckdir=x", "Unknown command line flag 'worckdir'. Did you mean: work"),
        ("stray", "'stray' is not a flag"),
        ("--config.fault=file", "absent.trc: No such file or directory"),
        ("--config.fault=ours", "nowhere/a.txt: the folder nowhere does not exist"),
        ("--config.fault=traced", "error: traced: a sentence"),
        ("--config.solver.value=nan", "'value' is nan; a metric must be finite"),
        ("--workdir=taken", "taken: File exists"),
    ],
)
def test_user_s_mistake_is_one_sentence_and_code_2(
    toy, tmp_path: Path, flag: str, sentence: str
):
    (tmp_path / "taken").touch()
    done = toy(flag)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert not list(tmp_path.rglob("metrics.json"))


@pytest.mark.parametrize("fault", ["library", "bug"])
def test_bug_keeps_its_traceback(toy, fault: str):
    done = toy(f"--config.fault={fault}")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_help_lists_the_configuration_without_jax(toy, project: Path, tmp_path: Path):
    (tmp_path / "jax.py").write_text("1 / 0")  # Found first if it is imported.
    done = toy("--help", "--config=configs/toy.py:tiny", PYTHONPATH=f".:{project}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("A toy experiment.")
    assert "--config.solver.value=0.5" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_compiled_programs_are_kept_by_jaxlib_and_cpu(toy, tmp_path: Path):
    free = {"JAX_COMPILATION_CACHE_DIR": "", "SIMSPINE_JAX_CACHE": ""}
    done = toy(**free, XDG_CACHE_HOME=str(tmp_path / "cache"), HOME=str(tmp_path))
    assert done.returncode == 0
    line = next(line for line in done.stdout.splitlines() if line.startswith("cache"))
    folder = Path(line.removeprefix("cache "))
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path)
    assert folder.name.startswith("jaxlib-")
    off = toy(**{**free, "SIMSPINE_JAX_CACHE": "off"})
    assert off.returncode == 0
    assert tmp_path.name not in off.stdout


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "1", None, True, {"a": 1.0}, np.ones(2)]
)
def test_metrics_are_finite_numbers(tmp_path: Path, value):
    with pytest.raises(ValueError, match=r"^metrics\.json: 'speed' is .*a metric must"):
        _app.write_metrics(tmp_path, {"fine": 1.0, "speed": value})
    assert list(tmp_path.iterdir()) == []


def test_metrics_of_numpy_become_plain_numbers(tmp_path: Path):
    given = {"a": np.float32(0.5), "b": np.int64(3), "c": 2}
    _app.write_metrics(tmp_path, given)
    assert (tmp_path / "metrics.json").read_text() == (
        '{\n  "a": 0.5,\n  "b": 3,\n  "c": 2\n}\n'
    )


def test_missing_input_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"absent\.trc"):
        _app.write_manifest(tmp_path, ConfigDict(), [tmp_path / "absent.trc"])
    assert list(tmp_path.iterdir()) == []


def test_progress_passes_the_items_on(capsys: pytest.CaptureFixture[str]):
    assert list(_app.progress(range(5), "counting")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err.strip() == ""


def test_manifest_in_a_clone_names_the_commit(tmp_path: Path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    head = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    monkeypatch.setattr(_records, "_ROOT", tmp_path)
    assert _records._git_commit() == head.stdout.strip()
