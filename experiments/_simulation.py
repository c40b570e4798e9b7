"""What simulated data are made from: model, people and captured clips."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simspine_jax import Model
    from simspine_jax.datasets.action_motion import BaseClip
    from simspine_jax.io.ansur import Measurements

_MODEL = "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
_SURVEY = "nimblephysics/models/rajagopal_data/ANSUR_II_*_Public.csv"
_CLIPS = "pybullet_data/data/motions/humanoid3d_*.txt"
_BVH = "bvhtoolbox-0.1.3/tests/example_files/*.bvh"
_METRES_PER_UNIT = 0.01  # both BVH files are in cm


@dataclass(frozen=True)
class Sources:
    """The generic model, people to draw from, clips, and the files they came from."""

    model: "Model"
    survey: "Measurements"
    clips: "dict[str, BaseClip]"
    files: tuple[Path, ...]


def load() -> Sources:
    """Fetches and reads everything; the clips are fitted to the model."""
    import simspine_jax as sj
    from simspine_jax.datasets import clip_library
    from simspine_jax.io import ansur, bvh, humanoid_clip
    from third_party import fetch

    model_path = fetch.fetch("pose2sim-0.8.4") / _MODEL
    surveys = sorted(fetch.fetch("nimblephysics-0.10.52.1").glob(_SURVEY))
    humanoid = sorted(fetch.fetch("pybullet-3.2.7").glob(_CLIPS))
    spines = sorted(fetch.fetch("bvhtoolbox-0.1.3").glob(_BVH))
    model = sj.load_model(model_path)
    clips = [humanoid_clip.read_humanoid_clip(path) for path in humanoid]
    clips += [bvh.read_bvh(path, metres_per_unit=_METRES_PER_UNIT) for path in spines]
    return Sources(
        model,
        ansur.read_ansur(surveys),
        clip_library.base_clips(model, clips),
        (model_path, *surveys, *humanoid, *spines),
    )
