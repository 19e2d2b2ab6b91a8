"""``metaexp train -m``: runs the jobs of a sweep, or continues them. Without torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from metaexp.config.classes.targets import trust_arguments
from metaexp.config.command_line.override_text import chosen_launcher
from metaexp.config.project import own_file_options
from metaexp.core.counted import counted
from metaexp.core.disk.files import write_atomically
from metaexp.core.errors import ExitCode, RunFolderError
from metaexp.core.terminal_text import print_text
from metaexp.machine.signals import StopRequest, stop_on_signals, stopped_by
from metaexp.machine.threads import threads_each
from metaexp.results.display.next_steps import after_sweep, format_next
from metaexp.run.folder import check_writable
from metaexp.run.progress import Display, default_display
from metaexp.sweep.data_check import UnusableData, refusal, unusable_data
from metaexp.sweep.decide import is_left
from metaexp.sweep.expand import runs_here
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
from metaexp.sweep.launcher import LauncherPool
from metaexp.sweep.prepare import Prepared, prepare
from metaexp.sweep.processes.job_process import note_failure
from metaexp.sweep.processes.pool import Pool, Start, explain_stop_at_once, format_saved
from metaexp.sweep.processes.warm_start import open_job_starter
from metaexp.sweep.queue import SweepQueue
from metaexp.sweep.reporter import Reporter
from metaexp.sweep.summary import (
    format_folder,
    format_job,
    format_nothing_reused,
    format_table,
    format_trackers_of_copies,
)
from metaexp.sweep.together_check import apart_only
from metaexp.tracking.wandb_names import notes_of_one_run


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
        DataError: No job can start, because their data cannot be loaded.
        RunFolderError: The folder holds another sweep.
        Interrupted: SIGINT or SIGTERM came. The running jobs have saved and stopped.
    """
    display = display or default_display()
    prepared = prepare(overrides, config_dir, config_name, display)
    for note in (*prepared.notes, *notes_of_one_run("job of a sweep")):
        display.print_line(note)
    command = sweep_command(overrides, config_dir, config_name)
    reused = prepared.reusable_runs()
    left = [job for job in prepared.left() if job.number not in reused]
    with _open_starter(prepared, left, overrides, display) as begin:
        unusable = _check_data(prepared, left, overrides, display, begin, command)
        sweep = prepared.sweep or _create(prepared, command, display, reused)
        return _run_left(sweep, prepared._replace(sweep=sweep), overrides, display, begin, command, unusable)


def _run_left(
    sweep: Sweep,
    prepared: Prepared,
    overrides: Sequence[str],
    display: Display,
    begin: Start,
    command: Sequence[str],
    unusable: Sequence[UnusableData],
) -> int:
    """Run the jobs of a sweep that are not completed, print a table, and return the exit code."""
    for job in filter(sweep.can_restore, prepared.jobs):
        display.print_line(f"{format_job(job)} starts again: {sweep.folder(job)} was removed")
        with suppress(RunFolderError):  # the same command, given twice, has just written it
            sweep.add(job)
    same = prepared.duplicates()
    left = prepared.left()
    kept = frozenset(job.number for job in prepared.jobs if prepared.state(job).status == "completed")
    display.print_line(_format_opening(sweep, prepared.jobs, left, kept, len(same)))
    left = _note_unusable(sweep, left, unusable, display)
    stop, unsaved = StopRequest(), dict[str, str]()
    with explain_stop_at_once(stop, "jobs", sweep.path, shlex.join(command)), stop_on_signals(stop):
        if left:
            with explain_moved(sweep.path, "hydra.sweep.dir"), lock_command(sweep.path):
                unsaved = _run(sweep, prepared, left, overrides, display, begin, stop)
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
        raise stopped_by(stop.signal_number, format_saved("jobs", sweep.path, unsaved), shlex.join(command))
    return 0 if statuses <= {"completed"} else ExitCode.JOBS_FAILED


def sweep_command(overrides: Sequence[str], config_dir: Path | None, config_name: str = "config") -> list[str]:
    """Return the command of a sweep, to be given again, with the user's own files and packages.

    Args:
        overrides: Overrides of the command line.
        config_dir: The user's own configuration folder; None if there is none.
        config_name: Name of the root file.
    """
    return ["metaexp", "train", "-m", *own_file_options(config_dir, config_name, trust_arguments()), *overrides]


