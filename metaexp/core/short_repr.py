"""What a notebook and the prompt show of an object that holds much: all its parts, and of long ones the beginning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import fields
from typing import Any, TypeVar

from metaexp.core.counted import counted, listed, shortened
from metaexp.core.terminal_text import plain

_MOST_NAMES = 8
Item = TypeVar("Item")


class ShortRepr:
    """A dataclass whose ``repr`` has a line for each field that is not empty. Declare it with ``repr=False``."""

    def __repr__(self) -> str:
        """The fields, a line for each; of long values the beginning, and how much they hold."""
        this: Any = self
        values = {field.name: getattr(self, field.name) for field in fields(this)}
        there = {name: value for name, value in values.items() if not _is_empty(value)}
        lines = [f"  {name}: {plain(_short(value))}" for name, value in there.items()]
        empty = f", and empty: {', '.join(name for name in values if name not in there)}" * (len(there) < len(values))
        example = next(iter(values))
        return "\n".join([f"<{type(self).__name__}", *lines, f"  attributes, such as .{example}{empty}>"])


class LongList(list[Item]):
    """A list whose ``repr`` has its first and last items. Otherwise it is a list."""

    def __repr__(self) -> str:
        """The items; of more than two the first, how many are left out, and the last."""
        shown = [plain(_short(item)) for item in ([self[0], self[-1]] if len(self) > 2 else self)]
        return (
            f"[{', '.join(shown)}]" if len(self) <= 2 else f"[{shown[0]}, ... {len(self) - 2:,} more ..., {shown[1]}]"
        )


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def _short(value: object) -> str:
    text = repr(value)
    if len(text) == len(shortened(text)):
        return text
    if isinstance(value, Mapping):
        return f"{counted(len(value), 'key')}: {listed([str(key) for key in value], _MOST_NAMES)}"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return f"{counted(len(value), 'item')}, the first {shortened(repr(value[0]))}"
    return shortened(text)
