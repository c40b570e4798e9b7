"""Captured clips on a model, ready for replay in simulated actions."""

from collections.abc import Iterable

from simspine_jax.body.model import Model
from simspine_jax.datasets.action_motion import BaseClip, base_clip
from simspine_jax.fitting.retarget import retarget
from simspine_jax.io.clip import Clip

# Clips of a gait, which repeat themselves.
LOOPS = ("walk", "run", "test_freebvh")


def base_clips(model: Model, clips: Iterable[Clip]) -> dict[str, BaseClip]:
    """Puts clips onto a model by inverse kinematics.

    Args:
        model: Pose2Sim's full-body model.
        clips: What ``io.humanoid_clip`` and ``io.bvh`` read.

    Returns:
        By the clip's name, without the prefix that the DeepMimic clips share.

    Raises:
        ValueError: As ``retarget``.
    """
    plain = lambda name: name.removeprefix("humanoid3d_")
    return {
        plain(found.name): base_clip(
            model, found.motion, loops=plain(found.name) in LOOPS
        )
        for found in retarget(model, tuple(clips))
    }
