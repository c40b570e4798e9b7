"""A small spine data set: two people before Human3.6M's cameras."""

from dataclasses import replace

import numpy as np

from simspine_jax.datasets.spine_sequence import SpineSequence, Subject, to_ground
from simspine_jax.io.h36m_cameras import h36m_rig
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory, Motion

AXES = ("pelvis_tilt", "pelvis_tx", "knee_angle_r", "knee_angle_r_beta")
ROTATIONAL = (True, False, True, False)


def subject(name: str = "S1") -> Subject:
    return Subject(name, h36m_rig(name))


def sequence(
    action: str = "Walking 1", frames: int = 4, seed: int = 0, who: str = "S1"
) -> SpineSequence:
    """Returns a cloud of the 37 keypoints within 1 m of a person's place.

    Numbers are float32's, so that a file of float32 has all of them.
    """
    rng = np.random.default_rng(seed)
    world = rng.uniform(-0.5, 0.5, (frames, 37, 3)) + [0.0, 0.0, 1.0]
    points = to_ground(world.astype(np.float32).astype(np.float64))
    valid = rng.random((frames, 37)) > 0.1
    valid[:, 0] = True
    # Out of every image, but known.
    points[0, 10], valid[0, 10] = [60.0, 1.0, 0.0], True
    points = np.where(valid[..., None], points, 0.0)
    markers = MarkerTrajectory(points, valid, simspine.NAMES, 50.0)
    q = rng.uniform(-1, 1, (frames, len(AXES)))
    return SpineSequence(who, action, markers, Motion(q, AXES, 50.0), ROTATIONAL)


def pairs() -> list[tuple[Subject, SpineSequence]]:
    s1, s5 = subject("S1"), subject("S5")
    return [
        (s1, sequence("Walking 1", 4, 0)),
        (s1, sequence("WalkingDog", 3, 1)),
        (s5, sequence("Sitting.x_2", 1, 2, "S5")),
    ]


def changed(one: SpineSequence, **changes) -> SpineSequence:
    """Returns a sequence with other fields of its markers or motion."""
    motion = {n: v for n, v in changes.items() if n in ("q", "coordinate_names")}
    markers = {n: v for n, v in changes.items() if n in ("points", "valid", "names")}
    own = {n: v for n, v in changes.items() if n not in {**motion, **markers}}
    return replace(
        one,
        markers=one.markers.replace(**markers),
        motion=one.motion.replace(**motion),
        **own,
    )


def assert_same(found: SpineSequence, given: SpineSequence, names) -> None:
    """Compares all that the files keep; angles to rounding, the rest exactly."""
    columns = [given.markers.names.index(name) for name in names]
    assert (found.subject, found.action) == (given.subject, given.action)
    assert found.rotational == given.rotational
    assert found.motion.coordinate_names == given.motion.coordinate_names
    assert found.markers.names == tuple(names)
    assert found.markers.rate_hz == found.motion.rate_hz == given.motion.rate_hz
    np.testing.assert_array_equal(
        found.markers.points, given.markers.points[:, columns]
    )
    np.testing.assert_array_equal(found.markers.valid, given.markers.valid[:, columns])
