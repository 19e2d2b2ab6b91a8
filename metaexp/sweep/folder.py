"""The folder of a sweep: its frozen jobs, and a journal of what happened. Without torch.

::

    sweep.json                   what was asked for; a sweep exists once it is there
    journal.jsonl                one line for every start and end of a job, appended
    000-maml-glyphs-.../         one folder a job, which becomes its run folder
        frozen.json              the job as it was composed
        job_state.json           what its worker says of itself
        output.log               what its worker printed
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metaexp.core.errors import RunFolderError
from metaexp.core.files import sync_folder, write_atomically
from metaexp.results.reading import read_part
from metaexp.sweep.frozen_job import FROZEN_FILE, FrozenJob, read_frozen, write_frozen
from metaexp.sweep.job_state import JobState, read_state
from metaexp.sweep.reuse import take_over

SWEEP_FILE = "sweep.json"
JOURNAL_FILE = "journal.jsonl"
SCHEMA_VERSION = 1
_SECONDS_OF_A_DRAFT = 3600.0


@dataclass(frozen=True)
class Head:
    """What was asked for: the words of the command, and the hash that finds the sweep again (see ``command``)."""

    command: list[str]
    digest: str
    created: str
    schema_version: int = SCHEMA_VERSION


class Sweep:
    """A sweep that exists in ``path``."""

    def __init__(self, path: Path, head: Head) -> None:
        self.path = path
        self.head = head

    @property
    def name(self) -> str:
        """The name of its folder, which is the group of its runs."""
        return self.path.name

    def jobs(self) -> list[FrozenJob]:
        """All frozen jobs, by number."""
        return sorted((read_frozen(p.parent) for p in self.path.glob(f"*/{FROZEN_FILE}")), key=lambda job: job.number)

    def folder(self, job: FrozenJob) -> Path:
        """The folder of a job."""
        return self.path / job.name

    def state(self, job: FrozenJob) -> JobState:
        """How far a job is."""
        return read_state(self.folder(job))

    def add(self, job: FrozenJob) -> Path:
        """Keep one more job; returns its folder. Raises RunFolderError when there is one of that name."""
        folder = self.folder(job)
        try:
            folder.mkdir()
        except FileExistsError as error:
            raise RunFolderError(f"{folder} is there already; a sweep's job is frozen once.") from error
        write_frozen(job, folder)
        return folder

    def journal(self, number: int, event: str, text: str = "") -> None:
        """Append a line to the journal. A line that a crash cut short is passed over when it is read."""
        entry = {"time": _now(), "job": number, "event": event, "pid": os.getpid()} | ({"text": text} if text else {})
        handle = os.open(self.path / JOURNAL_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, b"\n" + json.dumps(entry).encode() + b"\n")  # an end for a line that was cut short
        finally:
            os.close(handle)

    def events(self) -> Iterator[dict[str, Any]]:
        """The entries of the journal."""
        path = self.path / JOURNAL_FILE
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


def create(
    path: Path,
    command: Sequence[str],
    digest: str,
    jobs: Sequence[FrozenJob],
    taken: Mapping[int, Path] | None = None,
) -> Sweep:
    """Write a new sweep with all its jobs, in one step: after a crash there is the whole of it, or nothing.

    taken: number of a job -> the completed run that is taken over for it.
    Raises RunFolderError when there is something at ``path``.
    """
    head = Head(list(command), digest, _now())
    for old in path.parent.glob(f".{path.name}.*.tmp"):
        if time.time() - old.stat().st_mtime > _SECONDS_OF_A_DRAFT:  # of a process that was killed
            shutil.rmtree(old, ignore_errors=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.mkdir(parents=True)
    try:
        sweep = Sweep(draft, head)
        for job in jobs:
            folder = sweep.add(job)
            if taken and job.number in taken:
                take_over(taken[job.number], folder)
                sweep.journal(job.number, "taken over", str(taken[job.number]))
        write_atomically(draft / SWEEP_FILE, (json.dumps(asdict(head), indent=1) + "\n").encode())
        try:
            draft.rename(path)
        except OSError as error:
            raise RunFolderError(f"{path} is there already; a new sweep needs a folder of its own.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(path.parent)
    return Sweep(path, head)


def open_sweep(path: Path) -> Sweep:
    """The sweep in ``path``. Raises RunFolderError when there is none, or its file is damaged."""
    file = path / SWEEP_FILE
    head: Head = read_part(Head, file, "the folder of a sweep")
    if head.schema_version != SCHEMA_VERSION:
        raise RunFolderError(f"{file}: schema_version is {head.schema_version}; this metaexp reads {SCHEMA_VERSION}.")
    return Sweep(path, head)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
