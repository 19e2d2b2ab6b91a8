"""Numbers with their nouns, for messages: ``1 step``, ``2,000 steps``. The only place that knows plurals.

And lists that name only the first of many things, and texts of which only the beginning is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_IRREGULAR: Final = {
    "series": "series", "query": "queries", "is": "are", "was": "were", "has": "have", "does": "do", "agrees": "agree",
}  # fmt: skip
_WITH_ES: Final = ("s", "x", "sh", "ch")
_PHRASE: Final = re.compile(r" (?:beside|for|from|in|of|on|that|which|with|without)\b.*| \(.*")
"""What follows a noun and stays as it is: ``in the archive``, ``with the suffix .txt``, ``(FIFO or device)``."""

_LONGEST: Final = 200
_SHOWN: Final = 60
"""Characters of a longer text that are shown."""


def plural(noun: str) -> str:
    """Return the plural of a noun, or of a verb that follows it.

    Args:
        noun: A noun in the singular, such as ``class``, ``finished run`` or ``link in the archive``. Or ``is``,
            ``was``, ``has``, ``does`` or ``agrees``.
    """
    phrase = found[0] if (found := _PHRASE.search(noun)) else ""
    before, blank, last = noun.removesuffix(phrase).rpartition(" ")
    several = _IRREGULAR.get(last) or (f"{last}es" if last.endswith(_WITH_ES) else f"{last}s")
    return f"{before}{blank}{several}{phrase}"


def agreeing(n: float, word: str) -> str:
    """Return a noun or a verb as it follows a number: ``steps`` after 2, ``is`` after 1.

    Args:
        n: The number.
        word: The singular.
    """
    return word if n == 1 else plural(word)


def shortened(text: str) -> str:
    """Return a text of up to 200 characters as it is; of a longer one its beginning and its length.

    Args:
        text: What was given, for a message.
    """
    return text if len(text) <= _LONGEST else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: ``1 step``, ``2,000 steps``, ``0 classes``.

    Args:
        n: The number.
        noun: The singular.
    """
    return f"{n:,} {agreeing(n, noun)}"


def listed(names: Sequence[str], most: int, *, mark: str = ", ", more: str = "more") -> str:
    """Return a list that may be cut: ``a, b, c``, or ``a, b, c and 4 more``. One more is named, as it is as short.

    Args:
        names: What is listed.
        most: How many are named where there are many.
        mark: What stands between two.
        more: What the others are called.
    """
    if len(names) <= most + 1:
        return mark.join(names)
    return f"{mark.join(names[:most])} and {len(names) - most:,} {more}"
