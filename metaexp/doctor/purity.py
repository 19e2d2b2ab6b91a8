"""Checks that methods are functions of one task: they keep nothing, overwrite nothing and draw nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.counted import listed
from metaexp.core.shapes import TaskShape
from metaexp.core.types import Episode
from metaexp.doctor.finding import Finding, gap, ok, wrong
from metaexp.doctor.subject import Subject, fix_noise, losses_of, predictions, random_states
from metaexp.doctor.tiny import task
from metaexp.models.base import not_persistent

_BITS = 1e-12
"""A gap that a repeated calculation may have."""
_DEPTH = 4


def no_state(subject: Subject) -> Finding:
    """Check that a task gives the same before and after another one, and that no attribute changes."""
    name = "no state"
    algorithm = subject.build()
    before = attributes(algorithm)
    numbers: dict[str, float] = {}
    changed: set[str] = set()
    for mode in ("training", "test"):
        algorithm.train(mode == "training")
        results = []
        for result in _there_and_back(subject, algorithm):
            results.append(result)
            after = attributes(algorithm)
            changed |= {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        numbers[f"the_same_task_later_in_{mode}_differs_by"] = gap(results[2], results[0])
    if changed:
        shown = listed(sorted(key.lstrip(".") for key in changed), 3)
        return wrong(name, f"something is kept between tasks: {shown}", **numbers)
    if max(numbers.values()) > _BITS:
        return wrong(name, "a task gives something else after another task", **numbers)
    return ok(name, "a task gives the same before and after another one", **numbers)


def nothing_overwritten(subject: Subject) -> Finding:
    """Check that parameters, buffers and the task itself are not written to.

    As in a run, training may collect numbers in buffers, and those with ``persistent=False`` may grow.
    """
    name = "nothing overwritten"
    algorithm = subject.build()
    episode = subject.task()
    batch = subject.training_batch(1)
    tasks = {**dict(_tensors_of("test task", episode)), **dict(_tensors_of("training task", batch))}
    watched = {**dict(_held(algorithm)), **tasks}
    before = {key: t.detach().clone() for key, t in watched.items()}
    predictions(algorithm.eval(), episode.support, episode.query.x)
    changed = _changed(algorithm, watched, before)
    if changed:
        return wrong(name, f"adapting and predicting at test changes {changed}", tensors_watched=len(watched))
    losses_of(algorithm.train(), batch, 1)
    changed = _changed(algorithm, watched, before)
    if changed:
        return wrong(name, f"a training task changes {changed} in place", tensors_watched=len(watched))
    return ok(name, "weights, buffers and tasks are left as they are", tensors_watched=len(watched))


def no_randomness(subject: Subject) -> Finding:
    """Check that no random number is drawn at test, from torch, numpy or Python."""
    name = "no randomness"
    support, query = subject.task()
    with fix_noise(1):
        algorithm = subject.build().eval()
        before = random_states()
        first = predictions(algorithm, support, query.x)
        drawn = [library for library, state in random_states().items() if state != before[library]]
    with fix_noise(2):
        again = predictions(subject.build().eval(), support, query.x)
    numbers = {"another_seed_changes_predictions_by": gap(again, first)}
    if drawn or numbers["another_seed_changes_predictions_by"] > _BITS:
        source = f" from {' and '.join(drawn)}" if drawn else ""
        return wrong(name, f"random numbers are drawn at test{source}: is dropout left on?", **numbers)
    return ok(name, "no random number is drawn at test", **numbers)


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return path -> value or identity of everything that a module, its submodules and their parameters hold.

    Buffers with ``persistent=False`` are left out: they may be tables that grow with the tasks.
    """
    found: dict[str, Any] = {}
    for path, part in module.named_modules():
        for name, held in vars(part).items():
            if name != "training":
                found.update(_inside(f"{path}.{name}", held, _DEPTH))
        for name in part._non_persistent_buffers_set:
            found.pop(f"{path}._buffers.{name}", None)
    for path, parameter in module.named_parameters():
        for name, held in {**vars(parameter), "grad": parameter.grad}.items():
            found.update(_inside(f"{path}.{name}", held, _DEPTH))
    return found


def _inside(path: str, held: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(held, nn.Module):
        return
    yield path, held if isinstance(held, (bool, int, float, str)) else id(held)
    if depth and isinstance(held, dict):
        yield f"{path} (size)", len(held)
        for key, item in held.items():
            yield from _inside(f"{path}.{key}", item, depth - 1)
    elif depth and isinstance(held, (list, tuple, set, frozenset)):
        yield f"{path} (size)", len(held)
        for index, item in enumerate(held):
            yield from _inside(f"{path}.{index}", item, depth - 1)


def _there_and_back(subject: Subject, algorithm: Algorithm) -> Iterator[Tensor]:
    """The results of task A, of task B (with more classes if the algorithm takes them), and of task A again."""
    if algorithm.training:
        a, b = subject.training_batch(1), subject.training_batch(1, start=1)
        for batch in (a, b, a):
            with torch.no_grad():
                yield losses_of(algorithm, batch, 1)
        return
    a = subject.task()
    for episode in (a, _another_task(subject, algorithm), a):
        with fix_noise(0):
            yield predictions(algorithm, episode.support, episode.query.x)


def _another_task(subject: Subject, algorithm: Algorithm) -> Episode:
    n_way, k_shot, n_query = subject.shape
    if subject.cls.fixed_way or n_way == 0:
        return subject.task(1)
    larger = task(TaskShape(n_way + 2, k_shot, n_query), seed=1)
    try:
        predictions(algorithm, larger.support, larger.query.x)
    except Exception:  # another check says that it does not take them
        return subject.task(1)
    return larger


def _held(algorithm: Algorithm) -> Iterator[tuple[str, Tensor]]:
    free = not_persistent(algorithm)
    yield from algorithm.named_parameters()
    yield from ((name, buffer) for name, buffer in algorithm.named_buffers() if name not in free)


def _tensors_of(what: str, episode: Episode) -> Iterator[tuple[str, Tensor]]:
    for part, examples in zip(("support", "query"), episode, strict=True):
        yield f"the inputs of the {part} of a {what}", examples.x
        yield f"the labels of the {part} of a {what}", examples.y


def _changed(algorithm: Algorithm, watched: dict[str, Tensor], before: dict[str, Tensor]) -> str:
    """Names of tensors that have changed or were replaced by others."""
    now = watched | dict(_held(algorithm))
    names = [key for key, t in now.items() if key not in before or not torch.equal(t, before[key])]
    return listed(names, 3)
