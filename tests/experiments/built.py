"""Small builds of data sets, for tests of what they leave and what they refuse."""

import hashlib
from pathlib import Path

import pytest
from ml_collections import ConfigDict

import simspine_jax as sj
from configs import build_dataset as config_file
from experiments import _simulation, build_dataset
from simspine_jax.io import ansur
from third_party import fetch


def sources() -> _simulation.Sources:
    """People and model without captured clips, which take time to fit."""
    survey = fetch.fetch("nimblephysics-0.10.52.1").glob(_simulation._SURVEY)
    model = fetch.fetch("pose2sim-0.8.4") / _simulation._MODEL
    return _simulation.Sources(
        sj.load_model(model), ansur.read_ansur(sorted(survey)), {}, (model,)
    )


def small(**fields) -> ConfigDict:
    """Two short sequences of one subject, not scaled."""
    config = config_file.get_config("tiny").unlock()
    config.simulation.subjects = ("S9",)
    config.simulation.actions = ("Greeting", "Sitting")
    config.simulation.frames = 30
    config.scale.method = "none"
    config.update(fields)
    return config.lock()


def build(workdir: Path, config: ConfigDict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds in this process."""
    made = sources()
    monkeypatch.setattr(_simulation, "load", lambda: made)
    build_dataset.main(config, workdir)


def hashes(workdir: Path) -> dict[str, str]:
    """Digest of every file of the data set and of its parts."""
    files = [*workdir.glob("dataset/**/*"), *workdir.glob("work/**/*")]
    digest = lambda file: hashlib.sha256(file.read_bytes()).hexdigest()
    return {str(f.relative_to(workdir)): digest(f) for f in files if f.is_file()}
