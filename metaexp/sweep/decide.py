"""What is done, what is left, what is tried again: decided from the states of jobs alone."""

from __future__ import annotations

from collections.abc import Sequence

from metaexp.core.errors import ExitCode
from metaexp.sweep.folder import Sweep
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.job_state import JobState
from metaexp.sweep.options import SweepOptions

ENDS_THE_SAME_WAY = (ExitCode.CONFIG, ExitCode.NOT_FINITE)
"""Exit codes of configurations and of not-finite numbers: the same job would end so again."""


def is_tried_again(state: JobState, options: SweepOptions, failures: int) -> bool:
    """Whether a job that ended so is begun again at once, after ``failures`` failures."""
    retries = options.on_error == "retry" and state.ended_badly and state.exit_code not in ENDS_THE_SAME_WAY
    return retries and failures <= options.retries


def is_left(state: JobState, options: SweepOptions) -> bool:
    """Whether the same command runs a job in this state: if it is missing, or its failure may be the machine's.

    A failure that would come again is tried again only with ``sweep.on_error=retry``.
    """
    if state.status == "completed":
        return False
    return state.status != "failed" or state.exit_code not in ENDS_THE_SAME_WAY or options.on_error == "retry"


def is_complete(sweep: Sweep, jobs: Sequence[FrozenJob]) -> bool:
    """Whether every job that is not the same as another is completed."""
    same = duplicates(jobs)
    return all(sweep.state(job).status == "completed" for job in jobs if job.number not in same)


def duplicates(jobs: Sequence[FrozenJob]) -> dict[int, int]:
    """Number of a job that is the same as an earlier one -> number of that one."""
    first: dict[str, int] = {}
    found: dict[int, int] = {}
    for job in jobs:
        if job.identity in first:
            found[job.number] = first[job.identity]
        else:
            first[job.identity] = job.number
    return found
