"""``python -m metaexp.sweep.processes.worker FOLDER ...`` begins or resumes a frozen job here, or several together.

A thread watches standard input. When the other end closes, the sweep's process has died, and the job saves and stops.
The exit codes are those of ``metaexp train``, and 75 if another process runs the job.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metaexp.config.classes.targets import trust
from metaexp.core.disk.errors import explain_disk_error
from metaexp.core.disk.files import append_regular
from metaexp.core.errors import ConfigError, ExitCode, MetaexpError, RunFolderError
from metaexp.core.terminal_text import print_text
from metaexp.machine.collector import collect_rarely
from metaexp.machine.requeue import ignore_signals_of_clusters
from metaexp.machine.signals import Interrupted, note_early
from metaexp.machine.warm_parent import leave
from metaexp.results.job_note import Note, write_note
from metaexp.results.job_state import LOG_FILE, lock_job, new_note, read_state
from metaexp.results.record import RECORD_FILE
from metaexp.sweep.folder import Sweep, open_sweep
from metaexp.sweep.frozen_job import FrozenJob, read_frozen
from metaexp.sweep.groups import n_together
from metaexp.sweep.processes.job_process import BUSY, ONLY_CHECK
from metaexp.sweep.processes.warm_start import FORK_SERVER, become_job

if TYPE_CHECKING:
    from metaexp.run.initial.command import Provenance


class StoppedEarly(BaseException):
    """A signal came before training began, so there is nothing to save.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} before it began")
        self.exit_code = 128 + number


def main(arguments: Sequence[str]) -> int:
    """Run the job of one folder, or those of several folders together, and return the exit code."""
    if list(arguments[:1]) == [FORK_SERVER]:
        leave(main(become_job(int(arguments[1]))))
    made = argparse.ArgumentParser(prog="python -m metaexp.sweep.processes.worker")
    made.add_argument("folders", type=Path, nargs="+", metavar="folder")
    made.add_argument("--threads", type=int)
    made.add_argument("--trust", action="append", default=[])
    made.add_argument(ONLY_CHECK, action="store_true")
    options = made.parse_args(list(arguments))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_early)
    ignore_signals_of_clusters()
    threading.Thread(target=_stop_when_parent_dies, daemon=True).start()
    with collect_rarely(is_process=True), ExitStack() as stack:
        mine = [folder for folder in options.folders if stack.enter_context(lock_job(folder))]
        if not mine:
            return BUSY
        if options.only_check:
            return _check(mine, options.threads, options.trust)
        left = [folder for folder in mine if read_state(folder).status != "completed"]
        try:
            return _run_and_note(left, options.threads, options.trust) if left else 0
        except RunFolderError as error:  # a file of the sweep or the job is damaged, so no note can be written
            print_text(f"RunFolderError: {error}", file=sys.stderr)
            return error.exit_code


def _run_and_note(folders: Sequence[Path], threads: int | None, packages: Sequence[str]) -> int:
    """Run the jobs; write their ends to ``job_state.json`` and the sweep's journal; return the first bad exit code."""
    sweep = open_sweep(folders[0].parent)
    jobs = _intact(folders)
    notes = [new_note(folder) for folder in jobs]
    try:
        for (folder, job), note in zip(jobs.items(), notes, strict=True):
            write_note(folder, note)
            sweep.journal(job.number, "begins")
        for package in packages:
            trust(package)
        errors = _run_all(sweep, jobs, threads)
    except StoppedEarly as error:
        ends = [replace(n, status="interrupted", exit_code=error.exit_code, error=str(error)) for n in notes]
    except Exception as error:
        ends = [_note_of(error, note) for note in notes]
    else:
        ends = [_end_of(error, note) for error, note in zip(errors, notes, strict=True)]
    for folder, note in zip(list(jobs)[1:], ends[1:], strict=True):
        if note.status == "failed":
            _point_to_log(folder, note, next(iter(jobs)) / LOG_FILE)
    codes = [_write_end(sweep, job, note) for job, note in zip(jobs.values(), ends, strict=True)]
    return next((code for code in codes if code), 0)


