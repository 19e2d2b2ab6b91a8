"""Numbers of your own data that are too large to learn from. Importing this module does not import torch."""

from __future__ import annotations

from typing import Final

_LARGE: Final = 100.0
"""The size of numbers, on average, from which networks learn badly. Standardised numbers are near 1."""


def format_large(what: str, mean_square: float, most: float, advice: str) -> str:
    """Return a warning that numbers are too large to learn from; an empty text if they are not.

    Args:
        what: What the numbers are, in the plural.
        mean_square: The largest mean of the squares of a column; NaN if a number is, of which others warn.
        most: The largest number, without its sign.
        advice: A sentence that says what to do.
    """
    if not mean_square > _LARGE**2:
        return ""
    return f"Warning: {what} are up to {most:.3g}, and networks learn badly from large numbers. {advice}"
