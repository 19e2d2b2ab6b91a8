"""Where a file or folder that a configuration names is. Importing this module does not import torch."""

from __future__ import annotations

import shlex
from pathlib import Path

from metaexp.core.disk.nearest import format_other_kind, is_there, nearest_path
from metaexp.core.errors import DataError, MissingDataError


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
    if is_there(path, kind):
        return path
    looked_for = path.absolute()
    near = nearest_path(Path(value).expanduser(), within=folder, kind=kind)
    hint = format_other_kind(path, kind) or (f" Did you mean {shlex.quote(f'{key}={near}')}?" if near else "")
    message = f"{key}={value}: there is no {kind}{' ' if kind else ''}{looked_for}.{hint} {give}"
    here = Path(value).absolute()
    if here == looked_for or not is_there(here, kind):
        raise MissingDataError(message)
    raise MissingDataError(
        f"{message} The current folder has {value}, but relative paths begin at paths.data, which is "
        f"{folder.absolute()}: set paths.data=. or give {shlex.quote(f'{key}={here}')}."
    )
