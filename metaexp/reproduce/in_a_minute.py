"""Test published weights again in about a minute: on all episodes, or on as many of the first as fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from metaexp.reproduce.from_weights import ReproducedTest, reproduce_tests
from metaexp.reproduce.planned_tests import PlannedTest

if TYPE_CHECKING:
    from metaexp.reproduce.retests.run import Estimate

_LONG = 60.0
"""Tests that take more seconds are made in part."""
_SHARE_OF_MINUTE = 0.7
"""The rest is for the start and for what is loaded again."""

Plan = Callable[[int | None], Sequence[PlannedTest]]
"""Plans the tests, on so many of their episodes; None for all."""


class Part(NamedTuple):
    """A part of the episodes that takes about a minute.

    Attributes:
        n_episodes: So many episodes of each test, the first.
        seconds: How long all episodes of all tests take.
    """

    n_episodes: int
    seconds: float


class _TooLongError(Exception):
    """Ends tests that take too long."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.part = part


def reproduce_in_a_minute(plan: Plan, on_part: Callable[[Part], None]) -> list[ReproducedTest]:
    """Make planned tests again, on all episodes if these take at most a minute, or else on the first ones.

    The time is estimated once the first episodes are measured. Then the tests begin again with fewer of them.

    Args:
        plan: Plans the tests.
        on_part: Called if only a part is tested, before it is.

    Raises:
        MetaexpError: The first error of a test.
    """
    planned = plan(None)
    most = max(test.wanted.n_episodes for test in planned)

    def stop_if_long(estimate: Estimate) -> None:
        part = fitting(estimate.seconds, estimate.share, most)
        if part.n_episodes < most:
            raise _TooLongError(part)

    try:
        return reproduce_tests(planned, on_estimate=stop_if_long)
    except _TooLongError as too_long:
        part = too_long.part
    on_part(part)
    return reproduce_tests(plan(part.n_episodes))


def fitting(seconds: float, share: float, most: int) -> Part:
    """Return how many episodes of each test take about a minute: all, or 1, 2 or 5 times a power of ten, at least 2.

    Args:
        seconds: How long all episodes take.
        share: The share of the episodes that takes a minute.
        most: How many the longest test has.
    """
    if seconds <= _LONG:
        return Part(most, seconds)
    fit = int(_SHARE_OF_MINUTE * share * most)
    digits = 10 ** (len(str(fit)) - 1)
    rounded = max((digit * digits for digit in (1, 2, 5) if digit * digits <= fit), default=0)
    return Part(min(most, max(2, rounded)), seconds)
