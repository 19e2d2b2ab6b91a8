"""Saves a job when a cluster says that its time is over. Without torch."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

BEFORE_THE_END = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that clusters send to all processes of a job some time before they end it at its time limit."""
_SECONDS_TO_SAVE = 60.0


class Worker(Protocol):
    """A process that can be asked to save and stop."""

    def stop(self) -> None:
        """Ask it to."""

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for its end for this many seconds."""


@contextmanager
def save_before_requeue(processes: Sequence[Worker]) -> Iterator[None]:
    """Save the jobs, within this block, before submitit puts them into the cluster's queue again.

    submitit does that at a signal that the cluster sends. It ends the processes at once, and with them the steps since
    the last checkpoint.

    Args:
        processes: The workers; more may come.
    """
    kept = {number: handler for number in BEFORE_THE_END if callable(handler := signal.getsignal(number))}

    def save_first(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.stop()
        for process in processes:
            process.wait(_SECONDS_TO_SAVE)
        kept[signal.Signals(number)](number, frame)

    for number in kept:
        signal.signal(number, save_first)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def ignore_signals_of_clusters() -> None:
    """Leave signals before the end of a job to the process that watches over this one."""
    for number in BEFORE_THE_END:
        signal.signal(number, signal.SIG_IGN)
