"""Checks that an algorithm learns: a short training on easy tasks must bring it far above chance.

One that has to learn how to learn, as an LSTM that reads the support does, needs thousands of steps for new tasks. It
passes if it learns four tasks that differ in their labels alone, so that only their supports tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from metaexp.core.algorithm import Algorithm
from metaexp.core.errors import ConfigError
from metaexp.core.losses import task_metric
from metaexp.core.over_tasks import over_tasks
from metaexp.core.types import Episode, map_tensors, one_task
from metaexp.doctor.finding import Finding, ok, wrong
from metaexp.doctor.subject import MANY_STEPS, Subject, gradient_of, parameters_of
from metaexp.doctor.tiny import mislabelled, stack
from metaexp.models.base import not_persistent

MOST_STEPS = 100
"""The most steps of Adam, each on four tasks. Training stops earlier once the exam is passed."""
ENOUGH_ACCURACY = 0.4
"""Where chance is 1/7."""
ENOUGH_GAIN = 0.05
"""How much training has to add to the accuracy of the initial weights."""
ENOUGH_ERROR = 0.75
"""Times the error of the best constant, in regression."""
_PERFECT = 0.95
_LR = 0.01
_LR_FEW = 0.005
_TASKS_PER_STEP = 4
_STEPS_BETWEEN_EXAMS = 10
_EXAM_TASKS = 20
_FIRST_EXAM_TASK = 10_000
_METRIC = {"classification": "accuracy", "regression": "squared_error"}


class Exam(NamedTuple):
    """Tasks to test on, in float32, and what is enough to pass.

    Attributes:
        tasks: The tasks.
        chunk_size: How many of them are computed at once; None for all.
        chance: The metric of guessing.
        before: The metric of the untrained algorithm; None where it has nothing to train.
    """

    tasks: Episode
    chunk_size: int | None
    chance: float
    before: float | None

    def is_passed_with(self, metric: float) -> bool:
        """Whether accuracy is far above chance because of training, or the error far below chance."""
        if self.tasks.query.n_way == 0:
            return metric <= ENOUGH_ERROR * self.chance
        gained = self.before is None or metric >= min(self.before + ENOUGH_GAIN, _PERFECT)
        return metric >= ENOUGH_ACCURACY and gained


def learning(subject: Subject) -> Finding:
    """Check that after a short training, new tasks are solved far above chance."""
    name = "learning"
    algorithm = subject.build(most_steps=MANY_STEPS).float()
    tasks = [subject.task(_FIRST_EXAM_TASK + i) for i in range(_EXAM_TASKS)]
    batch = to_float32(stack(tasks))
    misleading = to_float32(stack([Episode(mislabelled(support), query) for support, query in tasks]))
    chunk_size = None if _maps(algorithm, batch) else 1
    before = metric_of(algorithm, batch, chunk_size)
    exam = Exam(batch, chunk_size, chance_of(batch), before if parameters_of(algorithm) else None)
    steps = train(partial(_training_tasks, subject), algorithm, exam)
    after = metric_of(algorithm, batch, chunk_size)
    numbers = {
        _METRIC[subject.kind]: after,
        "untrained": before,
        "chance": exam.chance,
        "with_misleading_supports": metric_of(algorithm, misleading, chunk_size),
        "training_steps": steps,
    }
    if not exam.is_passed_with(after):
        few, misled = _learn_few(subject, chunk_size)
        numbers |= {"on_four_fixed_tasks": few, "on_these_with_misleading_supports": misled}
        by_supports = misled <= few / 2 if exam.tasks.query.n_way else misled >= 1.5 * few
        if exam.is_passed_with(few) and by_supports:
            return ok(
                name, "too slowly for new tasks in a short training; four fixed tasks by their supports", **numbers
            )
        return wrong(
            name, "a short training does not get it far better than chance, and better than it began", **numbers
        )
    return ok(name, f"far better than chance {'after a short training' if steps else 'untrained'}", **numbers)


def _learn_few(subject: Subject, chunk_size: int | None) -> tuple[float, float]:
    """Train on four tasks that differ in labels alone; return the metric on these, and with misleading supports."""
    algorithm = subject.build(most_steps=MANY_STEPS).float()
    tasks = few_tasks(subject.task())
    batch = to_float32(stack(tasks))
    misleading = to_float32(stack([Episode(mislabelled(support), query) for support, query in tasks]))
    never = Exam(batch, chunk_size, chance=0.0, before=math.inf)
    if not subject.is_supervised:
        train(lambda _: batch, algorithm, never, _LR_FEW)
    return metric_of(algorithm, batch, chunk_size), metric_of(algorithm, misleading, chunk_size)


def few_tasks(task: Episode) -> list[Episode]:
    """Return four tasks of the same inputs: their classes are renamed, or their targets negated and exchanged.

    Args:
        task: One task, of several classes or targets.
    """
    n_way = task.query.n_way
    changes: list[Callable[[Tensor], Tensor]] = (
        [partial(_renamed, shift=shift, n_way=n_way) for shift in range(4)]
        if n_way
        else [lambda y: y, lambda y: -y, lambda y: y.flip(-1), lambda y: -y.flip(-1)]
    )
    return [Episode(*(part._replace(y=change(part.y)) for part in task)) for change in changes]


def _renamed(y: Tensor, shift: int, n_way: int) -> Tensor:
    return (y + shift) % n_way


def train(batch_of: Callable[[int], Episode], algorithm: Algorithm, exam: Exam, lr: float = _LR) -> int:
    """Train until the exam is passed, or for :data:`MOST_STEPS`.

    Args:
        batch_of: Returns the training tasks of a step, in float32.
        algorithm: It is trained.
        exam: Decides when it has learned enough.
        lr: The learning rate of Adam.

    Returns:
        The number of training steps.
    """
    parameters = parameters_of(algorithm)
    if not parameters:
        return 0
    optimizer = torch.optim.Adam(parameters.values(), lr=lr)
    for step in range(MOST_STEPS):
        algorithm.train().set_progress(step, MOST_STEPS)
        batch = batch_of(step)
        state = dict(algorithm.named_buffers())
        for name, gradient in gradient_of(algorithm, batch, exam.chunk_size).items():
            parameters[name].grad = gradient
        optimizer.step()
        _move_buffers(algorithm, batch, state)
        done = step + 1
        if done % _STEPS_BETWEEN_EXAMS == 0 and exam.is_passed_with(metric_of(algorithm, exam.tasks, exam.chunk_size)):
            return done
    return MOST_STEPS


def metric_of(algorithm: Algorithm, batch: Episode, chunk_size: int | None = None) -> float:
    """Return the mean accuracy, or squared error, over the tasks of a batch in test mode.

    Args:
        algorithm: The algorithm.
        batch: The tasks.
        chunk_size: How many tasks are computed at once; None for all.
    """

    def metric(episode: Episode) -> Tensor:
        return task_metric(algorithm.predict(algorithm.adapt(episode.support), episode.query.x), episode.query.y)

    algorithm.eval()
    with torch.no_grad():
        return float(over_tasks(metric, batch, chunk_size).mean())


def chance_of(exam: Episode) -> float:
    """Return the metric of guessing: 1/N, or the error of the best constant."""
    query = exam.query
    return 1 / query.n_way if query.n_way else float((query.y - query.y.mean((0, 1))).square().mean())


def to_float32(batch: Episode) -> Episode:
    """Return a batch in float32."""
    out: Episode = map_tensors(lambda t: t.float() if t.is_floating_point() else t, batch)
    return out


def _training_tasks(subject: Subject, step: int) -> Episode:
    return to_float32(subject.training_batch(_TASKS_PER_STEP, start=_TASKS_PER_STEP * step))


def _maps(algorithm: Algorithm, exam: Episode) -> bool:
    """Whether the algorithm maps over tasks. If not, the check `vectorised` reports it."""
    if not algorithm.can_be_mapped:
        return False
    try:
        metric_of(algorithm, exam)
    except (ConfigError, RuntimeError):
        return False
    return True


def _move_buffers(algorithm: Algorithm, batch: Episode, state: dict[str, Tensor]) -> None:
    """Set the buffers to what one training task gives, as training does with all tasks. A table may have grown."""
    if state:
        with torch.no_grad():
            functional_call(algorithm, state, (one_task(batch, 0),))
            free = not_persistent(algorithm)
            for name, buffer in algorithm.named_buffers():
                if name not in free or state[name].shape == buffer.shape:
                    buffer.copy_(state[name])
