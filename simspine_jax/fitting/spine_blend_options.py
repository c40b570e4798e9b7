"""What there is to choose when an observed and a simulated spine are blended."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from simspine_jax.fitting import simspine_2026
from simspine_jax.skeletons import simspine
from simspine_jax.types import MarkerTrajectory

CHAIN = simspine_2026.CHAIN
COMPAT = "simspine-2026"
# Of the simulated marker. Markers not named here are observed.
SHARES = {
    **dict.fromkeys(CHAIN, 0.8),
    **dict.fromkeys((*simspine_2026.REPLACED, *simspine_2026.BUILT), 1.0),
}
# Markers of trunk and head are moved with the spine; those of limbs stay with them.
FOLLOWERS = (*simspine.SPINE_NAMES, "REye", "LEye", "REar", "LEar")


@dataclass(frozen=True)
class BlendOptions:
    """How an observed and a simulated spine become one.

    Attributes:
        anchors: Markers of the chain that stay where they are observed, and that the
            simulated spine is moved on to. The chain is ``CHAIN``.
        guides: Markers that tell how the spine is turned about the line between the
            lowest and the highest anchor; so do the anchors between these.
        shares: Share of the simulated marker, 0 for observed to 1 for simulated, by
            name; for names not given, that of ``SHARES``.
        followers: Markers moved along with the spine; all others stay where the
            simulation has them.
        scaled: Whether the simulated spine also gets the length between the anchors.
        filled: Whether a marker not observed is taken from the simulation.
        compat: "simspine-2026" for the published step, with no other option; or None.

    Raises:
        ValueError: An anchor that is not of the chain or is given a share, a share
            out of range, or options beside ``compat``.
    """

    anchors: tuple[str, ...] = ("Hip", "Neck")
    guides: tuple[str, ...] = ("LShoulder", "RShoulder", "LHip", "RHip")
    shares: Mapping[str, float] = field(default_factory=dict)
    followers: tuple[str, ...] = FOLLOWERS
    scaled: bool = False
    filled: bool = True
    compat: str | None = None

    def __post_init__(self) -> None:  # noqa: D105
        for name in self.anchors:
            if name not in CHAIN:
                raise ValueError(
                    f"blend: anchors must be of {', '.join(CHAIN)}; one is {name!r}"
                )
            if name in self.shares:
                raise ValueError(
                    f"blend: {name!r} is an anchor, which stays as observed; it cannot "
                    "have a share"
                )
        for name, share in self.shares.items():
            if not 0 <= share <= 1:
                raise ValueError(
                    f"blend: the share of {name!r} must lie between 0 and 1; it is "
                    f"{share}"
                )
        check_compat(self.compat)
        if self.compat and replace(self, compat=None) != BlendOptions():
            raise ValueError(f"blend: compat={self.compat!r} takes no other option")


def check_compat(compat: str | None) -> None:
    """Refuses a published version that there is none of.

    Raises:
        ValueError: It is unknown.
    """
    if compat not in (None, COMPAT):
        raise ValueError(f"blend: compat must be {COMPAT!r} or None; it is {compat!r}")


def check(
    observed: MarkerTrajectory, simulated: MarkerTrajectory, options: BlendOptions
) -> None:
    """Refuses trajectories that do not fit together or lack a marker.

    Raises:
        ValueError: As ``blend_spine``.
    """
    for what, of in {
        "frames": lambda t: len(t.points),
        "rate_hz": lambda t: t.rate_hz,
        "start_s": lambda t: t.start_s,
    }.items():
        if of(observed) != of(simulated):
            raise ValueError(
                f"blend: {what} of the observed trajectory is {of(observed)}, of the "
                f"simulated one {of(simulated)}; they must be equal"
            )
    used = {n for n, share in {**SHARES, **options.shares}.items() if share > 0}
    used = (used & set(observed.names)) | {*options.anchors, *options.shares}
    for which, trajectory in (("observed", observed), ("simulated", simulated)):
        for name in sorted(used - set(trajectory.names)):
            raise ValueError(
                f"blend: the {which} trajectory has no marker {name!r}; it has "
                f"{', '.join(trajectory.names)}"
            )
