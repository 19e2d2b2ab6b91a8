"""What the manifest of a checkpoint may hold: a plain value of the right kind for each key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metaexp.core.counted import listed
from metaexp.core.errors import RunFolderError

OF_BEST = ("step", "config_hash", "interface")
"""What the manifest of selected weights holds."""
OF_STATE = (*OF_BEST, "losses", "gradient_norms", "best", "optimizer", "data_hash", "environment")
"""What the manifest of a checkpoint holds."""
_LARGEST_COUNT = 1 << 63


def check_values(base: Path, values: Any, required: tuple[str, ...]) -> None:
    """Raise RunFolderError when values are missing or of the wrong kind.

    Args:
        base: The checkpoint's file, without suffix, for the message.
        values: What its manifest holds.
        required: The keys that must be there.
    """
    if not isinstance(values, Mapping):
        raise misfit(base, f"its values are {type(values).__name__}, not a mapping")
    for key in required:
        if key not in values:
            raise misfit(base, f"key {key} is missing")
    for key, is_kind in _KINDS.items():
        if key in values and not is_kind(values[key]):
            raise misfit(base, f"key {key} is {str(values[key])[:40]!r}")


def format_lost(values: Mapping[str, Any]) -> list[str]:
    """Return what a run that goes on from a checkpoint has lost: ``no checkpoint holds count of optimizer Own``.

    Args:
        values: Those of its manifest. Older ones do not say it.
    """
    found = values.get("not_saved")
    return [f"no checkpoint holds {listed(found, 3)}"] if found else []


def misfit(base: Path, what: str) -> RunFolderError:
    """Make the error for a checkpoint that does not hold what a run saves.

    Args:
        base: The checkpoint's file, without suffix.
        what: What is wrong with it.
    """
    return RunFolderError(
        f"{base}.json does not hold what a run saves ({what}): it was changed, or made by something else. "
        "Restore the checkpoints, or start a new run."
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not (isinstance(value, int) and abs(value) >= _LARGEST_COUNT)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST_COUNT


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _is_best(value: Any) -> bool:
    if value is None:
        return True
    return _are_numbers(value) and len(value) == 4 and _is_count(value[0]) and _is_count(value[3])


def _is_interface(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], list):
        return False
    return all(map(_is_count, value[0])) and (value[1] is None or _is_count(value[1]))


def _is_optimizer(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, Mapping) or set(value) != {"groups", "slots"}:
        return False
    groups, slots = value["groups"], value["slots"]
    return (
        isinstance(groups, list)
        and all(isinstance(group, Mapping) for group in groups)
        and isinstance(slots, Mapping)
        and all(key.isdecimal() and isinstance(slot, Mapping) for key, slot in slots.items())
    )


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "step": _is_count,
    "metrics_position": _is_count,
    "metrics_sha256": lambda value: value is None or isinstance(value, str),
    "losses": _are_numbers,
    "gradient_norms": _are_numbers,
    "unvalidated": lambda value: isinstance(value, bool),
    "not_saved": lambda value: isinstance(value, list) and all(isinstance(what, str) for what in value),
    "best": _is_best,
    "mean": lambda value: _is_number(value) and math.isfinite(value),
    "config_hash": lambda value: value is None or isinstance(value, str),
    "data_hash": lambda value: value is None or isinstance(value, str),
    "interface": _is_interface,
    "environment": lambda value: isinstance(value, Mapping),
    "optimizer": _is_optimizer,
}
