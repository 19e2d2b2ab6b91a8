"""Reports on a terminal what happens to the jobs of a sweep. Without torch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from metaexp.core.json_lines import METRICS_FILE, last_step
from metaexp.machine.job_warnings import JobWarnings
from metaexp.results.job_state import LOG_FILE, JobState
from metaexp.results.progress_file import read_progress
from metaexp.run.progress import Advance, Display
from metaexp.sweep.folder import Sweep
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.run_costs import costs_of
from metaexp.sweep.summary import format_job, format_job_line
from metaexp.sweep.time_left import TimeLeft, format_running

_SECONDS_BETWEEN_COUNTS = 1.0


class Reporter:
    """Prints a line when something happens to a job, and shows the progress of the whole sweep in steps.

    Args:
        sweep: The sweep.
        jobs: The jobs that are left.
        display: Shows the lines.
        advance: Called with the steps done by all jobs together.
        printed: Notes that were printed before the jobs.
    """

    def __init__(
        self, sweep: Sweep, jobs: Sequence[FrozenJob], display: Display, advance: Advance, printed: Sequence[str] = ()
    ) -> None:
        self.sweep = sweep
        self.display = display
        self.advance = advance
        self.unsaved: dict[str, str] = {}  # the jobs that ended without saving, each with its error
        self.steps = {job.number: 0 for job in jobs}
        self.time_left = TimeLeft(jobs)
        self.counted = time.monotonic()
        self.warnings = JobWarnings(display.print_line, printed)
        for job in jobs:
            self.warnings.begin(sweep.folder(job) / LOG_FILE)

    def ended(self, job: FrozenJob, state: JobState) -> None:
        """Print the result of a job, and its log if it failed.

        Args:
            job: The job.
            state: How it ended.
        """
        self.steps[job.number] = job.steps
        self.warnings.look(format_job(job), self.sweep.folder(job) / LOG_FILE)
        record = state.record if state.status == "completed" else None
        costs = None if record is None else costs_of(self.sweep.folder(job), record)
        self.time_left.ended(job, None if record is None else record.seconds, costs)
        self.display.print_line(format_job_line(job, state))
        if state.is_unsaved:
            self.unsaved[format_job(job)] = state.error or state.status
        if state.ended_badly:
            self.display.print_line(f"  log: {state.log}")

    def retried(self, job: FrozenJob, state: JobState, attempt: int) -> None:
        """Print that a job failed and is tried again.

        Args:
            job: The job.
            state: How it ended.
            attempt: The number of the next attempt.
        """
        self.display.print_line(f"{format_job_line(job, state)}; it is tried again (attempt {attempt})")

    def runs_elsewhere(self, job: FrozenJob) -> None:
        """Print that another process runs a job."""
        self.display.print_line(f"{format_job(job)} runs in another process; waiting for it")

    def tick(self, running: Sequence[FrozenJob]) -> None:
        """Count the steps done by all jobs, and show what those that run are doing."""
        now = time.monotonic()
        if now - self.counted < _SECONDS_BETWEEN_COUNTS:
            return
        self.counted = now
        progress = {job.number: read_progress(self.sweep.folder(job)) for job in running}
        for job in running:
            self.warnings.look(format_job(job), self.sweep.folder(job) / LOG_FILE)
            found = progress[job.number]
            self.steps[job.number] = found.step if found else last_step(self.sweep.folder(job) / METRICS_FILE)
        self.display.show_status(format_running(running, progress), self.time_left.seconds(progress))
        self.advance(sum(self.steps.values()))
