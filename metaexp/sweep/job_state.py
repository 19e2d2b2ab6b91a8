"""How far a job of a sweep is, told from its folder alone. Without torch."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from metaexp.core.errors import RunFolderError
from metaexp.core.files import write_atomically
from metaexp.core.locks import LockedError, acquire, is_locked
from metaexp.results.reading import FaultError, build
from metaexp.results.record import RECORD_FILE, RunRecord, read_record

STATE_FILE = "job_state.json"
LOG_FILE = "output.log"
LOCK_FILE = ".claim"

Status = Literal["waiting", "running", "completed", "interrupted", "failed", "killed"]


@dataclass(frozen=True)
class Note:
    """What is said of a job in ``job_state.json``: by its worker, or, where that was killed, by who started it.

    exit_code: of the process, None while it runs. attempts: how often a worker has begun, this time included.
    """

    status: Literal["running", "completed", "interrupted", "failed", "killed"]
    attempts: int
    pid: int
    host: str
    exit_code: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class JobState:
    """How far a job is.

    status: ``killed`` is a job whose process ended without a word: SIGKILL, the memory killer, a power cut.
    error: the first line of what ended it. record: None before there is one. log: where its output is.
    exit_code: the last one, None where there is none.
    """

    status: Status
    log: Path
    error: str | None = None
    record: RunRecord | None = None
    attempts: int = 0
    exit_code: int | None = None

    @property
    def ended_badly(self) -> bool:
        """Whether this counts as a failure of the job."""
        return self.status in ("failed", "killed")


def read_state(folder: Path) -> JobState:
    """Return the state of a job.

    Args:
        folder: The job's folder.

    Returns:
        The state. A job whose record or note is damaged has failed, with an error that names the file, so that it
        costs only itself.
    """
    try:
        return _read_state(folder)
    except RunFolderError as error:
        status: Status = "running" if is_job_locked(folder) else "failed"
        return JobState(status, folder / LOG_FILE, str(error), exit_code=error.exit_code)


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
        again = read_note(folder)  # it may have ended between the two looks
        if again == note:
            return JobState("killed", log, "its process was killed (by SIGKILL or for memory)", record, attempts)
        return _read_state(folder)
    status: Status = "failed" if note.status == "completed" else note.status  # completed, and its record was lost
    return JobState(status, log, note.error, record, attempts, note.exit_code)


def read_note(folder: Path) -> Note | None:
    """What the job's last worker said of itself; None where none has begun."""
    path = folder / STATE_FILE
    try:
        note: Note = build(Note, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, FaultError) as error:
        raise RunFolderError(f"{path} is damaged: {error}. Remove it, and the job goes on.") from error
    return note


def write_note(folder: Path, note: Note) -> None:
    """Replace what the job's worker says of itself."""
    write_atomically(folder / STATE_FILE, (json.dumps(asdict(note)) + "\n").encode())


def new_note(folder: Path, attempts: int = 1) -> Note:
    """The note of a worker that begins in this process; ``attempts`` are added to those before."""
    before = read_note(folder)
    return Note("running", (before.attempts if before else 0) + attempts, os.getpid(), socket.gethostname())


@contextmanager
def lock_job(folder: Path) -> Iterator[bool]:
    """Lock the job within this block, so that no other process runs it.

    Args:
        folder: The job's folder.

    Yields:
        Whether this process has the job; False, at once, where another process runs it.
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
    """Whether a process runs the job now."""
    return is_locked(folder / LOCK_FILE)
