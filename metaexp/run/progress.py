"""Shows the progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from rich import progress as bars
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from metaexp.core.counted import counted
from metaexp.core.terminal_text import make_console
from metaexp.results.display.wording import format_time
from metaexp.results.progress_file import Progress, write_progress

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_UPDATES = 0.1
_SECONDS_BETWEEN_FILES = 1.0
_NARROW = 60  # columns; a narrower terminal shows the numbers without a bar

Advance = Callable[[int], None]
"""Called with the number of parts that are done."""


class Display(ABC):
    """Shows how far a run is. It decides nothing."""

    @abstractmethod
    def show_progress(self, what: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """Show the progress of a piece of work, within a ``with`` block that yields a function to report it.

        Args:
            what: The work: ``train``, ``validate`` or ``test``.
            total: How many parts it has.
            done: How many of them were done before.
        """

    @abstractmethod
    def show_loss(self, loss: float) -> None:
        """Show the newest training loss beside the progress of ``train``."""

    @abstractmethod
    def show_status(self, text: str, seconds_left: float | None) -> None:
        """Show what a piece of work is doing, and how long it still takes, beside its progress.

        Args:
            text: What it is doing.
            seconds_left: An estimate of the time left; None if it is not known yet.
        """

    @abstractmethod
    def show_validation(self, step: int, result: str) -> None:
        """Show the validation result after ``step`` steps.

        Args:
            step: Steps done.
            result: The result, formatted.
        """

    @abstractmethod
    def print_line(self, text: str) -> None:
        """Show a line of text."""


class Reporting(Display):
    """Shows what another display shows, and writes how far the run is into its folder, for ``metaexp watch``.

    Args:
        display: The other one.
        folder: The run folder.
    """

    def __init__(self, display: Display, folder: Path) -> None:
        self._display = display
        self._folder = folder
        self._began = time.monotonic()
        self._written = 0.0
        self._step, self._steps, self._rates = 0, 0, {"train": 0.0, "validate": 0.0}

    @contextmanager
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        since, first = time.monotonic(), done

        def advance(done: int) -> None:
            shown(done)
            now = time.monotonic()
            kind = "train" if what == "train" else "validate"
            self._rates[kind] = (done - first) / max(now - since, 1e-9)
            if what == "train":
                self._step, self._steps = done, total
            if now - self._written >= _SECONDS_BETWEEN_FILES:
                self._write(what, done, total, now)

        with self._display.show_progress(what, total, done) as shown:
            if what == "train":
                self._step, self._steps = done, total
            self._write(what, done, total, since)
            yield advance
            if what == "validate" and self._steps:
                self._write("train", self._step, self._steps, time.monotonic())

    def _write(self, what: str, done: int, total: int, now: float) -> None:
        self._written = now
        rates = self._rates
        numbers = (self._step, self._steps, rates["train"], rates["validate"], now - self._began)
        write_progress(self._folder, Progress(what, done, total, *numbers))

    def show_loss(self, loss: float) -> None:
        self._display.show_loss(loss)

    def show_status(self, text: str, seconds_left: float | None) -> None:
        self._display.show_status(text, seconds_left)

    def show_validation(self, step: int, result: str) -> None:
        self._display.show_validation(step, result)

    def print_line(self, text: str) -> None:
        self._display.print_line(text)


class Silent(Display):
    """Shows nothing, because another process shows everything."""

    @contextmanager
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        """See :meth:`Display.show_progress`."""
        yield lambda _: None

    def show_loss(self, loss: float) -> None:
        """See :meth:`Display.show_loss`."""

    def show_status(self, text: str, seconds_left: float | None) -> None:
        """See :meth:`Display.show_status`."""

    def show_validation(self, step: int, result: str) -> None:
        """See :meth:`Display.show_validation`."""

    def print_line(self, text: str) -> None:
        """See :meth:`Display.print_line`."""


class Lines(Display):
    """Plain lines, one every few seconds if there is something new, for logs and pipes."""

    def __init__(self, console: Console, every: float = _SECONDS_BETWEEN_LINES) -> None:
        self._console = console
        self._every = every
        self._loss = ""
        self._status = ""

    @contextmanager
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        first, since = done, time.monotonic()
        shown, printed = since, ""

        def advance(done: int) -> None:
            nonlocal shown, printed
            now = time.monotonic()
            if now - shown < self._every:
                return
            shown = now
            rate = max(done - first, 1) / (now - since)
            more = self._loss if what == "train" else ""
            left = self._status or f"{rate:.3g}/s  {format_time((total - done) / rate)} left"
            line = f"{what} {done}/{total}  {left}{more}"
            if line != printed:  # a line that says the same once more tells nothing
                self.print_line(line)
            printed = line

        yield advance

    def show_loss(self, loss: float) -> None:
        self._loss = f"  loss {loss:.4g}"

    def show_status(self, text: str, seconds_left: float | None) -> None:
        self._status = f"{text}  {format_left(seconds_left)}"

    def show_validation(self, step: int, result: str) -> None:
        self.print_line(f"validation after {counted(step, 'step')}: {result}")

    def print_line(self, text: str) -> None:
        with suppress(OSError):  # a terminal that was closed ends no run
            self._console.print(text, soft_wrap=True)


class _Time(bars.ProgressColumn):
    """The time since the work began, and the time left: by the rate of the bar, or what the work itself estimates."""

    def render(self, task: Task) -> Text:
        left = task.fields["left"]
        text = Text(format_time(task.elapsed or 0.0), style="progress.elapsed")
        return text if left is None else text.append(f" so far, {format_time(left)} left", style="progress.remaining")


class _Bars(bars.Progress):
    """Bars, and below them what the work is doing: a terminal has room for that on a line of its own only."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the table of the bars, and the notes of their tasks as lines that wrap."""
        yield from super().get_renderables()
        yield from (Text(task.fields["note"]) for task in self.tasks if task.fields["note"])


