"""Where a file or folder that a configuration names is. Importing this module does not import torch."""

from __future__ import annotations

import os
import shlex
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from metaexp.core.errors import DataError, MissingDataError

_MOST_NAMES = 5000
"""As many names of a folder are compared with one that is mistyped."""


def named_path(folder: Path, key: str, value: str) -> Path:
    """Return the path of a file or folder that a key names.

    Args:
        folder: ``paths.data``, in which relative paths are.
        key: The key, for messages, such as ``dataset.folder``.
        value: What it is set to: relative, absolute, or beginning with ``~``.

    Raises:
        DataError: There is no home folder for the ``~``, or the path is empty or has a null byte.
    """
    if not value.strip() or "\0" in value:
        raise DataError(f"{key}={value!r} is not a path. Give a path that is absolute or inside paths.data.")
    try:
        return folder / Path(value).expanduser()
    except RuntimeError as error:
        raise DataError(f"{key}={value}: there is no such home folder. Write the path without ~.") from error


def existing_path(folder: Path, key: str, value: str, *, give: str, kind: str = "") -> Path:
    """Return the path of a file or folder that a key names, which must be there.

    Args:
        folder: ``paths.data``.
        key: The key, such as ``dataset.folder``.
        value: What it is set to.
        give: What to set it to, as a sentence, for the message.
        kind: What the path must be: ``file`` or ``folder``; empty if both are allowed.

    Raises:
        DataError: As :func:`named_path`.
        MissingDataError: It is not there; the message says so if the current folder has it.
    """
    path = named_path(folder, key, value)
    if _is_there(path, kind):
        return path
    looked_for = path.absolute()
    near = _nearest(folder, Path(value).expanduser(), kind)
    hint = f" Did you mean {shlex.quote(f'{key}={near}')}?" if near else ""
    message = f"{key}={value}: there is no {kind}{' ' if kind else ''}{looked_for}.{hint} {give}"
    here = Path(value).absolute()
    if here == looked_for or not _is_there(here, ""):
        raise MissingDataError(message)
    raise MissingDataError(
        f"{message} The current folder has {value}, but relative paths begin at paths.data, which is "
        f"{folder.absolute()}: set paths.data=. or give {shlex.quote(f'{key}={here}')}."
    )


def _is_there(path: Path, kind: str) -> bool:
    """Whether there is a ``file`` or ``folder`` at ``path``; if ``kind`` is empty, one of both."""
    try:
        return {"file": path.is_file, "folder": path.is_dir}.get(kind, path.exists)()
    except OSError:  # such as a name of more letters than the system has
        return False


def _nearest(folder: Path, value: Path, kind: str) -> Path | None:
    """Return the path that is there and differs from ``value`` in one name, which is alike; None if there is none.

    Args:
        folder: Where a relative path begins.
        value: A path that is not there.
        kind: As :func:`existing_path`.
    """
    found = Path(value.anchor)
    for name in value.parts[len(found.parts) :]:
        if not _is_there(folder / found / name, ""):
            rest = value.parts[len(found.parts) + 1 :]
            alike = get_close_matches(name, _names(folder / found), n=3, cutoff=0.7)
            paths = [Path(found, other, *rest) for other in alike]
            return next((path for path in paths if _is_there(folder / path, kind)), None)
        found /= name
    return None


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, _MOST_NAMES)]
    except OSError:
        return []
