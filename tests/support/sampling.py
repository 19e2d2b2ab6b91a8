"""How many cases of a large set are tested: always the same few of every kind, or all with ``EXHAUSTIVE=yes``.

Tests that start many processes wait for that, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from hashlib import sha256
from typing import TypeVar

import pytest

EXHAUSTIVE = os.environ.get("EXHAUSTIVE") == "yes"
"""Whether every case is tested, as CI does every night."""
only_exhaustive = pytest.mark.skipif(not EXHAUSTIVE, reason="takes long; EXHAUSTIVE=yes runs it, as every night")
_Case = TypeVar("_Case")
_Size = TypeVar("_Size")


def size(few: _Size, everything: _Size, *, exhaustive: bool = EXHAUSTIVE) -> _Size:
    """Return how long a test is: ``few``, or ``everything`` with ``EXHAUSTIVE=yes``."""
    return everything if exhaustive else few


def sample(
    cases: Iterable[_Case],
    most: int,
    kinds: Callable[[_Case], Iterable[Hashable]],
    name: Callable[[_Case], str] = str,
    *,
    exhaustive: bool = EXHAUSTIVE,
) -> list[_Case]:
    """Return the cases to test, in their order.

    A case is in the sample or not whatever the other cases are, but where it is the first of a kind.

    Args:
        cases: All cases.
        most: So many of them, or more if it takes more to have one of each kind.
        kinds: The kinds that a case is of.
        name: A case's name, which decides whether it is in the sample.
        exhaustive: Whether all are returned.
    """
    everything = list(cases)
    if exhaustive:
        return everything
    order = sorted(range(len(everything)), key=lambda index: sha256(name(everything[index]).encode()).digest())
    seen: set[Hashable] = set()
    first = [index for index in order if _has_new(kinds(everything[index]), seen)]
    others = [index for index in order if index not in set(first)]
    return [everything[index] for index in sorted([*first, *others[: max(0, most - len(first))]])]


def _has_new(kinds: Iterable[Hashable], seen: set[Hashable]) -> bool:
    """Whether one of the kinds was not seen before; they are seen now."""
    new = set(kinds) - seen
    seen |= new
    return bool(new)
