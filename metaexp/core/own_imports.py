"""Imports somebody else's code, and says in one sentence which line fails, and why, or what a method returns."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from metaexp.core.errors import ConfigError, MetaexpError, first_line

_LIBRARIES: Final = (*(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")), "<frozen ")
_IMPORTS: Final = ("<frozen ", str(Path(importlib.__file__).parent))
_OURS: Final = ("metaexp", "torch")

T = TypeVar("T")

Line = tuple[str, int]
"""File, and number of the line in it."""


def lines_of(error: BaseException) -> tuple[list[Line], list[Line]]:
    """Return the lines that led to an error, from the one that the ``try`` block called on.

    Args:
        error: An error that was caught in the function that calls this one.

    Returns:
        All lines but those of Python's imports, the last one raised it; and those of them that are not in installed
        libraries.
    """
    frames = traceback.extract_tb(error.__traceback__)[1:]
    lines = [(frame.filename, frame.lineno or 0) for frame in frames if not frame.filename.startswith(_IMPORTS)]
    return lines, [line for line in lines if not line[0].startswith(_LIBRARIES)]


def import_own(name: str) -> ModuleType:
    """Import a module, which may be a user's own.

    Args:
        name: The dotted name.

    Raises:
        ConfigError: The module, or one that it imports, fails. The message names the line and the cause. A failure of
            metaexp or torch is raised as it is, and so is an error of metaexp in the user's code.
    """
    if name.partition(".")[0] in _OURS:
        return importlib.import_module(name)
    try:
        return importlib.import_module(name)
    except (MetaexpError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever their code raises; a script may end the process
        raise ConfigError(f"{name} cannot be imported: {_format_cause(error)}. {_advice(error, name)}") from error


def require_returned(found: object, wanted: type[T], what: str) -> T:
    """Return what a method of somebody else's code returned.

    Args:
        found: What it returned.
        wanted: The class that it must have.
        what: The method, for the message, such as ``dataset=mine: load of Mine``.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(found, wanted):
        return found
    shown = "nothing" if found is None else f"an object of the class {type(found).__name__}"
    if isinstance(found, type):
        shown = f"the class {found.__name__} itself"
    raise ConfigError(f"{what} returns {shown}; it must return a {wanted.__module__}.{wanted.__qualname__}.")


def _format_cause(error: BaseException) -> str:
    lines, own = lines_of(error)
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno or 0))
        own.append(lines[-1])
    places = (own or lines)[-1:] + lines[-1:]  # the user's line, and the one that raised the error
    where = " calls ".join(f"{file}, line {line}," for file, line in dict.fromkeys(places))
    kind, text = type(error).__name__, first_line(error).rstrip(".")
    return f"{where} raises {kind}{'' if text == kind else f': {text}'}".lstrip()


def _advice(error: BaseException, name: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        package, _, inner = error.name.partition(".")
        if inner and package in sys.modules:
            return f"The package {package} is there, and has no module {inner}. Correct the line."
        return f"Install {package}, or correct the line."
    if isinstance(error, SystemExit):
        return "Code that ends the process belongs below `if __name__ == '__main__':`."
    return f"Correct it; `python -c 'import {name}'` shows the whole traceback."
