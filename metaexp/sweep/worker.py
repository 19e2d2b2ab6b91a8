"""``python -m metaexp.sweep.worker FOLDER`` begins or resumes one frozen job in this process.

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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from metaexp.config.classes.targets import trust
from metaexp.core.disk_errors import explain_disk_error
from metaexp.core.errors import ConfigError, ExitCode, MetaexpError, RunFolderError
from metaexp.core.terminal_text import print_text
from metaexp.machine.signals import Interrupted
from metaexp.machine.warm_parent import leave
from metaexp.results.record import RECORD_FILE
from metaexp.sweep.folder import Sweep, open_sweep
from metaexp.sweep.frozen_job import FrozenJob, read_frozen
from metaexp.sweep.job_process import BUSY
from metaexp.sweep.job_state import Note, lock_job, new_note, read_state, write_note
from metaexp.sweep.warm_start import FORK_SERVER, become_job


class StoppedEarly(BaseException):
    """A signal came before training began, so there is nothing to save.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} before it began")
        self.exit_code = 128 + number


def main(arguments: Sequence[str]) -> int:
    """Run the job of one folder and return the exit code."""
    if list(arguments[:1]) == [FORK_SERVER]:
        leave(main(become_job(int(arguments[1]))))
    made = argparse.ArgumentParser(prog="python -m metaexp.sweep.worker")
    made.add_argument("folder", type=Path)
    made.add_argument("--threads", type=int)
    made.add_argument("--trust", action="append", default=[])
    options = made.parse_args(list(arguments))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_early)
    threading.Thread(target=_stop_when_parent_dies, daemon=True).start()
    with lock_job(options.folder) as mine:
        if not mine:
            return BUSY
        if read_state(options.folder).status == "completed":
            return 0
        try:
            return _run_and_note(options.folder, options.threads, options.trust)
        except RunFolderError as error:  # a file of the sweep or the job is damaged, so no note can be written
            print_text(f"RunFolderError: {error}", file=sys.stderr)
            return error.exit_code


def _run_and_note(folder: Path, threads: int | None, packages: Sequence[str]) -> int:
    """Run the job; write its end to ``job_state.json`` and the sweep's journal; return the exit code."""
    job, sweep = read_frozen(folder), open_sweep(folder.parent)
    note = new_note(folder)
    try:
        write_note(folder, note)
        sweep.journal(job.number, "begins")
        for package in packages:
            trust(package)
        _run(job, folder, threads)
    except StoppedEarly as error:
        return _write_end(sweep, job, replace(note, status="interrupted", exit_code=error.exit_code, error=str(error)))
    except Exception as error:
        return _write_end(sweep, job, _note_of(error, note))
    return _write_end(sweep, job, replace(note, status="completed", exit_code=ExitCode.OK))


def _run(job: FrozenJob, folder: Path, threads: int | None) -> None:
    from metaexp.run.initial.command import Provenance
    from metaexp.run.initial.parent import Parent
    from metaexp.run.job import resume_job, run_job

    settings = job.settings(threads)
    if (folder / RECORD_FILE).exists():  # written before the first step
        resume_job(folder)
    else:
        parent = Parent(Path(job.parent_folder), job.parent) if job.parent and job.parent_folder else None
        provenance = Provenance(job.overrides, job.group, job.full_steps, job.deviations, job.files, parent=parent)
        run_job(settings, provenance, folder)


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
    raise StoppedEarly(number)


def _stop_when_parent_dies() -> None:
    """Wait until the other end of standard input closes, then send SIGTERM to this process."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
