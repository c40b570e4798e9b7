"""The prior that holds a lumbar spine to its rhythm, with a stated strength.

A coordinate task at 0 holds each deviation of ``spine_rhythm`` as firmly as an SD in
degrees says; solver, covariance and reports need no change. The model's ratios stay
the prior's mean. L5-S1 itself has no deviation, so that a person whose L5-S1 differs
from the rhythm shows it as deviations of all other levels.

Notation: N coordinates, D deviations (5 levels in 3 directions).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from simspine_jax.body import spine_rhythm
from simspine_jax.body.spine_rhythm import RhythmModel
from simspine_jax.fitting.ik_solution import IkSolution
from simspine_jax.types import CoordinateTask

_FLEXION_SD_DEG = {"L4_L5": 5.3, "L3_L4": 4.8, "L2_L3": 4.6}
_FLEXION_SD_DEG |= {"L1_L2": 4.6, "L1_T12": 4.6}
_COUPLED_SD_DEG = 2.0
# SD of each level's deviation from the rhythm. Flexion: the scatter between people of
# a level's flexion-extension on radiographs, 4.56 (L2-3), 4.83 (L3-4) and 5.31 (L4-5)
# degrees (BMC Musculoskeletal Disorders 2006, 7:45, table 5); the two levels above,
# which it lacks, are given that of L2-3. That scatter holds the size of the movement
# too, so it is rather wide. Lateral bending and axial rotation: half of the 4 degrees
# from which on movements beside flexion are abnormal (Pearcy, Portek and Shepherd
# 1984, Spine 9:294, abstract). Of both only table and abstract were read.
SD_DEG: Mapping[str, float] = {
    f"{level}_{direction}": sd if direction == "Flex_Ext" else _COUPLED_SD_DEG
    for level, sd in _FLEXION_SD_DEG.items()
    for direction in spine_rhythm.DIRECTIONS
}


def rhythm_tasks(
    rhythm: RhythmModel,
    noise_m: float,
    sd_deg: Mapping[str, float] | float = SD_DEG,
) -> tuple[CoordinateTask, ...]:
    """Returns the prior: tasks that hold the deviations at 0.

    For the objective "normalised", in which a task of weight v counts like v markers
    of weight 1; under it the stated SD is that of the prior exactly. ``fit_ik`` warns
    of the deviations that this prior decides rather than the markers
    (``PriorDominanceWarning``), which here is its purpose: see ``told_by_markers``.

    Args:
        rhythm: As ``spine_rhythm.with_rhythm_deviations`` gives it.
        noise_m: Noise SD of a component of a marker of weight 1, m.
        sd_deg: SD of each deviation by coordinate name, degrees, or one for all.

    Raises:
        ValueError: Noise or an SD that is not positive, or a deviation without SD.
    """
    if not noise_m > 0:
        raise ValueError(f"the noise of the markers must be positive; it is {noise_m}")
    prior = prior_sd(rhythm, sd_deg)
    return tuple(
        CoordinateTask(name, float((noise_m / sd) ** 2), value=0.0)
        for name, sd in zip(rhythm.deviations, prior, strict=True)
    )


def prior_sd(
    rhythm: RhythmModel, sd_deg: Mapping[str, float] | float = SD_DEG
) -> Float[np.ndarray, " d"]:
    """Returns the SD of every deviation under the prior, rad.

    Raises:
        ValueError: An SD that is not positive, or a deviation without SD.
    """
    found = []
    for name in rhythm.deviations:
        sd = sd_deg.get(name) if isinstance(sd_deg, Mapping) else sd_deg
        if sd is None or not sd > 0:
            raise ValueError(
                f"the SD of the deviation {name!r} must be a positive number of "
                f"degrees; it is {sd}"
            )
        found.append(float(np.deg2rad(sd)))
    return np.array(found)


def told_by_markers(
    rhythm: RhythmModel,
    solution: IkSolution,
    sd_deg: Mapping[str, float] | float = SD_DEG,
) -> dict[str, float]:
    """Returns how much of each deviation the markers told, 0 (nothing) to 1 (all).

    ``1 - (posterior SD / prior SD)^2``, median over frames.

    Args:
        rhythm: As ``spine_rhythm.with_rhythm_deviations`` gives it.
        solution: Fit of ``rhythm.model`` under ``rhythm_tasks``, with covariance.
        sd_deg: As given to ``rhythm_tasks``.

    Raises:
        ValueError: As ``prior_sd``; the fit has no covariance or is of another model.
    """
    _require_same(rhythm, solution)
    prior = prior_sd(rhythm, sd_deg)
    at = [solution.coordinate_names.index(name) for name in rhythm.deviations]
    share = np.median(1 - (solution.coordinate_sd[:, at] / prior) ** 2, axis=0)
    return dict(zip(rhythm.deviations, np.clip(share, 0.0, 1.0).tolist(), strict=True))


def actual_angles(rhythm: RhythmModel, solution: IkSolution) -> IkSolution:
    """Returns a fit in plain coordinates: each the angle of its own level.

    Args:
        rhythm: As ``spine_rhythm.with_rhythm_deviations`` gives it.
        solution: Fit of ``rhythm.model``, with covariance or without.

    Returns:
        The same fit for ``rhythm.plain``; the covariance goes along linearly, and an
        angle that an open coordinate drives is open.

    Raises:
        ValueError: The fit is of another model.
    """
    _require_same(rhythm, solution)
    covariance = solution.covariance
    if covariance is not None:
        each = np.arange(covariance.shape[1])
        open_ = np.isinf(covariance[:, each, each])
        known = covariance.copy()
        known[:, each, each] = np.where(open_, 0.0, known[:, each, each])
        covariance = rhythm.to_plain @ known @ rhythm.to_plain.T
        lost = (open_[:, None] & (rhythm.to_plain != 0)).any(axis=2)
        covariance = np.where(lost[:, :, None] | lost[:, None], 0.0, covariance)
        covariance[:, each, each] += np.where(lost, np.inf, 0.0)
    return replace(solution, q=rhythm.actual(solution.q), covariance=covariance)


def _require_same(rhythm: RhythmModel, solution: IkSolution) -> None:
    if solution.coordinate_names != rhythm.model.coordinate_names:
        raise ValueError(
            f"the fit has {len(solution.coordinate_names)} coordinates of another "
            f"model; this one has {', '.join(rhythm.model.coordinate_names)}"
        )
