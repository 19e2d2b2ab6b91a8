"""Nested mappings, such as configurations: their values by dotted key, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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


def sha256_of(nested: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return the SHA-256 (hex) of values that JSON can hold, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(nested, sort_keys=True).encode()).hexdigest()
