"""Remembers what training keeps and no checkpoint holds, so that the record of a resumed run can say it."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from metaexp.core.algorithm import Algorithm

_noted: WeakKeyDictionary[Algorithm, list[str]] = WeakKeyDictionary()


def note_not_saved(algorithm: Algorithm, found: Iterable[str]) -> None:
    """Remember what the training of an algorithm keeps and no checkpoint holds.

    Args:
        algorithm: The algorithm that is trained.
        found: What is kept, to follow "no checkpoint holds": ``count of optimizer Own``.
    """
    noted = _noted.setdefault(algorithm, [])
    noted += [what for what in dict.fromkeys(found) if what not in noted]


def not_saved(algorithm: Algorithm) -> list[str]:
    """Return what was noted of the training of an algorithm.

    Args:
        algorithm: The algorithm that is trained.
    """
    return list(_noted.get(algorithm, ()))
