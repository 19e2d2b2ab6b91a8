"""Errors a user can act on, and the exit codes of the process that ends with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

from metaexp.core.counted import counted
from metaexp.core.terminal_text import plain_lines


class ExitCode(IntEnum):
    """How a process of metaexp ended. A signal that saved the run gives 128 plus its number."""

    OK = 0
    BUG = 1
    CONFIG = 2
    DATA = 3
    RUN_FOLDER = 4
    NOT_FINITE = 5
    MACHINE = 6
    JOBS_FAILED = 10
    """Some jobs of a sweep or trials of a search failed."""
    DIFFERENT = 11
    """A reproduction gave other numbers, or ``metaexp check`` found a fault."""
    INTERRUPTED = 130
    TERMINATED = 143


_LONGEST_LINE = 3000
_in_python: ContextVar[bool] = ContextVar("_in_python", default=False)


def _shorten(line: str) -> str:
    """A line without its middle, where it is very long."""
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 500]} ... {line[-400:]}"


class MetaexpError(Exception):
    """A problem with a clear cause. Anything else that escapes is a bug (exit code 1)."""

    exit_code: int = ExitCode.BUG

    def __str__(self) -> str:
        """The message; text that it quotes is shortened and loses its control characters."""
        return "\n".join(map(_shorten, plain_lines(super().__str__()).split("\n")))


class ConfigError(MetaexpError):
    """The configuration is wrong.

    Args:
        problems: One self-contained sentence for each problem.
        notes: Sentences after these, which are about no problem.
        n_more: How many problems were found that are not listed.
    """

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: str | list[str], notes: Sequence[str] = (), n_more: int = 0) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.notes = list(notes)
        self.n_more = n_more
        more = [f"and {counted(n_more, 'more problem')}."] if n_more else []
        super().__init__("\n".join([*self.problems, *more, *self.notes]))


class DataError(MetaexpError):
    """Data is missing, damaged, or not what it should be."""

    exit_code = ExitCode.DATA


class MissingDataError(DataError):
    """Data are not here. They may be elsewhere, on the machine that a job will run on."""


class RunFolderError(MetaexpError):
    """A checkpoint or a run folder is missing, damaged, in use, or does not fit."""

    exit_code = ExitCode.RUN_FOLDER


class NotFiniteError(MetaexpError):
    """A loss or a gradient is NaN or infinite."""

    exit_code = ExitCode.NOT_FINITE


class MachineError(MetaexpError):
    """The machine cannot do it: no such device, disk full, out of memory."""

    exit_code = ExitCode.MACHINE


@contextmanager
def called_in_python() -> Iterator[None]:
    """Let messages name the arguments of a function that was called in Python, not the options of the command line.

    It is the decorator of each function of ``import metaexp`` whose arguments are also options of a verb.
    """
    token = _in_python.set(True)
    try:
        yield
    finally:
        _in_python.reset(token)


def name_option(option: str, value: object) -> str:
    """Return an option and its value as the user gives them: ``--config-dir conf``, or in Python ``config_dir=conf``.

    Args:
        option: The option of the command line, such as ``--config-dir``.
        value: What is given for it.
    """
    return f"{option[2:].replace('-', '_')}={value}" if _in_python.get() else f"{option} {value}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
