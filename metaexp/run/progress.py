"""Shows the progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from metaexp.core.terminal_text import make_console

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_UPDATES = 0.1

Advance = Callable[[int], None]
"""Called with the number of parts that are done."""


class Display(ABC):
    """Shows how far a run is. It decides nothing."""

    @abstractmethod
    def stretch(self, what: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """Show the progress of a piece of work, within a ``with`` block that yields a function to report it.

        Args:
            what: The work: ``train``, ``validate`` or ``test``.
            total: How many parts it has.
            done: How many of them were done before.
        """

    @abstractmethod
    def note(self, loss: float) -> None:
        """Show the newest training loss beside the progress of ``train``."""

    @abstractmethod
    def validated(self, step: int, result: str) -> None:
        """Show the validation result after ``step`` steps.

        Args:
            step: Steps done.
            result: The result, formatted.
        """

    @abstractmethod
    def line(self, text: str) -> None:
        """Show a line of text."""


class Silent(Display):
    """Shows nothing, because another process shows everything."""

    @contextmanager
    def stretch(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        """As :meth:`Display.stretch`."""
        yield lambda _: None

    def note(self, loss: float) -> None:
        """As :meth:`Display.note`."""

    def validated(self, step: int, result: str) -> None:
        """As :meth:`Display.validated`."""

    def line(self, text: str) -> None:
        """As :meth:`Display.line`."""


class Lines(Display):
    """Plain lines, one every few seconds, for logs and pipes."""

    def __init__(self, console: Console, every: float = _SECONDS_BETWEEN_LINES) -> None:
        self._console = console
        self._every = every
        self._loss = ""

    @contextmanager
    def stretch(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        """As :meth:`Display.stretch`."""
        first, since = done, time.monotonic()
        shown = since

        def advance(done: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown < self._every:
                return
            shown = now
            rate = max(done - first, 1) / (now - since)
            more = self._loss if what == "train" else ""
            self.line(f"{what} {done}/{total}  {rate:.3g}/s  {clock((total - done) / rate)} left{more}")

        yield advance

    def note(self, loss: float) -> None:
        """As :meth:`Display.note`."""
        self._loss = f"  loss {loss:.4g}"

    def validated(self, step: int, result: str) -> None:
        """As :meth:`Display.validated`."""
        self.line(f"validation after {step} steps: {result}")

    def line(self, text: str) -> None:
        """As :meth:`Display.line`."""
        with suppress(OSError):  # a terminal that was closed ends no run
            self._console.print(text, soft_wrap=True)


class Bar(Display):
    """Progress bars with rate, time left and the current validation."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._loss, self._validation = "", ""

    @contextmanager
    def stretch(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        """As :meth:`Display.stretch`."""
        task = self._bars.add_task(what, total=total, completed=done, rate="", note="")
        first, since, shown = done, time.monotonic(), 0.0

        def advance(done: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown < _SECONDS_BETWEEN_UPDATES:  # drawing takes longer than a small step
                return
            shown = now
            rate = (done - first) / max(now - since, 1e-9)
            note = f"{self._loss}{self._validation}" if what == "train" else ""
            self._bars.update(task, completed=done, rate=f"{rate:.3g}/s", note=note)

        self._bars.start()
        try:
            yield advance
        finally:
            self._bars.remove_task(task)
            if not self._bars.tasks:
                self._bars.stop()

    def note(self, loss: float) -> None:
        """As :meth:`Display.note`."""
        self._loss = f"loss {loss:.4g}"

    def validated(self, step: int, result: str) -> None:
        """As :meth:`Display.validated`."""
        self._validation = f"  val {result}"

    def line(self, text: str) -> None:
        """As :meth:`Display.line`."""
        with suppress(OSError):  # a terminal that was closed ends no run
            self._bars.console.print(text, soft_wrap=True)


def default_display() -> Display:
    """Return a bar if standard error is a terminal, lines otherwise."""
    console = make_console(to_errors=True)
    return Bar(console) if console.is_terminal else Lines(console)


def clock(seconds: float) -> str:
    """``75`` -> ``1:15``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
