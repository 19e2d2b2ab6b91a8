"""Overrides as text: the key that one sets, and what one lacks that cannot be read. Often a space has torn it apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metaexp.core.counted import shortened
from metaexp.core.errors import ConfigError

EXAMPLES = "key=value without spaces, such as algorithm=maml or train.steps=2000, and several values as seed=0,1,2"
_MOST_SHOWN = 120
"""Characters of an override that is shown with its quotes; a longer one gets an example."""
_FUNCTIONS = ("interval", "range", "choice", "tag", "sort", "shuffle", "glob")
_SWEEPS = "Values that vary are written as range(0, 5), choice(a, b), interval(0.01, 1) or tag(log, interval(0.01, 1))."
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def override_texts(overrides: Sequence[object]) -> list[str]:
    """Return overrides that were given to a function.

    Raises:
        ConfigError: One of them is not a text, such as a list of them.
    """
    found = []
    for item in overrides:
        if not isinstance(item, str):
            raise ConfigError(
                f"{shortened(str(item))} is not an override: each is a text of its own, such as 'algorithm=maml', "
                "'seed=3'. Write * in front of a list of them."
            )
        found.append(item)
    return found


def key_of(line: str) -> str:
    """Return the key or group that an override sets."""
    return line.partition("=")[0].lstrip("+~")


def chosen_launcher(overrides: Sequence[str]) -> str | None:
    """Return the launcher that the command line chooses; None for the pool of this process, the default.

    Args:
        overrides: Overrides of the command line, of which the last one counts.
    """
    chosen = [line.partition("=")[2].strip("'\" ") for line in overrides if key_of(line) == "hydra/launcher"]
    return None if not chosen or chosen[-1] == "basic" else chosen[-1]


def is_of_hydra(line: str) -> bool:
    """Return whether an override is about Hydra's own section, such as ``++hydra.run.dir=mine``."""
    return re.match(r"hydra([./@]|$)", key_of(line)) is not None


def packaged_key(line: str) -> str | None:
    """Return why an override of Hydra's section that names a package cannot be; None for any other override.

    With a package, as in ``hydra/launcher@hydra.launcher=joblib``, it would choose no launcher.
    """
    key, at, package = key_of(line).partition("@")
    if not at or not is_of_hydra(line):
        return None
    without = line.replace(f"@{package}", "", 1)
    return f"{line}: a key of Hydra takes no package. Write {without.lstrip('+') if '/' in key else without}."


def quote_home(line: str) -> str:
    """Return an override whose value begins with ``~`` in quotes, without which Hydra's grammar refuses it."""
    key, _, value = line.partition("=")
    return f"{key}='{value}'" if value.startswith("~") and "'" not in value else line


def quote_advice(line: str) -> str:
    """Return a sentence that shows how to write an override that cannot be read, in quotes for the shell and Hydra.

    Args:
        line: The override, as given on the command line. Each value of a list gets quotes of its own.
    """
    key, _, value = line.partition("=")
    if key != key.rstrip():
        return f"Write it without spaces beside the =: '{key.strip()}={value.strip()}'."
    is_list = len(value) > 2 and value[0] == "[" and value[-1] == "]"
    inner = value[1:-1] if is_list else value
    if not inner or len(line) > _MOST_SHOWN or re.search(r"""['"\\]""" + (r"|[][{}]" if is_list else ""), inner):
        shown = 'key="value"'
    else:
        quoted = ",".join(f'"{part.strip()}"' for part in (inner.split(",") if is_list else [inner]))
        shown = f"{key}=[{quoted}]" if is_list else f"{key}={quoted}"
    return f"Quote special characters twice: '{shown}'."


def function_advice(error: str) -> str:
    """Return how values that vary are written, if the error of Hydra's grammar is about a function; else "".

    Args:
        error: Its first line, such as ``HydraException while evaluating 'loguniform(0,1)': Unknown function ...``.
    """
    found = re.search(r" while evaluating '(\w+)\(", error)
    is_unknown = "Unknown function" in error
    return f"{_SWEEPS} " if found and (is_unknown or found[1] in _FUNCTIONS) else ""


def incomplete(line: str) -> str | None:
    """Return what an override lacks, and what to do; None if it lacks no bracket and no value.

    Args:
        line: The override, as given on the command line.
    """
    value = line.partition("=")[2]
    opened = _left_open(value)
    if opened:
        return (
            f"{opened} is not closed. Write {_CLOSING[opened]} at the end. If the value has spaces, put single quotes "
            "around the whole override."
        )
    values = [part.strip() for part in value.split(",")]
    return f"a value is missing beside a comma. Write {EXAMPLES}." if "" in values and len(values) > 1 else None


def _left_open(value: str) -> str:
    """The last bracket that is opened and not closed; empty if there is none, or if a quote is left open."""
    opened: list[str] = []
    quote = ""
    escaped = False
    for character in value:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _CLOSING:
            opened.append(character)
        elif opened and character == _CLOSING[opened[-1]]:
            opened.pop()
    return opened[-1] if opened and not quote else ""
