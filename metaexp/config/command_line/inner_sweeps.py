"""Finds a range or the like inside of another value, which Hydra reads and cannot use."""

from __future__ import annotations

from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Sweep


def holds_sweep(value: Any) -> bool:
    """Return whether a list, a mapping or several values hold a range, an interval or a choice.

    Args:
        value: The value of a parsed override.
    """
    if isinstance(value, dict):
        return holds_sweep(list(value.values()))
    inner = value.list if isinstance(value, ChoiceSweep) else value
    return isinstance(inner, list) and any(isinstance(item, Sweep) or holds_sweep(item) for item in inner)
