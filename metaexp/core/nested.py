"""Values of nested mappings, such as configurations, by dotted key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
