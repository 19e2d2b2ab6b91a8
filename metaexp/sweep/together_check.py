"""Checks whether jobs can be trained together, before any of them starts. A process of its own imports torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from metaexp.core.errors import ExitCode
from metaexp.sweep.data_check import UnusableData, try_out
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.groups import in_groups
from metaexp.sweep.processes.pool import Start

_NOT_OF_THE_GRADIENT = ("seed", "eval", "optimizer", "schedule", "clip", "tracker", "paths", "tags", "notes")


def apart_only(
    jobs: Sequence[FrozenJob], begin: Start, print_line: Callable[[str], None], stop: Callable[[], bool]
) -> list[UnusableData]:
    """Find jobs that are to be trained together and cannot be, by the first step of two jobs of each group.

    Groups that differ in numbers alone, such as inner learning rates, are alike in this, unless one is 0 (dropout).

    Args:
        jobs: Jobs that have not begun, which are trained together where they can be.
        begin: Starts a process that checks two jobs.
        print_line: Called with the lines that it prints.
        stop: Called regularly. Once it returns True, the check is given up.

    Returns:
        The groups that cannot start, each with the reason. Other errors of a job are left to the job.
    """
    found = []
    passed: set[str] = set()
    for group in in_groups(jobs, together=True):
        kind = _kind(group[0])
        if len(group) == 1 or kind in passed or stop():
            continue
        note = try_out(group[:2], begin, print_line, stop)
        if note is not None and note.exit_code in (ExitCode.CONFIG, ExitCode.DATA):
            found.append(UnusableData(group, note.exit_code, note.error or "they cannot be trained together."))
        else:
            passed.add(kind)
    return found


def _kind(job: FrozenJob) -> str:
    """A text that is equal for jobs whose gradients differ in nothing but seeds and the sizes of some numbers."""
    kept = {key: value for key, value in job.config.items() if key not in _NOT_OF_THE_GRADIENT}
    return json.dumps(_without_sizes(kept), sort_keys=True)


def _without_sizes(value: Any) -> Any:
    """A value with whether each of its floats is 0 in place of it."""
    if isinstance(value, dict):
        return {key: _without_sizes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_sizes(item) for item in value]
    return value != 0 if isinstance(value, float) else value
