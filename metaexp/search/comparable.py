"""Checks whether the points of a search can be compared, and by which metric. Without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metaexp.config.check import SLOTS
from metaexp.config.classes.checker import class_spec
from metaexp.config.classes.values import format_setting
from metaexp.config.command_line.override_text import key_of
from metaexp.config.compose import Composer
from metaexp.config.contradictions import data_facts
from metaexp.core.errors import ConfigError
from metaexp.core.metric import Metric
from metaexp.search.idle import idle_values
from metaexp.search.space import Choices, Interval, Space, Steps, format_value
from metaexp.sweep.expand import freeze_all
from metaexp.sweep.freezer import Freezer
from metaexp.sweep.frozen_job import FrozenJob

NO_TEST = "eval.test=false"
"""What keeps the runs of a search from being tested: they are judged on validation tasks."""
_MEASURE = ("dataset", "task", "eval.seed", "train.eval_episodes")
"""Settings that define the validation tasks. Changing one makes the tasks easier or harder."""
_FROM = re.compile(r"an integer >= (\d+)")


def check_points(space: Space, composer: Composer, *, on_this_machine: bool) -> list[FrozenJob]:
    """Compose and check the corners of the search space.

    Args:
        space: The search space.
        composer: Composes configurations.
        on_this_machine: Whether trials run on this machine. Their accelerator must then exist here.

    Returns:
        A job for each corner.

    Raises:
        ConfigError: The configuration of a corner is wrong. The message lists the mistakes of all corners.
    """
    keys = frozenset(dimension.key.lstrip("+") for dimension in space.dimensions)
    freezer = Freezer(composer, "", keys, on_this_machine=on_this_machine, keeps_files=False)
    try:
        return freeze_all(freezer, [space.overrides(point) for point in space.corners()])
    except ConfigError as error:
        hints = [_whole_numbers(problem, space) or problem for problem in error.problems]
        raise ConfigError(list(dict.fromkeys(hints)), error.notes, error.n_more) from error


def _whole_numbers(problem: str, space: Space) -> str:
    """What to write where a key takes integers, and an end of its values is none that is allowed; "" otherwise."""
    for dimension in space.dimensions:
        if isinstance(dimension, Choices):
            continue
        key = dimension.key.lstrip("+")
        for end in dimension.ends():
            _, found, why = problem.partition(f"{key}={format_value(end)} must be ")
            if found and why.startswith("an integer"):
                allowed = why.partition(". Write ")[0].rstrip(".")
                what = "some of its values are not" if _is_whole(dimension) else "its values are real numbers"
                return f"{key} must be {allowed}, and {what}. Write {_as_integers(dimension, _least(allowed))}."
    return ""


def _is_whole(dimension: Steps | Interval) -> bool:
    return dimension.integer if isinstance(dimension, Interval) else isinstance(dimension.values[0], int)


def _least(allowed: str) -> float:
    """The lowest integer that a key takes, from what it says is allowed."""
    found = _FROM.match(allowed)
    return int(found[1]) if found else -math.inf


def _as_integers(dimension: Steps | Interval, least: float) -> str:
    """A dimension as one of integers from ``least`` on, within its own bounds."""
    ends = dimension.values if isinstance(dimension, Steps) else (dimension.low, dimension.high)
    low, high = math.ceil(max(min(ends), least)), math.floor(max(ends))
    if low >= high:
        return f"some, such as {dimension.key}=1,2,4"
    if isinstance(dimension, Steps):
        return f"{dimension.key}={_as_range(dimension, low, high)}"
    bounds = f"int(interval({low}, {high}))"
    return f"{dimension.key}={f'tag(log, {bounds})' if dimension.log else bounds}"


def _as_range(dimension: Steps, low: int, high: int) -> str:
    """A range from ``low`` to ``high``, with the values and the step of one of integers."""
    if not _is_whole(dimension):
        return f"range({low}, {high + 1})"
    first, second = sorted(dimension.values)[:2]
    step = int(second - first)
    start = low + int(first - low) % step
    return f"range({start}, {high + 1}{f', {step}' if step > 1 else ''})"


def keys_that_test(space: Space, jobs: Sequence[FrozenJob]) -> list[str]:
    """Return the keys that vary and make a run end with a test; none where no job is tested.

    Args:
        space: The search space, whose fixed overrides end with :data:`NO_TEST`.
        jobs: Its checked points. An override of the whole section ``eval``, too, may ask for a test.
    """
    if not any(job.config["eval"].get("test", True) for job in jobs):
        return []
    return [dimension.key for dimension in space.dimensions if key_of(dimension.key) in ("eval", "eval.test")]


def common_metric(jobs: Sequence[FrozenJob], wanted: str | None, key: str) -> Metric:
    """Return the metric by which trials are judged on validation tasks.

    Args:
        jobs: Checked points of the space.
        wanted: The metric that the user asks for, such as ``val/accuracy``; None for the default.
        key: The option with which the user asked, for the message.

    Raises:
        ConfigError: ``wanted`` is not the validation metric of the task, or jobs have different metrics.
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
            f"{given}: test results must not be used to choose; a result that chose something is no longer a test. "
            f"Use {metric.validation}, and test what was chosen once."
        )
    return f"{given} cannot say which point is better; use {metric.validation}, the validation metric of this task."


def check_comparable(space: Space, jobs: Sequence[FrozenJob]) -> None:
    """Check that a search would choose better settings, rather than a lucky seed or easier validation tasks.

    Args:
        space: The search space.
        jobs: The checked jobs of its corners.

    Raises:
        ConfigError: The seed varies, a key varies that validation does not depend on, points have different validation
            tasks, or validation classes are trained on.
    """
    problems = [
        f"{d.key} varies: a search over seeds would choose the luckiest one. Search with one seed, then run the "
        "best point with several: metaexp train -m ... seed=0,1,2."
        for d in space.dimensions
        if d.key == "seed"
    ]
    problems += idle_values(space, jobs)
    problems += [
        f"dataset={name} trains on the validation classes, too, so validation cannot say which point is better. Search "
        "with new validation classes, then train the best point so."
        for name in sorted({job.choices.get("dataset", "?") for job in jobs if _trains_on_validation(job)})
    ]
    first = dict(_measure(jobs[0].config))
    different: dict[str, Any] = {}
    for job in jobs[1:]:
        other = dict(_measure(job.config))
        for key in {**first, **other}:
            if first.get(key) != other.get(key):
                different.setdefault(key, other.get(key))
    problems += [
        f"{key} is {format_setting(first.get(key))} at one point and {format_setting(value)} at another, so their "
        "validation tasks differ and their results cannot be compared. Give it one value; metaexp train -m "
        "runs them side by side."
        for key, value in different.items()
    ]
    if problems:
        raise ConfigError(problems)


def _trains_on_validation(job: FrozenJob) -> bool:
    spec = class_spec(job.config["dataset"], SLOTS["dataset"], "dataset")
    return data_facts(spec, job.choices).val_in_train


def _measure(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in _MEASURE:
        section, _, name = key.partition(".")
        if name:
            yield key, config[section][name]
        else:
            yield from ((f"{section}.{inner}", value) for inner, value in config[section].items())
