"""What a value of the configuration may be. Importing this module does not import torch."""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metaexp.core.fields import RANGES

_BETWEEN_WORDS = str.maketrans("", "", "_-")
Scalar = bool | int | float | str | None


class Kind(ABC):
    """The values that one key may take."""

    @abstractmethod
    def format_allowed(self) -> str:
        """Format the allowed values, to follow "must be"."""

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Whether ``value``, as read from YAML, is one of them."""

    def convert(self, value: Any) -> Any:
        """Return ``value`` in canonical form: an integer given for a real number becomes one."""
        return value


@dataclass(frozen=True)
class Number(Kind):
    """A finite number.

    Attributes:
        type: int or float.
        range: Where it lies: a phrase of :data:`metaexp.core.fields.RANGES`, or '' for anywhere.
    """

    type: type
    range: str = ""

    def format_allowed(self) -> str:
        noun = "an integer" if self.type is int else "a finite number"
        return f"{noun} {self.range}".strip()

    def accepts(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.type is int and not isinstance(value, int):
            return False
        return (isinstance(value, int) or math.isfinite(value)) and in_range(value, self.range)

    def convert(self, value: Any) -> Any:
        return self.type(value)


@dataclass(frozen=True)
class Flag(Kind):
    """true or false."""

    def format_allowed(self) -> str:
        return "true or false"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Text(Kind):
    """A string."""

    def format_allowed(self) -> str:
        return "text"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)


@dataclass(frozen=True)
class Null(Kind):
    """null."""

    def format_allowed(self) -> str:
        return "null"

    def accepts(self, value: Any) -> bool:
        return value is None


@dataclass(frozen=True)
class OneOf(Kind):
    """One of a few listed scalars."""

    values: tuple[Scalar, ...]

    def format_allowed(self) -> str:
        return "one of " * (len(self.values) > 1) + ", ".join(format_setting(value) for value in self.values)

    def accepts(self, value: Any) -> bool:
        # True == 1 in Python, but they are different answers in YAML.
        return any(type(value) is type(known) and value == known for known in self.values)


@dataclass(frozen=True)
class Sequence(Kind):
    """A list of any length, each item of one kind."""

    item: Kind

    def format_allowed(self) -> str:
        return f"a list, each item {self.item.format_allowed()}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list) and all(self.item.accepts(item) for item in value)

    def convert(self, value: Any) -> Any:
        return [self.item.convert(item) for item in value]


@dataclass(frozen=True)
class FixedSequence(Kind):
    """A list of a fixed length, with a kind for each place."""

    items: tuple[Kind, ...]

    def format_allowed(self) -> str:
        if len(set(self.items)) == 1:
            return f"a list of {len(self.items)}, each item {self.items[0].format_allowed()}"
        return "a list of " + ", then ".join(item.format_allowed() for item in self.items)

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, list) or len(value) != len(self.items):
            return False
        return all(kind.accepts(item) for kind, item in zip(self.items, value, strict=True))

    def convert(self, value: Any) -> Any:
        return [kind.convert(item) for kind, item in zip(self.items, value, strict=True)]


@dataclass(frozen=True)
class Table(Kind):
    """A mapping from text to values of one kind."""

    item: Kind

    def format_allowed(self) -> str:
        return f"a mapping whose values are each {self.item.format_allowed()}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(k, str) and self.item.accepts(v) for k, v in value.items())

    def convert(self, value: Any) -> Any:
        return {key: self.item.convert(item) for key, item in value.items()}


@dataclass(frozen=True)
class Object(Kind):
    """A node that names a class (``_target_``), which must be ``base`` (a dotted path) or derive from it."""

    base: str

    def format_allowed(self) -> str:
        return f"a node whose _target_ names a {self.base.rpartition('.')[2]}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and isinstance(value.get("_target_"), str)


@dataclass(frozen=True)
class NamedClass(Kind):
    """The dotted path of a class that is imported later, so that its package must be trusted."""

    def format_allowed(self) -> str:
        return "the dotted path of a class, such as my_package.my_module.MyClass"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and "." in value and all(part.isidentifier() for part in value.split("."))


@dataclass(frozen=True)
class Anything(Kind):
    """Any value: the annotation says nothing that can be checked."""

    def format_allowed(self) -> str:
        return "any value without NaN or infinity"

    def accepts(self, value: Any) -> bool:
        return is_finite(value)


@dataclass(frozen=True)
class AnyOf(Kind):
    """A union of kinds."""

    kinds: tuple[Kind, ...]

    def format_allowed(self) -> str:
        return " or ".join(kind.format_allowed() for kind in self.kinds)

    def accepts(self, value: Any) -> bool:
        return any(kind.accepts(value) for kind in self.kinds)

    def convert(self, value: Any) -> Any:
        return next(kind for kind in self.kinds if kind.accepts(value)).convert(value)


def union(kinds: Iterable[Kind]) -> Kind:
    """Return the union of ``kinds``. Kinds that allow anything are left out, unless there is no other."""
    known = tuple(dict.fromkeys(kind for kind in kinds if not isinstance(kind, (Anything, Object))))
    objects = tuple(dict.fromkeys(kind for kind in kinds if isinstance(kind, Object)))
    members = known + objects
    if not members or all(isinstance(kind, Null) for kind in members):
        return Anything()
    return members[0] if len(members) == 1 else AnyOf(members)


def in_range(value: float, phrase: str) -> bool:
    """Whether a number lies in a range.

    Args:
        value: The number.
        phrase: The range in the words of :data:`metaexp.core.fields.RANGES`; '' for any number.
    """
    if not phrase:
        return True
    if phrase.startswith(">= 0 and < "):
        return 0 <= value < float(phrase.removeprefix(">= 0 and < "))
    if phrase.startswith("between "):
        low, high = phrase.removeprefix("between ").split(" and ")
        return float(low) <= value <= float(high)
    sign, bound = phrase.split()
    return value > float(bound) if sign == ">" else value >= float(bound)


def named_number(name: str) -> Number | None:
    """Return the kind of an annotation of :mod:`metaexp.core.fields`, such as ``PositiveInt``; None for others."""
    found = RANGES.get(name)
    return None if found is None else Number(*found)


def is_finite(value: Any) -> bool:
    """Whether no number inside ``value`` is NaN or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(is_finite(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(is_finite(item) for item in value)
    return True


def format_setting(value: Any) -> str:
    """Return a value as it would be typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(format_setting(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{format_setting(item)}" for key, item in value.items()) + "}"
    return "''" if value == "" else str(value)


def format_nearest(name: str, known: Iterable[str]) -> str:
    """Return ' Did you mean X?' for the nearest known name, or '' where none is near.

    Args:
        name: The unknown name.
        known: The names that would be right.
    """
    candidates = list(known)
    wanted = name.lower().translate(_BETWEEN_WORDS)
    same = [candidate for candidate in candidates if candidate.lower().translate(_BETWEEN_WORDS) == wanted]
    matches = same or difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not matches and "." in name:  # the right name in the wrong section
        last = name.rpartition(".")[2]
        matches = [candidate for candidate in candidates if candidate.rpartition(".")[2] == last][:1]
    return f" Did you mean {matches[0]}?" if matches else ""
