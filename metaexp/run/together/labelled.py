"""The display of one of several runs that share a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from metaexp.core.counted import counted
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
    def show_progress(self, what: str, total: int, done: int = 0) -> Iterator[Advance]:
        if what == "train":
            yield lambda _: None
            return
        with self._display.show_progress(what, total, done) as advance:
            yield advance

    def show_loss(self, loss: float) -> None:
        self._display.show_loss(loss)

    def show_status(self, text: str, seconds_left: float | None) -> None:
        self._display.show_status(text, seconds_left)

    def show_validation(self, step: int, result: str) -> None:
        self._display.print_line(f"{self._label}: validation after {counted(step, 'step')}: {result}")

    def print_line(self, text: str) -> None:
        self._display.print_line(f"{self._label}: {text}")
