"""Work shared by processes on one host or many, through JAX's own runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among all.

    Attributes:
        index: Its number, from 0.
        count: How many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process does what only one may do."""
        return self.index == 0

    def share(self, items: Sequence[T]) -> tuple[T, ...]:
        """Returns this process's part of the items, every ``count``-th."""
        return tuple(items[self.index :: self.count])

    def wait(self, stage: str) -> None:
        """Waits until every process has come to this stage."""
        if self.count > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(stage)

    def any(self, value: int) -> int:
        """Returns the largest of the values that the processes give."""
        if self.count == 1:
            return value
        import numpy as np
        from jax.experimental import multihost_utils

        return int(np.max(multihost_utils.process_allgather(np.array(value))))


def join(config: Any) -> Processes:
    """Joins the other processes; must come before any computation.

    Args:
        config: ``coordinator`` ("host:port" of process 0, or "auto" where a cluster
            tells, such as Slurm or a TPU pod), ``count`` and ``index``; without a
            coordinator this process is the only one.

    Raises:
        ValueError: A number out of range, or count and index without a coordinator.
    """
    if not config.coordinator:
        if config.count != 1 or config.index != 0:
            raise ValueError(
                f"config.processes.count is {config.count} and index {config.index}, "
                "but there is no config.processes.coordinator, host:port of process 0"
            )
        return Processes()
    import jax

    if config.coordinator == "auto":
        jax.distributed.initialize()
        return Processes(jax.process_index(), jax.process_count())
    if not 0 <= config.index < config.count:
        raise ValueError(
            f"config.processes.index is {config.index}; it must be 0 to "
            f"{config.count - 1}, as config.processes.count is {config.count}"
        )
    jax.distributed.initialize(
        coordinator_address=config.coordinator,
        num_processes=config.count,
        process_id=config.index,
    )
    return Processes(config.index, config.count)
