"""How uncertain the mean of a row and the difference of two rows are. Runs (seeds) and episodes are both samples.

The value of run s of row a on episode e is

    row mean_a + run_{a,s} + episode_e + episode by row_{a,e} + residual_{a,s,e}

Episodes are the same for both rows, so ``episode_e`` cancels in their difference; runs are each row's own. With S_a
runs and E episodes, a squared standard error has two parts. They are kept apart, because very different numbers of
samples stand behind them:

    over_runs      sum over rows of var(run means_a) / S_a. The residual of a run's mean is in it.
    over_episodes  var over episodes of the (difference of the) rows' means / E, less the residual in it, which
                   over_runs has already.

``over_runs`` has Welch's degrees of freedom (Biometrika 29, 1938): between 2 and 4 for two rows of 3 runs. Where rows
have different numbers of runs, Student's pooled variance is a second candidate, and the wider interval holds: Welch's
alone is too sure of a row with two runs that happen to be close.

A row of one run cannot say how much runs differ. Its own part of ``over_runs`` is unknown, the other row's is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DUST = 1e-24
"""Variances below this, relative to the squared values, are rounding."""


class Row(NamedTuple):
    """A row's values (..., S, E), S runs on E episodes, summarised; leading axes are separate comparisons.

    Attributes:
        episode_means: (..., E), means over runs.
        run_means: (..., S), each run's mean.
        between: (...), variance of the run means; 0 for a single run.
        residual: (...), mean square of what neither run nor episode explains; 0 for a single run.
    """

    episode_means: Array
    run_means: Array
    between: Array
    residual: Array

    @property
    def n_runs(self) -> int:
        """S, the number of runs."""
        return int(self.run_means.shape[-1])

    @property
    def n_episodes(self) -> int:
        """E, the number of episodes."""
        return int(self.episode_means.shape[-1])

    @property
    def mean(self) -> Array:
        """(...), the mean over runs and episodes."""
        return np.asarray(self.episode_means.mean(-1))


class Variance(NamedTuple):
    """The two parts of a squared standard error, each (...).

    Attributes:
        over_episodes: The part from the choice of episodes, with E - 1 degrees of freedom.
        over_runs: The part from the choice of runs; 0 where nothing is known about it.
        degrees_of_freedom: The degrees of freedom of ``over_runs``; 1 where nothing is known.
    """

    over_episodes: Array
    over_runs: Array
    degrees_of_freedom: Array


class PairVariance(NamedTuple):
    """The variances of a difference and of its two means.

    Attributes:
        difference: The variance of the difference.
        first: The variance of the first mean, with the degrees of freedom of the difference.
        second: The variance of the second mean, with the same degrees of freedom.
    """

    difference: Variance
    first: Variance
    second: Variance


def summarise(values: Array) -> Row:
    """Summarise the values of a row.

    Args:
        values: (..., S, E).

    Raises:
        ValueError: There are fewer than two episodes.
    """
    n_runs, n_episodes = values.shape[-2:]
    if n_episodes < 2:
        raise ValueError(f"an interval needs at least two episodes; got {n_episodes}")
    episode_means, run_means = values.mean(-2), values.mean(-1)
    if n_runs == 1:
        zeros = np.zeros(values.shape[:-2])
        return Row(episode_means, run_means, zeros, zeros)
    with np.errstate(over="ignore", invalid="ignore"):  # runs that diverged have huge errors
        rest = values - episode_means[..., None, :] - run_means[..., None] + run_means.mean(-1)[..., None, None]
        residual = np.square(rest).sum((-2, -1)) / ((n_runs - 1) * (n_episodes - 1))
        between = run_means.var(-1, ddof=1)
        size = np.square(np.abs(values).max((-2, -1)))
    return Row(episode_means, run_means, _without_dust(between, size), _without_dust(residual, size))


def mean_variance(row: Row) -> Variance:
    """Return the variance of a row's mean."""
    return Variance(_over_episodes([row]), _over_runs(row), np.full(row.between.shape, max(row.n_runs - 1.0, 1.0)))


def difference_variances(first: Row, second: Row) -> list[PairVariance]:
    """Return the candidates for the variance of a difference: Welch's, and for unequal S the pooled one, too.

    Args:
        first: One row.
        second: The other row, over the same episodes.
    """
    rows = (first, second)
    parts = [_over_runs(row) for row in rows]
    total = parts[0] + parts[1]
    spread = sum(
        (part**2 / max(row.n_runs - 1, 1) for part, row in zip(parts, rows, strict=True)), np.zeros_like(total)
    )
    degrees_of_freedom = np.ones_like(total)
    np.divide(total**2, spread, out=degrees_of_freedom, where=spread > 0)
    candidates = [_candidate(first, second, parts, degrees_of_freedom)]
    if first.n_runs != second.n_runs and min(first.n_runs, second.n_runs) > 1:
        pooled_freedom = first.n_runs + second.n_runs - 2
        pooled = sum(((row.n_runs - 1) * row.between for row in rows), np.zeros_like(total)) / pooled_freedom
        shares = [pooled / row.n_runs for row in rows]
        candidates.append(_candidate(first, second, shares, np.full_like(total, pooled_freedom)))
    return candidates


def pairing_gain(first: Row, second: Row) -> Array:
    """Return the factor (...) by which pairing narrows the standard error of a difference; 0 without spread.

    Args:
        first: One row.
        second: The other row, over the same episodes.
    """
    variance = difference_variances(first, second)[0].difference
    n_episodes = first.n_episodes
    apart = (first.episode_means.var(-1, ddof=1) + second.episode_means.var(-1, ddof=1)) / n_episodes
    within = sum((row.residual / (row.n_runs * n_episodes) for row in (first, second)), np.zeros_like(apart))
    unpaired = np.maximum(apart - within, 0.0) + variance.over_runs
    paired = variance.over_episodes + variance.over_runs
    gain = np.zeros_like(unpaired)
    np.divide(unpaired, paired, out=gain, where=paired > 0)
    return np.asarray(np.sqrt(gain))


def _candidate(first: Row, second: Row, over_runs: list[Array], degrees_of_freedom: Array) -> PairVariance:
    return PairVariance(
        Variance(_over_episodes([first, second]), over_runs[0] + over_runs[1], degrees_of_freedom),
        Variance(_over_episodes([first]), over_runs[0], degrees_of_freedom),
        Variance(_over_episodes([second]), over_runs[1], degrees_of_freedom),
    )


def _over_runs(row: Row) -> Array:
    return np.asarray(row.between / row.n_runs)


def _over_episodes(rows: list[Row]) -> Array:
    """The part from episodes in the variance of a row's mean, or of the difference of two."""
    values = rows[0].episode_means if len(rows) == 1 else rows[0].episode_means - rows[1].episode_means
    n_episodes = values.shape[-1]
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.square(np.max([np.abs(row.episode_means).max(-1) for row in rows], axis=0))
        variance = _without_dust(values.var(-1, ddof=1), size)
        within = sum((row.residual / row.n_runs for row in rows), np.zeros_like(variance))
        return np.asarray(np.maximum(variance - within, 0.0) / n_episodes)


def _without_dust(variance: Array, size: Array) -> Array:
    return np.asarray(np.where(np.isfinite(size) & (variance <= _DUST * size), 0.0, variance))
