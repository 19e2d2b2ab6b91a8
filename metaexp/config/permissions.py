"""Keeps the list of projects that this user has allowed to run their code, in a file outside every project.

A ``metaexp.toml`` comes with a folder, and a folder can be a stranger's. So it only asks for packages. ``metaexp
trust`` and ``metaexp new`` write this list, which allows them. It keeps the packages by name, so a file that asks for
another one later has to be allowed again, and the owner of the file, so that nobody else can put one in its place.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import TypedDict

from metaexp.core.disk.files import is_special, write_atomically
from metaexp.core.errors import ConfigError

_MOST_BYTES = 1_000_000


class Permission(TypedDict):
    """What a project may do.

    Attributes:
        packages: The packages whose code it may run.
        owner: The user id of the owner of its ``metaexp.toml``; None where files have none.
    """

    packages: list[str]
    owner: int | None


def list_file() -> Path:
    """Return the file with the list: ``metaexp/trusted.json`` in the user's folder of settings.

    That is XDG_CONFIG_HOME where it is set, else what the system has for it, ~/.config on Linux.
    """
    base = os.environ.get("XDG_CONFIG_HOME")
    if base:
        return Path(base) / "metaexp" / "trusted.json"
    import platformdirs  # takes 10 ms

    return platformdirs.user_config_path("metaexp", appauthor=False) / "trusted.json"


def allowed(file: Path) -> frozenset[str]:
    """Return the packages that the user has allowed a project to run.

    Args:
        file: The project's ``metaexp.toml``.

    Raises:
        ConfigError: The list cannot be read.
    """
    entry = read_list().get(str(file.resolve()))
    if entry is None or entry["owner"] != _owner(file):
        return frozenset()
    return frozenset(entry["packages"])


def allow(file: Path, packages: Collection[str]) -> None:
    """Allow a project to run the code of its packages.

    Args:
        file: The project's ``metaexp.toml``.
        packages: Their names.

    Raises:
        ConfigError: The list cannot be read or written.
    """
    listed = read_list()
    listed[str(file.resolve())] = {"packages": sorted(packages), "owner": _owner(file)}
    _write(listed)


def forget(file: Path) -> bool:
    """Take a project off the list. Returns whether it was on it."""
    listed = read_list()
    if listed.pop(str(file.resolve()), None) is None:
        return False
    _write(listed)
    return True


def read_list() -> dict[str, Permission]:
    """Return the list: the path of each ``metaexp.toml`` with its packages and owner.

    Raises:
        ConfigError: The file is there and cannot be read.
    """
    path = list_file()
    try:
        if is_special(path):
            raise OSError(errno.EINVAL, "it is not a regular file")
        with path.open("rb") as file:
            listed = json.loads(file.read(_MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{path}, the list of projects whose code may run, cannot be read ({why}). Remove it, and allow your "
            "projects again with metaexp trust."
        ) from error
    if not isinstance(listed, dict) or not all(map(_is_entry, listed.values())):
        raise ConfigError(
            f"{path}, the list of projects whose code may run, is damaged. Remove it, and allow your projects again "
            "with metaexp trust."
        )
    return listed


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("packages"), list):
        return False
    return all(isinstance(name, str) for name in entry["packages"]) and "owner" in entry


def _owner(file: Path) -> int | None:
    try:
        return file.stat().st_uid
    except OSError:
        return None


def _write(listed: dict[str, Permission]) -> None:
    path = list_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(listed, indent=1).encode())
    except OSError as error:
        raise ConfigError(
            f"{path}, the list of projects whose code may run, cannot be written ({error.strerror}). Name the packages "
            "with --trust or METAEXP_TRUST instead."
        ) from error
