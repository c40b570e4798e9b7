"""Data sets of which a part is missing, wrong or does not fit on the disk."""

import json
import re
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import _app, build_dataset
from simspine_jax.datasets import simspine_h5, simulate
from simspine_jax.io.h36m_cameras import h36m_rig
from tests.experiments import built, built_files

_KILOBYTES = 30


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def refused(config, workdir: Path) -> str:
    """Builds what cannot be whole; returns the one sentence at the end."""
    with pytest.raises((ValueError, OSError)) as caught:
        build_dataset.main(config, workdir)
    assert _app._is_users_mistake(caught.value)
    said = _app._sentence(caught.value)
    assert "\n" not in said
    return said


def names_in(workdir: Path) -> list[str]:
    """The sequences of the data set, which is complete."""
    dataset = workdir / "dataset"
    found = [one.name for one in simspine_h5.open_simspine(dataset / "simspine.h5")]
    contents = json.loads((dataset / "contents.json").read_text())
    assert list(contents["sequences"]) == found
    trials = sorted(path.stem for path in dataset.glob("positions/*/*.trc"))
    assert trials == sorted(found)
    assert json.loads((workdir / "metrics.json").read_text())["sequences"] == len(found)
    return found


def test_sequences_that_cannot_be_made_are_named_and_the_rest_is_complete(tmp_path):
    actions = ("Greeting", "Sitting", "Waiting", "Posing")
    root = built_files.write_captures(tmp_path / "captures", {"S9": actions})
    take = lambda action: built_files.simulated("S9", action)
    built_files.write_take(root, take("Sitting"), rate_hz=25.0)
    nobody = np.zeros_like(take("Waiting").detections.confidence)
    built_files.write_take(root, take("Waiting"), confidence=nobody)
    damaged = root / "detections/S9/Posing_1.h5"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    workdir = folder(tmp_path / "run")
    said = refused(built_files.captures(root), workdir)
    assert "3 sequences could not be made" in said
    assert "S9_Sitting_1: the detections have 25 frames per second, and the" in said
    assert re.search(r"S9_Waiting_1: \S+: no person is seen by two cameras", said)
    assert re.search(r"S9_Posing_1: \S+Posing_1\.h5: ", said)
    assert "1 are complete in" in said
    assert names_in(workdir) == ["S9_Greeting_1"]
    manifest = json.loads((workdir / "manifest.json").read_text())
    assert set(manifest["failed"]) == {f"S9_{a}_1" for a in actions[1:]}
    assert json.loads((workdir / "metrics.json").read_text())["sequences_failed"] == 3


def test_calibrations_that_were_exchanged_are_found(tmp_path):
    takes = dict.fromkeys(("S1", "S5", "S9"), ("Greeting",))
    root = built_files.write_captures(tmp_path / "captures", takes)
    one, other = (root / f"cameras/Calib_{name}.toml" for name in ("S1", "S5"))
    texts = one.read_text(), other.read_text()
    one.write_text(texts[1])
    other.write_text(texts[0])
    workdir = folder(tmp_path / "run")
    said = refused(built_files.captures(root), workdir)
    for wrong, right in (("S1", "S5"), ("S5", "S1")):
        assert (
            f"{wrong}_Greeting_1: the cameras of {right} fit the detections of "
            f"{wrong}_Greeting_1 better than its own" in said
        )
    assert names_in(workdir) == ["S9_Greeting_1"]
    assert not (workdir / "dataset/models/S1.osim").exists()
    assert not (workdir / "work/subjects/S1.osim").exists()


def test_a_simulated_subject_with_anothers_rig_is_found(tmp_path, monkeypatch):
    simulated = simulate.simulate_sequence

    def exchanged(*inputs):
        made = simulated(*inputs)
        wrong = inputs[-1].subject == "S1"
        return replace(made, rig=h36m_rig("S6")) if wrong else made

    monkeypatch.setattr(simulate, "simulate_sequence", exchanged)
    config = built.small(together=1).unlock()
    config.simulation.update({"frames": built_files.FRAMES, "actions": ("Greeting",)})
    config.simulation.subjects = ("S1", "S9")
    with pytest.raises(ValueError, match="could not be made") as caught:
        built.build(tmp_path, config.lock(), monkeypatch)
    assert "the cameras of S1 fit the detections of S1_Greeting_1 better" in str(
        caught.value
    )
    assert names_in(tmp_path) == ["S9_Greeting_1"]


