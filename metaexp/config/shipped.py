"""Reads single files of the shipped configuration, without composing anything."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from metaexp.config.loader import conf_folder

_CLASS = re.compile(r"^_target_: *(\S+)", re.MULTILINE)


def shipped_text(group: str, name: str) -> str:
    """Return the text of a file of the shipped configuration.

    Args:
        group: The folder of the file.
        name: The file, without suffix.

    Raises:
        FileNotFoundError: There is no such file.
    """
    folder = conf_folder()
    root = resources.files("metaexp.conf") if folder.startswith("pkg://") else Path(folder)
    return root.joinpath(group, f"{name}.yaml").read_text(encoding="utf-8")


def shipped_class(group: str, name: str) -> str | None:
    """Return the class that a file of the shipped configuration names; None where there is no such file.

    Args:
        group: The folder of the file.
        name: The file, without suffix. It may be any text.
    """
    try:
        found = _CLASS.search(shipped_text(group, name)) if re.fullmatch(r"\w{1,100}", name) else None
    except FileNotFoundError:
        return None
    return None if found is None else found[1]
