"""How far two rows of runs lie apart, and how uncertain that is: runs (seeds) and episodes are both samples.

The model is the crossed one of runs and episodes. The value of run s of row a on episode e is

    row mean_a + run_{a,s} + episode_e + episode by row_{a,e} + noise_{a,s,e}

Episodes are the same for both rows, so ``episode_e`` cancels in their difference; runs are each row's own. The mean
difference then has the variance

    sum over rows of var(run_a) / S_a  +  var over episodes of the difference of the rows' means / E

The second term is estimated as it stands. The first is the variance of the run means less the share of the noise in
it, var(noise_a) / E, and at least zero (both rows together). Degrees of freedom are Satterthwaite's (Biometrics
Bulletin 2, 1946), with the mean squares as observed: with 3 runs a row they lie between 2 and 4 where runs differ
much, and grow to E - 1 where they do not.

A row of one run cannot say how much runs differ. Then the first term is left out, ``over_seeds`` is False, and the
result speaks of those trained weights only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DRAWS = 10_000
"""Bootstrap samples: the standard error is then known to 0.7 % of itself."""
_AT_ONCE = 500


class Row(NamedTuple):
    """What is needed of a row's values (..., S, E), S runs on E episodes; leading axes are separate comparisons.

    episodes (..., E): the mean over runs. runs (..., S): each run's mean. between (...): variance of the run means.
    noise (...): mean square of what neither run nor episode explains. Both are 0 for a single run.
    """

    episodes: Array
    runs: Array
    between: Array
    noise: Array


class Effect(NamedTuple):
    """A mean, or a difference of means, and the parts of its variance.

    value (...). episodes (..., E): the values that it is the mean of. rows: those it was made of. over_episodes
    (...): variance from the choice of episodes. over_runs (...): variance from the choice of runs, 0 where unknown.
    freedom (...): degrees of freedom. over_seeds: whether runs are part of the uncertainty.
    """

    value: Array
    episodes: Array
    rows: tuple[Row, ...]
    over_episodes: Array
    over_runs: Array
    freedom: Array
    over_seeds: bool


def summarise(values: Array) -> Row:
    """The row of ``values`` (..., S, E). Raises ValueError for fewer than two episodes."""
    n_runs, n_episodes = values.shape[-2:]
    if n_episodes < 2:
        raise ValueError(f"an interval needs at least two episodes; got {n_episodes}")
    episodes, runs = values.mean(-2), values.mean(-1)
    if n_runs == 1:
        nothing = np.zeros(values.shape[:-2])
        return Row(episodes, runs, nothing, nothing)
    rest = values - episodes[..., None, :] - runs[..., None] + runs.mean(-1)[..., None, None]
    noise = np.square(rest).sum((-2, -1)) / ((n_runs - 1) * (n_episodes - 1))
    return Row(episodes, runs, runs.var(-1, ddof=1), noise)


def effect(first: Row, second: Row | None = None) -> Effect:
    """The mean of ``first``, or the paired difference ``first`` less ``second`` on the same episodes."""
    rows = (first,) if second is None else (first, second)
    episodes = first.episodes if second is None else first.episodes - second.episodes
    n_episodes = episodes.shape[-1]
    over_episodes = episodes.var(-1, ddof=1) / n_episodes
    over_seeds = all(row.runs.shape[-1] > 1 for row in rows)
    over_runs, spread = np.zeros_like(over_episodes), over_episodes**2 / (n_episodes - 1)
    if over_seeds:
        for row in rows:
            n_runs = row.runs.shape[-1]
            over_runs = over_runs + (row.between - row.noise / n_episodes) / n_runs
            spread = spread + (row.between / n_runs) ** 2 / (n_runs - 1)
        over_runs = np.maximum(over_runs, 0.0)
    total = over_episodes + over_runs
    freedom = np.full_like(total, n_episodes - 1.0)
    np.divide(total**2, spread, out=freedom, where=spread > 0)
    return Effect(episodes.mean(-1), episodes, rows, over_episodes, over_runs, np.maximum(freedom, 1.0), over_seeds)


def unpaired_variance(first: Row, second: Row, pair: Effect) -> Array:
    """What the variance (...) of their difference would be had each row been tested on episodes of its own."""
    n_episodes = first.episodes.shape[-1]
    apart = first.episodes.var(-1, ddof=1) + second.episodes.var(-1, ddof=1)
    return np.asarray(apart / n_episodes + pair.over_runs)


def standard_errors(effects: Sequence[Effect], draws: int = DRAWS, seed: int = 0) -> list[Array]:
    """The standard error (...) of every effect by a hierarchical bootstrap over runs and episodes.

    Each draw takes episodes with replacement, the same for all effects and both rows of a pair, and for each row
    runs with replacement. Run means are reflated (Carpenter, Goldstein and Rasbash, Applied Statistics 52, 2003)
    so that the draws have the variance of the model: as they stand, few runs vary too little by (S - 1) / S, and
    their noise would count twice. All effects must have the same number of episodes.
    """
    generator = np.random.default_rng(seed)
    n_episodes = effects[0].episodes.shape[-1]
    centred = [_centred(item.episodes).reshape(-1, n_episodes) for item in effects]
    table = np.concatenate(centred).T * np.sqrt(n_episodes / (n_episodes - 1))  # (E, all effects)
    ends = np.cumsum([len(block) for block in centred])
    shares = [_share_of_runs(item) for item in effects]
    total, squares = np.zeros(table.shape[1]), np.zeros(table.shape[1])
    for start in range(0, draws, _AT_ONCE):
        n = min(_AT_ONCE, draws - start)
        drawn = _weights(generator, n, n_episodes) @ table  # (n, all effects)
        for item, share, end, block in zip(effects, shares, ends, centred, strict=True):
            if item.over_seeds:
                drawn[:, end - len(block) : end] += share * _drawn_runs(generator, n, item.rows)
        total += drawn.sum(0)
        squares += np.square(drawn).sum(0)
    errors = np.sqrt(np.maximum(squares / draws - np.square(total / draws), 0.0))
    return [
        errors[end - len(block) : end].reshape(item.value.shape)
        for item, end, block in zip(effects, ends, centred, strict=True)
    ]


def _centred(values: Array) -> Array:
    return np.asarray(values - values.mean(-1, keepdims=True))


def _weights(generator: np.random.Generator, n: int, size: int) -> Array:
    """(n, size): how often each of ``size`` items is drawn, over ``size``."""
    return np.asarray(generator.multinomial(size, np.full(size, 1.0 / size), size=n) / size, dtype=np.float64)


def _share_of_runs(item: Effect) -> Array:
    """The factor (all comparisons,) on run means that leaves of their variance what is not noise of episodes."""
    observed = sum((row.between / row.runs.shape[-1] for row in item.rows), np.zeros_like(item.value))
    share = np.zeros_like(observed)
    np.divide(item.over_runs, observed, out=share, where=observed > 0)
    return np.sqrt(share).reshape(-1)


def _drawn_runs(generator: np.random.Generator, n: int, rows: Sequence[Row]) -> Array:
    """(n, all comparisons): the mean of drawn runs of the first row, less that of the second."""
    found: Array = np.zeros(1)
    for sign, row in zip((1.0, -1.0), rows, strict=False):
        n_runs = row.runs.shape[-1]
        means = _centred(row.runs).reshape(-1, n_runs).T * np.sqrt(n_runs / (n_runs - 1))
        found = found + sign * (_weights(generator, n, n_runs) @ means)
    return found
