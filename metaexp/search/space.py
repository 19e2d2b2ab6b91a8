"""The search space: dimensions that are read from the command line, in Hydra's syntax.

``key=a,b`` and ``choice(a, b)`` are choices, ``range(2, 9)`` is a range of numbers, ``interval(0.1, 1)`` an interval of
real numbers, ``int(interval(1, 8))`` of integers, and ``tag(log, interval(1e-4, 1))`` one on a logarithmic scale.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
    Transformer,
)

from metaexp.config.command_line.override_text import key_of
from metaexp.config.command_line.overrides import is_group
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError

Value = bool | int | float | str
"""A value of a dimension. A string is any other text of Hydra's syntax: a name, a list, null, a quoted text."""

_MOST_POINTS = 16
_A_SWEEP = re.compile(r"\s*(tag|interval|range|choice|shuffle|sort|glob|int|float)\s*\(")


@dataclass(frozen=True)
class Choices:
    """A dimension of values without an order.

    Attributes:
        key: The key that varies.
        values: Its values.
        is_group: Whether the values are files of a group.
    """

    key: str
    values: tuple[Value, ...]
    is_group: bool = False

    def ends(self) -> tuple[Value, ...]:
        """Return the values that are checked before anything starts: all."""
        return self.values


@dataclass(frozen=True)
class Steps:
    """A dimension of equally spaced numbers.

    Attributes:
        key: The key that varies.
        values: Its values, in order.
    """

    key: str
    values: tuple[int, ...] | tuple[float, ...]

    def ends(self) -> tuple[Value, ...]:
        """Return the values that are checked before anything starts: the first and the last."""
        return (self.values[0], self.values[-1])


@dataclass(frozen=True)
class Interval:
    """A dimension of all numbers between two bounds.

    Attributes:
        key: The key that varies.
        low: Lower bound, included.
        high: Upper bound, included.
        integer: Whether only integers are tried.
        log: Whether the scale is logarithmic.
    """

    key: str
    low: float
    high: float
    integer: bool
    log: bool

    def ends(self) -> tuple[Value, ...]:
        """Return the values that are checked before anything starts: the bounds."""
        return (self.low, self.high)


Dimension = Choices | Steps | Interval


class Space(NamedTuple):
    """A search space.

    Attributes:
        fixed: Overrides with one value, as given.
        dimensions: What varies.
    """

    fixed: list[str]
    dimensions: list[Dimension]

    def overrides(self, point: Sequence[Value]) -> list[str]:
        """Return the overrides of one point.

        Args:
            point: A value for each dimension.
        """
        return [*self.fixed, *(f"{d.key}={format_value(v)}" for d, v in zip(self.dimensions, point, strict=True))]

    @property
    def is_small(self) -> bool:
        """Whether the corners include all combinations of the ends."""
        return math.prod(len(dimension.ends()) for dimension in self.dimensions) <= _MOST_POINTS

    def corners(self) -> Iterator[tuple[Value, ...]]:
        """Yield the points that are checked before anything starts.

        These are all combinations of the dimensions' ends. If there are too many, each end is combined with the first
        ends of the other dimensions.
        """
        ends = [dimension.ends() for dimension in self.dimensions]
        if self.is_small:
            yield from itertools.product(*ends)
            return
        first = tuple(values[0] for values in ends)
        yield first
        for place, values in enumerate(ends):
            yield from ((*first[:place], value, *first[place + 1 :]) for value in values[1:])


def format_value(value: Value) -> str:
    """Format a value as it stands in an override."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def read_space(overrides: Sequence[str], composer: Composer) -> Space:
    """Read the search space from overrides.

    Args:
        overrides: Overrides of the command line, some with several values.
        composer: Reads overrides.

    Raises:
        ConfigError: An override is wrong, or nothing varies. The message lists all mistakes.
    """
    fixed: list[str] = []
    dimensions: list[Dimension] = []
    problems: list[str] = []
    for line in overrides:
        parsed = composer.parse(line)
        if isinstance(parsed, str):
            problems.append(parsed)
        elif not parsed.is_sweep_override():
            problems += _quoted(parsed)
            fixed.append(line)
        else:
            found = _dimension(parsed, composer)
            dimensions += [found] if not isinstance(found, str) else []
            problems += [found] if isinstance(found, str) else []
    problems += _repeated(fixed, dimensions)
    if not dimensions and not problems:
        problems.append(
            "no key varies. Give one several values, such as algorithm.inner_steps=1,2,5 or "
            "'algorithm.inner_lr=tag(log, interval(0.01, 1))'."
        )
    if problems:
        raise ConfigError(problems)
    return Space(fixed, dimensions)


def _dimension(override: Override, composer: Composer) -> Dimension | str:
    """The dimension of an override, or a sentence about what is wrong with it."""
    key, line, sweep = override.get_key_element(), override.input_line or "", override.value()
    if override.is_hydra_override():
        return f"{line}: Hydra's own keys cannot vary; give {key} one value."
    tags = set(sweep.tags) if isinstance(sweep, Sweep) else set()
    unknown = sorted(tags - {"log"})
    if unknown:
        return f"{line}: tag {unknown[0]} is not known; the only tag is log."
    if isinstance(sweep, IntervalSweep):
        return _interval(key, line, sweep, log="log" in tags)
    if tags:
        return f"{line}: a logarithmic scale needs an interval, such as tag(log, interval(1e-4, 1))."
    if isinstance(sweep, RangeSweep):
        return Steps(key, tuple(sweep.range()))
    items = sweep.list if isinstance(sweep, ChoiceSweep) else list(override.sweep_iterator())  # a glob has no list
    values = tuple(item if isinstance(item, (bool, int, float)) else Transformer.str(item) for item in items)
    if len({format_value(value) for value in values}) < len(values):
        return f"{line} names a value twice."
    return Choices(key, values, is_group(override, composer.loader))


def _interval(key: str, line: str, sweep: IntervalSweep, *, log: bool) -> Interval | str:
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if not low < high:
        return f"{line}: an interval needs its lower bound first, below the upper one."
    if log and low <= 0:
        return f"{line}: a logarithmic scale needs bounds above 0; the lower one is {low!r}."
    return Interval(key, low, high, isinstance(low, int) and isinstance(high, int), log)


def _quoted(override: Override) -> list[str]:
    """Problems of an override whose sweep stands inside quotes, which makes it a text."""
    value = override.value()
    if isinstance(value, str) and _A_SWEEP.match(value):
        key = override.get_key_element()
        return [f"{override.input_line} is one text, because of its inner quotes; write '{key}={value}'."]
    return []


def _repeated(fixed: Sequence[str], dimensions: Sequence[Dimension]) -> list[str]:
    keys = [key_of(line) for line in fixed] + [d.key.lstrip("+") for d in dimensions]
    twice = dict.fromkeys(d.key.lstrip("+") for d in dimensions if keys.count(d.key.lstrip("+")) > 1)
    return [f"{key} is given more than once; give it once." for key in twice]


def trials_for_importance(n_keys: int) -> int:
    """Return how many completed trials are needed to say how much each key contributes: 10, and 3 for each key."""
    return max(10, 3 * n_keys)
