"""Reads and writes resolved configurations as YAML, in the form that Hydra writes, with limits on their size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from metaexp.core.errors import RunFolderError
from metaexp.core.files import is_special, open_regular, reason

_MOST_BYTES = 500_000
_MOST_NODES = 100_000


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return ``values`` as YAML text, keys in their order."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(values)))


def plain(config: object) -> object:
    """Return a configuration as plain dicts, lists and scalars, its interpolations as they are written."""
    return OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config


def read_yaml(path: Path) -> object:
    """Return the content of a YAML file as plain dicts, lists and scalars.

    Raises:
        Exception: Whatever the YAML reader raises. Its errors have no common base class.
        ValueError: The file is too large, or would be once its aliases are expanded.
    """
    problems = yaml_problems(path)
    if problems:
        raise ValueError(problems[0])
    return OmegaConf.to_container(OmegaConf.load(path))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file of a run folder: keys and values.

    Args:
        path: The file. Links and special files are refused.

    Raises:
        RunFolderError: The file cannot be read, or is not a mapping.
    """
    try:
        open_regular(path).close()
        found = read_yaml(path)
    except RunFolderError:
        raise
    except Exception as error:  # errors of YAML have no common base class
        raise RunFolderError(f"{path} cannot be read: {reason(error)}.") from error
    if not isinstance(found, dict):
        raise RunFolderError(f"{path} cannot be read: it has no keys.")
    return {str(key): value for key, value in found.items()}


def yaml_problems(path: Path) -> list[str]:
    """Return why a YAML file cannot be a configuration: it is too large, or not a file. Nothing else is checked.

    Args:
        path: The file.

    Returns:
        At most one sentence.
    """
    try:
        if is_special(path):
            return [f"{path} is not a regular file. Remove it, or give it another name than *.yaml."]
        size = path.stat().st_size
        if size > _MOST_BYTES:
            return [f"{path} has {size:,} bytes; a configuration has at most {_MOST_BYTES:,}."]
        text = path.read_text(encoding="utf-8-sig")
        if "*" not in text or "&" not in text:
            return []
        n_nodes = _size(yaml.compose(text, Loader=yaml.SafeLoader), {})
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return []  # whoever uses the file says what is wrong
    if n_nodes <= _MOST_NODES:
        return []
    return [f"{path} expands to more than {_MOST_NODES:,} values through its aliases (*name). Write the values out."]


def format_unreadable_file(folder: Path | None) -> str:
    """Format which YAML file below a folder cannot be read for its encoding or its depth. Hydra names no file.

    Returns:
        A sentence; empty where none is such a file.
    """
    for path in sorted(folder.rglob("*.yaml")) if folder is not None else []:
        try:
            yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
        except UnicodeDecodeError as error:
            byte = f"its byte {error.start + 1} is {error.object[error.start]:#x}"
            return f"{path} is not UTF-8 text: {byte}. Save it as UTF-8."
        except RecursionError:
            return f"{path} has lists or mappings inside each other too deeply. Write it with fewer levels."
        except (OSError, ValueError, yaml.YAMLError):
            continue
    return ""


def _size(node: Any, known: dict[int, int]) -> int:
    """The number of nodes below one, each alias expanded, without expanding any."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = 1  # an alias of a node inside itself counts once
    children = getattr(node, "value", None)
    total = 1
    for child in children if isinstance(children, list) else []:
        for part in child if isinstance(child, tuple) else (child,):
            total = min(total + _size(part, known), 10 * _MOST_NODES)
    known[id(node)] = total
    return total
