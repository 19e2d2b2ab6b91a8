"""Runs each job of a sweep in its own process, so that a crash ends one job only. Without torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from metaexp.core.disk.errors import explain_disk_error
from metaexp.core.disk.files import append_regular
from metaexp.core.errors import ExitCode, MetaexpError, RunFolderError
from metaexp.machine.python_path import with_metaexp
from metaexp.results.job_note import write_note
from metaexp.results.job_state import LOG_FILE, UNSAVED, JobState, lock_job, new_note, read_state
from metaexp.tracking.wandb_names import OF_ONE_RUN

BUSY = 75
"""Exit code of a worker that does nothing because another process runs the job (EX_TEMPFAIL of sysexits.h)."""

ONLY_CHECK = "--only-check"
"""Argument of a worker that only loads the data of a job, and then ends."""


class Process(Protocol):
    """What :class:`subprocess.Popen` and a forked process have in common."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises subprocess.TimeoutExpired."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """End it at once."""


class JobProcess:
    """A worker process that runs one job. If this process dies, the worker saves and stops.

    Args:
        folder: The job's folder.
        process: The worker.
    """

    def __init__(self, folder: Path, process: Process) -> None:
        self.folder = folder
        self.process = process
        self._is_asked = False

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the worker runs."""
        return self.process.poll()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the worker to end.

        Args:
            seconds: Give up after this time. None waits without a limit.

        Returns:
            The exit code, negative for a signal; None when the worker still runs.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """Ask the worker to save and stop after the current step. Asking again changes nothing.

        Only one signal is sent: to a run, another one some seconds later means that it is to end without saving.
        """
        if not self._is_asked and self.process.poll() is None:
            self._is_asked = True
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the worker at once. Nothing is saved."""
        self.process.kill()

    def state(self) -> JobState:
        """Return the state of the job, read from its folder."""
        return read_state(self.folder)


def final_state(folder: Path, code: int, *, asked_to_stop: bool) -> JobState:
    """Return the state of a job after its process has ended.

    A worker that was killed could not write how it ended. Its end is then written to ``job_state.json`` here.

    Args:
        folder: The job's folder.
        code: Exit code of the process, negative for a signal.
        asked_to_stop: Whether we asked the process to stop. An end by a signal is then an interruption, not a failure.
    """
    state = read_state(folder)
    if state.status in ("waiting", "killed") and asked_to_stop:
        return _write_end(folder, "interrupted", code, UNSAVED)
    if state.status in ("waiting", "killed") and code < 0:
        name = signal.Signals(-code).name
        perhaps = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return _write_end(folder, "killed", code, f"its process was killed by {name}{perhaps}")
    if state.status in ("waiting", "killed"):
        return _write_end(folder, "failed", code, f"its process ended with exit code {code} and wrote no error")
    return state


def _write_end(folder: Path, status: Literal["interrupted", "failed", "killed"], code: int, error: str) -> JobState:
    """Write how the job ended, unless another process runs it by now; returns the state."""
    with lock_job(folder) as mine:
        if mine:
            write_note(folder, replace(new_note(folder, attempts=0), status=status, exit_code=code, error=error))
    return read_state(folder)


def note_failure(folder: Path, code: int, error: str) -> None:
    """Write that a job has failed that no process was started for, unless another command runs it.

    Args:
        folder: The job's folder.
        code: The exit code that its process would have had.
        error: Why it cannot run.
    """
    with append_regular(folder / LOG_FILE) as log:
        log.write(f"{error}\n".encode())
    _write_end(folder, "failed", code, error.splitlines()[0])


def unless_log_opens(folder: Path) -> JobProcess | None:
    """Return a job that has failed if its output cannot be appended to its ``output.log``; None if it can.

    Args:
        folder: The job's folder.

    Raises:
        FileNotFoundError: The folder is gone.
    """
    try:
        append_regular(folder / LOG_FILE).close()
    except FileNotFoundError:
        raise
    except (OSError, RunFolderError) as problem:
        error = (explain_disk_error(problem) if isinstance(problem, OSError) else problem) or problem
        code = error.exit_code if isinstance(error, MetaexpError) else ExitCode.BUG
        if not read_state(folder).is_damaged:
            _write_end(folder, "failed", code, f"{type(error).__name__}: {error}")
        return JobProcess(folder, _NotStarted(code))
    return None


class _NotStarted:
    """Takes the place of the process of a job that could not be started. It has already ended."""

    def __init__(self, code: int) -> None:
        self.code = code

    def poll(self) -> int:
        return self.code

    def wait(self, timeout: float | None = None) -> int:
        return self.code

    def send_signal(self, number: int, /) -> None:
        pass

    def kill(self) -> None:
        pass


def start(
    folder: Path, *others: Path, trusted: Sequence[str] = (), threads: int | None = None, only_check: bool = False
) -> JobProcess:
    """Start a process that begins or resumes a job. Its output is appended to ``output.log`` in the job's folder.

    Args:
        folder: The job's folder, with its ``frozen.json``.
        others: The folders of jobs that are trained together with it.
        trusted: Packages whose classes the job may use.
        threads: Value of ``device.threads`` if the job's configuration leaves it open.
        only_check: Whether the process only loads the data of the job, to see whether they can be loaded, and whether
            the job can be trained together with the others.
    """
    arguments = worker_arguments([folder, *others], trusted, threads, only_check=only_check)
    command = [sys.executable, "-P", "-m", "metaexp.sweep.processes.worker", *arguments]
    if (failed := unless_log_opens(folder)) is not None:
        return failed
    with append_regular(folder / LOG_FILE) as log:
        process = subprocess.Popen(
            command, env=job_environment(), stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
    return JobProcess(folder, process)


def worker_arguments(
    folders: Sequence[Path], trusted: Sequence[str], threads: int | None, *, only_check: bool = False
) -> list[str]:
    """Return the arguments of :mod:`.worker` for a job, or for several that are trained together.

    Args:
        folders: The folder of each job.
        trusted: As for :func:`start`.
        threads: As for :func:`start`.
        only_check: As for :func:`start`.
    """
    given = [] if threads is None else ["--threads", str(threads)]
    given += [ONLY_CHECK] if only_check else []
    return [*map(str, folders), *given, *(word for package in trusted for word in ("--trust", package))]


def job_environment() -> dict[str, str]:
    """The environment variables of a worker: ours, with three changes.

    PYTHONPATH gets the folder of metaexp if metaexp is not installed. WANDB_SERVICE is removed, because a job that
    shares our W&B service ends with it. Variables that name one W&B run are removed, because each job is another run.
    """
    return with_metaexp({k: value for k, value in os.environ.items() if k not in ("WANDB_SERVICE", *OF_ONE_RUN)})
