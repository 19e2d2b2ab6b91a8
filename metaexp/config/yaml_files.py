"""Reads and writes resolved configurations as YAML, in the form that Hydra writes, with limits on their size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_omega_conf_dumper, get_yaml_loader

from metaexp.core.disk.files import is_special, open_regular, reason
from metaexp.core.errors import RunFolderError
from metaexp.results.reading import FaultError, check_nested_numbers

_MOST_BYTES = 500_000
_MOST_NODES = 100_000
_MOST_LEVELS = 100
"""OmegaConf takes a few more, and PyYAML's parser in C takes any number, until the stack or the memory is full."""


def _yaml_loader() -> Any:
    """OmegaConf's loader with a limit on levels, and with PyYAML's parser in C, where PyYAML was built with it."""
    omega: Any = get_yaml_loader()
    parser: tuple[Any, ...] = (yaml.CSafeLoader,) if hasattr(yaml, "CSafeLoader") else ()

    class Loader(*parser, omega):  # type: ignore[misc]  # the parser of the first, the rules of the second
        yaml_constructors = omega.yaml_constructors
        yaml_implicit_resolvers = omega.yaml_implicit_resolvers
        level = 0

        def descend_resolver(self, current_node: Any, current_index: Any) -> None:
            """Called before each node that is composed."""
            self.level += 1
            if self.level > _MOST_LEVELS:
                raise RecursionError("lists or mappings are inside each other too deeply")

        def ascend_resolver(self) -> None:
            """Called after each node that is composed."""
            self.level -= 1

    return Loader


def _yaml_dumper() -> Any:
    """OmegaConf's dumper; a part that is there twice is written twice."""

    class Dumper(get_omega_conf_dumper()):  # type: ignore[misc]
        def ignore_aliases(self, data: object) -> bool:
            """Whether a part is written out wherever it is."""
            return True

    return Dumper


_LOADER = _yaml_loader()
_DUMPER = _yaml_dumper()


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return ``values`` as YAML text, keys in their order."""
    written = dict(values)
    if _is_plain(written):
        return dump_yaml(written)
    return OmegaConf.to_yaml(OmegaConf.create(written))


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Write dicts, lists and scalars as OmegaConf does, but without making a configuration first: that takes longer.

    Args:
        values: Keys and values. Interpolations stay as they are written.
    """
    text: str = yaml.dump(values, allow_unicode=True, sort_keys=False, Dumper=_DUMPER)
    return text


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
    text = path.read_text(encoding="utf-8")
    found = yaml.load(text, Loader=_LOADER)
    if "&" not in text and isinstance(found, dict) and _is_plain(found):  # no part is there twice, as an alias
        return found
    if not isinstance(found, dict | list | str | None):
        raise ValueError(f"it holds one value of type {type(found).__name__}, and no keys")
    return OmegaConf.to_container(OmegaConf.create({} if found is None else found))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file of a run folder: keys and values.

    Args:
        path: The file. Links and special files are refused.

    Raises:
        RunFolderError: The file cannot be read, is not a mapping, or has a number that is not finite.
    """
    try:
        open_regular(path).close()
        found = read_yaml(path)
    except RunFolderError:
        raise
    except OSError as error:
        raise RunFolderError(explain_unreadable(path, error)) from error
    except Exception as error:  # errors of YAML have no common base class
        raise RunFolderError(f"{explain_unreadable(path, error)} Restore it.") from error
    if not isinstance(found, dict):
        raise RunFolderError(f"{path} cannot be read: it has no keys. Restore it.")
    try:
        check_nested_numbers(found)
    except FaultError as fault:
        raise RunFolderError(f"{path}: {fault} Restore it.") from fault
    return {str(key): value for key, value in found.items()}


def yaml_problems(path: Path) -> list[str]:
    """Return why a YAML file cannot be a configuration: it is too large, or not a file. Nothing else is checked.

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


def explain_unreadable(path: Path, error: Exception) -> str:
    """Return why a YAML file cannot be read, with its line where there is one, and what to do.

    Args:
        path: The file.
        error: What the reader of YAML raised.
    """
    if isinstance(error, yaml.MarkedYAMLError):
        return _explain_line(path, error)
    if isinstance(error, UnicodeDecodeError):
        byte = f"its byte {error.start + 1} is {error.object[error.start]:#x}"
        return f"{path} is not UTF-8 text: {byte}. Save it as UTF-8."
    if isinstance(error, RecursionError):
        deep = f"{path} has lists or mappings inside each other too deeply."
        return f"{deep} Write it with at most {_MOST_LEVELS} levels."
    return f"{path} cannot be read: {' '.join(reason(error).split()).rstrip('.')}."


def _explain_line(path: Path, error: yaml.MarkedYAMLError) -> str:
    """Where a file is not YAML. The parser says of a tab only that it cannot start a token."""
    mark = error.problem_mark or error.context_mark
    said = ", ".join(filter(None, (error.context, error.problem)))
    if mark is None:
        return f"{path} cannot be read: {said}."
    try:
        line = path.read_text(encoding="utf-8-sig").splitlines()[mark.line]
    except (OSError, ValueError, IndexError):
        line = ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return (
            f"{path}, line {mark.line + 1} is indented with a tab. YAML forbids tabs for indentation: put blanks "
            "there, as many as in the other lines of the same level."
        )
    if line[mark.column : mark.column + 1] == "\t":
        return (
            f"{path}, line {mark.line + 1} has a tab at column {mark.column + 1}, where YAML allows only blanks. Put a "
            "blank in its place."
        )
    return f"{path} cannot be read: {said} (line {mark.line + 1}, column {mark.column + 1})."


def _is_plain(value: object) -> bool:
    """Whether a configuration made of ``value`` would hold the same, so that none has to be made to see that."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_is_plain, value))
    if type(value) is str:
        return "${" not in value
    return value is None or type(value) in (bool, int, float)


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
