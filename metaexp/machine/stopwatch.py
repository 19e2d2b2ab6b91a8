"""Takes the time of a run, and of its training steps alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds of a run over all its sessions, and those of them spent in training steps.

    Args:
        before: Seconds of earlier sessions.
        training_before: Those of them spent in training steps.
    """

    def __init__(self, before: float = 0.0, training_before: float = 0.0) -> None:
        self._start = time.monotonic() - before
        self.training = training_before
        self._resumed: float | None = None

    def total(self) -> float:
        """Seconds since the run began, without the pauses between sessions."""
        return time.monotonic() - self._start

    def begin_training(self) -> None:
        """Start to count the time of training steps."""
        self._resumed = time.monotonic()

    def end_training(self) -> None:
        """Stop counting the time of training steps, if it is counted."""
        if self._resumed is not None:
            self.training += time.monotonic() - self._resumed
            self._resumed = None

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Within this block, do not count the time as that of training steps."""
        running = self._resumed is not None
        self.end_training()
        yield
        if running:
            self.begin_training()
