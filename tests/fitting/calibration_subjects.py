"""Simulated people whose segments and marker offsets are known.

    python -m tests.fitting.calibration_subjects 4 400

measures the calibration on 4 people with 400 frames each, of fifteen actions.
"""

import sys
from dataclasses import dataclass, replace

import jax
import numpy as np

import simspine_jax as sj
from simspine_jax.body import segments, spine_markers
from simspine_jax.datasets import action_motion, actions, anthropometry
from simspine_jax.datasets import synthetic_motion as synthetic
from simspine_jax.io import ansur
from simspine_jax.types import MarkerTrajectory
from third_party import fetch

_MODEL = "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
_SURVEY = "nimblephysics/models/rajagopal_data/ANSUR*.csv"


@dataclass(frozen=True)
class Subject:
    """A person, and what cameras would have made of it.

    Attributes:
        model: The truth.
        log_ratio: Of each segment of ``segments.of_model``. Shape [S].
        shift: Of each marker from its scaled place, m. Shape [M, 3].
        trials: Noisy markers.
    """

    model: sj.Model
    log_ratio: np.ndarray
    shift: np.ndarray
    trials: list[MarkerTrajectory]


def generic_model() -> sj.Model:
    """The generic full-body model with the 37 keypoints."""
    model = sj.load_model(fetch.fetch("pose2sim-0.8.4") / _MODEL)
    return jax.tree.map(np.asarray, spine_markers.with_keypoints(model))


def survey() -> ansur.Measurements:
    """The people."""
    root = fetch.fetch("nimblephysics-0.10.52.1")
    return ansur.read_ansur(sorted(root.glob(_SURVEY)))


def draw(
    generic: sj.Model,
    people: ansur.Measurements,
    seed: int,
    frames: int,
    *,
    noise_m: float = 0.005,
    offset_sd_m: float = 0.01,
) -> Subject:
    """Draws a subject who does the fifteen actions."""
    person = anthropometry.draw_person(people, (seed, 77))
    scaled = anthropometry.scaled_to(generic, person)
    rng = np.random.default_rng((seed, 78))
    shift = offset_sd_m * rng.normal(size=(len(generic.marker_names), 3))
    model = replace(scaled, marker_offset=np.asarray(scaled.marker_offset) + shift)
    known = segments.of_model(generic)
    factor = np.ones(known.scales.shape[1:])
    for body, row in person.factors.items():
        if body in generic.body_names:
            factor[generic.body_names.index(body)] = row
    log_ratio = (known.scales * np.log(factor)).sum((1, 2)) / known.scales.sum((1, 2))
    trials = [
        synthetic.observe(model, motion, noise_m, seed + k)
        for k, motion in enumerate(_acted(model, seed, frames))
    ]
    return Subject(model, log_ratio, shift, trials)


def _acted(model: sj.Model, seed: int, frames: int) -> list[sj.Motion]:
    each = -(-frames // len(actions.NAMES))
    return [
        action_motion.draw_motion(
            model, actions.action_named(name), {}, each, 2.0, (0.0, 0.0), (seed, k)
        )
        for k, name in enumerate(actions.NAMES)
    ]


def _main(subjects: int, frames: int) -> None:
    from simspine_jax.fitting import calibration

    generic, people = generic_model(), survey()
    options = calibration.CalibrationOptions(frames=frames, offset_sd_m=0.01)
    ratio, ratio_sure, ratio_z, shift, shift_sure, shift_z = ([] for _ in range(6))
    own = []
    for seed in range(subjects):
        truth = draw(generic, people, seed, frames)
        found = calibration.calibrate(generic, truth.trials, None, options)
        print(f"\nsubject {seed}\n{found}" if seed == 0 else f"subject {seed}")
        ratio.append(found.ratio / np.exp(truth.log_ratio) - 1)
        ratio_sure.append(found.ratio_determined)
        ratio_z.append(ratio[-1] / (found.ratio_sd / found.ratio))
        shift.append(found.offset_shift - truth.shift)
        shift_sure.append(found.offset_determined)
        shift_z.append(shift[-1] / found.offset_sd)
        own.append(found.noise_m)
        print(f"  {found.status}, {found.steps} steps, noise {1e3 * own[-1]:.2f} mm, ")
        _tell("ratios, %", 100 * ratio[-1], ratio_sure[-1], found.ratio_share, ratio_z)
        _tell(
            "offsets, mm", 1e3 * shift[-1], shift_sure[-1], found.offset_share, shift_z
        )
    names = found.segments
    print("\nall subjects")
    for what, error, sure, z in (
        ("ratios, %", 100 * np.array(ratio), np.array(ratio_sure), ratio_z),
        ("offsets, mm", 1e3 * np.array(shift), np.array(shift_sure), shift_z),
    ):
        _tell(what, error, sure, np.zeros(error.shape), [np.array(z)])
    share = np.mean(ratio_sure, axis=0)
    print(
        "never determined:",
        ", ".join(n for n, s in zip(names, share, strict=True) if s == 0),
    )
    share = np.mean(shift_sure, axis=0)
    print("components never determined:", _never(found.marker_names, share))


def _tell(what, error, sure, share, z) -> None:
    rms = lambda a: np.sqrt(np.mean(a**2)) if a.size else np.nan
    print(
        f"  {what}: all {error.size} RMS {rms(error):.2f}; with data share >= 50 % "
        f"({(share >= 0.5).sum()}) RMS {rms(error[share >= 0.5]):.2f}; determined "
        f"({sure.sum()}) RMS {rms(error[sure]):.2f} max "
        f"{np.abs(error[sure]).max(initial=0):.2f}; normalised RMS {rms(z[-1]):.2f}"
    )


def _never(names, share) -> str:
    rows = [
        (n, "".join(a for a, s in zip("xyz", r, strict=True) if s == 0))
        for n, r in zip(names, share, strict=True)
    ]
    return ", ".join(f"{n} {axes}" for n, axes in rows if axes)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    _main(int(sys.argv[1]), int(sys.argv[2]))
