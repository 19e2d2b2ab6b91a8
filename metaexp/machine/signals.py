"""Stops a run with everything saved: at a signal, or after a given step."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from metaexp.core.errors import MetaexpError

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # Windows has the first two only
HANDLED = tuple(signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__)
"""The signals that stop a run after a save: Ctrl-C, a scheduler's end, a closed terminal, a scheduler's warning."""

_SAME_REQUEST_SECONDS = 2.0
"""A signal that follows another within this time is the same request: launchers often pass on what ranks got too."""

ABORT_SECONDS = 3.0
"""A step of training that is not finished this long after a signal is given up; the run is saved before it."""


class Interrupted(MetaexpError):  # noqa: N818 - not an error: the user asked for it
    """The run was asked to stop, and saved itself. The exit code is 128 plus the signal's number (130, 143)."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


def stopped_by(number: int | None, what: str, command: str) -> Interrupted:
    """Return how a command ended that a signal stopped: by which one, what is saved, and how to continue.

    Args:
        number: The signal; None for SIGINT.
        what: What follows the signal's name, such as `` after 7 of 12 steps, and saved``.
        command: The command that continues it.
    """
    number = number or signal.SIGINT
    return Interrupted(f"stopped by {signal.Signals(number).name}{what}. Continue with: {command}", int(number))


_early: int | None = None
"""The first signal that came before a handler of :func:`stop_on_signals` was there."""


def note_early(number: int) -> None:
    """Note a signal for the next :func:`stop_on_signals`: Python loses an error that a handler raises in a finalizer.

    Args:
        number: The signal.
    """
    global _early
    if _early is None:
        _early = number


class AbortedWork(Exception):  # noqa: N818 - not an error: a signal came
    """A signal came during work that changes nothing, which was given up."""


class StopRequest:
    """Whether the user asked to stop, and by which signal.

    Args:
        after: Also stop after this many steps; None to go on to the end.
    """

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.signal_number: int | None = None
        self._received = 0.0
        self._patience: float | None = None
        self._is_overdue = False

    def __bool__(self) -> bool:
        """Whether a signal came."""
        return self.signal_number is not None

    def due(self, step: int) -> bool:
        """Whether training ends after ``step`` steps, done or not."""
        return bool(self) or (self.after is not None and step >= self.after)

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal: the first one is noted, a second one ends everything where it is.

        Args:
            number: The signal.
            _frame: Not used; Python gives it to every handler.

        Raises:
            KeyboardInterrupt: This is a second SIGINT, or another signal some seconds after the first.
            AbortedWork: The signal came inside :meth:`abort_on_signal`.
        """
        if self._is_overdue:  # the alarm of the first signal, not another signal
            self._is_overdue = False
            self._abort()
            return
        now = time.monotonic()
        if self._first() is not None:
            if number == signal.SIGINT or now - self._received > _SAME_REQUEST_SECONDS:
                raise KeyboardInterrupt
            return
        self._received = now
        self._note(number)
        if self._patience is not None:
            self._wait_or_abort(self._patience)

    @contextmanager
    def abort_on_signal(self, seconds: float = 0.0) -> Iterator[None]:
        """Give up the work in this block ``seconds`` after a signal. It must change nothing that is kept.

        Raises:
            AbortedWork: A signal came.
        """
        self._patience = seconds
        try:
            yield
        finally:
            self._patience = None

    def _first(self) -> int | None:
        return self.signal_number

    def _note(self, number: int) -> None:
        self.signal_number = number

    def _wait_or_abort(self, seconds: float) -> None:
        if seconds == 0:
            self._abort()
        alarm = threading.Timer(seconds, self._alarm)
        alarm.daemon = True
        alarm.start()

    def _alarm(self) -> None:
        """In the timer's thread: let the main thread give up its work, if it is still at it."""
        if self._patience is not None:
            self._is_overdue = True
            _thread.interrupt_main(signal.SIGTERM)

    def _abort(self) -> None:
        if self._patience is not None:
            self._patience = None
            raise AbortedWork


class SharedStopRequest(StopRequest):
    """The same for several ranks. A signal to one of them stops the run once all ranks know of it.

    Work is not given up in the middle, where another rank would wait for this one.

    Attributes:
        pending: The first signal received here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending: int | None = None

    def stop_for(self, number: int) -> None:
        """Stop for signal ``number``, which every rank knows of now."""
        self.signal_number = self.signal_number or number

    @contextmanager
    def abort_on_signal(self, seconds: float = 0.0) -> Iterator[None]:
        """Do the work in this block to its end."""
        yield

    def _first(self) -> int | None:
        return self.pending

    def _note(self, number: int) -> None:
        self.pending = number


@contextmanager
def stop_on_signals(request: StopRequest | None = None) -> Iterator[StopRequest]:
    """Within this block signals are noted in a request instead of ending the process.

    Outside the main thread Python allows no handlers, so none is set. SIGHUP stays ignored where it is, as under nohup.

    Args:
        request: Where signals are noted; None makes a new one.

    Yields:
        The request.
    """
    global _early
    request = StopRequest() if request is None else request
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in HANDLED}
    taken = {n: handler for n, handler in before.items() if handler is not signal.SIG_IGN or n.name != "SIGHUP"}
    for number in taken:
        signal.signal(number, request.receive)
    if _early is not None:
        first, _early = _early, None
        request.receive(first, None)
    try:
        yield request
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
