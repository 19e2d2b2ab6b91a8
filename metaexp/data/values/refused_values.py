"""What to do about values that are refused: labels of another kind, and numbers that are not finite."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from metaexp.core.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    Array = npt.NDArray[Any]

FOR_CLASSES: Final = "Give each class a whole number. To predict numbers, use dataset=regression_table."
FOR_NAMES: Final = "Text always works."
FILL_IN: Final = "Leave out examples where a value is missing, or fill it in."
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?")
_GROUPED: Final = re.compile(
    r"[+-]?[1-9][0-9]{0,2}(?P<sign>[,.'\u2019 \u00a0\u202f])[0-9]{3}(?:(?P=sign)[0-9]{3})*"
    r"(?P<mark>[,.][0-9]+)?(?P<power>(?:[eE][+-]?[0-9]+)?)"
)
"""Digits in groups of three: ``1,234,567``, ``1.234,5``, ``12'000``, ``1 000.5``."""
_MINUS: Final = "\u2212"
_LARGEST: Final = 3.4e38
"""About the largest number of float32."""


def label_advice(labels: Array, name: str, otherwise: str = FOR_CLASSES) -> str:
    """Return a sentence that says what to do about an array of labels that is refused.

    Args:
        labels: The array, of any shape and type.
        name: Its name.
        otherwise: What to say if no conversion is known.
    """
    import numpy as np

    kind, is_row = labels.dtype.kind, labels.ndim == 1
    if kind == "f" and not np.isfinite(labels).all():
        return f"Leave out examples where {name} is NaN or infinite."
    if is_row and (kind == "b" or (kind == "f" and np.equal(labels, np.round(labels)).all())):
        return f"Convert them: {name}.astype(int)."
    if is_row and kind == "S":
        return f"Convert them: numpy.char.decode({name})."
    if labels.ndim == 2 and labels.shape[1] == 1:
        return f"Take its only column: {name}[:, 0]."
    if labels.ndim == 2 and kind in "fbiu" and _is_one_hot(labels):
        return f"Convert its one-hot rows: {name}.argmax(1)."
    return otherwise


def _is_one_hot(labels: Array) -> bool:
    import numpy as np

    ones = np.equal(labels, 1)
    return bool((ones | np.equal(labels, 0)).all() and (ones.sum(1) == 1).all())


def refuse_not_finite(values: Array, given: Array, what: str, first: int | None = 0, missing: str = FILL_IN) -> None:
    """Refuse examples with numbers that are not finite, and say where and what to do.

    Args:
        values: The examples (B, ...) as float32.
        given: The same (B, ...) as they were given, of any type of numbers.
        what: What messages call them.
        first: The number of the first of them; None if they are one example.
        missing: What to do if a number is NaN or infinite.

    Raises:
        DataError: A number is NaN, infinite, or too large for float32.
    """
    if problem := format_not_finite(values, given, what, first, missing):
        raise DataError(problem)


def format_not_finite(
    values: Array, given: Array | Tensor, what: str, first: int | None = 0, missing: str = FILL_IN
) -> str:
    """Return why examples are refused that have numbers which are not finite; an empty text if all are.

    Args:
        values: The examples (B, ...) as float32.
        given: The same (B, ...) as they were given, of any type of numbers.
        what: What messages call them.
        first: The number of the first of them; None if they are one example.
        missing: What to do if a number is NaN or infinite.
    """
    import numpy as np

    wrong = ~np.isfinite(values)
    if not wrong.any():
        return ""
    place = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
    where = f" in example {place[0] + first}" if place and first is not None else ""
    number = float(given[place])
    return (
        f"{what} has values that are not finite as float32, such as {number}{where}. {number_advice(number, missing)}"
    )


def format_missing(n_wrong: int, n_values: int, what: str, first: float, where: str) -> str:
    """Return a warning that some numbers of own code are not finite. They are not refused: its network may take them.

    Args:
        n_wrong: How many are NaN or infinite.
        n_values: How many there are.
        what: What the numbers are, in the plural.
        first: The first one that is not finite.
        where: Where that is.
    """
    share = f"all {n_values:,}" if n_wrong == n_values else f"{n_wrong:,} of the {n_values:,}"
    return (
        f"{share} {what} are not finite, the first of them {first} in {where}. Networks and losses that are not made "
        f"for missing values compute NaN from them, and then nothing is learned. {FILL_IN}"
    )


def number_advice(number: float, missing: str = FILL_IN) -> str:
    """Return a sentence that says what to do about a number that is not finite as float32.

    Args:
        number: The number.
        missing: What to say if it is NaN or infinite.
    """
    is_large = _LARGEST <= abs(number) < float("inf")
    return "Divide all by a constant: float32 ends at 3.4e38." if is_large else missing


def number_in(text: str) -> float:
    """Return the number that a text of a file is; NaN if it is none.

    ``1_000`` is none: Python reads it as 1000, and other programs as a name, or as a slip of the hand.

    Args:
        text: What stands in the file.
    """
    try:
        return float("nan" if "_" in text else text)
    except ValueError:
        return float("nan")


def spelling_advice(text: str) -> str:
    """Return a sentence that says how to write a number; an empty text for what is not a number in any spelling.

    Args:
        text: A text of which :func:`number_in` makes NaN.
    """
    if "_" in text:
        joined = text.strip().replace("_", "")
        return f"Write numbers without underscores: {joined}." if _is_number(joined) else ""
    plain = text.strip().replace(_MINUS, "-")
    decimal, grouped = _with_point(plain), _without_groups(plain)
    if decimal and grouped:
        how = "with a decimal point, and without signs between thousands"
        return f"It may be {decimal} or {grouped}. Write numbers {how}."
    if decimal or grouped:
        how = "with a decimal point" if decimal else "without signs between thousands"
        return f"Write numbers {how}: {decimal or grouped}."
    return f"Write the minus sign as in programs: {plain}." if _MINUS in text and _is_number(plain) else ""


def _with_point(text: str) -> str:
    """A number with its decimal comma as a point; an empty text for what is none."""
    found = text.replace(",", ".")
    return found if _DECIMAL_COMMA.fullmatch(text) and _is_number(found) else ""


def _without_groups(text: str) -> str:
    """A number without the signs between its thousands; an empty text for what is none."""
    match = _GROUPED.fullmatch(text)
    if match is None or match["sign"] == (match["mark"] or "")[:1]:
        return ""
    found = text[: match.start("mark")] if match["mark"] else text[: match.start("power")]
    found = found.replace(match["sign"], "") + (match["mark"] or "").replace(",", ".") + match["power"]
    return found if _is_number(found) else ""


def _is_number(text: str) -> bool:
    return abs(number_in(text)) < _LARGEST


def has_masked(values: object) -> bool:
    """Whether values are a masked array of numpy that masks some, or a list with such arrays or with what is masked.

    ``numpy.asarray`` would take what is below the mask, as if it were valid.

    Args:
        values: Anything that arrays are made of.
    """
    import numpy as np

    if isinstance(values, np.ma.MaskedArray):
        each_field = np.ascontiguousarray(np.ma.getmaskarray(values)).view(np.bool_)
        return bool(each_field.any())
    nested = (list, tuple, np.ma.MaskedArray)
    if not isinstance(values, (list, tuple)) or not any(issubclass(kind, nested) for kind in set(map(type, values))):
        return False
    return any(map(has_masked, values))
