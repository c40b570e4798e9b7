"""How hard the global search tries."""

from dataclasses import dataclass, field, replace

from simspine_jax.core.levenberg_marquardt import LmOptions

# Elbows near straight leave a curved valley: with these, tracking the flex model
# took 14 evaluations a frame instead of 20 (docs/inverse-kinematics.md).
_LEAST_DAMPING = 1e-3
_LONGEST_STEP = 0.7  # rad, m


@dataclass(frozen=True)
class SearchOptions:
    """How hard the global search tries.

    Attributes:
        anchor_stride: Frames between anchors ...
        max_anchors: ... but at most this many in a chunk.
        body_starts: Whole-body starts of every anchor.
        limb_starts: Limb poses tried at every anchor in one round.
        limb_rounds: Rounds of limb restarts, each with the trunk improved.
        long_trial: From this many frames on a chunk has so many anchors' worth of
            neighbours that each gets a quarter of the starts and one round.
        another: A cost must be lower by this share to be another pose rather than a
            better converged one; 30 times as much in a long trial.
        neighbours: Frame offsets whose solutions a frame tries, in trials so short
            that every frame can try all; in longer ones only the next and the last
            frame are tried, where they disagree and fit better.
        wave: Frames that a better pose is carried along at most at once.
        jump_rad: Neighbouring frames that differ by more in any angle disagree.
        max_sweeps: Sweeps of exchange between neighbours.
        tolerance: Relative tolerance of the poses that are returned.
        rough: Solver limits while only the right valley is sought.
        probe_steps: Steps after which a neighbour's solution must look hopeful.
        seed: Seed of the starting poses; the search is deterministic.
    """

    anchor_stride: int = 5
    max_anchors: int = 16
    body_starts: int = 8
    limb_starts: int = 32
    limb_rounds: int = 2
    long_trial: int = 1024
    another: float = 3e-5
    neighbours: tuple[int, ...] = (1, 2, 5)
    wave: int = 64
    jump_rad: float = 0.35
    max_sweeps: int = 40
    tolerance: float = 1e-5
    rough: LmOptions = field(
        default_factory=lambda: LmOptions(
            max_steps=40,
            relative_tolerance=1e-3,
            least_damping=_LEAST_DAMPING,
            longest_step=_LONGEST_STEP,
        )
    )
    probe_steps: int = 3
    seed: int = 0

    @property
    def fine(self) -> LmOptions:
        """Solver limits of the poses that are returned."""
        return replace(self.rough, max_steps=60, relative_tolerance=self.tolerance)
