"""Says why a value is refused. Nothing is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from metaexp.config.classes.values import Kind, format_setting
from metaexp.core.counted import shortened


def format_refusal(key: str, value: Any, kind: Kind) -> str:
    """Return a sentence that says why a key does not take a value; "" if it does.

    Args:
        key: The dotted key.
        value: The value that was given.
        kind: What the key takes.
    """
    if _is_huge(value):
        return f"{key}={shortened(format_setting(value))} is too large; integers go up to 2^64 - 1."
    if kind.accepts(value):
        return ""
    shown = shortened(format_setting(value))
    if _is_quoted(value, kind):
        return f"{key}='{shown}' must be {kind.format_allowed()}, and is text. Write {shown}, without quotation marks."
    return f"{key}={shown} must be {kind.format_allowed()}.{_as_integer(value, kind)}"


def _is_quoted(value: Any, kind: Kind) -> bool:
    """Whether a text would be right without the quotation marks that make it one."""
    if not isinstance(value, str):
        return False
    try:
        return kind.accepts(json.loads(value))
    except (ValueError, RecursionError):
        return False


def _is_huge(value: Any) -> bool:
    """Whether a value holds an integer that torch and numpy do not take."""
    if isinstance(value, Mapping):
        return any(map(_is_huge, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_is_huge, value))
    return isinstance(value, int) and abs(value) >= 2**64


def _as_integer(value: Any, kind: Kind) -> str:
    """A hint for ``1e3`` and ``5.0``, which YAML reads as real numbers."""
    if not isinstance(value, float) or not value.is_integer() or abs(value) >= 2**64:
        return ""
    return f" Write {int(value)}." if kind.accepts(int(value)) else ""
