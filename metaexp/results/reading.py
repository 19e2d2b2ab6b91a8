"""Checks parsed JSON against dataclasses: every field present, none unknown, each of its declared type.

Only a field that was added later may be missing. pydantic could do most of this. But it is strict with parsed JSON
only where it parses the text itself, and then refuses bytes that are not UTF-8, which the names of classes can have
because folders can; and importing it takes as long as all of ``metaexp --help``.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from metaexp.core.disk.files import read_regular
from metaexp.core.errors import RunFolderError

ADDED = types.MappingProxyType({"added": True})
"""Metadata of a field that was added later. Older JSON lacks it, and its default was the only value then."""


_LARGEST = 1e300
"""Numbers in JSON must be smaller."""


_HINTS: dict[type[Any], dict[str, Any]] = {}


class FaultError(ValueError):
    """Something is wrong in a piece of JSON; the message names the key."""


def build(cls: type[Any], content: Mapping[str, Any], where: str = "") -> Any:
    """Make an instance of a dataclass from parsed JSON.

    Args:
        cls: The dataclass.
        content: The parsed JSON.
        where: Prefix of keys in messages.

    Raises:
        FaultError: A key is unknown, missing, or has a value of another type.
    """
    hints = _hints(cls)
    names = [field.name for field in fields(cls)]
    for name in content:
        if name not in names:
            near = get_close_matches(str(name), names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise FaultError(f"key {where}{name} is unknown.{hint} Perhaps a newer metaexp wrote it: then upgrade.")
    for field in fields(cls):
        if field.name not in content and "added" not in field.metadata:
            raise FaultError(f"key {where}{field.name} is missing.")
    return cls(**{name: _value(hints[name], content[name], where + name) for name in names if name in content})


def _hints(cls: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields. Finding them takes as long as checking a record, so they are kept."""
    if cls not in _HINTS:
        _HINTS[cls] = get_type_hints(cls)
    return _HINTS[cls]


def read_part(cls: type[Any], path: Path, what: str, advice: str = "") -> Any:
    """Make an instance of a dataclass from a JSON file.

    Args:
        cls: The dataclass.
        path: The file.
        what: What a folder with such a file is, such as "a sweep"; for messages.
        advice: Follows the message about a damaged file.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    try:
        return build(cls, json.loads(read_regular(path)))
    except FileNotFoundError as error:
        raise RunFolderError(f"{path.parent} is not {what}: it has no {path.name}.") from error
    except (ValueError, AttributeError, RecursionError) as error:  # a FaultError is a ValueError
        raise damaged(path, error, advice) from error


def damaged(path: Path, error: Exception, advice: str = "") -> RunFolderError:
    """Return the error about a damaged file: what is wrong in one sentence, and then what to do.

    Args:
        path: The file.
        error: What its reader raised.
        advice: Follows the sentence.
    """
    return RunFolderError(f"{path} is damaged: {str(error).rstrip('.')}.{advice}")


def _value(hint: Any, value: Any, key: str) -> Any:
    """Check a value against a type, and make nested dataclasses. Raises FaultError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        check_nested_numbers(value, key)
        return value
    if origin is Union or origin is types.UnionType:
        return _one_of(arguments, value, key)
    if origin is Literal:
        if value in arguments:
            return value
        raise FaultError(f"key {key} is {value!r}; allowed: {', '.join(map(repr, arguments))}.")
    if origin is list and isinstance(value, list):
        return _list(arguments[0], value, key)
    if origin is dict and isinstance(value, dict):
        return {name: _value(arguments[1], item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where=f"{key}.")
    if hint in (int, float) and type(value) in (int, float):
        return _number(hint, value, key)
    if isinstance(hint, type) and not is_dataclass(hint) and type(value) is hint:
        return value
    raise FaultError(f"key {key} is {value!r}; it must be {_format_hint(hint)}.")


def _list(hint: Any, items: list[Any], key: str) -> list[Any]:
    """Check every item of a list. A record may name thousands of classes, so text is checked as a whole."""
    if hint is str and set(map(type, items)) <= {str}:
        return list(items)
    return [_value(hint, item, f"{key}[{i}]") for i, item in enumerate(items)]


def _number(hint: type[int] | type[float], value: float, key: str) -> int | float:
    """Check that a number is finite and of usual size. An integer may stand for a float, but not the reverse."""
    if hint is int and not isinstance(value, int):
        raise FaultError(f"key {key} is {value!r}; it must be {_format_hint(hint)}.")
    if not abs(value) < _LARGEST:  # not a number, too
        raise FaultError(f"key {key} is {str(value)[:20]}; it must be a finite number of usual size.")
    return hint(value)


def check_nested_numbers(content: Any, key: str = "") -> None:
    """Raise FaultError where a number in nested lists and mappings is not finite, or of unusual size.

    Args:
        content: What a file holds.
        key: Its key in the file; empty for the whole of it.
    """
    inner = [(key, content)]
    while inner:
        place, value = inner.pop()
        if isinstance(value, dict):
            inner += [(f"{place}.{name}" if place else str(name), item) for name, item in value.items()]
        elif isinstance(value, list):
            inner += [(f"{place}[{i}]", item) for i, item in enumerate(value)]
        elif isinstance(value, (int, float)):
            _number(type(value), value, place)


def _one_of(arguments: tuple[Any, ...], value: Any, key: str) -> Any:
    """``X | None`` is the only union a record uses."""
    if value is None and type(None) in arguments:
        return None
    (inner,) = [argument for argument in arguments if argument is not type(None)]
    return _value(inner, value, key)


def _format_hint(hint: Any) -> str:
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
    if hint in names:
        return names[hint]
    return {list: "a list", dict: "a mapping"}.get(get_origin(hint), "a mapping")


def check_lengths(fields: Mapping[str, Any], keys: Sequence[str], most: int) -> None:
    """Raise FaultError where the text of one of ``keys`` has more than ``most`` characters, which no name has.

    Args:
        fields: A mapping from a file.
        keys: The keys to check.
        most: The largest number of characters.
    """
    for key in keys:
        text = fields.get(key)
        if isinstance(text, str) and len(text) > most:
            raise FaultError(f"{key} has {len(text)} characters; names have at most {most}.")


def check_not_negative(fields: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Raise FaultError where one of the numbers at ``keys`` is below 0.

    Args:
        fields: A mapping from a file. What is not a number is ignored.
        keys: The keys to check, of nested mappings with dots.
    """
    for key in keys:
        value: Any = fields
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and value < 0:
            raise FaultError(f"key {key} is {value!r}; it must be 0 or more.")


def check_mappings(fields: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    """Raise FaultError where one of ``keys`` is there and is not a mapping.

    Args:
        fields: A mapping from a file.
        keys: The keys to check.
        where: Prefix of keys in messages.
    """
    for key in keys:
        if not isinstance(fields.get(key, {}), Mapping):
            raise FaultError(f"key {where}{key} is {fields[key]!r}; it must be a mapping.")


def format_first_difference(found: Mapping[str, Any], record: Any, place: str, record_place: str) -> str:
    """Say which of the values that a checkpoint has is not that of the record; an empty text where none is.

    Args:
        found: Key of the record -> the checkpoint's value.
        record: The record. Where its value is null, any will do.
        place: What the sentence calls the place of ``found``.
        record_place: What it calls the record.
    """
    for key, value in found.items():
        if (expected := getattr(record, key)) not in (None, value):
            return f"{key} is {str(value)[:12]} {place}, and {str(expected)[:12]} {record_place}"
    return ""