def _check(folders: Sequence[Path], threads: int | None, packages: Sequence[str]) -> int:
    """Only load the data of a job, or see whether several can be trained together. Nothing is trained.

    How that ended is noted in the first folder, with the whole error. What loading says goes to the log, and so does
    the traceback of a bug.

    Returns:
        The exit code.
    """
    folder = folders[0]
    note = new_note(folder)
    try:
        for package in packages:
            trust(package)
        settings = [read_frozen(place).settings(threads) for place in folders]

        from metaexp.machine.failures import explain_errors
        from metaexp.run.build import load_examples
        from metaexp.run.together.job import check_together

        with explain_errors():
            if len(settings) > 1:
                check_together(settings, partial(print_text, flush=True))
            else:
                load_examples(settings[0], partial(print_text, flush=True))
        end = replace(note, status="completed", exit_code=ExitCode.OK)
    except StoppedEarly as error:
        end = replace(note, status="interrupted", exit_code=error.exit_code, error=str(error))
    except MetaexpError as error:
        end = replace(note, status="failed", exit_code=error.exit_code, error=str(error))
    except Exception as error:
        end = _note_of(error, note)
    write_note(folder, end)
    return end.exit_code or 0


def _point_to_log(folder: Path, note: Note, log: Path) -> None:
    """Write into the log of a job that failed where the output of the process is, which is another job's log."""
    with suppress(OSError, RunFolderError), append_regular(folder / LOG_FILE) as file:
        file.write(f"{note.error}\nThe job was trained together with others; their output is in {log}\n".encode())


def _intact(folders: Sequence[Path]) -> dict[Path, FrozenJob]:
    """The frozen job of each folder. Of several jobs, those with a damaged file are left out: only they fail."""
    found = {}
    for folder in folders:
        try:
            found[folder] = read_frozen(folder)
        except RunFolderError as error:
            if len(folders) == 1:
                raise
            print_text(f"RunFolderError: {error}", file=sys.stderr)
    return found


def _run_all(sweep: Sweep, jobs: Mapping[Path, FrozenJob], threads: int | None) -> Sequence[Exception | None]:
    """Run one job, or several together, and return the error that ended each early. That of a single job is raised."""
    if len(jobs) == 1:
        ((folder, job),) = jobs.items()
        _run(job, folder, threads)
        return [None]

    from metaexp.run.together.job import Start, run_together

    starts = [Start(job.settings(threads), _provenance(job), folder, job.what) for folder, job in jobs.items()]
    return run_together(starts, n_together(next(iter(jobs.values())), sweep.jobs()))


def _run(job: FrozenJob, folder: Path, threads: int | None) -> None:
    from metaexp.run.job import resume_job, run_job

    settings = job.settings(threads)
    if (folder / RECORD_FILE).exists():  # written before the first step
        resume_job(folder)
    else:
        run_job(settings, _provenance(job), folder)


def _provenance(job: FrozenJob) -> Provenance:
    from metaexp.run.initial.command import Provenance
    from metaexp.run.initial.parent import Parent

    parent = Parent(Path(job.parent_folder), job.parent) if job.parent and job.parent_folder else None
    return Provenance(job.overrides, job.group, job.full_steps, job.deviations, job.files, parent=parent)


def _end_of(error: Exception | None, note: Note) -> Note:
    return replace(note, status="completed", exit_code=ExitCode.OK) if error is None else _note_of(error, note)


def _note_of(error: Exception, note: Note) -> Note:
    """Return the note of a job that ended with an error. A bug is printed with its traceback, into the log."""
    error = (explain_disk_error(error) if isinstance(error, OSError) else None) or error
    if not isinstance(error, MetaexpError):
        with suppress(OSError):  # the log itself may be what cannot be written
            traceback.print_exc()
        return replace(note, status="failed", exit_code=ExitCode.BUG, error=_first_line(error))
    with suppress(OSError):
        print_text(f"{type(error).__name__}: {error}", file=sys.stderr)
    status: Literal["interrupted", "failed"] = "interrupted" if isinstance(error, Interrupted) else "failed"
    return replace(note, status=status, exit_code=error.exit_code, error=_first_line(error))


def _write_end(sweep: Sweep, job: FrozenJob, note: Note) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the process ends in a moment
    write_note(sweep.folder(job), note)
    sweep.journal(job.number, note.status, note.error or "")
    assert note.exit_code is not None
    return note.exit_code


def _first_line(error: Exception) -> str:
    text = error.problems[0] if isinstance(error, ConfigError) else str(error)
    first = (text.strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _stop_early(number: int, _frame: object) -> None:
    note_early(number)
    raise StoppedEarly(number)


def _stop_when_parent_dies() -> None:
    """Wait until the other end of standard input closes, then send SIGTERM to this process."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
