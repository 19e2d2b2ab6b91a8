"""Finds files of a group that are there and are not found: with another ending, or a name that is read as a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from metaexp.config.hydra_internals import ConfigLoaderImpl

_ENDING = re.compile(r"(\.ya?ml)?(\.(txt|bak|orig|json|toml))?$", re.IGNORECASE)
"""What editors, browsers and habits put after a name."""


def format_misnamed(loader: ConfigLoaderImpl, group: str, name: str) -> str:
    """Return ' FILE is there: call it NAME.yaml.', or '' where there is no such file.

    Args:
        loader: Hydra's loader, which knows the folders.
        group: The group, such as ``optimizer``.
        name: The name that was asked for, and that no file of the group has.
    """
    wanted = _ENDING.sub("", name)
    for folder in [Path(source.path, group) for source in loader.get_sources() if source.scheme() == "file"]:
        try:
            files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        except OSError:
            continue
        for path in files:
            if path.name != f"{wanted}.yaml" and _ENDING.sub("", path.name).lower() == wanted.lower():
                return f" {path} is there: call it {wanted}.yaml."
    return ""


def format_not_found(loader: ConfigLoaderImpl, error: BaseException) -> str:
    """Return what :func:`format_misnamed` says of the file that Hydra could not find; '' for any other error.

    Args:
        loader: Hydra's loader.
        error: What Hydra has raised.
    """
    found = re.search(r"Could not find '([^']*)/([^'/]+)'", str(error))
    return format_misnamed(loader, found[1], found[2]) if found else ""


def format_other_type(override: Override, known: Sequence[str]) -> str:
    """Return why the name of a file is not taken for one: Hydra reads it as a number or a word of YAML; '' if it is.

    Args:
        override: The override, of a group.
        known: The names of the files of the group.
    """
    choice, line = override.value(), override.input_line or ""
    kinds = {bool: "true or false", type(None): "no value", int: "a number", float: "a number"}
    if type(choice) not in kinds or (override.is_delete() and choice is None):
        return ""
    is_number = type(choice) in (int, float)
    names = [n for n in known if n == line.partition("=")[2] or (is_number and _number(n) == choice)]
    if not names:
        return ""
    key = ("~" if override.is_delete() else "") + override.key_or_group
    return (
        f"{key}={names[0]} is read as {kinds[type(choice)]}, and not as the name of the file {names[0]}.yaml. Quote "
        f"the name twice, \"{key}='{names[0]}'\", or give the file another name."
    )


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None
