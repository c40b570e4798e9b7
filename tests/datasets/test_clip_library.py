import numpy as np

import simspine_jax as sj
from simspine_jax.datasets import clip_library
from simspine_jax.io.humanoid_clip import read_humanoid_clip
from third_party import fetch

_MOTIONS = "pybullet_data/data/motions"


def test_clips_come_by_name_and_know_whether_they_loop(pose2sim_08):
    path = pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    folder = fetch.fetch("pybullet-3.2.7") / _MOTIONS
    files = [folder / f"humanoid3d_{name}.txt" for name in ("walk", "punch")]
    captured = [read_humanoid_clip(file) for file in files]
    found = clip_library.base_clips(sj.load_model(path), captured)
    assert list(found) == ["walk", "punch"]
    assert found["walk"].loops
    assert not found["punch"].loops
    # A person's walk; a puncher stays nearly on the spot.
    assert 0.8 < found["walk"].speed_m_s < 1.6
    for clip, source in zip(found.values(), captured, strict=True):
        assert clip.rate_hz == source.rate_hz
        assert 0.85 * len(source.positions) < len(clip.q) <= len(source.positions)
        assert np.isfinite(clip.q).all()
