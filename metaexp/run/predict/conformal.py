"""Prediction sets with a promised coverage over unseen tasks, calibrated on validation episodes.

Queries of one task are not independent, so tasks are what is exchanged: hierarchical conformal prediction (Lee, Barber
& Willett, 2023). With K calibration tasks of M queries each, the threshold is the smallest t such that at least
``level * (K + 1) * M`` of all K * M nonconformities are at most t. For a new task that is exchangeable with these, a
query's true label is then in its set with probability ``level`` or more, over tasks and queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError, NotFiniteError
from metaexp.core.shapes import Split, TaskShape
from metaexp.core.types import Episode, one_task
from metaexp.data.base import TaskSource
from metaexp.run.predict.learner import nonconformity

_AT_ONCE = 8


class Calibration(NamedTuple):
    """What sets of a promised coverage need.

    Attributes:
        level: The promised coverage, such as 0.9.
        threshold: Labels, or values, whose nonconformity is at most this are kept.
        n_episodes: The number of validation episodes.
        shape: Ways, shots and queries of these.
        weights_sha256: The SHA-256 (hex) of the weights; "" where it is not known.
    """

    level: float
    threshold: float
    n_episodes: int
    shape: TaskShape
    weights_sha256: str = ""


def calibrate(
    algorithm: Algorithm,
    source: TaskSource,
    shape: TaskShape,
    level: float,
    n_episodes: int,
    *,
    first: int = 0,
    split: Split = "val",
    report: Callable[[int], None] = lambda _: None,
) -> Calibration:
    """Find the threshold of a level.

    Args:
        algorithm: The algorithm with the selected weights, in evaluation mode, on the CPU.
        source: The tasks, of the shape of the task that is to be predicted.
        shape: Their ways, shots and queries.
        level: The coverage, between 0 and 1.
        n_episodes: How many episodes to calibrate on.
        first: The index of the first. The checkpoint was chosen on the first validation episodes, so later ones are
            better.
        split: The split of the episodes.
        report: Called with the number of episodes done so far.

    Raises:
        ConfigError: The level is impossible, or needs more episodes.
        NotFiniteError: A score is not finite.
    """
    check_level(level, n_episodes)
    costs: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, n_episodes, _AT_ONCE):
            numbers = torch.arange(start, min(start + _AT_ONCE, n_episodes)) + first
            if source.varies:
                raise ConfigError(
                    "prediction sets need calibration episodes of one shape, and those of this dataset differ."
                )
            episodes = source.episodes(split, numbers)
            costs += [episode_costs(algorithm, one_task(episodes, index)) for index in range(len(numbers))]
            report(len(costs))
    pooled = torch.stack(costs)  # (K, M)
    if not pooled.isfinite().all():
        raise NotFiniteError("scores of validation episodes are not finite, so nothing can be calibrated on them.")
    return Calibration(level, threshold_of(pooled, level), n_episodes, shape)


def check_level(level: float, n_episodes: int) -> None:
    """Refuse a level that cannot be had with as many calibration episodes.

    Args:
        level: The wanted coverage.
        n_episodes: Calibration episodes.
    """
    if not 0 < level < 1:
        raise ConfigError(f"a coverage of {level:g} (level, or --conformal) must be between 0 and 1, such as 0.9.")
    least = math.ceil(level / (1 - level) - 1e-9)
    if n_episodes < least:
        raise ConfigError(
            f"a coverage of {level:g} needs at least {least} calibration episodes; {n_episodes} were asked for "
            "(episodes, or --episodes)."
        )


def episode_costs(algorithm: Algorithm, episode: Episode) -> Tensor:
    """Return the nonconformity (M,) of the true labels or targets of one episode's queries.

    Args:
        algorithm: The learner, with the weights to calibrate.
        episode: One task with M queries.
    """
    scores = algorithm.predict(algorithm.adapt(episode.support), episode.query.x)
    if episode.support.n_way == 0:
        return (scores.double() - episode.query.y.double()).abs().amax(-1)
    return nonconformity(scores).gather(-1, episode.query.y.unsqueeze(-1)).squeeze(-1)


def threshold_of(costs: Tensor, level: float) -> float:
    """Return the threshold for nonconformities (K, M) of K tasks.

    Args:
        costs: What :func:`episode_costs` returned, (K, M).
        level: The wanted coverage, in (0, 1).
    """
    n_tasks, per_task = costs.shape
    rank = math.ceil(level * (n_tasks + 1) * per_task - 1e-9)
    return float(costs.flatten().sort().values[min(rank, n_tasks * per_task) - 1])
