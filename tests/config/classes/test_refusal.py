"""Why a value is refused, in a sentence of reasonable length."""

from __future__ import annotations

from typing import Any

import pytest

from metaexp.config.classes.refusal import format_refusal
from metaexp.config.classes.values import Number, Sequence, Text, union
from metaexp.config.command_line.verb_options import check_verb_options
from metaexp.search.options import SearchOptions
from metaexp.sweep.options import SweepOptions

INTEGER, REAL = Number(int, ">= 1"), Number(float)
HUGE = 10**399


@pytest.mark.parametrize("kind", [INTEGER, REAL, union([INTEGER, Text()]), Sequence(INTEGER)])
@pytest.mark.parametrize("value", [HUGE, -HUGE, [HUGE], {"a": HUGE}])
def test_a_huge_number_is_refused_without_all_its_digits(kind: Any, value: object) -> None:
    message = format_refusal("train.steps", value, kind)
    assert message.endswith(" is too large; integers go up to 2^64 - 1.")
    assert "characters)" in message
    assert len(message) < 200


def test_a_long_value_is_shown_by_its_beginning_and_another_one_as_a_whole() -> None:
    assert format_refusal("a", "x" * 200, INTEGER) == f"a={'x' * 200} must be an integer >= 1."
    assert format_refusal("a", "x" * 2000, INTEGER) == f"a={'x' * 60}... (2,000 characters) must be an integer >= 1."
    assert format_refusal("a", 5.0, INTEGER) == "a=5.0 must be an integer >= 1. Write 5."
    assert format_refusal("a", 2**64 - 1, INTEGER) == format_refusal("a", 5, REAL) == ""


@pytest.mark.parametrize(
    ("section", "cls", "key"), [("search", SearchOptions, "trials"), ("sweep", SweepOptions, "n_jobs")]
)
def test_options_of_a_verb_are_refused_in_the_same_words(section: str, cls: type[Any], key: str) -> None:
    problems: list[str] = []
    assert check_verb_options(section, cls, {key: HUGE}, problems) is None
    assert problems[0].startswith(f"{section}.{key}=1000")
    assert "is too large" in problems[0]
    problems.clear()
    check_verb_options(section, cls, {key: 2.0}, problems)
    assert problems[0].endswith(" Write 2.")
