"""Simulated people in Human3.6M's rig: 2D detections, 3D keypoints and joint angles.

Subjects have the proportions of real people (``anthropometry``), do fifteen actions
(``actions``) and are seen by the four cameras of the Human3.6M subject of that name
(``observation``). Names and splits are Human3.6M's; nothing of its data is used but
the camera constants, and nothing here is a recording of its subjects.

A sequence depends on the options, its subject, action and take only, so that any part
of a data set of any size can be made alone, in any order, again and again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np

from simspine_jax.body import spine_markers
from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.cameras import world_axes
from simspine_jax.datasets import action_motion, actions, anthropometry, observation
from simspine_jax.datasets.action_motion import BaseClip
from simspine_jax.datasets.anthropometry import Person
from simspine_jax.datasets.observation import NoiseModel
from simspine_jax.io import h36m_cameras
from simspine_jax.io.ansur import Measurements
from simspine_jax.skeletons import simspine
from simspine_jax.types import CameraRig, Detections2D, Motion

TRAIN_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")
SUBJECTS = (*TRAIN_SUBJECTS, *TEST_SUBJECTS)

_FEET = tuple(i for i, n in enumerate(simspine.NAMES) if n.endswith(("Heel", "Toe")))
_SOLE_M = 0.025  # of the foot's keypoints above the floor
_SOFT_M = 0.005  # over which the foot that carries changes


@dataclass(frozen=True)
class SimulationOptions:
    """What to simulate.

    Attributes:
        subjects: Of Human3.6M's names; their rigs are used.
        actions: Of ``actions.NAMES``.
        takes: How often each subject does each action.
        frames: Of one take.
        rate_hz: Frames per second.
        noise: Of the detections.
        seed: Another seed gives other people and motions.
    """

    subjects: tuple[str, ...] = SUBJECTS
    actions: tuple[str, ...] = actions.NAMES
    takes: int = 2
    frames: int = 2550
    rate_hz: float = 50.0
    noise: NoiseModel = field(default_factory=NoiseModel)
    seed: int = 0


@dataclass(frozen=True)
class Sequence:
    """One take of an action by a subject."""

    subject: str
    action: str
    take: int

    @property
    def name(self) -> str:
        """Such as ``S1_Walking_1``."""
        return f"{self.subject}_{self.action}_{self.take}"


@dataclass(frozen=True)
class Simulated:
    """A sequence and its truth.

    Attributes:
        sequence: Which it is.
        person: Whose proportions the subject has.
        model: The subject; its markers are the 37 keypoints.
        rig: The cameras; their world has Z up and the floor at 0.
        motion: Joint coordinates in the model's ground frame, Y up.
        points: The 37 keypoints in the rig's world, m. Shape [T, 37, 3].
        detections: What the detector gave.
        hidden: Whether the body hides a keypoint from a view. Shape [T, C, 37].
    """

    sequence: Sequence
    person: Person
    model: Model
    rig: CameraRig
    motion: Motion
    points: np.ndarray
    detections: Detections2D
    hidden: np.ndarray


def sequences(options: SimulationOptions) -> tuple[Sequence, ...]:
    """Returns all sequences, by subject, action and take.

    Raises:
        ValueError: A subject or action that does not exist, or nothing to simulate.
    """
    for subject in options.subjects:
        if subject not in h36m_cameras.SUBJECTS:
            raise ValueError(
                f"there is no subject {subject!r}; there are "
                f"{', '.join(h36m_cameras.SUBJECTS)}"
            )
    for name in options.actions:
        actions.action_named(name)
    if options.takes < 1 or options.frames < 1 or not options.rate_hz > 0:
        raise ValueError(
            f"takes ({options.takes}), frames ({options.frames}) and rate_hz "
            f"({options.rate_hz}) must be positive"
        )
    return tuple(
        Sequence(subject, action, take)
        for subject in options.subjects
        for action in options.actions
        for take in range(1, options.takes + 1)
    )


def split_of(subject: str) -> str:
    """Returns "test" for S9 and S11, else "train"."""
    return "test" if subject in TEST_SUBJECTS else "train"


def subject_model(
    model: Model, survey: Measurements, subject: str, seed: int
) -> tuple[Person, Model]:
    """Returns whose proportions a simulated subject has, and the scaled model.

    Args:
        model: The generic full-body model.
        survey: People to draw from.
        subject: Name of the subject.
        seed: Of the data set.
    """
    person = anthropometry.draw_person(survey, (seed, _number(subject)))
    scaled = anthropometry.scaled_to(spine_markers.with_keypoints(model), person)
    return person, jax.tree.map(np.asarray, scaled)


def simulate(
    model: Model,
    survey: Measurements,
    clips: Mapping[str, BaseClip],
    options: SimulationOptions | None = None,
) -> Iterator[Simulated]:
    """Simulates all sequences one after the other, in bounded memory.

    Args:
        model: The generic full-body model of Pose2Sim.
        survey: People to draw the subjects' proportions from.
        clips: Captured clips by name, of this model; may be empty.
        options: What to simulate.

    Yields:
        Every sequence of ``sequences(options)``, in that order.

    Raises:
        ValueError: As ``sequences``, or the model cannot carry the 37 keypoints.
    """
    options = options or SimulationOptions()
    for sequence in sequences(options):
        yield simulate_sequence(model, survey, clips, options, sequence)


def simulate_sequence(
    model: Model,
    survey: Measurements,
    clips: Mapping[str, BaseClip],
    options: SimulationOptions,
    sequence: Sequence,
) -> Simulated:
    """Simulates one sequence; arguments and errors are those of ``simulate``."""
    person, subject = subject_model(model, survey, sequence.subject, options.seed)
    motion = action_motion.draw_motion(
        subject,
        actions.action_named(sequence.action),
        clips,
        options.frames,
        options.rate_hz,
        middle_of(sequence.subject),
        _seed(options, sequence),
    )
    return seen_moving(person, subject, motion, options, sequence)


def middle_of(subject: str) -> tuple[float, float]:
    """Returns X and Z (m, ground) of the place that a subject's cameras look at."""
    rig = h36m_cameras.h36m_rig(subject)
    to_ground = np.asarray(world_axes.TO_GROUND["z"])
    centre = to_ground @ np.asarray(rig.centres).mean(axis=0)
    return float(centre[0]), float(centre[2])


