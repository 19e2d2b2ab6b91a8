"""How far a job of a sweep is, read from its folder alone. Without torch."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metaexp.core.disk.locks import LockedError, acquire, is_locked
from metaexp.core.errors import RunFolderError
from metaexp.results.job_note import LOCK_FILE, Note, read_note
from metaexp.results.record import RECORD_FILE, RunRecord, read_record

LOG_FILE = "output.log"
UNSAVED = "stopped before it could save"
"""The error of a job that was asked to stop, and ended without a word."""

Status = Literal["waiting", "running", "completed", "interrupted", "failed", "killed"]


@dataclass(frozen=True)
class JobState:
    """How far a job is.

    Attributes:
        status: ``killed`` means that the process ended without writing why: SIGKILL, no memory left, a power cut.
        log: The file with the job's output.
        error: First line of the error that ended it.
        record: The run's record; None before it is written.
        attempts: How often a worker has started on the job.
        exit_code: Exit code of the last worker; None if there is none.
        is_damaged: Whether a file of the job is damaged, so that it cannot run.
    """

    status: Status
    log: Path
    error: str | None = None
    record: RunRecord | None = None
    attempts: int = 0
    exit_code: int | None = None
    is_damaged: bool = False

    @property
    def ended_badly(self) -> bool:
        """Whether the job counts as failed."""
        return self.status in ("failed", "killed")

    @property
    def is_unsaved(self) -> bool:
        """Whether the job ended without saving how far it was. Its last checkpoint is there."""
        return self.ended_badly or self.error == UNSAVED


def read_state(folder: Path) -> JobState:
    """Return the state of a job.

    Args:
        folder: The job's folder.

    Returns:
        The state. A job with a damaged record or note counts as failed, with an error that names the file; the other
        jobs are not affected.
    """
    try:
        return _read_state(folder)
    except RunFolderError as error:
        return damaged_state(folder, error)


def damaged_state(folder: Path, error: RunFolderError) -> JobState:
    """Return the state of a job with a damaged file: it has failed, unless a process runs it now.

    Args:
        folder: The job's folder.
        error: What is wrong with the file.
    """
    status: Status = "running" if is_job_locked(folder) else "failed"
    return JobState(status, folder / LOG_FILE, str(error), exit_code=error.exit_code, is_damaged=True)


def _read_state(folder: Path) -> JobState:
    note = read_note(folder)
    record = read_record(folder) if (folder / RECORD_FILE).exists() else None
    attempts = note.attempts if note else 0
    log = folder / LOG_FILE
    if record is not None and record.status == "completed":
        return JobState("completed", log, None, record, attempts, 0)
    if note is None:
        return JobState("running" if is_job_locked(folder) else "waiting", log, None, record)
    if note.status == "running":
        if is_job_locked(folder):
            return JobState("running", log, None, record, attempts)
        again = read_note(folder)  # it may have ended after the first look
        if again == note:
            return JobState("killed", log, "its process was killed (by SIGKILL or for memory)", record, attempts)
        return _read_state(folder)
    status: Status = "failed" if note.status == "completed" else note.status  # its record was lost
    return JobState(status, log, note.error, record, attempts, note.exit_code)


def new_note(folder: Path, attempts: int = 1) -> Note:
    """Return the note of a worker that starts in this process.

    Args:
        folder: The job's folder.
        attempts: Added to the attempts of the earlier note.
    """
    before = read_note(folder)
    return Note("running", (before.attempts if before else 0) + attempts, os.getpid(), socket.gethostname())


@contextmanager
def lock_job(folder: Path) -> Iterator[bool]:
    """Lock the job within a ``with`` block, so that no other process runs it.

    Args:
        folder: The job's folder.

    Yields:
        True if this process has the lock; False, without waiting, if another process runs the job.
    """
    try:
        release = acquire(folder / LOCK_FILE)
    except LockedError:
        yield False
        return
    try:
        yield True
    finally:
        release()


def is_job_locked(folder: Path) -> bool:
    """Return whether a process runs the job now."""
    return is_locked(folder / LOCK_FILE)
