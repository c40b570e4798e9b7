"""The noise of the markers, and how many frames in a row share one error.

A detector that is wrong in one frame is wrong alike in the next, so that neighbouring
frames do not count in full. With autocorrelation rho_k of the residuals at a lag of k
frames, ``tau = 1 + 2 sum_k rho_k`` frames count as one.

Source: Sokal, Monte Carlo Methods in Statistical Mechanics, 1997, section 3 (integrated
autocorrelation time; the sum ends where rho_k is lost in noise).
"""

import numpy as np
from jaxtyping import Float, Int

from simspine_jax.core import robust
from simspine_jax.fitting.calibration_problem import Problem

_LOST = 0.05  # autocorrelation below which the sum ends
_LONGEST = 4  # lags up to this part of the frames


def noise_of(
    problem: Problem, points: Float[np.ndarray, "t m 3"], used: float
) -> float:
    """Returns the noise SD of a component of a marker of weight 1, m.

    Args:
        problem: What was solved.
        points: The fitted markers, m.
        used: Degrees of freedom that the fit used.

    Raises:
        ValueError: Too few markers to estimate it.
    """
    weight = problem.weight
    square = ((points - problem.points) ** 2).sum(axis=2)
    factor = np.asarray(robust.apply(problem.loss, square)[1])
    mean = weight.sum() / max((weight > 0).sum(), 1)
    freedom = 3 * (weight * factor).sum() / mean - used
    if freedom < 1.0:
        raise ValueError(
            "the noise of the markers cannot be estimated: the frames have "
            f"{3 * int((weight > 0).sum())} marker components for {used:.0f} unknowns; "
            "give the noise (noise_m)"
        )
    return float(np.sqrt((weight * factor * square).sum() / freedom))


def frames_as_one(
    problem: Problem,
    points: Float[np.ndarray, "t m 3"],
    trial: Int[np.ndarray, " t"],
) -> float:
    """Returns tau, how many of the frames count as one; at least 1.

    Args:
        problem: What was solved; its frames in order of time.
        points: The fitted markers, m.
        trial: Trial of each frame; errors of different trials are independent.
    """
    miss = (points - problem.points) * np.sqrt(problem.weight)[..., None]
    miss = miss.reshape(len(miss), -1)
    own = (miss**2).sum(axis=1).mean()
    tau = 1.0
    for lag in range(1, len(miss) // _LONGEST + 1):
        both = trial[lag:] == trial[:-lag]
        if not both.any() or not own > 0:
            break
        rho = (miss[lag:] * miss[:-lag]).sum(axis=1)[both].mean() / own
        if rho < _LOST:
            break
        tau += 2.0 * float(rho)
    return tau
