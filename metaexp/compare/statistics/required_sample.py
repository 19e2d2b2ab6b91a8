"""How many episodes, or seeds, would show a measured difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from metaexp.compare.statistics.effects import Row, difference_variances
from metaexp.compare.statistics.margins import Part

NO_SPREAD = 1e-20
"""A variance below this, relative to the squared difference, is rounding."""
_POWER_80 = 0.8416
"""The normal quantile of 80 %: with the numbers named, four in five repeats would find the difference."""
MOST_EPISODES = 1_000_000
MOST_SEEDS = 1000


@dataclass(frozen=True)
class RequiredSample:
    """The sample that would show the measured difference in four of five repeats, if it were the true one.

    Attributes:
        episodes: The number of episodes, with the same runs; None if :data:`MOST_EPISODES` are too few.
        seeds: The number of seeds of each row, with the same episodes; None if :data:`MOST_SEEDS` are too few.
    """

    episodes: int | None
    seeds: int | None


def required_sample(first: Row, second: Row, level: float) -> RequiredSample | None:
    """Return how many episodes, or seeds of each row, would show the measured difference; None without any spread.

    Args:
        first: A row of several runs.
        second: Another row of several runs.
        level: The smallest that Holm's method may ask for: 0.05 over the number of pairs.
    """
    distance = abs(float(first.mean - second.mean))
    part, n_episodes = Part(*map(float, difference_variances(first, second)[-1].difference)), first.n_episodes
    residual = sum(float(row.residual) / row.n_runs for row in (first, second)) / n_episodes
    n_runs = min(first.n_runs, second.n_runs)
    # The means of few runs can be closer by chance than their residual lets them be. Other runs would not be.
    spread_of_runs = max(part.over_runs, residual)

    def shows(variance: Part, episodes: int) -> bool:
        margin = math.sqrt(variance.squared_margin(level, episodes))
        return margin + _POWER_80 * math.sqrt(variance.over_episodes + variance.over_runs) <= distance

    def with_episodes(episodes: int) -> bool:
        share = n_episodes / episodes
        over_runs = spread_of_runs - residual * (1.0 - share)
        return shows(Part(part.over_episodes * share, over_runs, part.degrees_of_freedom), episodes)

    def with_seeds(seeds: int) -> bool:
        over_runs = spread_of_runs * n_runs / seeds
        return shows(Part(part.over_episodes, over_runs, 2.0 * (seeds - 1)), n_episodes)

    if part.over_episodes + part.over_runs <= NO_SPREAD * distance**2:
        return None  # nothing was seen of the spread that more episodes would show
    if distance == 0.0:
        return RequiredSample(None, None)
    return RequiredSample(
        _smallest(with_episodes, n_episodes + 1, MOST_EPISODES), _smallest(with_seeds, n_runs + 1, MOST_SEEDS)
    )


def _smallest(is_enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number in [low, high] that is enough; None where none is. All larger ones are enough, too."""
    if low > high or not is_enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return low
