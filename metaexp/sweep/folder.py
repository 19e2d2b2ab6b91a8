"""The folder of a sweep, with its frozen jobs and a journal of their starts and ends. Without torch.

::

    sweep.json                   the command; written last, so a sweep without it does not exist
    journal.jsonl                one line for every start and end of a job
    000-maml-glyphs-.../         one folder for each job, which becomes its run folder
        frozen.json              the job as it was composed
        job_state.json           what its worker last wrote about it
        output.log               what its worker printed
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metaexp.core.disk.drafts import is_left_behind
from metaexp.core.disk.files import (
    append_regular,
    make_folder,
    name_in_errors,
    read_regular,
    sync_folder,
    write_atomically,
)
from metaexp.core.disk.locks import hold_lock
from metaexp.core.errors import RunFolderError
from metaexp.results.job_note import JOURNAL_FILE as JOURNAL_FILE
from metaexp.results.job_note import SWEEP_FILE as SWEEP_FILE
from metaexp.results.job_note import journal_entries
from metaexp.results.job_state import LOG_FILE, JobState, damaged_state, read_state
from metaexp.results.own_code import codes_used
from metaexp.results.reading import ADDED, read_part
from metaexp.results.record import FROZEN_FILE
from metaexp.sweep.frozen_job import FrozenJob, frozen_digest, read_frozen, write_frozen
from metaexp.sweep.reuse import copy_run

TABLE_FILE = "table.txt"
LOCKS_FOLDER = ".locks"
"""In the folder of a sweep or a search: files that commands lock while they work on it."""
SCHEMA_VERSION = 1
_SECONDS_OF_A_DRAFT = 3600.0


@dataclass(frozen=True)
class Head:
    """The content of ``sweep.json``.

    Attributes:
        command: The command with its arguments.
        digest: Hash of the command, by which the same command finds its sweep; see :func:`metaexp.sweep.expand.digest`.
        created: When the sweep was made, in UTC.
        schema_version: Version of this file's format.
        jobs: Name of each job -> digest of its ``frozen.json``. Empty for a search, and in files of earlier versions.
    """

    command: list[str]
    digest: str
    created: str
    schema_version: int = SCHEMA_VERSION
    jobs: dict[str, str] = field(default_factory=dict, metadata=ADDED)


class Sweep:
    """A sweep that exists on disk.

    Args:
        path: Its folder.
        head: The content of its ``sweep.json``.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self.head = head

    @property
    def name(self) -> str:
        """The name of the folder. It is the group of the sweep's runs in W&B."""
        return self.path.name

    def jobs(self) -> list[FrozenJob]:
        """Read all frozen jobs whose files are intact, in the order of their numbers."""
        read = self.read_all().values()
        return sorted((job for job in read if isinstance(job, FrozenJob)), key=lambda job: job.number)

    def read_all(self) -> dict[str, FrozenJob | RunFolderError]:
        """Return the name of each job -> the job; what is wrong if its file is missing, damaged or changed."""
        return {name: self._read(name) for name in self.names()}

    def job(self, number: int) -> FrozenJob:
        """Read one frozen job.

        Raises:
            RunFolderError: The job's ``frozen.json`` is missing, damaged or changed.
        """
        name = next(name for name in self.names() if name.startswith(f"{number:03d}-"))
        return read_frozen(self.path / name, self.head.jobs.get(name))

    def names(self) -> list[str]:
        """Return the names of all jobs, which are those of their folders."""
        return list(self.head.jobs) or sorted(path.parent.name for path in self.path.glob(f"*/{FROZEN_FILE}"))

    def _read(self, name: str) -> FrozenJob | RunFolderError:
        try:
            return read_frozen(self.path / name, self.head.jobs.get(name))
        except RunFolderError as error:
            return error

    def folder(self, job: FrozenJob) -> Path:
        """Return the folder of a job."""
        return self.path / job.name

    def state(self, job: FrozenJob) -> JobState:
        """Return how far a job is.

        A job that is not done and whose ``frozen.json`` is damaged has failed, and so has one that somebody completed
        by hand with other code. One whose whole folder was removed waits, if ``job`` is still the same job.
        """
        if self.can_restore(job):
            return JobState("waiting", self.folder(job) / LOG_FILE)
        state = read_state(self.folder(job))
        codes = codes_used(state.record) if state.status == "completed" and state.record is not None else []
        if job.own_code is not None and codes not in ([], [job.own_code[:12]]):
            return damaged_state(self.folder(job), self._other_code(job, codes))
        problem = self._read(job.name) if state.status not in ("completed", "running") else None
        return damaged_state(self.folder(job), problem) if isinstance(problem, RunFolderError) else state

    def _other_code(self, job: FrozenJob, codes: Sequence[str]) -> RunFolderError:
        return RunFolderError(
            f"{self.folder(job)} was completed with other code of your own ({', then '.join(codes)}) than the sweep "
            f"was made with ({str(job.own_code)[:12]}), so it is not a job of this sweep. To run all jobs with one "
            "version of the code, add hydra.sweep.dir=NEW_PLACE to the command."
        )

    def can_restore(self, job: FrozenJob) -> bool:
        """Return whether the folder of a job was removed, and ``job``, as it is composed now, is that job."""
        return not os.path.lexists(self.folder(job)) and self.head.jobs.get(job.name) == frozen_digest(job)

    def add(self, job: FrozenJob) -> Path:
        """Write one more frozen job and return its folder.

        Raises:
            RunFolderError: The sweep has a job of that name.
        """
        folder = self.folder(job)
        try:
            folder.mkdir()
        except FileExistsError as error:
            raise RunFolderError(
                f"{folder} exists already, and a job is frozen only once. Rename or remove the folder, and give the "
                "same command again."
            ) from error
        write_frozen(job, folder)
        return folder

    def journal(self, number: int, event: str, text: str = "") -> None:
        """Append a line to the journal. ``events`` skips a line that a crash cut short.

        Args:
            number: Number of the job.
            event: What happened, such as ``begins``.
            text: Details, such as an error.
        """
        entry = {"time": _now(), "job": number, "event": event, "pid": os.getpid()} | ({"text": text} if text else {})
        with append_regular(self.path / JOURNAL_FILE) as file, name_in_errors(self.path / JOURNAL_FILE):
            os.write(file.fileno(), b"\n" + json.dumps(entry).encode() + b"\n")  # the first newline ends a cut line

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the journal."""
        path = self.path / JOURNAL_FILE
        yield from journal_entries(read_regular(path) if os.path.lexists(path) else b"")


def create(
    path: Path,
    command: Sequence[str],
    digest: str,
    jobs: Sequence[FrozenJob],
    reused: Mapping[int, Path] | None = None,
) -> Sweep:
    """Write a new sweep with all its jobs. After a crash, either the whole sweep exists or nothing of it.

    Args:
        path: The sweep's folder.
        command: The command with its arguments.
        digest: Hash of the command.
        jobs: The frozen jobs.
        reused: Number of a job -> the completed run that is copied into its folder.

    Raises:
        RunFolderError: ``path`` exists.
    """
    head = Head(list(command), digest, _now(), jobs={job.name: frozen_digest(job) for job in jobs})
    for old in path.parent.glob(f".{path.name}.*.tmp"):
        if is_left_behind(old, _SECONDS_OF_A_DRAFT, (old / LOCKS_FOLDER).glob("*")):
            shutil.rmtree(old, ignore_errors=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.mkdir(parents=True)
    try:
        with lock_command(draft):
            sweep = Sweep(draft, head)
            for job in jobs:
                folder = sweep.add(job)
                if reused and job.number in reused:
                    copy_run(reused[job.number], folder)
                    sweep.journal(job.number, "taken over", str(reused[job.number]))
            write_atomically(draft / SWEEP_FILE, (json.dumps(asdict(head), indent=1) + "\n").encode())
            try:
                draft.rename(path)
            except OSError as error:
                raise RunFolderError(f"{path} exists already; a new sweep needs a new folder.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(path.parent)
    return Sweep(path, head)


@contextmanager
def lock_command(path: Path) -> Iterator[None]:
    """Within this block, others can see that a command works on a sweep, also between two of its jobs.

    Several commands may do so at the same time; each locks a file of its own.
    """
    file = path / LOCKS_FOLDER / f"command-{os.getpid()}"
    make_folder(file.parent)
    try:
        with hold_lock(file, wait=True):
            yield
    finally:
        with suppress(OSError):
            file.unlink()


def check_in_place(path: Path, key: str) -> None:
    """Check that nobody has moved or removed the folder of a sweep or a search while its jobs run.

    Args:
        path: The folder of a sweep or a search.
        key: The key that names another folder, for the message.

    Raises:
        RunFolderError: The folder is gone.
    """
    if not (path / SWEEP_FILE).exists():
        raise RunFolderError(
            f"{path} was moved or removed while its jobs ran, so they were ended. What they have saved is in that "
            f"folder. Move it back and give the same command again, or add {key}=NEW_PLACE to the command."
        )


@contextmanager
def explain_moved(path: Path, key: str) -> Iterator[None]:
    """Raise the error of :func:`check_in_place` in place of any that arises in this block once the folder is gone.

    Args:
        path: The folder of a sweep or a search.
        key: The key that names another folder, for the message.

    Raises:
        RunFolderError: Something failed in the block, and the folder is gone.
    """
    try:
        yield
    except Exception:
        check_in_place(path, key)
        raise


def open_sweep(path: Path) -> Sweep:
    """Return the sweep in ``path``.

    Raises:
        RunFolderError: The folder is not a sweep, or its ``sweep.json`` is damaged.
    """
    file = path / SWEEP_FILE
    head: Head = read_part(Head, file, "the folder of a sweep")
    if head.schema_version != SCHEMA_VERSION:
        raise RunFolderError(
            f"{file}: schema_version is {head.schema_version}, and this version of metaexp reads {SCHEMA_VERSION}. "
            "Continue with the version that made the folder."
        )
    return Sweep(path, head)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
