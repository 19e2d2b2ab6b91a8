"""Finds what depends on the number of steps, so that a continued run differs from a longer run from the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from metaexp.core.algorithm import Algorithm
from metaexp.core.optim import Schedule
from metaexp.results.beginning import ParentRun
from metaexp.run.build import TrainingSetup
from metaexp.run.initial.parent import Parent

_FAR = 10**6
"""Steps after which anything that an algorithm anneals has changed."""
_OF_TORCH = frozenset(vars(nn.Module()))


def with_differences(parent: Parent, setup: TrainingSetup) -> ParentRun:
    """Return what is recorded about a parent, and add what depends on the number of steps.

    Args:
        parent: The parent, composed.
        setup: What is trained further.
    """
    run, total = parent.run, setup.settings.train.steps
    found = list(run.not_from_start)
    if total != run.steps:
        if _schedule_depends(setup.parts.schedule, run.step, run.steps, total):
            name = setup.settings.chosen_file("schedule")
            found.append(f"schedule={name} depends on train.steps, which was {run.steps} up to step {run.step}")
        may = _algorithm_depends(setup.state.algorithm, run.step, run.steps, total)
        if may:
            name = setup.settings.chosen_file("algorithm")
            found.append(f"algorithm={name} {may} on train.steps, which was {run.steps} up to step {run.step}")
    return replace(run, not_from_start=list(dict.fromkeys(found)))


def _schedule_depends(schedule: Schedule, step: int, then: int, now: int) -> bool:
    """Whether the learning rates of the first ``step`` steps would be different in a longer run."""
    return any(schedule.factor(s, then) != schedule.factor(s, now) for s in range(step))


def _algorithm_depends(algorithm: Algorithm, step: int, then: int, now: int) -> str:
    """``depends``, or ``may depend`` where it cannot be seen; empty where what is annealed does not."""
    if type(algorithm).set_progress is Algorithm.set_progress:
        return ""
    try:
        for at in {0, step // 2, max(step - 1, 0)}:
            if not _equal(_progress(algorithm, at, then), _progress(algorithm, at, now)):
                return "depends"
        is_seen = not _equal(_progress(algorithm, 0, now), _progress(algorithm, _FAR, _FAR))
    except Exception:  # of an algorithm that takes no such numbers
        is_seen = False
    finally:
        algorithm.set_progress(step, now)
    return "" if is_seen else "may depend"


def _progress(algorithm: Algorithm, step: int, total: int) -> dict[str, Any]:
    """The plain attributes of an algorithm at a step."""
    algorithm.set_progress(step, total)
    return {name: value for name, value in vars(algorithm).items() if name not in _OF_TORCH}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one is other or bool(one == other)
