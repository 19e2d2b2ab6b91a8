"""The operations that ranks do together, for a run of a single rank. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from metaexp.machine.launch import Launch
from metaexp.machine.signals import StopRequest

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")


class Ranks:
    """All ranks of a run. This class is a run of one process: it exchanges nothing, so it costs nothing.

    Attributes:
        rank: The number of this process, from 0.
        size: How many processes share the run.
        launch: The place of this process among those of torchrun; None for a run of one process.
    """

    rank = 0
    size = 1
    launch: Launch | None = None

    def share(self, total: int) -> range:
        """The consecutive part of 0 ... total - 1 that this rank computes; sizes differ by one at most."""
        return range(self.rank * total // self.size, (self.rank + 1) * total // self.size)

    def gather(self, work: Callable[[], Any]) -> list[Any]:
        """Run ``work`` on every rank and return all results, by rank.

        Args:
            work: Returns a value that JSON can hold.

        Returns:
            The results of ranks 0, 1, ...

        Raises:
            Exception: What ``work`` raised on this rank.
            PeerError: ``work`` failed on other ranks only; the message is theirs.
        """
        return [work()]

    def run(self, work: Callable[[], Result]) -> Result:
        """Run ``work`` on every rank and return this rank's result; raises as :meth:`gather` does."""
        return work()

    def run_in_turn(self, work: Callable[[], None]) -> None:
        """Run ``work`` on local rank 0 of each machine, then on the others, which find its files there."""
        work()

    def broadcast(self, work: Callable[[], Any]) -> Any:
        """Run ``work`` on rank 0 only and return its result, which JSON can hold, on every rank."""
        return work()

    def require_equal(self, what: str, work: Callable[[], str]) -> None:
        """Raise MachineError when ``work`` returns different strings on different ranks.

        Args:
            what: What is compared, for the message.
            work: Returns this rank's string.
        """

    def barrier(self) -> None:
        """Wait until every rank is here."""

    def stop_request(self) -> StopRequest:
        """Return the request that a signal handler sets. All ranks stop for a signal at the same place."""
        return StopRequest()

    def all_reduce(self, tensor: Tensor, flags: Tensor) -> Tensor:
        """Sum ``tensor`` (L,) over ranks in place, and ``flags`` (F,) beside it.

        Args:
            tensor: Values of this rank; its last F places are for the flags.
            flags: On the CPU. The first ``size`` of them say which ranks failed; if one did, ``tensor`` may be left
                as it is.

        Returns:
            The sum of ``flags`` (F,) over ranks.
        """
        return flags

    def broadcast_tensor(self, tensor: Tensor) -> None:
        """Give ``tensor``, on the CPU, the values that it has on rank 0."""

    @property
    def pending_signal(self) -> int:
        """The signal received by this rank that the other ranks do not know of yet; 0 if there is none."""
        return 0

    def stop_for(self, number: int) -> None:
        """Stop for signal ``number``, which every rank knows of now; 0 means no signal."""


SINGLE = Ranks()
"""A run of one process."""
