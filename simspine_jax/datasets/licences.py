"""What may be done with poses of each origin, and a tag for those never written out."""

from dataclasses import dataclass
from typing import Any

from simspine_jax.types import MarkerTrajectory

HUMAN36M = "Human3.6M"
SIMSPINE = "SIMSPINE"
SIMULATED = "simulated"
POSE2SIM = "Pose2Sim capture"
OWN_CAPTURE = "own capture"
DERIVED_HUMAN36M = "derived from Human3.6M"

# One sentence each, as it stands beside the data in files and manifests.
LICENCES: dict[str, str] = {
    HUMAN36M: (
        "Human3.6M: for academic use by those who signed its agreement; not to be "
        "redistributed."
    ),
    SIMSPINE: (
        "SIMSPINE Academic Research License v1.0: academic use only and not to be "
        "redistributed, models trained on it may be shared; Human3.6M's licence is "
        "needed as well."
    ),
    SIMULATED: "Simulated by simspine_jax: MIT License.",
    POSE2SIM: "Capture of Pose2Sim's demonstration: BSD 3-Clause License.",
    OWN_CAPTURE: "Made from a capture of the user's own, whose terms hold for it.",
    DERIVED_HUMAN36M: (
        "Derived from Human3.6M: for use under Human3.6M's licence only; spine "
        "keypoints and joint coordinates of a model that was fitted to its poses, none "
        "of which are in here."
    ),
}


@dataclass(frozen=True)
class Licensed:
    """Markers that no writer of data sets takes.

    Whoever computes with them takes ``markers`` out, and knows then what they are.

    Attributes:
        markers: The trajectory.
        licence: Why it is not written: one of ``LICENCES``.
    """

    markers: MarkerTrajectory
    licence: str = LICENCES[HUMAN36M]


def refuse_licensed(*values: Any, path: object) -> None:
    """Stops a writer before it writes what it may not.

    Args:
        values: What would be written; of a sequence its ``markers`` are looked at.
        path: The file, for the message.

    Raises:
        ValueError: One of them is `Licensed`.
    """
    for value in values:
        for part in (value, getattr(value, "markers", None)):
            if isinstance(part, Licensed):
                raise ValueError(
                    f"{path}: these markers may not be written out ({part.licence})"
                )


def text_of(licence: str) -> str:
    """Returns the sentence of a licence.

    Raises:
        ValueError: There is none of that name.
    """
    if licence not in LICENCES:
        raise ValueError(
            f"the licence is {licence!r}; it must be one of {', '.join(LICENCES)}"
        )
    return LICENCES[licence]
