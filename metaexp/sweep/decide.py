"""Decides from the states of a sweep's jobs which are done, which are left, and which are tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metaexp.core.errors import ExitCode
from metaexp.results.job_state import JobState
from metaexp.sweep.folder import Sweep
from metaexp.sweep.frozen_job import FrozenJob

if TYPE_CHECKING:
    from metaexp.sweep.options import SweepOptions

ENDS_THE_SAME_WAY = (ExitCode.CONFIG, ExitCode.NOT_FINITE)
"""Exit codes of wrong configurations and of numbers that are not finite. The same job would fail in the same way."""


def is_tried_again(state: JobState, options: SweepOptions, failures: int) -> bool:
    """Return whether a job that failed is started again within this command.

    Args:
        state: How the job ended.
        options: Options of the sweep.
        failures: How often the job has failed in this command, this time included.
    """
    if state.is_damaged:
        return False
    retries = options.on_error == "retry" and state.ended_badly and state.exit_code not in ENDS_THE_SAME_WAY
    return retries and failures <= options.retries


def is_left(state: JobState, options: SweepOptions) -> bool:
    """Return whether the same command, given again, runs a job.

    It runs jobs that are not completed. A job that would fail in the same way is run again only with
    ``sweep.on_error=retry``, and one with a damaged file never.

    Args:
        state: How far the job is.
        options: Options of the sweep.
    """
    if state.status == "completed" or state.is_damaged:
        return False
    return state.status != "failed" or state.exit_code not in ENDS_THE_SAME_WAY or options.on_error == "retry"


def is_complete(sweep: Sweep, jobs: Sequence[FrozenJob]) -> bool:
    """Return whether every job is completed. Duplicates of other jobs do not count.

    Args:
        sweep: The sweep folder.
        jobs: All jobs of the sweep.
    """
    same = duplicates(jobs)
    return all(sweep.state(job).status == "completed" for job in jobs if job.number not in same)


def duplicates(jobs: Sequence[FrozenJob]) -> dict[int, int]:
    """Return the number of each job that equals an earlier one -> the number of the earlier one."""
    first: dict[str, int] = {}
    found: dict[int, int] = {}
    for job in jobs:
        if job.identity in first:
            found[job.number] = first[job.identity]
        else:
            first[job.identity] = job.number
    return found
