"""What ends a run after the current step, with everything saved: SIGINT, SIGTERM, or a step asked for beforehand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from metaexp.core.errors import MetaexpError

_HANDLED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(MetaexpError):  # noqa: N818 - not an error: the user asked for it
    """The run was asked to stop, and saved itself. Exit code 128 + the signal's number (130, 143)."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


class StopRequest:
    """Whether the user asked to stop, and by which signal.

    Args:
        after: Also stop after so many steps; None to go on to the end.
    """

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.signal_number: int | None = None

    def __bool__(self) -> bool:
        return self.signal_number is not None

    def due(self, step: int) -> bool:
        """Whether training ends after ``step`` steps, done or not."""
        return bool(self) or (self.after is not None and step >= self.after)

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Remember the first signal; a second SIGINT stops everything where it is."""
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = self.signal_number or number


class SharedStopRequest(StopRequest):
    """The same in a run that several processes share: what one received stops it when all know of it.

    pending: the first signal received here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending: int | None = None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Remember the first signal; a second SIGINT stops everything where it is."""
        if self.pending is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.pending = self.pending or number

    def stop_for(self, number: int) -> None:
        """Stop for signal ``number``, which every process knows of now."""
        self.signal_number = self.signal_number or number


@contextmanager
def stop_on_signals(request: StopRequest | None = None) -> Iterator[StopRequest]:
    """Within this block the signals are only noted, in ``request`` where one is given.

    Outside the main thread Python allows no handlers: none is set.
    """
    request = StopRequest() if request is None else request
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _HANDLED}
    for number in _HANDLED:
        signal.signal(number, request.receive)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
