"""Finds what depends on the number of steps, so that a continued run differs from a longer run from the start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metaexp.core.algorithm import Algorithm
from metaexp.core.optim import Schedule
from metaexp.results.beginning import ParentRun
from metaexp.run.build import TrainingSetup
from metaexp.run.initial.parent import Parent
from metaexp.run.side_effects.buffers import set_progress_alone
from metaexp.run.side_effects.progress_state import plain_values
from metaexp.run.side_effects.unsaved_state import comparable

_FAR = 10**6
"""Steps after which anything that an algorithm anneals has changed."""
_STEPS = 200
"""At most so many steps are compared."""


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
            found.append(f"schedule={name} depends on train.steps, which was {run.steps:,} up to step {run.step:,}")
        may = _algorithm_depends(setup.state.algorithm, run.step, run.steps, total)
        if may:
            name = setup.settings.chosen_file("algorithm")
            found.append(f"algorithm={name} {may} on train.steps, which was {run.steps:,} up to step {run.step:,}")
    return replace(run, not_from_start=list(dict.fromkeys(found)))


def _schedule_depends(schedule: Schedule, step: int, then: int, now: int) -> bool:
    """Whether the learning rates of the first ``step`` steps would be different in a longer run."""
    return any(schedule.factor(s, then) != schedule.factor(s, now) for s in range(step))


def _algorithm_depends(algorithm: Algorithm, step: int, then: int, now: int) -> str:
    """``depends``, or ``may depend`` where it cannot be seen; empty where what is annealed does not."""
    if type(algorithm).set_progress is Algorithm.set_progress:
        return ""
    try:
        for at in {part * max(step - 1, 0) // (_STEPS - 1) for part in range(_STEPS)}:
            if _progress(algorithm, at, then) != _progress(algorithm, at, now):
                return "depends"
        is_seen = _progress(algorithm, 0, now) != _progress(algorithm, _FAR, _FAR)
    except Exception:  # of an algorithm that takes no such numbers
        is_seen = False
    finally:
        set_progress_alone(algorithm, step, now)
    return "" if is_seen else "may depend"


def _progress(algorithm: Algorithm, step: int, total: int) -> dict[str, Any]:
    """What an algorithm and its layers hold in attributes and buffers at a step."""
    set_progress_alone(algorithm, step, total)
    buffers = {f"buffer {name}": comparable(buffer) for name, buffer in algorithm.named_buffers()}
    return plain_values(algorithm) | buffers
