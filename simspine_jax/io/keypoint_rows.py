"""A person's keypoints as a row x, y, confidence, as OpenPose and COCO write them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float


def parse_row(
    row: Any, source: object, keypoint_names: Sequence[str]
) -> Float[np.ndarray, "k 3"] | None:
    """Checks one person's row and shapes it.

    Args:
        row: 3 K numbers.
        source: The file, for messages.
        keypoint_names: K names.

    Returns:
        Shape [K, 3], 0 where the confidence is 0; None if nothing was seen.

    Raises:
        ValueError: There are not K keypoints, or a number is not finite or a
            confidence negative.
    """
    try:
        values = np.asarray(row, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{source}: the keypoints are not a list of numbers") from None
    if values.size == 0:
        return None
    if values.size != 3 * len(keypoint_names):
        raise ValueError(
            f"{source}: a person has {values.size / 3:g} keypoints, and the keypoints "
            f"named are {len(keypoint_names)}"
        )
    values = values.reshape(-1, 3)
    confidence = values[:, 2]
    bad = ~(np.isfinite(confidence) & (confidence >= 0))
    # Where nothing was seen, the place may be anything.
    bad |= (confidence > 0) & ~np.isfinite(values[:, :2]).all(axis=1)
    if bad.any():
        keypoint = int(np.argmax(bad))
        raise ValueError(
            f"{source}: keypoint {keypoint_names[keypoint]!r} is "
            f"{values[keypoint].tolist()} (x, y, confidence); all must be finite, and "
            "the confidence not negative"
        )
    if not (confidence > 0).any():
        return None
    return np.where(confidence[:, None] > 0, values, 0.0)