class Bar(Display):
    """Progress bars with rate and time left, and below them the loss and the newest validation, or the status."""

    def __init__(self, console: Console) -> None:
        is_narrow = console.width < _NARROW
        self._bars = _Bars(
            TextColumn("{task.description:<8}"),
            *([] if is_narrow else [BarColumn(bar_width=24, table_column=Column(min_width=6))]),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
            _Time(table_column=Column(no_wrap=not is_narrow)),
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self._loss, self._validation = "", ""
        self._status: str | None = None
        self._left: float | None = None

    @contextmanager
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        task = self._bars.add_task(what, total=total, completed=done, rate="", note="", left=None)
        first, since, shown = done, time.monotonic(), 0.0

        def advance(done: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown < _SECONDS_BETWEEN_UPDATES:  # drawing takes longer than a small step
                return
            shown = now
            rate = (done - first) / max(now - since, 1e-9)
            note = f"{self._loss}{self._validation}" if what == "train" else self._status or ""
            left = self._left if self._status is not None else (total - done) / rate if rate > 0.0 else None
            self._bars.update(task, completed=done, rate=f"{rate:.3g}/s", note=note, left=left)

        self._bars.start()
        try:
            yield advance
        finally:
            self._bars.remove_task(task)
            if not self._bars.tasks:
                self._bars.stop()

    def show_loss(self, loss: float) -> None:
        self._loss = f"loss {loss:.4g}"

    def show_status(self, text: str, seconds_left: float | None) -> None:
        self._status, self._left = text, seconds_left

    def show_validation(self, step: int, result: str) -> None:
        self._validation = f"  val {result}"
        self.print_line(f"validation after {counted(step, 'step')}: {result}")  # it stays when the bar is gone

    def print_line(self, text: str) -> None:
        with suppress(OSError):  # a terminal that was closed ends no run
            self._bars.console.print(text, soft_wrap=True)


def default_display() -> Display:
    """Return a bar if standard error is a terminal that can be drawn on, lines otherwise.

    A notebook gets lines, and so does one with TERM=dumb, such as a shell in Emacs.
    """
    console = make_console(to_errors=True)
    return Bar(console) if console.is_interactive else Lines(console)


def format_left(seconds: float | None) -> str:
    """``75`` -> ``about 75 s left``."""
    return "time left not known yet" if seconds is None else f"about {format_time(seconds)} left"
