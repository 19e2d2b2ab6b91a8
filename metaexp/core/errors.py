"""Errors a user can act on. Each class carries the exit code of the process that dies of it."""

from __future__ import annotations


class MetaexpError(Exception):
    """A problem with a clear cause. Anything else that escapes is a bug (exit code 1)."""

    exit_code = 1


class ConfigError(MetaexpError):
    """The configuration is wrong. ``problems`` holds one self-contained sentence per problem found."""

    exit_code = 2

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(MetaexpError):
    """Data is missing, damaged, or not what it should be."""

    exit_code = 3


class RunFolderError(MetaexpError):
    """A checkpoint or a run folder is missing, damaged, in use, or does not fit."""

    exit_code = 4


class NotFiniteError(MetaexpError):
    """A loss or a gradient is NaN or infinite."""

    exit_code = 5


class MachineError(MetaexpError):
    """The machine cannot do it: no such device, disk full, out of memory."""

    exit_code = 6
