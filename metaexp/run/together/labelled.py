"""The display of one of several runs that share a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from metaexp.run.progress import Advance, Display


class Labelled(Display):
    """Shows one of several runs on a display that they share: its lines begin with the name of the run.

    The progress of training is shown once for all runs, and not here.

    Args:
        display: The display that the runs share.
        label: The name of the run.
    """

    def __init__(self, display: Display, label: str) -> None:
        self._display = display
        self._label = label

    @contextmanager
    def stretch(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        """As :meth:`Display.stretch`."""
        if what == "train":
            yield lambda _: None
            return
        with self._display.stretch(what, total, done) as advance:
            yield advance

    def note(self, loss: float) -> None:
        """As :meth:`Display.note`."""
        self._display.note(loss)

    def status(self, text: str, seconds_left: float | None) -> None:
        """As :meth:`Display.status`."""
        self._display.status(text, seconds_left)

    def validated(self, step: int, result: str) -> None:
        """As :meth:`Display.validated`."""
        self._display.line(f"{self._label}: validation after {step} steps: {result}")

    def line(self, text: str) -> None:
        """As :meth:`Display.line`."""
        self._display.line(f"{self._label}: {text}")
