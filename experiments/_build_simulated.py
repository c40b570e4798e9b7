"""Simulated recordings of a data set, and their truth."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from experiments import _simulation, _trial
from experiments._build_sources import Source, Take, Truth

if TYPE_CHECKING:
    from simspine_jax.datasets.capture_folder import Recording
    from simspine_jax.datasets.observation import NoiseModel

_RAMP = "Waiting"  # the action in whose place a lumbar spine is bent


def open_simulated(config: Any) -> Source:
    """Returns simulated people as ``config.simulation`` has them."""
    from simspine_jax.datasets import simulate
    from simspine_jax.datasets.capture_folder import Recording
    from simspine_jax.datasets.licences import SIMULATED
    from simspine_jax.io import h36m_cameras

    options = simulate.SimulationOptions(
        **_trial.given(config.simulation), noise=_noise(config.noise)
    )
    every = {
        s.name: (Take(s.subject, f"{s.action}_{s.take}"), s)
        for s in simulate.sequences(options)
    }
    _trial.say("reading people and clips")
    sources = _simulation.load()

    def made(take: Take) -> simulate.Simulated:
        inputs = (sources.model, sources.survey)
        sequence = every[take.name][1]
        if config.ramp_degrees and sequence.action == _RAMP:
            return _ramp(*inputs, config.ramp_degrees, options, sequence)
        return simulate.simulate_sequence(*inputs, sources.clips, options, sequence)

    def read(take: Take) -> "Recording":
        one = made(take)
        return Recording(take.subject, take.action, one.rig, one.detections)

    return Source(
        takes=tuple(take for take, _ in every.values()),
        absent={},
        read=read,
        truth=lambda take: _truth(made(take)),
        rigs={name: h36m_cameras.h36m_rig(name) for name in h36m_cameras.SUBJECTS},
        split=simulate.split_of,
        licence=SIMULATED,
        spine_only=False,
        files=sources.files,
        settings=asdict(options),
    )


def _noise(factor: float) -> "NoiseModel":
    """Returns the detector's errors, scaled; 0 is an exact detector."""
    from simspine_jax.datasets.observation import NoiseModel

    usual = NoiseModel()
    names = ("scatter_m", "drift_m", "hidden_lost", "lost", "wrong")
    return usual.replace(  # pyright: ignore[reportAttributeAccessIssue]
        **{name: factor * getattr(usual, name) for name in names}
    )


def _ramp(model: Any, survey: Any, degrees: float, options: Any, sequence: Any) -> Any:
    """Bends a standing subject's lumbar spine evenly forwards."""
    import numpy as np

    from simspine_jax.datasets import simulate, synthetic_motion

    person, subject = simulate.subject_model(
        model, survey, sequence.subject, options.seed
    )
    motion = synthetic_motion.lumbar_ramp(
        subject, options.frames, options.rate_hz, np.deg2rad(degrees)
    )
    q = np.array(motion.q)
    for name, place in zip(
        ("pelvis_tx", "pelvis_tz"), simulate.middle_of(sequence.subject), strict=True
    ):
        q[:, motion.coordinate_names.index(name)] = place
    moved = replace(motion, q=q)
    return simulate.seen_moving(person, subject, moved, options, sequence)


def _truth(one: Any) -> Truth:
    import numpy as np

    from simspine_jax import MarkerTrajectory
    from simspine_jax.datasets import spine_sequence
    from simspine_jax.skeletons import simspine

    points = spine_sequence.to_ground(one.points)
    rate = one.detections.rate_hz
    seen = np.ones(points.shape[:2], bool)
    return Truth(MarkerTrajectory(points, seen, simspine.NAMES, rate), one.motion)
