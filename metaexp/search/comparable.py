"""Whether the points of a search can be judged against each other, and by what. Without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metaexp.config.classes.values import show
from metaexp.config.compose import Composer
from metaexp.core.errors import ConfigError
from metaexp.core.metric import Metric
from metaexp.search.space import Dimension, Space
from metaexp.sweep.expand import freeze_all
from metaexp.sweep.frozen_job import Freezer, FrozenJob

_MEASURE = ("dataset", "task", "eval.seed", "train.eval_episodes")
"""What the validation tasks are made of: a change makes them easier or harder."""


def check_points(space: Space, composer: Composer, *, on_this_machine: bool) -> list[FrozenJob]:
    """Compose and check the corners of the space. Raises ConfigError with the problems of all of them."""
    keys = frozenset(dimension.key.lstrip("+") for dimension in space.dimensions)
    freezer = Freezer(composer, "", keys, on_this_machine=on_this_machine)
    return freeze_all(freezer, [space.overrides(point) for point in space.corners()])


def common_metric(jobs: Sequence[FrozenJob], wanted: str | None, key: str) -> Metric:
    """What all jobs are judged by on validation tasks.

    wanted: the metric asked for, such as ``val/accuracy``; key: how. Raises ConfigError for any other than the
    validation metric of the task, and where jobs have different ones.
    """
    metrics = list(dict.fromkeys(Metric.of(job.config["task"]["n_way"]) for job in jobs))
    if len(metrics) > 1:
        raise ConfigError(
            "some points are judged by val/accuracy and others by val/mse, which cannot be compared; vary neither "
            "task nor dataset between classification and regression."
        )
    (metric,) = metrics
    if wanted is not None and wanted != metric.validation:
        raise ConfigError(_refusal(f"{key}{wanted}", wanted, metric))
    return metric


def _refusal(given: str, wanted: str, metric: Metric) -> str:
    if wanted.startswith("test"):
        return (
            f"{given}: test results may not choose anything, or they are no test any more. "
            f"Use {metric.validation}, and test what was chosen once."
        )
    return f"{given} cannot say which point is better; use {metric.validation}, the validation metric of this task."


def check_comparable(dimensions: Sequence[Dimension], jobs: Sequence[FrozenJob]) -> None:
    """Raise ConfigError when a search would choose luck, or easier validation tasks, instead of better settings."""
    problems = [
        f"{d.key} varies: a search over seeds would choose luck. Search with one seed, then run the best point with "
        "several: metaexp train -m ... seed=0,1,2."
        for d in dimensions
        if d.key == "seed"
    ]
    first = dict(_measure(jobs[0].config))
    different: dict[str, Any] = {}
    for job in jobs[1:]:
        other = dict(_measure(job.config))
        for key in {**first, **other}:
            if first.get(key) != other.get(key):
                different.setdefault(key, other.get(key))
    problems += [
        f"{key} is {show(first.get(key))} at one point and {show(value)} at another, so their validation tasks differ "
        "and their results cannot be compared. Give it one value; metaexp train -m runs them side by side."
        for key, value in different.items()
    ]
    if problems:
        raise ConfigError(problems)


def _measure(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in _MEASURE:
        section, _, name = key.partition(".")
        if name:
            yield key, config[section][name]
        else:
            yield from ((f"{section}.{inner}", value) for inner, value in config[section].items())
