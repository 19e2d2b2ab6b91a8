"""Intervals, corrected p-values and ranks for a table of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from metaexp.compare.statistics.effects import (
    Array,
    Row,
    Variance,
    difference_variances,
    mean_variance,
    pairing_gain,
    summarise,
)
from metaexp.compare.statistics.margins import MeanDifference, Part, Proportion, p_of_zero
from metaexp.compare.statistics.required_sample import RequiredSample, required_sample

LEVEL = 0.05
"""Differences with a corrected p-value below this are called significant."""

Decision = Literal["different", "open", "withheld"]
Places = tuple[int, int]
"""The first and the last place that a row may hold."""


@dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of means, with its 95 % interval.

    Attributes:
        mean: The value.
        low: The lower end; None, as ``high``, where there is no interval (no spread was measured, or it overflows).
        high: The upper end.
        over_seeds: Whether the interval speaks of new seeds. If not, a row has one seed, and the interval speaks of
            its trained weights only.
    """

    mean: float
    low: float | None
    high: float | None
    over_seeds: bool

    def negated(self) -> Estimate:
        """Return the difference of the other row less this one."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return Estimate(-self.mean, low, high, self.over_seeds)


@dataclass(frozen=True)
class Pair:
    """The paired difference ``first`` less ``second`` (indices of rows), with its uncorrected 95 % interval.

    Attributes:
        first: Index of a row.
        second: Index of the other row.
        difference: The mean of ``first`` less that of ``second``.
        p: The p-value of no difference; None where a row has a single seed, or no spread was measured.
        corrected: ``p`` after Holm's correction for all pairs of the table that have one.
        pairing_gain: The factor by which pairing by episode narrows the interval; None where there is no spread.
        required_sample: The sample that would show the difference; for open pairs only.
    """

    first: int
    second: int
    difference: Estimate
    p: float | None
    corrected: float | None
    pairing_gain: float | None
    required_sample: RequiredSample | None

    @property
    def decision(self) -> Decision:
        """Whether the rows differ after the correction (different) or may not (open), or nothing can be said."""
        if self.corrected is None:
            return "withheld"
        return "different" if self.corrected < LEVEL else "open"

    @property
    def significant(self) -> bool:
        """Whether the rows are different."""
        return self.decision == "different"


@dataclass(frozen=True)
class Verdicts:
    """The verdicts about the rows of a table.

    Attributes:
        estimates: The mean of every row with its interval.
        places: The first and the last place that every row may hold; None for a row with one seed.
        pairs: Every pair of rows.
    """

    estimates: list[Estimate]
    places: list[Places | None]
    pairs: list[Pair] = field(default_factory=list)


def compare_rows(values: Sequence[Array], larger_is_better: bool, is_accuracy: bool, least: float = 0.0) -> Verdicts:
    """Compare the rows of a table.

    A row is ranked by the places that it may hold (:func:`rank_places`).

    Args:
        values: For every row (S, E), the metric of S runs on the same E episodes.
        larger_is_better: The direction of the metric.
        is_accuracy: Whether values lie between 0 and 1.
        least: The least value that there can be, where ``is_accuracy`` is false.
    """
    rows = [summarise(np.asarray(value, dtype=np.float64)) for value in values]
    with np.errstate(over="ignore", invalid="ignore"):  # errors of runs that diverged
        return _compare_rows(rows, larger_is_better, is_accuracy, least)


def _compare_rows(rows: Sequence[Row], larger_is_better: bool, is_accuracy: bool, least: float) -> Verdicts:
    indices = [(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    results = [
        (estimate_difference(rows[i], rows[j], is_accuracy), p_value(rows[i], rows[j], is_accuracy)) for i, j in indices
    ]
    known = [p for _, p in results if p is not None]
    corrected = iter(holm(known))
    pairs = []
    for (i, j), (difference, p) in zip(indices, results, strict=True):
        after = None if p is None else next(corrected)
        is_open = after is not None and after >= LEVEL
        gain = float(pairing_gain(rows[i], rows[j]))
        required = required_sample(rows[i], rows[j], LEVEL / len(known)) if is_open else None
        pairs.append(Pair(i, j, difference, p, after, gain if 0 < gain < math.inf else None, required))
    estimates = [estimate_mean(row, is_accuracy, least) for row in rows]
    return Verdicts(estimates, _places(rows, pairs, larger_is_better), pairs)


def estimate_mean(row: Row, is_accuracy: bool, least: float = 0.0) -> Estimate:
    """Return a row's mean with its 95 % interval.

    Args:
        row: The runs of one row.
        is_accuracy: Whether values lie in [0, 1], and so must the interval.
        least: The least value that there can be, and so the least end of the interval.
    """
    mean, part, over_seeds = float(row.mean), _part(mean_variance(row)), row.n_runs > 1
    if not math.isfinite(mean):
        return Estimate(mean, None, None, over_seeds)
    if is_accuracy:
        return Estimate(mean, *Proportion(mean, part, row.n_episodes).interval(LEVEL), over_seeds)
    margin = math.sqrt(part.squared_margin(LEVEL, row.n_episodes))
    if not part.is_known or not math.isfinite(margin):
        return Estimate(mean, None, None, over_seeds)
    return Estimate(mean, max(least, mean - margin), mean + margin, over_seeds)


def estimate_difference(first: Row, second: Row, is_accuracy: bool, level: float = LEVEL) -> Estimate:
    """Estimate the mean of one row less that of another.

    Where there are several candidates for the variance, the interval contains the intervals of all.

    Args:
        first: A row.
        second: Another row.
        is_accuracy: Whether values lie between 0 and 1.
        level: The interval holds the truth with probability 1 - ``level``.
    """
    over_seeds = min(first.n_runs, second.n_runs) > 1
    value = float(first.mean - second.mean)
    ends = [make(level) for make in _interval_makers(first, second, value, is_accuracy)]
    if not ends or not all(math.isfinite(end) for pair in ends for end in pair):
        return Estimate(value, None, None, over_seeds)
    return Estimate(value, min(low for low, _ in ends), max(high for _, high in ends), over_seeds)


def p_value(first: Row, second: Row, is_accuracy: bool) -> float | None:
    """Return the two-sided p-value of no difference: the level at which :func:`estimate_difference` just excludes 0.

    Args:
        first: A row.
        second: Another row, tested on the same episodes.
        is_accuracy: Whether the metric is an accuracy, so that differences are bounded.

    Returns:
        The p-value; None where a row has a single run, or there is no interval.
    """
    estimate = estimate_difference(first, second, is_accuracy)
    if not estimate.over_seeds or estimate.low is None:
        return None
    return max(map(p_of_zero, _interval_makers(first, second, estimate.mean, is_accuracy)))


def _interval_makers(
    first: Row, second: Row, value: float, is_accuracy: bool
) -> list[Callable[[float], tuple[float, float]]]:
    makers: list[Callable[[float], tuple[float, float]]] = []
    for candidate in difference_variances(first, second):
        part = _part(candidate.difference)
        if is_accuracy:
            one, two = (
                Proportion(float(row.mean), _part(own), row.n_episodes)
                for row, own in ((first, candidate.first), (second, candidate.second))
            )
            makers.append(MeanDifference(one, two, part).interval)
        elif part.is_known:
            makers.append(_around(value, part, first.n_episodes))
    return makers


def _around(value: float, part: Part, n_episodes: int) -> Callable[[float], tuple[float, float]]:
    def interval(p: float) -> tuple[float, float]:
        margin = math.sqrt(part.squared_margin(p, n_episodes))
        return value - margin, value + margin

    return interval


def _part(variance: Variance) -> Part:
    """The variance of one comparison, as numbers."""
    return Part(*map(float, variance))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values by Holm's method (1979), which keeps the chance of any false claim below the level."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = highest
    return corrected


def rank_places(means: Sequence[float], wins: Collection[tuple[int, int]], larger_is_better: bool) -> list[Places]:
    """Return the first and the last place that every row may hold. Neither end decreases from better to worse means.

    A row stands below all rows that are significantly better, and above all that are significantly worse. Where that
    leaves a row below with a better place, because it was measured less precisely, the rows above it get that place
    too. The same is done from above. So places are only added, and all true places are still within with the
    probability that the tests have.

    Args:
        means: The mean of every row.
        wins: Pairs of rows (better, worse) that are significantly different.
        larger_is_better: The direction of the metric.
    """
    n, sign = len(means), 1.0 if larger_is_better else -1.0
    first = [1 + sum(worse == row for _, worse in wins) for row in range(n)]
    last = [n - sum(better == row for better, _ in wins) for row in range(n)]

    def not_better(one: int, other: int) -> bool:
        """Whether the mean of a row is not better than that of another, apart from rounding."""
        margin = 1e-9 * max(1.0, abs(means[other])) if math.isfinite(means[other]) else 0.0
        return one == other or sign * means[one] <= sign * means[other] + margin

    return [
        (
            min(first[other] for other in range(n) if not_better(other, row)),
            max(last[other] for other in range(n) if not_better(row, other)),
        )
        for row in range(n)
    ]


def _places(rows: Sequence[Row], pairs: Sequence[Pair], larger_is_better: bool) -> list[Places | None]:
    """Places of the rows with several seeds, where there are two such rows to rank."""
    ranked = [index for index, row in enumerate(rows) if row.n_runs > 1]
    places: list[Places | None] = [None] * len(rows)
    if len(ranked) < min(len(rows), 2):
        return places
    number = {index: n for n, index in enumerate(ranked)}
    wins = []
    for pair in pairs:
        if pair.significant:
            one, other = number[pair.first], number[pair.second]
            wins.append((one, other) if (pair.difference.mean > 0) == larger_is_better else (other, one))
    found = rank_places([float(rows[index].mean) for index in ranked], wins, larger_is_better)
    for index, own in zip(ranked, found, strict=True):
        places[index] = own
    return places
