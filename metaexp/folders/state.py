"""How far the run in a folder is: its record or frozen job, and whether a process works on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

from metaexp.config.yaml_files import read_mapping
from metaexp.core.disk.locks import RUN_LOCK, is_file_locked
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE, last_step
from metaexp.folders.find import Found
from metaexp.results.episodes import check_tested
from metaexp.results.job_note import LOCK_FILE
from metaexp.results.job_state import JobState, read_state
from metaexp.results.record import FROZEN_FILE, RECORD_FILE, RunRecord, read_record
from metaexp.sweep.folder import LOCKS_FOLDER
from metaexp.sweep.frozen_job import FrozenJob, read_frozen

State = Literal["waiting", "running", "stopped", "failed", "completed", "damaged"]
STATES: tuple[State, ...] = ("waiting", "running", "stopped", "failed", "completed", "damaged")


class RunState(NamedTuple):
    """How far a run is.

    Attributes:
        state: ``stopped`` is a run that was interrupted or killed and can continue; ``damaged`` one whose files cannot
            be read.
        record: The record; None before it is written, or if it is damaged.
        job: The frozen job, read only if there is no record.
        settings: The configuration and the chosen files of a run that has neither; None if they cannot be read.
        error: Why it failed, or which file is damaged.
    """

    state: State
    record: RunRecord | None = None
    job: FrozenJob | None = None
    error: str | None = None
    settings: tuple[dict[str, Any], dict[str, str]] | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration; empty if no file has it."""
        source = self.record or self.job
        if source is None:
            return self.settings[0] if self.settings else {}
        return source.config


_OF_RECORD: dict[str, State] = {
    "completed": "completed", "failed": "failed", "running": "stopped", "interrupted": "stopped",
}  # fmt: skip
_OF_JOB: dict[str, State] = {
    "waiting": "waiting", "running": "running", "completed": "completed", "interrupted": "stopped",
    "failed": "failed", "killed": "stopped",
}  # fmt: skip


def read_run(found: Found) -> RunState:
    """Read how far the run in a folder is. A damaged file is not an error here.

    Args:
        found: The folder of a run, a job or a trial.
    """
    try:
        state = _read_job(found) if os.path.lexists(found.path / FROZEN_FILE) else _read_single(found)
        if state.record is not None:
            check_tested(found.path, state.record)
        return state
    except RunFolderError as error:
        return RunState("damaged", error=str(error))
    except OSError as error:
        return RunState("damaged", error=f"{found.path} cannot be read: {error.strerror or error}.")


def steps_done(folder: Path, record: RunRecord | None) -> int:
    """Return how many steps a run has done: those of its record, or of its metrics where they are ahead of it.

    A run writes its record when it begins and when it ends, so that of a killed one may be behind.

    Args:
        folder: The run folder.
        record: Its record; None if there is none yet.
    """
    written = 0 if record is None else record.steps
    is_over = record is not None and record.status == "completed"
    return written if is_over else max(written, last_step(folder / METRICS_FILE))


def is_in_use(folder: Path) -> bool:
    """Return whether a process works on a run, a sweep or a search now."""
    if is_file_locked(folder / RUN_LOCK) or is_file_locked(folder / LOCK_FILE):
        return True
    locks = folder / LOCKS_FOLDER
    if locks.is_symlink() or not locks.is_dir():
        return False
    return any(is_file_locked(path) for path in locks.iterdir())


def _read_single(found: Found) -> RunState:
    """A run that is not a job."""
    is_there = os.path.lexists(found.path / RECORD_FILE)
    record = read_record(found.path) if is_there else None
    state: State = "stopped" if record is None else _OF_RECORD[record.status]
    if state in ("stopped", "failed") and is_in_use(found.path):
        state = "running"
    if record is None:
        return RunState(state, settings=_settings(found.path))
    return RunState(state, record, error=record.error if state == "failed" else None)


def _settings(folder: Path) -> tuple[dict[str, Any], dict[str, str]] | None:
    """What a run without a record was to do. A run that was killed at once has no record, and one can be lost."""
    try:
        config, choices = read_mapping(folder / "config.yaml"), read_mapping(folder / "choices.yaml")
    except (RunFolderError, OSError):
        return None
    return config, {group: str(name) for group, name in choices.items()}


def _read_job(found: Found) -> RunState:
    job_state: JobState = read_state(found.path)
    record = job_state.record
    state = _OF_JOB[job_state.status]
    if state == "waiting" and record is not None:  # a run that was continued by hand
        state = _OF_RECORD[record.status]
    if job_state.is_damaged and state != "running":
        return RunState("damaged", record, error=job_state.error)
    job = read_frozen(found.path) if record is None else None
    return RunState(state, record, job, job_state.error if state in ("failed", "stopped") else None)
