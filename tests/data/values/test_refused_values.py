"""What a masked array of numpy is, in whatever it comes."""

from __future__ import annotations

import numpy as np
import pytest

from metaexp.core.errors import DataError
from metaexp.data.values.refused_values import (
    FILL_IN,
    format_not_finite,
    has_masked,
    refuse_not_finite,
    spelling_advice,
)
from metaexp.data.wrapped.example import read_example

PAIRS = np.zeros(2, [("x", "f4"), ("y", "i8")])


@pytest.mark.parametrize(
    ("values", "masks_some"),
    [
        (np.ma.array([1, 2], mask=[False, True]), True),
        (np.ma.array([1, 2]), False),
        (np.ma.array(PAIRS, mask=[(False, False), (False, True)]), True),
        (np.ma.array(PAIRS), False),
        (np.ma.array(3.0, mask=True), True),
        ([[1.0, 2.0], [np.ma.masked, 3.0]], True),
        (([1], np.ma.array([2])), False),
        (np.ones(3), False),
        ("text", False),
        (None, False),
    ],
)
def test_masked_values_are_found(values: object, masks_some: bool) -> None:
    assert has_masked(values) is masks_some


def test_one_example_and_several_are_refused_with_one_sentence() -> None:
    given = np.array([[1.0, 2.0], [3.0, 1e39]])
    with np.errstate(over="ignore"):
        values = given.astype(np.float32)
    sentence = "{} has values that are not finite as float32, such as 1e+39{}. Divide all by a constant"
    assert format_not_finite(values, given, "x", 7).startswith(sentence.format("x", " in example 8"))
    with pytest.raises(DataError) as several:
        refuse_not_finite(values, given, "x")
    with pytest.raises(DataError) as one:
        read_example(given, "item 3", None)
    assert str(several.value).startswith(sentence.format("x", " in example 1"))
    assert str(one.value).startswith(sentence.format("item 3", ""))
    assert format_not_finite(values[:1], given[:1], "x") == ""
    assert format_not_finite(np.float32(np.nan), np.float64(np.nan), "x").endswith(f"such as nan. {FILL_IN}")


BOTH = "It may be {} or {}. Write numbers with a decimal point, and without signs between thousands."
POINT = "Write numbers with a decimal point: {}."
GROUPS = "Write numbers without signs between thousands: {}."


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("1,000", BOTH.format("1.000", "1000")),
        (" -12,345 ", BOTH.format("-12.345", "-12345")),
        ("1,5", POINT.format("1.5")),
        ("1,50e3", POINT.format("1.50e3")),
        ("0,500", POINT.format("0.500")),
        ("1234,567", POINT.format("1234.567")),
        ("1,0000", POINT.format("1.0000")),
        ("\u22121,5", POINT.format("-1.5")),
        ("1,234,567", GROUPS.format("1234567")),
        ("1,234.5", GROUPS.format("1234.5")),
        ("1.234,5", GROUPS.format("1234.5")),
        ("1.234.567", GROUPS.format("1234567")),
        ("-12'000", GROUPS.format("-12000")),
        ("1 000", GROUPS.format("1000")),
        ("1\u202f000,25", GROUPS.format("1000.25")),
        ("1 000.5e-3", GROUPS.format("1000.5e-3")),
        ("1_000", "Write numbers without underscores: 1000."),
        ("\u22125", "Write the minus sign as in programs: -5."),
        *(
            (text, "")
            for text in ("a", "", "1,2,3", "1,23,456", "12 34", "1;5", "1,234,56", "1,5e999", "\u2212", "nan")
        ),
    ],
)
def test_a_number_in_another_spelling_is_given_as_the_number_that_it_is(text: str, advice: str) -> None:
    assert spelling_advice(text) == advice
