"""Nested mappings, such as configurations: their values by dotted key, their digest, and nests of Python as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_TUPLE: Final = "(tuple)"
_DICT: Final = "(dict)"
_NAMED: Final = "(named)"
_MARKS: Final = frozenset({_TUPLE, _DICT, _NAMED})
"""Keys of what stands in JSON for what JSON does not have."""


def values_by_key(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return all values by dotted key. Lists and empty mappings are values.

    Args:
        nested: Nested mappings.
        prefix: What the keys begin with.
    """
    found: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            found |= values_by_key(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def at_key(nested: Mapping[str, Any], key: str) -> list[Any]:
    """Return the value at a dotted key in a list; an empty list where there is no such key.

    Args:
        nested: Nested mappings.
        key: The key, such as ``optimizer.lr``.
    """
    value: Any = nested
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return []
        value = value[part]
    return [value]


def sha256_of(nested: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return the SHA-256 (hex) of values that JSON can hold, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(nested, sort_keys=True).encode()).hexdigest()


def to_json(value: Any, name: Callable[[Any], str | None] = lambda _: None) -> Any:
    """Return a nest of lists, tuples and dicts as a value that JSON can hold, and :func:`from_json` reads exactly.

    Lists, and dicts whose keys are texts, stay as they are.

    Args:
        value: The nest. What is in it are numbers, texts, None and what ``name`` knows.
        name: Returns the name under which a value is kept elsewhere; None for a value that JSON is to hold.

    Raises:
        TypeError: Something in it is of another type, such as a set, a named tuple or a defaultdict.
        RecursionError: It contains itself, or is nested too deep.
    """
    kept = name(value)
    if kept is not None:
        return {_NAMED: kept}
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, list):
        return [to_json(item, name) for item in value]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return {_TUPLE: [to_json(item, name) for item in value]}
    if not isinstance(value, dict) or hasattr(value, "__missing__"):
        raise TypeError(f"{type(value).__name__} is neither a list, a tuple, a dict, a number nor a text")
    if all(isinstance(key, str) for key in value) and not _MARKS & value.keys():
        return {key: to_json(item, name) for key, item in value.items()}
    return {_DICT: [[to_json(key), to_json(item, name)] for key, item in value.items()]}


def from_json(value: Any, kept: Callable[[str], Any] = str) -> Any:
    """Return the nest that :func:`to_json` was given.

    Args:
        value: What it returned.
        kept: Returns what is kept elsewhere under a name.

    Raises:
        LookupError, TypeError, ValueError: It is not what :func:`to_json` returns.
    """
    if isinstance(value, list):
        return [from_json(item, kept) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_NAMED}:
        return kept(value[_NAMED])
    if value.keys() == {_TUPLE}:
        return tuple(from_json(item, kept) for item in value[_TUPLE])
    if value.keys() == {_DICT}:
        return {from_json(key): from_json(item, kept) for key, item in value[_DICT]}
    return {key: from_json(item, kept) for key, item in value.items()}
