"""The verdicts on a table of rows: intervals, p-values corrected for their number, ranks, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaexp.compare.statistics.effects import (
    DRAWS,
    Array,
    Effect,
    effect,
    standard_errors,
    summarise,
    unpaired_variance,
)
from metaexp.core.intervals import student_quantile, student_tails

LEVEL = 0.05
"""Differences with a corrected p-value below this are called significant."""
_POWER_80 = 0.8416
"""The normal quantile of 80 %: with the numbers named, four in five repeats would find the difference."""
_MOST_EPISODES = 1_000_000
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval. ``over_seeds``: whether the interval speaks of new seeds, or of these weights."""

    mean: float
    low: float
    high: float
    over_seeds: bool


@dataclass(frozen=True)
class Needs:
    """What would probably settle an open pair (80 % power), were the difference what was measured.

    episodes: with the same runs. seeds: of each row, with the same number of episodes. None: no number would do.
    """

    episodes: int | None
    seeds: int | None


@dataclass(frozen=True)
class Pair:
    """The paired difference ``first`` less ``second`` (indices of rows), with its uncorrected 95 % interval.

    p: of no difference. corrected: p after Holm's correction for all pairs of the table. narrower: by what
    factor pairing by episode makes the interval narrower (None where there is no spread). needs: of open pairs.
    """

    first: int
    second: int
    difference: Estimate
    p: float
    corrected: float
    narrower: float | None
    needs: Needs | None

    @property
    def significant(self) -> bool:
        """Whether the difference stands after the correction."""
        return self.corrected < LEVEL


@dataclass(frozen=True)
class Verdicts:
    """For every row its estimate and its rank, and every pair of rows."""

    estimates: list[Estimate]
    ranks: list[int]
    pairs: list[Pair]


def judge(values: Sequence[Array], larger_is_better: bool, draws: int = DRAWS) -> Verdicts:
    """Compare rows of ``values``, each (S, E): S runs of that row on the same E episodes.

    A row's rank is 1 + the number of rows that are significantly better than it, so rows that cannot be told
    apart from the best share rank 1.
    """
    rows = [summarise(np.asarray(value, dtype=np.float64)) for value in values]
    indices = [(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    effects = [effect(row) for row in rows] + [effect(rows[i], rows[j]) for i, j in indices]
    errors = [float(error) for error in standard_errors(effects, draws)]
    estimates = [estimate(item, error) for item, error in zip(effects, errors, strict=True)]
    differences = list(zip(effects, errors, estimates, strict=True))[len(rows) :]
    p_values = [p_value(item, error) for item, error, _ in differences]
    corrected = holm(p_values)
    pairs = []
    for number, ((i, j), (item, _, difference)) in enumerate(zip(indices, differences, strict=True)):
        is_open = corrected[number] >= LEVEL
        pairs.append(
            Pair(
                first=i,
                second=j,
                difference=difference,
                p=p_values[number],
                corrected=corrected[number],
                narrower=_narrower(item),
                needs=needs(item, LEVEL / len(indices)) if is_open else None,
            )
        )
    return Verdicts(estimates[: len(rows)], _ranks(len(rows), pairs, larger_is_better), pairs)


def estimate(item: Effect, error: float) -> Estimate:
    """The value of one effect, plus and minus the Student quantile times its standard error."""
    half = student_quantile(0.975, float(item.freedom)) * error if error else 0.0
    value = float(item.value)
    return Estimate(value, value - half, value + half, item.over_seeds)


def p_value(item: Effect, error: float) -> float:
    """Two-sided, of no difference. Without any spread it is 1 for equal means and 0 for others."""
    value = float(item.value)
    if error == 0.0:
        return 1.0 if value == 0.0 else 0.0
    return student_tails(value / error, float(item.freedom))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected by Holm's method (1979): the chance of any false claim among them stays below the level."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = highest
    return corrected


def needs(item: Effect, level: float) -> Needs:
    """What would settle a pair at ``level``, the smallest that Holm's method may ask for."""
    distance = abs(float(item.value))
    if distance == 0.0:
        return Needs(None, None)
    n_episodes = item.episodes.shape[-1]
    factor = student_quantile(1 - level / 2, float(item.freedom)) + _POWER_80
    left = (distance / factor) ** 2 - float(item.over_runs)
    spread = float(item.over_episodes) * n_episodes
    episodes = math.ceil(max(spread / left, n_episodes + 1)) if left > 0 else None
    if episodes is not None and episodes > _MOST_EPISODES:
        episodes = None
    return Needs(episodes, _seeds(item, level, distance) if item.over_seeds else None)


def _seeds(item: Effect, level: float, distance: float) -> int | None:
    """Runs of each row, at the same number of episodes; None above :data:`_MOST_SEEDS`."""
    n_episodes = item.episodes.shape[-1]
    noise = sum(float(row.noise) / row.runs.shape[-1] for row in item.rows)
    shared = max(float(item.over_episodes) - noise / n_episodes, 0.0)
    now = min(row.runs.shape[-1] for row in item.rows)
    each = (float(item.over_runs) + noise / n_episodes) * now
    for seeds in range(now + 1, _MOST_SEEDS + 1):
        variance = shared + each / seeds
        factor = student_quantile(1 - level / 2, float(2 * (seeds - 1))) + _POWER_80
        if variance * factor**2 <= distance**2:
            return seeds
        if shared * (student_quantile(1 - level / 2, 2.0 * _MOST_SEEDS) + _POWER_80) ** 2 > distance**2:
            return None
    return None


def _narrower(item: Effect) -> float | None:
    variance = float(item.over_episodes + item.over_runs)
    apart = float(unpaired_variance(item.rows[0], item.rows[1], item))
    return math.sqrt(apart / variance) if variance > 0 else None


def _ranks(n_rows: int, pairs: Sequence[Pair], larger_is_better: bool) -> list[int]:
    ranks = [1] * n_rows
    for pair in pairs:
        if pair.significant:
            first_wins = (pair.difference.mean > 0) == larger_is_better
            ranks[pair.second if first_wins else pair.first] += 1
    return ranks
