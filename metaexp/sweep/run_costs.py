"""What a finished run spent on training, on episodes of validation and test, and once. Without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import SECONDS, TIMINGS_FILE, TRAINING_SECONDS, read_all_lines
from metaexp.results.record import RunRecord

_LEAST_APART = 0.5
"""The part of a run's steps that must lie between two times, so that they tell how long a later step takes."""


class RunCosts(NamedTuple):
    """Where the time of a run went.

    Attributes:
        once: Seconds that do not grow with the run: until its first step, what only the first steps do, and figures.
        task: Seconds of a training task.
        episode: Seconds of an episode of validation or test.
    """

    once: float
    task: float
    episode: float

    def seconds(self, config: Mapping[str, Any], done: int = 0) -> float:
        """Return how long a run takes.

        Args:
            config: Its configuration.
            done: Steps that are done already.
        """
        left = max(0, steps_of(config) - done)
        episodes = _validated(config, steps_of(config)) - _validated_before(config, done) + _tested(config)
        return self.once + left * _tasks_per_step(config) * self.task + episodes * self.episode


def costs_of(folder: Path, record: RunRecord) -> RunCosts | None:
    """Return where the time of a finished run went, from its times after steps.

    Of each time, the part of training is known. What is neither training nor before the first time is validation, and
    what comes after the last one is the test and the figures. An episode of the test takes as long as one of
    validation, and the smaller number counts, because both hold more than episodes.

    Args:
        folder: The run folder.
        record: Its record.

    Returns:
        The costs; None where the times are missing or damaged, or begin in another run.
    """
    try:
        lines = read_all_lines(folder / TIMINGS_FILE) if record.parent is None else []
    except (OSError, RunFolderError):
        return None
    times = [
        (step, values[SECONDS], values[TRAINING_SECONDS])
        for step, values in lines
        if {SECONDS, TRAINING_SECONDS} <= set(values) and step <= record.steps
    ]
    numbers = [number for of_it in times for number in of_it]
    if record.seconds is None or not times or times[-1][0] != record.steps or not all(map(_is_time, numbers)):
        return None
    first, last = times[0], times[-1]
    step, start = _of_training(first, last)
    before = max(0.0, first[1] - first[2]) if _is_before_validation(first[0], record) else 0.0
    validating = max(0.0, last[1] - last[2] - before)
    after = max(0.0, record.seconds - last[1])
    validated, tested = _validated(record.config, record.steps), _tested(record.config) if record.test else 0
    per_episode = [seconds / n for seconds, n in ((validating, validated), (after, tested)) if n]
    episode = min(per_episode, default=0.0)
    once = before + start + max(0.0, after - episode * tested)
    return RunCosts(once, step / _tasks_per_step(record.config), episode)


def _is_before_validation(step: int, record: RunRecord) -> bool:
    """Whether the time of a step was written before any validation: with metrics, and not with a checkpoint."""
    every, logged = record.config["train"]["eval_every"], record.config["train"]["log_every"]
    return 0 < step < every or (step == every and (step % logged == 0 or step == record.steps))


def steps_of(config: Mapping[str, Any]) -> int:
    """Return the training steps of a configuration."""
    steps: int = config["train"]["steps"]
    return steps


def _of_training(first: tuple[int, float, float], last: tuple[int, float, float]) -> tuple[float, float]:
    """Seconds of a training step, and what the first steps took beyond that."""
    steps, seconds = last[0], last[2]
    if last[0] - first[0] < _LEAST_APART * steps or not steps:
        return (seconds / steps if steps else 0.0), 0.0
    step = max(0.0, (last[2] - first[2]) / (last[0] - first[0]))
    return step, max(0.0, first[2] - step * first[0])


def _validated(config: Mapping[str, Any], steps: int) -> int:
    """Episodes of all validations of a run that ends after these steps."""
    return _of_a_validation(config) * (math.ceil(steps / config["train"]["eval_every"]) if steps else 1)


def _validated_before(config: Mapping[str, Any], steps: int) -> int:
    """Episodes of the validations that a run has made after these steps, if it goes on."""
    done: int = steps // config["train"]["eval_every"]
    return _of_a_validation(config) * done


def _of_a_validation(config: Mapping[str, Any]) -> int:
    train = config["train"]
    each: int = train["eval_episodes"] + (train.get("n_tasks") or 0)
    return each


def _tested(config: Mapping[str, Any]) -> int:
    """Episodes of the test."""
    episodes: int = config["eval"]["episodes"] if config["eval"].get("test", True) else 0
    return episodes


def _tasks_per_step(config: Mapping[str, Any]) -> int:
    tasks: int = config["train"]["meta_batch_size"]
    return tasks


def _is_time(number: float) -> bool:
    return isinstance(number, int | float) and 0 <= number < math.inf
