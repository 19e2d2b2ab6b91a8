"""Numbers with their nouns, for messages: ``1 step``, ``2,000 steps``. The only place that knows plurals."""

from __future__ import annotations

from typing import Final

_IRREGULAR: Final = {
    "series": "series", "query": "queries", "is": "are", "was": "were", "has": "have", "does": "do", "agrees": "agree",
}  # fmt: skip
_WITH_ES: Final = ("s", "x", "sh", "ch")


def plural(noun: str) -> str:
    """Return the plural of a noun, or of a verb that follows it.

    Args:
        noun: A noun in the singular, such as ``class``; the last word counts. Or ``is``, ``was``, ``has``, ``does`` or
            ``agrees``.
    """
    before, blank, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        return f"{before}{blank}{_IRREGULAR[last]}"
    return f"{noun}es" if noun.endswith(_WITH_ES) else f"{noun}s"


def agreeing(n: float, word: str) -> str:
    """Return a noun or a verb as it follows a number: ``steps`` after 2, ``is`` after 1.

    Args:
        n: The number.
        word: The singular.
    """
    return word if n == 1 else plural(word)


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: ``1 step``, ``2,000 steps``, ``0 classes``.

    Args:
        n: The number.
        noun: The singular.
    """
    return f"{n:,} {agreeing(n, noun)}"
