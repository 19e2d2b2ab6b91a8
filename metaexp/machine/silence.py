"""Keeps a process from printing, and keeps what it warns of for the one that prints. Without torch."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from metaexp.core.terminal_text import plain, print_text
from metaexp.machine.job_warnings import kind_of

_MOST_KINDS = 20
"""How many different warnings of a process are kept. More are a flood, of which the first are enough."""


@contextmanager
def silence() -> Iterator[None]:
    """Print and log nothing within this block. For Python's warnings see :func:`keep_warnings`."""
    logging.getLogger("metaexp").addHandler(logging.NullHandler())
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w"))
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))
        yield


class KeptWarnings:
    """What one of several processes that share a run has warned of.

    The first process shows its own warnings at once, and those of the others when it hears of them. Each is shown once:
    two warnings are the same if they differ only in their place and in words with a digit.

    Args:
        rank: The number of this process; 0 prints.
        size: How many processes there are.
    """

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._kinds: set[str] = set()
        self._of_others: set[str] = set()
        self._new: list[list[str]] = []

    def hear(self, category: str, text: str, place: str) -> bool:
        """Keep a warning of this process, and return whether it is to be shown here.

        Args:
            category: The name of its class.
            text: What it says.
            place: The file and the line.
        """
        kind = kind_of(f"{category}: {text}")
        if self._rank > 0 and kind not in self._kinds and len(self._kinds) < _MOST_KINDS:
            self._new.append([kind, f"{place}: {category}: {plain(text)}"])
        self._kinds.add(kind)
        return self._rank == 0 and kind not in self._of_others

    def take(self) -> list[list[str]]:
        """Return the warnings since the last call, each with its kind, for the first process."""
        new, self._new = self._new, []
        return new

    def show(self, by_rank: Sequence[Sequence[Sequence[str]]]) -> None:
        """On the first process, show what the others have warned of, unless it has shown the same.

        Args:
            by_rank: What :meth:`take` returned on each process.
        """
        ranks: dict[str, list[int]] = {}
        texts: dict[str, str] = {}
        for rank, pairs in enumerate(by_rank):
            for kind, text in pairs:
                ranks.setdefault(kind, []).append(rank)
                texts.setdefault(kind, text)
        for kind, of_it in ranks.items():
            if self._rank == 0 and kind not in self._kinds | self._of_others:
                who = f"rank {of_it[0]}" if len(of_it) == 1 else f"ranks {', '.join(map(str, of_it))}"
                print_text(f"warning of {who} of {self._size}: {texts[kind]}", file=sys.stderr, flush=True)
                self._of_others.add(kind)


@contextmanager
def keep_warnings(rank: int, size: int) -> Iterator[KeptWarnings]:
    """Keep Python's warnings within this block; those of the first process are shown as usual, too.

    Args:
        rank: The number of this process.
        size: How many processes share the run.

    Yields:
        The warnings.
    """
    kept = KeptWarnings(rank, size)
    with warnings.catch_warnings():
        show = warnings.showwarning

        def hear(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if kept.hear(category.__name__, str(message), f"{filename}:{lineno}"):
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = hear
        yield kept
