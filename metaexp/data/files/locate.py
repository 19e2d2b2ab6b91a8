"""Where a file or folder that a configuration names is. Importing this module does not import torch."""

from __future__ import annotations

from pathlib import Path

from metaexp.core.errors import DataError


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
