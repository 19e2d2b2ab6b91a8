"""Passes on what jobs warn of while they run. A job writes into its own log, which nobody reads. Without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from metaexp.core.disk.files import open_regular
from metaexp.core.errors import RunFolderError

_MARK = "warning: "
_MOST_BYTES = 1 << 20
"""The most bytes of a log that are read at once."""
_WORD_WITH_A_DIGIT = re.compile(r"\S*\d\S*")


class JobWarnings:
    """Reads the logs of jobs that run, and prints each warning once.

    Two warnings are the same if they differ only in words with a digit, such as numbers and names of folders.

    Args:
        print_line: Prints a line.
        printed: Lines that were printed before. A warning that is part of one is not printed again.
        what: What runs, in the plural: ``jobs`` or ``trials``.
    """

    def __init__(self, print_line: Callable[[str], None], printed: Iterable[str] = (), what: str = "jobs") -> None:
        self._print_line = print_line
        self._what = what
        self._printed = [kind_of(line) for line in printed]
        self._read: dict[Path, int] = {}
        self._found: dict[str, str] = {}
        self._jobs: dict[str, set[str]] = {}

    def begin(self, log: Path) -> None:
        """Pass over what the log of a job holds already, from an earlier command.

        Args:
            log: The job's log.
        """
        self._read[log] = _size(log)

    def look(self, name: str, log: Path) -> None:
        """Print the warnings that a job has written since the last look and no other job wrote before.

        Args:
            name: How the job is called in lines: ``job 3 (seed=1)``.
            log: The job's log.
        """
        for text in self._new_warnings(log):
            kind = kind_of(text)
            if any(kind in line for line in self._printed):
                continue
            if kind not in self._found:
                self._found[kind] = text
                self._print_line(f"{name}: {_MARK}{text}")
            self._jobs.setdefault(kind, set()).add(name)

    def close(self) -> None:
        """Print which warnings came from several jobs, and from how many."""
        for kind, names in self._jobs.items():
            if len(names) > 1:
                self._print_line(f"{len(names)} {self._what}: {_MARK}{self._found[kind]}")

    def _new_warnings(self, log: Path) -> Collection[str]:
        """The warnings in the whole lines that were added to a log. A log that cannot be read has none."""
        position = self._read.get(log, 0)
        if _size(log) <= position:
            return ()
        with suppress(OSError, RunFolderError), open_regular(log) as file:
            file.seek(position)
            whole, end, _ = file.read(_MOST_BYTES).rpartition(b"\n")
            self._read[log] = position + len(whole) + len(end)
            lines = whole.decode("utf-8", "replace").splitlines()
            return [line.removeprefix(_MARK) for line in lines if line.startswith(_MARK)]
        return ()


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_size
    return 0


def kind_of(text: str) -> str:
    """Return a warning without its words with a digit, such as numbers and names of folders."""
    return _WORD_WITH_A_DIGIT.sub("#", text)