def seen_moving(
    person: Person,
    subject: Model,
    motion: Motion,
    options: SimulationOptions,
    sequence: Sequence,
) -> Simulated:
    """Puts a motion onto the floor in front of the subject's cameras.

    Args:
        person: Whose proportions the subject has.
        subject: The subject's model with the 37 keypoints, as ``subject_model``.
        motion: Of that model; its height above the floor does not matter.
        options: Noise and seed are used.
        sequence: Names the rig and decides the noise, with the seed.
    """
    rig = h36m_cameras.h36m_rig(sequence.subject)
    points, height = _on_the_floor(subject, jnp.asarray(motion.q))
    q = np.array(motion.q)
    q[:, motion.coordinate_names.index("pelvis_ty")] += np.asarray(height)
    points = np.asarray(points) @ np.asarray(world_axes.TO_GROUND["z"])
    bits = np.random.SeedSequence(_seed(options, sequence)).generate_state(1)[0]
    seen = observation.observe(
        rig, points, jax.random.key(int(bits)), motion.rate_hz, options.noise
    )
    return Simulated(
        sequence,
        person,
        subject,
        rig,
        replace(motion, q=q),
        points,
        Detections2D(
            np.asarray(seen.pixels),
            np.asarray(seen.confidence),
            simspine.NAMES,
            motion.rate_hz,
        ),
        np.asarray(seen.hidden),
    )


def _seed(options: SimulationOptions, sequence: Sequence) -> tuple[int, ...]:
    return (
        *(options.seed, _number(sequence.subject)),
        *(actions.NAMES.index(sequence.action), sequence.take),
    )


@jax.jit
def _on_the_floor(model: Model, q: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns keypoints [T, 37, 3] of a body put onto the floor, and its height [T].

    A smooth minimum of the feet's keypoints stands on it.
    """
    points = marker_positions(model, q)
    feet = points[:, np.array(_FEET), 1]
    lowest = -_SOFT_M * jax.nn.logsumexp(-feet / _SOFT_M, axis=1)
    height = _SOLE_M - lowest
    return points.at[..., 1].add(height[:, None]), height


def _number(subject: str) -> int:
    return int(subject[1:])
