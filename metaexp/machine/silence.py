"""Keeps a process from printing, and keeps what it warns of for the one that prints. Without torch."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from metaexp.core.terminal_text import plain, print_text
from metaexp.machine.job_warnings import kind_of

log = logging.getLogger(__name__)

_MOST_KINDS = 20
"""How many different warnings of a process are kept. More are a flood, of which the first are enough."""
_MOST_NAMES = 5
"""How many warnings that differ only in names with a digit count as different."""
_NUMBER = re.compile(r"(?<![\w.])[+-]?\.?\d\S*")


@contextmanager
def silence() -> Iterator[None]:
    """Print and log nothing within this block. For what a process warns of see :func:`keep_warnings`."""
    logging.getLogger("metaexp").addHandler(logging.NullHandler())
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w"))
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))
        yield


class KeptWarnings:
    """What one of several processes that share a run has warned of: by Python's warnings, and in logs.

    The first process shows its own warnings at once, and those of the others when it hears of them. Each is shown once:
    two warnings are the same if they differ only in their place and in numbers. Names with a digit, such as ``layer2``
    and ``conv2d``, are different things; if there are many, they may come from a count, and the rest are one.

    Args:
        rank: The number of this process; 0 prints.
        size: How many processes there are.
    """

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._kinds: set[str] = set()
        self._of_others: set[str] = set()
        self._new: list[list[str]] = []
        self._named: dict[str, set[str]] = {}

    def hear_log(self, record: logging.LogRecord) -> None:
        """Keep a warning or an error of a log, which the log of the first process shows itself.

        Args:
            record: It. One with a traceback is about an error that ends the run, which is exchanged by itself.
        """
        if record.levelno < logging.WARNING or record.exc_info:
            return
        text = record.getMessage()
        if record.name.partition(".")[0] != "metaexp":
            text = f"{record.name}: {text}"
        self._keep(self._kind(text), "error" if record.levelno >= logging.ERROR else "warning", text)

    def hear(self, category: str, text: str, place: str) -> bool:
        """Keep a warning of this process, and return whether it is to be shown here.

        Args:
            category: The name of its class.
            text: What it says.
            place: The file and the line.
        """
        kind = self._kind(f"{category}: {text}")
        is_new = kind not in self._kinds | self._of_others
        self._keep(kind, "warning", f"{place}: {category}: {text}")
        return self._rank == 0 and is_new

    def _kind(self, text: str) -> str:
        """What distinguishes a warning from others: its text without numbers, and of many also without names."""
        without_names, kind = kind_of(text), _NUMBER.sub("#", text)
        named = self._named.setdefault(without_names, set())
        if kind not in named and len(named) >= _MOST_NAMES:
            return without_names
        named.add(kind)
        return kind

    def _keep(self, kind: str, word: str, text: str) -> None:
        if self._rank > 0 and kind not in self._kinds and len(self._kinds) < _MOST_KINDS:
            self._new.append([kind, word, plain(text)])
        self._kinds.add(kind)

    def take(self) -> list[list[str]]:
        """Return the warnings since the last call for the first process: kind, ``warning`` or ``error``, and text."""
        new, self._new = self._new, []
        return new

    def show(self, by_rank: Sequence[Sequence[Sequence[str]]]) -> None:
        """On the first process, show what the others have warned of, unless it has shown the same.

        Args:
            by_rank: What :meth:`take` returned on each process.
        """
        ranks: dict[str, list[int]] = {}
        texts: dict[str, tuple[str, str]] = {}
        for rank, warned in enumerate(by_rank):
            for kind, word, text in warned:
                ranks.setdefault(kind, []).append(rank)
                texts.setdefault(kind, (word, text))
        for kind, of_it in ranks.items():
            if self._rank == 0 and kind not in self._kinds | self._of_others:
                who = f"rank {of_it[0]}" if len(of_it) == 1 else f"ranks {', '.join(map(str, of_it))}"
                self._print(*texts[kind], who, sys.stderr)
                self._of_others.add(kind)

    def show_rest(self, stderr: TextIO) -> None:
        """On another process than the first, which ends early, show what the first one has not heard of.

        Args:
            stderr: Where to print.
        """
        for _, word, text in self.take():
            self._print(word, text, f"rank {self._rank}", stderr)

    def _print(self, word: str, text: str, who: str, stderr: TextIO) -> None:
        line = f"{word} of {who} of {self._size}: {text}"
        print_text(line, file=stderr, flush=True)
        log.info(line)  # into run.log, if it is open


class _Hears(logging.Handler):
    """Lets the warnings of a process hear what is logged."""

    def __init__(self, kept: KeptWarnings, *, is_last: bool) -> None:
        super().__init__(logging.WARNING)
        self._kept, self._is_last = kept, is_last

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.hear_log(record)
        if self._is_last and logging.lastResort is not None and not _has_handler(record.name):
            logging.lastResort.handle(record)  # as without this handler


def _has_handler(name: str) -> bool:
    """Whether somebody else than these handlers takes what a logger logs."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if not all(isinstance(handler, _Hears) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


@contextmanager
def _hear_logs(kept: KeptWarnings) -> Iterator[None]:
    """Keep what is logged within this block: by metaexp, whose log is closed to others during a run, and by others."""
    root = logging.getLogger()
    handlers = [(root, _Hears(kept, is_last=True)), (logging.getLogger("metaexp"), _Hears(kept, is_last=False))]
    for logger, handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, handler in handlers:
            logger.removeHandler(handler)


@contextmanager
def keep_warnings(rank: int, size: int) -> Iterator[KeptWarnings]:
    """Keep Python's warnings, and those of logs, within this block; the first process shows its own as usual, too.

    Args:
        rank: The number of this process.
        size: How many processes share the run.

    Yields:
        The warnings.
    """
    kept = KeptWarnings(rank, size)
    with _show_heard(kept), _hear_logs(kept):
        yield kept


@contextmanager
def show_each_warning_once() -> Iterator[None]:
    """Within this block, show one of Python's warnings only if none that says the same was shown in it.

    Python itself shows a warning again after each ``warnings.catch_warnings``, which own code may use in every step,
    and for each line that causes it: torch warns so of each operation that ``torch.vmap`` computes slowly.
    """
    with _show_heard(KeptWarnings(0, 1)):
        yield


@contextmanager
def _show_heard(kept: KeptWarnings) -> Iterator[None]:
    """Let ``kept`` hear Python's warnings within this block, and show those that it says.

    What filters the block leaves stay: a module of users or of a library may add some where it is imported, once.
    """
    filters = list(warnings.filters)
    try:
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
            try:
                yield
            finally:
                filters = list(warnings.filters)
    finally:
        warnings.filters = filters