@contextmanager
def _open_starter(
    prepared: Prepared, left: Sequence[FrozenJob], overrides: Sequence[str], display: Display
) -> Iterator[Start]:
    """Yield what starts jobs here. With a launcher of Hydra, it only checks data."""
    together = prepared.options.together
    at_once = jobs_at_once(prepared.options.n_jobs, prepared.jobs, together=together)
    is_pool = chosen_launcher(overrides) is None
    n_processes = len(in_groups(left, together=together)) + (together and prepared.sweep is None)  # one checks them
    fork = is_pool and prepared.options.fork and n_processes > 1
    with open_job_starter(trust_arguments(), threads_each(at_once), display.print_line, fork=fork) as begin:
        yield begin


def _check_data(
    prepared: Prepared,
    left: Sequence[FrozenJob],
    overrides: Sequence[str],
    display: Display,
    begin: Start,
    command: Sequence[str],
) -> list[UnusableData]:
    """Find data of the jobs that cannot be loaded here, and jobs of a new sweep that cannot be trained together.

    Raises:
        MetaexpError: No job could start, or ``sweep.on_error=stop`` ends the sweep with the first that cannot.
        Interrupted: A signal came.
    """
    if not runs_here(overrides):
        return []
    options = prepared.options
    tries = 1 + (options.retries if options.on_error == "retry" else 0)
    stop = StopRequest()
    with stop_on_signals(stop):
        found = unusable_data(
            left, begin, display.print_line, lambda: bool(stop), together=options.together, tries=tries
        )
        if options.together and prepared.sweep is None:
            known = {job.number for data in found for job in data.jobs}
            others = [job for job in left if job.number not in known]
            found += apart_only(others, begin, display.print_line, lambda: bool(stop))
    if stop:
        raise stopped_by(stop.signal_number, " before a job began", shlex.join(command))
    n_unusable = sum(len(data.jobs) for data in found)
    if found and (n_unusable == len(left) or options.on_error == "stop"):
        raise refusal(found, len(left))
    return found


def _note_unusable(
    sweep: Sweep, left: Sequence[FrozenJob], unusable: Sequence[UnusableData], display: Display
) -> list[FrozenJob]:
    """Write that jobs have failed whose data cannot be loaded, and return the others."""
    for data in unusable:
        display.print_line(f"not started: {data.format(len(left))}")
        for job in data.jobs:
            with suppress(OSError, RunFolderError):  # a damaged folder is reported in the table
                note_failure(sweep.folder(job), data.code, data.error)
            sweep.journal(job.number, "failed", data.error)
    numbers = {job.number for data in unusable for job in data.jobs}
    return [job for job in left if job.number not in numbers]


def _create(prepared: Prepared, command: list[str], display: Display, reused: Mapping[int, Path]) -> Sweep:
    """Write the new sweep; if the same command, given twice, has just written it, open that one."""
    check_writable(prepared.path)
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
    begin: Start,
    stop: StopRequest,
) -> dict[str, str]:
    """Run the jobs that are left, in this process's pool or through a launcher of Hydra.

    Returns:
        The jobs that ended without saving, each with its error.
    """
    total = sum(job.steps for job in left)
    with display.show_progress("sweep", total) as advance:
        watcher = Reporter(sweep, left, display, advance, prepared.notes)
        if chosen_launcher(overrides) is None:
            at_once = jobs_at_once(prepared.options.n_jobs, prepared.jobs, together=prepared.options.together)
            Pool(SweepQueue(sweep, left, prepared.options, begin, watcher), at_once).run(lambda: bool(stop))
        else:
            LauncherPool(sweep, left, prepared.options, prepared.composer, overrides, watcher).run(lambda: bool(stop))
        watcher.warnings.close()
    return watcher.unsaved


def _format_opening(
    sweep: Sweep, jobs: Sequence[FrozenJob], left: Sequence[FrozenJob], kept: frozenset[int], same: int
) -> str:
    parts = [f"{counted(len(jobs), 'job')} in {sweep.path}"]
    parts += [f"{len(kept)} completed before"] if kept else []
    parts += [f"{same} the same as others"] if same else []
    parts += [f"{len(left)} to run" if left else "nothing to run"]
    return ", ".join(parts)
