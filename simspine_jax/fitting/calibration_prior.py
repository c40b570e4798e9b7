"""What is known of a person's segments before any marker is seen.

The logarithm of a segment's ratio to the generic model's is normal with the mean, SD
and correlations of the people of ANSUR II, so that what the data say of one segment
also informs those that they leave open.

Source: the survey's 4082 men and 1986 women, each sex weighing one half; lengths as
in ``datasets.anthropometry``, over their means among the men as tall as the generic
model. Rounded; a test computes them again.
"""

import numpy as np
from jaxtyping import Float

from simspine_jax.body import segments

# In the order of ``segments.SEGMENTS``, per cent.
_MEAN = (
    *(-3.4, -4.7, 2.0, 0.3, 2.0, -5.6, -2.0),
    *(-3.0, -0.6, -2.1, -0.4, -1.5, -0.7, -2.2),
)
_SD = (
    *(7.7, 8.1, 7.3, 7.7, 6.5, 11.0, 6.9),
    *(7.0, 6.5, 8.0, 6.3, 4.5, 5.3, 4.1),
)
# Below the diagonal, per cent, row by row.
_CORRELATION = (
    (75,),
    (35, 27),
    (39, 58, 20),
    (41, 48, 27, 59),
    (66, 66, 25, 50, 34),
    (70, 78, 28, 67, 67, 65),
    (65, 73, 30, 49, 45, 61, 77),
    (65, 69, 34, 72, 77, 58, 77, 60),
    (62, 74, 21, 73, 72, 60, 82, 66, 81),
    (57, 68, 25, 63, 70, 53, 85, 67, 74, 78),
    (51, 60, 18, 45, 40, 51, 62, 58, 52, 57, 54),
    (34, 36, 21, 24, 23, 31, 35, 35, 31, 29, 29, 41),
    (45, 53, 21, 29, 21, 39, 47, 50, 36, 39, 37, 43, 43),
)


def survey_prior() -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, "s s"]]:
    """Returns mean and covariance of the log ratios of ``segments.SEGMENTS``."""
    n = len(segments.SEGMENTS)
    correlation = np.eye(n)
    for i, row in enumerate(_CORRELATION, start=1):
        correlation[i, :i] = correlation[:i, i] = 0.01 * np.array(row)
    sd = 0.01 * np.array(_SD)
    return 0.01 * np.array(_MEAN), correlation * sd[:, None] * sd[None]


def segment_prior(
    names: tuple[str, ...],
    symmetry_sd: float,
    shape_sd: float = 0.0,
    size_sd: float = 0.0,
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, "s s"]]:
    """Returns mean and covariance of the log ratios of a model's segments.

    Args:
        names: Segments, sides apart, as ``segments.of_model`` names them.
        symmetry_sd: SD of the log ratio of a left to a right segment.
        shape_sd: SD, beyond the survey's, of each segment alone: measurements at the
            skin are not bones.
        size_sd: SD, beyond the survey's, of the size that all segments share, for
            people that are not like its grown-ups.
    """
    mean, covariance = survey_prior()
    place = [segments.SEGMENTS.index(segments.side_of(name)[0]) for name in names]
    sided = np.array([segments.side_of(name)[1] != "" for name in names], float)
    same = np.equal.outer(place, place)
    spread = covariance[np.ix_(place, place)] + shape_sd**2 * same + size_sd**2
    # Both sides stray by half of the variance of their difference.
    return mean[place], spread + np.diag(0.5 * symmetry_sd**2 * sided)
