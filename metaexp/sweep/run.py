"""``metaexp train -m``: runs the jobs of a sweep, or continues them. Without torch."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from metaexp.config.classes.targets import trust_arguments
from metaexp.config.project import own_file_options
from metaexp.core.counted import counted
from metaexp.core.disk.files import write_atomically
from metaexp.core.errors import ExitCode, RunFolderError
from metaexp.core.json_lines import METRICS_FILE, last_step
from metaexp.core.terminal_text import print_text
from metaexp.machine.job_warnings import JobWarnings
from metaexp.machine.signals import StopRequest, stop_on_signals, stopped_by
from metaexp.machine.threads import threads_each
from metaexp.results.display.next_steps import after_sweep, format_next
from metaexp.results.progress_file import read_progress
from metaexp.run.folder import check_writable
from metaexp.run.progress import Advance, Display, default_display
from metaexp.sweep.decide import is_left
from metaexp.sweep.folder import (
    SWEEP_FILE,
    TABLE_FILE,
    Sweep,
    check_in_place,
    create,
    explain_moved,
    lock_command,
    open_sweep,
)
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.groups import in_groups, jobs_at_once
from metaexp.sweep.job_state import LOG_FILE, JobState
from metaexp.sweep.launcher import LauncherPool, chosen_launcher
from metaexp.sweep.prepare import Prepared, prepare
from metaexp.sweep.processes.pool import Pool, explain_stop_at_once
from metaexp.sweep.processes.warm_start import open_job_starter
from metaexp.sweep.queue import SweepQueue
from metaexp.sweep.summary import (
    format_folder,
    format_job,
    format_job_line,
    format_nothing_reused,
    format_table,
    format_trackers_of_copies,
)
from metaexp.sweep.time_left import TimeLeft, format_running
from metaexp.tracking.wandb_names import notes_of_one_run

_SECONDS_BETWEEN_COUNTS = 1.0


def run_all(overrides: Sequence[str], config_dir: Path | None, config_name: str, display: Display | None = None) -> int:
    """Check and freeze all jobs, run those that are not completed, and print a table.

    Args:
        overrides: Overrides of the command line.
        config_dir: The user's own configuration folder; None if there is none.
        config_name: Name of the root file.
        display: Shows lines and progress; a terminal's by default.

    Returns:
        The exit code: 0, or 10 if a job failed.

    Raises:
        ConfigError: A job is wrong. The message lists the mistakes of all jobs.
        RunFolderError: The folder holds another sweep.
        Interrupted: SIGINT or SIGTERM came. The running jobs have saved and stopped.
    """
    display = display or default_display()
    prepared = prepare(overrides, config_dir, config_name, display)
    for note in (*prepared.notes, *notes_of_one_run("job of a sweep")):
        display.print_line(note)
    command = sweep_command(overrides, config_dir, config_name)
    sweep = prepared.sweep or _create(prepared, command, display)
    prepared = prepared._replace(sweep=sweep)
    for job in filter(sweep.can_restore, prepared.jobs):
        display.print_line(f"{format_job(job)} starts again: {sweep.folder(job)} was removed")
        with suppress(RunFolderError):  # the same command, given twice, has just written it
            sweep.add(job)
    same = prepared.duplicates()
    left = prepared.left()
    kept = frozenset(job.number for job in prepared.jobs if prepared.state(job).status == "completed")
    display.print_line(_format_opening(sweep, prepared.jobs, left, kept, len(same)))
    stop = StopRequest()
    with explain_stop_at_once(stop, "jobs", sweep.path, shlex.join(command)), stop_on_signals(stop):
        if left:
            with explain_moved(sweep.path, "hydra.sweep.dir"), lock_command(sweep.path):
                _run(sweep, prepared, left, overrides, display, stop)
        check_in_place(sweep.path, "hydra.sweep.dir")
        states = {job.number: sweep.state(job) for job in prepared.jobs if job.number not in same}
        text = format_table(sweep.name, prepared.jobs, states, same, kept)
        write_atomically(sweep.path / TABLE_FILE, f"{text}\n".encode())
    statuses = {state.status for state in states.values()}
    is_left_over = any(is_left(state, prepared.options) for state in states.values())
    again = command if is_left_over and stop.signal_number is None else ()  # the message of a stop has it already
    after = format_next(after_sweep(sweep.path, statuses, again))
    print_text("\n".join(part for part in (text, format_folder(sweep.path), after) if part), flush=True)
    if stop.signal_number is not None:
        raise stopped_by(stop.signal_number, f"; the jobs that ran have saved in {sweep.path}", shlex.join(command))
    return 0 if statuses <= {"completed"} else ExitCode.JOBS_FAILED


def sweep_command(overrides: Sequence[str], config_dir: Path | None, config_name: str = "config") -> list[str]:
    """Return the command of a sweep, to be given again, with the user's own files and packages.

    Args:
        overrides: Overrides of the command line.
        config_dir: The user's own configuration folder; None if there is none.
        config_name: Name of the root file.
    """
    return ["metaexp", "train", "-m", *own_file_options(config_dir, config_name, trust_arguments()), *overrides]


def _create(prepared: Prepared, command: list[str], display: Display) -> Sweep:
    """Write the new sweep; if the same command, given twice, has just written it, open that one."""
    check_writable(prepared.path)
    reused = prepared.reusable_runs()
    for number, run in reused.items():
        display.print_line(f"{format_job(prepared.jobs[number])} is done in {run}, which is copied")
    for line in format_trackers_of_copies(prepared.jobs, reused):
        display.print_line(line)
    if prepared.options.reuse and not reused:
        display.print_line(format_nothing_reused(prepared.outputs))
    try:
        return create(prepared.path, command, prepared.digest, prepared.jobs, reused)
    except RunFolderError:
        if not (prepared.path / SWEEP_FILE).exists():
            raise
        return open_sweep(prepared.path)


def _run(
    sweep: Sweep,
    prepared: Prepared,
    left: list[FrozenJob],
    overrides: Sequence[str],
    display: Display,
    stop: StopRequest,
) -> None:
    """Run the jobs that are left, in this process's pool or through a launcher of Hydra."""
    launcher = chosen_launcher(overrides)
    total = sum(job.steps for job in left)
    with display.show_progress("sweep", total) as advance:
        watcher = Reporter(sweep, left, display, advance, prepared.notes)
        if launcher is None:
            together = prepared.options.together
            at_once = jobs_at_once(prepared.options.n_jobs, prepared.jobs, together=together)
            fork = prepared.options.fork and len(in_groups(left, together=together)) > 1
            with open_job_starter(trust_arguments(), threads_each(at_once), display.print_line, fork=fork) as begin:
                queue = SweepQueue(sweep, left, prepared.options, begin, watcher)
                Pool(queue, at_once).run(lambda: bool(stop))
        else:
            LauncherPool(sweep, left, prepared.options, prepared.composer, overrides, watcher).run(lambda: bool(stop))
        watcher.warnings.close()


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
        self.time_left.ended(job, state.record.seconds if state.status == "completed" and state.record else None)
        self.display.print_line(format_job_line(job, state))
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


def _format_opening(
    sweep: Sweep, jobs: Sequence[FrozenJob], left: Sequence[FrozenJob], kept: frozenset[int], same: int
) -> str:
    parts = [f"{counted(len(jobs), 'job')} in {sweep.path}"]
    parts += [f"{len(kept)} completed before"] if kept else []
    parts += [f"{same} the same as others"] if same else []
    parts += [f"{len(left)} to run" if left else "nothing to run"]
    return ", ".join(parts)
