"""Formats what Hydra says of a configuration that it cannot compose."""

from __future__ import annotations

import re
from collections.abc import Sequence

from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from metaexp.config.classes.domains import HOW_TO_ADD
from metaexp.config.classes.values import format_nearest
from metaexp.config.command_line.override_text import key_of
from metaexp.core.errors import first_line


def _format_unknown_hydra_key(key: str, siblings: Sequence[object]) -> str:
    """A key of Hydra's section that is not there, and those beside it that are."""
    section, _, name = key.rpartition(".")
    known = [str(sibling) for sibling in siblings if not str(sibling).startswith("_")]
    listed = f"Known: {', '.join(known)}." if known else "It has none."
    choose = " Choose another launcher in the same command: hydra/launcher=NAME." if section == "hydra.launcher" else ""
    return f"{key} is not a key of {section}.{format_nearest(name, known)} {listed}{choose}"


def format_in_one_line(error: BaseException, overrides: Sequence[str] = ()) -> str:
    """Format an error of Hydra or YAML in one line, without the list of folders it searched.

    Args:
        error: The error.
        overrides: The overrides of the command line that were composed.
    """
    cause = error.__cause__
    shape = _format_shape(error)
    if shape is not None:
        return shape
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and str(cause.full_key).startswith("hydra."):
        return _format_unknown_hydra_key(str(cause.full_key), list(cause.parent_node or ()))
    text = str(error) or (str(cause) if cause else type(error).__name__)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept: list[str] = []
    for line in lines:
        if line.startswith(("Config search path", "Search path", "provider=")):
            break
        if line.startswith("To append to your"):  # for a mistyped key this advice adds the typo
            continue
        kept.append(line)
    if cause is not None and text.startswith("Error merging override"):
        kept.append(f"({first_line(cause)}).")
    packaged = _format_packaged(text, overrides)
    if packaged is not None:
        return packaged
    if any("Could not override" in line and "@experiment." in line for line in kept):
        kept.append("The first line of an experiment must be `# @package _global_`; let every other line follow it.")
    elif any("Could not override" in line and "@" in line for line in kept):
        kept.append("In a file of a group, name the other group from the root: override /model@_global_.model: ...")
    return " ".join(kept)


def _format_shape(error: BaseException) -> str | None:
    """What is wrong with files in a circle, or with lists where mappings are; None if it is another error."""
    if isinstance(error, RecursionError):
        return "files choose one another in a circle in their defaults, or lists and mappings are nested too deep."
    if "Cannot merge" not in str(error):
        return None
    where = f"{first_line(error).partition(': ')[0]}: " if str(error).startswith("In '") else ""
    return f"{where}a list stands where the files before have a mapping, or a mapping where they have a list."


def _format_packaged(text: str, overrides: Sequence[str]) -> str | None:
    """What is wrong with a choice of the command line for a place that no file fills; None if it is another error."""
    found = re.match(r"Could not override '(([^'@]+)@[^']*)'", text)
    line = next((line for line in overrides if found and key_of(line) == found[1]), None)
    if found is None or line is None:
        return None
    if found[1].startswith("dataset@dataset.domains"):
        return f"{line}: a command line cannot add a dataset to a mixture. {HOW_TO_ADD}"
    return f"{line}: no file chooses {found[1]}. Write {line.lstrip('+').replace(found[1], found[2], 1)}."
