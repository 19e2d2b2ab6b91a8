"""``metaexp train -m``: the jobs of a sweep, each in a process of its own; the same command goes on. Without torch."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from metaexp.config.classes.targets import trusted
from metaexp.core.errors import ExitCode, RunFolderError
from metaexp.core.files import write_atomically
from metaexp.core.json_lines import METRICS_FILE, last_step
from metaexp.core.terminal_text import print_text
from metaexp.machine.signals import Interrupted, StopRequest, stop_on_signals
from metaexp.machine.threads import threads_each
from metaexp.run.progress import Advance, Display, default_display
from metaexp.sweep.decide import is_left
from metaexp.sweep.folder import SWEEP_FILE, Sweep, create, open_sweep
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.job_process import start
from metaexp.sweep.job_state import JobState
from metaexp.sweep.launcher import Launched, chosen_launcher
from metaexp.sweep.pool import Pool
from metaexp.sweep.prepare import Prepared, prepare
from metaexp.sweep.queue import SweepQueue
from metaexp.sweep.summary import format_folder, format_job, format_nothing_taken, line, table

TABLE_FILE = "table.txt"
_SECONDS_BETWEEN_COUNTS = 1.0


def run_all(overrides: Sequence[str], config_dir: Path | None, config_name: str, display: Display | None = None) -> int:
    """Check and freeze all jobs, run what is missing, and print a table.

    Returns the exit code: 0, or 10 if a job failed. Raises Interrupted on SIGINT and SIGTERM, after the running
    jobs saved and stopped.
    """
    display = display or default_display()
    prepared = prepare(overrides, config_dir, config_name)
    for note in prepared.notes:
        display.line(note)
    if os.environ.get("WANDB_RUN_ID"):
        display.line("WANDB_RUN_ID names one run and is not used: each job of a sweep has an id of its own")
    sweep = prepared.sweep or _created(prepared, ["metaexp", "train", "-m", *overrides], display)
    prepared = prepared._replace(sweep=sweep)
    same = prepared.duplicates()
    left = [job for job in prepared.jobs if job.number not in same and is_left(prepared.state(job), prepared.options)]
    kept = frozenset(job.number for job in prepared.jobs if prepared.state(job).status == "completed")
    display.line(_opening(sweep, prepared.jobs, left, kept, len(same)))
    with stop_on_signals() as stop:
        if left:
            _run(sweep, prepared, left, overrides, display, stop)
        states = {job.number: sweep.state(job) for job in prepared.jobs if job.number not in same}
        text = table(sweep.name, prepared.jobs, states, same, kept)
        write_atomically(sweep.path / TABLE_FILE, f"{text}\n".encode())
    print_text(f"{text}\n{format_folder(sweep.path)}", flush=True)
    if stop.signal_number is not None:
        name = signal.Signals(stop.signal_number).name
        raise Interrupted(f"stopped by {name}. The same command goes on where it was.", stop.signal_number)
    return 0 if all(state.status == "completed" for state in states.values()) else ExitCode.JOBS_FAILED


def _created(prepared: Prepared, command: list[str], display: Display) -> Sweep:
    """Write the new sweep; where another invocation of the same command was faster, its sweep."""
    taken = prepared.taken()
    for number, run in taken.items():
        display.line(f"{format_job(prepared.jobs[number])} is done in {run}, and taken over from there")
    if prepared.options.reuse and not taken:
        display.line(format_nothing_taken(prepared.outputs))
    try:
        return create(prepared.path, command, prepared.digest, prepared.jobs, taken)
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
    """Run the jobs that are left, by the pool of this process or by a launcher of Hydra."""
    launcher = chosen_launcher(overrides)
    total = sum(job.steps for job in left)
    with display.stretch("sweep", total) as advance:
        watcher = Reporter(sweep, left, display, advance)
        if launcher is None:
            threads = threads_each(min(prepared.options.n_jobs, len(prepared.jobs)))
            begin = partial(start, trusted=trusted(), threads=threads)
            queue = SweepQueue(sweep, left, prepared.options, begin, watcher)
            Pool(queue, prepared.options.n_jobs).run(lambda: bool(stop))
        else:
            Launched(sweep, left, prepared.options, prepared.composer, overrides, watcher).run(lambda: bool(stop))


class Reporter:
    """Says what happens to jobs, and how far the whole sweep is, in meta-updates."""

    def __init__(self, sweep: Sweep, jobs: Sequence[FrozenJob], display: Display, advance: Advance) -> None:
        self.sweep = sweep
        self.display = display
        self.advance = advance
        self.steps = {job.number: 0 for job in jobs}
        self.counted = time.monotonic()

    def ended(self, job: FrozenJob, state: JobState) -> None:
        """One line."""
        self.steps[job.number] = job.steps
        self.display.line(line(job, state))
        if state.ended_badly:
            self.display.line(f"  log: {state.log}")

    def again(self, job: FrozenJob, state: JobState, attempt: int) -> None:
        """One line."""
        self.display.line(f"{line(job, state)}; it is tried again (attempt {attempt})")

    def elsewhere(self, job: FrozenJob) -> None:
        """One line."""
        self.display.line(f"{format_job(job)} runs in another process; waiting for it")

    def tick(self, running: Sequence[FrozenJob]) -> None:
        """Count the meta-updates done."""
        now = time.monotonic()
        if now - self.counted < _SECONDS_BETWEEN_COUNTS:
            return
        self.counted = now
        for job in running:
            self.steps[job.number] = last_step(self.sweep.folder(job) / METRICS_FILE)
        self.advance(sum(self.steps.values()))


def _opening(
    sweep: Sweep, jobs: Sequence[FrozenJob], left: Sequence[FrozenJob], kept: frozenset[int], same: int
) -> str:
    words = [f"{len(jobs)} jobs in {sweep.path}"]
    words += [f"{len(kept)} completed before"] if kept else []
    words += [f"{same} the same as others"] if same else []
    words += [f"{len(left)} to run" if left else "nothing to run"]
    return ", ".join(words)