def test_a_mended_sequence_completes_the_data_set(tmp_path):
    root = built_files.write_captures(
        tmp_path / "captures", {"S9": ("Greeting", "Sitting")}
    )
    config = built_files.captures(root, together=2)
    clean, workdir = folder(tmp_path / "clean"), folder(tmp_path / "run")
    build_dataset.main(config, clean)
    # A person of twice the size: the views agree, the model does not.
    one = built_files.simulated("S9", "Sitting")
    built_files.write_take(root, one, points=built_files.giant(one))
    said = refused(config, workdir)
    assert "1 sequences could not be made (S9_Sitting_1: the fit failed" in said
    assert names_in(workdir) == ["S9_Greeting_1"]
    built_files.write_take(root, one)
    build_dataset.main(config, workdir)
    assert names_in(workdir) == ["S9_Greeting_1", "S9_Sitting_1"]
    assert built.hashes(workdir) == built.hashes(clean)


def test_a_model_is_scaled_again_when_what_it_lacked_can_be_used(tmp_path):
    root = built_files.write_captures(
        tmp_path / "captures", {"S9": ("Greeting", "Sitting")}
    )
    config = built_files.captures(root).unlock()
    config.scale.method = "lengths"
    clean, workdir = folder(tmp_path / "clean"), folder(tmp_path / "run")
    build_dataset.main(config, clean)
    lost = root / "detections/S9/Sitting_1.h5"
    kept = lost.read_bytes()
    lost.write_bytes(b"no detections")
    assert "S9_Sitting_1: " in refused(config, workdir)
    assert "S9_Sitting_1" in (workdir / "work/subjects/S9.lacks").read_text()
    lost.write_bytes(kept)
    build_dataset.main(config, workdir)
    assert built.hashes(workdir) == built.hashes(clean)


def test_another_split_is_written_anew(tmp_path):
    root = built_files.write_captures(
        tmp_path / "captures", {"S1": ("Greeting",), "S9": ("Greeting",)}
    )
    build_dataset.main(built_files.captures(root), tmp_path)
    parts = tmp_path / "dataset/annotations"
    whole = len(np.load(parts / "simspine_train.npz")["S"])
    build_dataset.main(built_files.captures(root, test_subjects=("S9",)), tmp_path)
    sizes = [len(np.load(parts / f"simspine_{n}.npz")["S"]) for n in ("train", "test")]
    assert sizes == [whole // 2, whole // 2]
    build_dataset.main(built_files.captures(root, subjects=("S9",)), tmp_path)
    assert names_in(tmp_path) == ["S9_Greeting_1"]
    assert not (tmp_path / "dataset/models/S1.osim").exists()
    for field in ("subjects", "test_subjects"):
        config = built_files.captures(root, **{field: ("S2",)})
        said = f"config.{field} has 'S2', which is not a subject of the data; they are"
        with pytest.raises(ValueError, match=said):
            build_dataset.main(config, tmp_path)


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    root = built_files.write_captures(tmp_path / "captures", {"S9": ("Greeting",)})
    clean, workdir = folder(tmp_path / "clean"), folder(tmp_path / "run")
    build_dataset.main(built_files.captures(root), clean)
    whole = built.hashes(clean)

    def full(stage: str, **fields) -> str:
        """Builds with a disk that takes no larger files from a stage on."""
        before = getattr(build_dataset, stage)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

        def limited(*inputs):
            resource.setrlimit(resource.RLIMIT_FSIZE, (_KILOBYTES * 1024, hard))
            try:
                return before(*inputs)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        with monkeypatch.context() as patch:
            patch.setattr(build_dataset, stage, limited)
            said = refused(built_files.captures(root, **fields), workdir)
        left = built.hashes(workdir)
        assert not [name for name in left if Path(name).name.startswith(".")]
        # What is there is right; contents.json and settings.json among it.
        assert left.items() <= whole.items()
        return said

    assert "large" in full("_scale")
    assert not (workdir / "work/subjects/S9.osim").exists()
    assert full("_sequences")
    assert not (workdir / "work/sequences/S9_Greeting_1.h5").exists()
    for form, name in {
        "h5": "simspine.h5",
        "npz": "annotations/simspine_train.npz",
        "parquet": "parquet/train.parquet",
        "tree": "positions/S9/S9_Greeting_1.trc",
    }.items():
        assert full("_formats", formats=(form,))
        assert not (workdir / "dataset" / name).exists()
    build_dataset.main(built_files.captures(root), workdir)
    assert built.hashes(workdir) == whole
    shutil.rmtree(workdir)
