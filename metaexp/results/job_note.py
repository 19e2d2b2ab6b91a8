"""What the worker of a job says of it in ``job_state.json``, and why a job has no record. Without torch."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from metaexp.core.counted import agreeing, counted, listed
from metaexp.core.disk.files import read_regular, write_atomically
from metaexp.core.disk.locks import is_file_locked
from metaexp.core.disk.nearest import is_there, not_a_run
from metaexp.core.errors import RunFolderError
from metaexp.results.reading import FaultError, build, damaged

RECORD_FILE = "record.json"
FROZEN_FILE = "frozen.json"
"""The file that a sweep writes into the folder of each job before any begins."""
SWEEP_FILE = "sweep.json"
"""The file in the folder of a sweep that names its jobs."""
REPORT_FILE = "search.json"
"""The file in the folder of a search that names its trials."""
JOURNAL_FILE = "journal.jsonl"
"""The file in the folder of a sweep or a search that has a line for each start and end of a job."""
ADDED_EVENT = "added"
"""The event of a line of the journal that names a new trial of a search."""
STATE_FILE = "job_state.json"
CONFIG_FILES = ("config.yaml", "choices.yaml")
"""Every run folder has both."""
LOCK_FILE = ".claim"
_MOST_NAMES = 1000
"""Runs are looked for in as many folders inside one that is not a run folder."""
_MOST_BYTES = 1 << 20  # of a note: 1 MiB
_MOST_OF_SWEEP = 1 << 26  # of a sweep's file: 64 MiB


@dataclass(frozen=True)
class Note:
    """The content of ``job_state.json``. The worker writes it, or, if that was killed, the process that started it.

    Attributes:
        status: How far the worker came.
        attempts: How often a worker has started on the job, this time included.
        pid: The worker's process.
        host: The machine that it ran on.
        exit_code: Exit code of the worker; None while it runs.
        error: First line of the error that ended it.
    """

    status: Literal["running", "completed", "interrupted", "failed", "killed"]
    attempts: int
    pid: int
    host: str
    exit_code: int | None = None
    error: str | None = None


def read_note(folder: Path) -> Note | None:
    """Read the note of the job's last worker; None if no worker has started.

    Raises:
        RunFolderError: The note is damaged.
    """
    path = folder / STATE_FILE
    try:
        note: Note = build(Note, json.loads(read_regular(path, _MOST_BYTES)))
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, FaultError) as error:
        raise damaged(path, error, " Remove it, and give the same command again.") from error
    return note


def write_note(folder: Path, note: Note) -> None:
    """Write the note of the job's worker, in place of an earlier one.

    Args:
        folder: The folder of the job.
        note: What the worker says of itself.
    """
    write_atomically(folder / STATE_FILE, (json.dumps(asdict(note)) + "\n").encode())


def why_no_record(folder: Path) -> str:
    """Return why a job has no record, as the rest of a sentence about it.

    Args:
        folder: The folder of the job, without a ``record.json``, or one of :func:`removed_jobs`.
    """
    if not os.path.lexists(folder):
        return "was removed, with its folder"
    try:
        note = read_note(folder)
    except RunFolderError as error:
        return f"has no record, and {str(error).rstrip('.')}"
    except OSError as error:
        return f"has no record, and {STATE_FILE} cannot be read: {error.strerror or error}"
    if is_file_locked(folder / LOCK_FILE):
        return "is running, and has no record yet"
    if note is None:
        return "has not begun"
    if note.status == "completed":
        return f"has lost its {RECORD_FILE}"
    ended = {"failed": "failed", "interrupted": "was interrupted"}.get(note.status, "was killed")
    reason = f": {note.error.rstrip('.')}" if note.status == "failed" and note.error else ""
    return f"{ended} before it could write a record{reason}"


def removed_jobs(sweep: Path) -> list[Path]:
    """Return the folders of those jobs of a sweep, or trials of a search, that are not there any more.

    Args:
        sweep: The folder of the sweep or search. A sweep of an earlier version does not name its jobs, and a search of
            one names its trials once it has ended.
    """
    names = _read(sweep / SWEEP_FILE, lambda content: content["jobs"])
    if not names:
        names = _read(sweep / REPORT_FILE, lambda content: [trial["folder"] for trial in content["trials"]])
        names += _added(sweep / JOURNAL_FILE)
    named = [name for name in names if isinstance(name, str) and name and Path(name).name == name]
    return [sweep / name for name in dict.fromkeys(named) if not is_there(sweep / name)]


def _read(file: Path, names: Callable[[Any], Iterable[Any]]) -> list[Any]:
    """The names in a JSON file; none if it is not there, or is damaged."""
    try:
        return [*names(json.loads(read_regular(file, _MOST_OF_SWEEP)))]
    except (OSError, ValueError, LookupError, TypeError, RecursionError, RunFolderError):
        return []


def _added(journal: Path) -> list[Any]:
    """The names of trials in the journal of a search; none if it cannot be read."""
    try:
        content = read_regular(journal, _MOST_OF_SWEEP)
    except (OSError, RunFolderError):
        return []
    return [entry.get("text") for entry in journal_entries(content) if entry.get("event") == ADDED_EVENT]


def journal_entries(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal. Lines that a crash has cut are left out.

    Args:
        content: The file.
    """
    for line in content.decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry


def format_removed(removed: Sequence[Path]) -> str:
    """Return ``2 runs were removed, with their folders: 001-maml, 004-maml``; an empty text for none.

    Args:
        removed: The folders that were removed.
    """
    if not removed:
        return ""
    folders = "its folder" if len(removed) == 1 else "their folders"
    count = f"{counted(len(removed), 'run')} {agreeing(len(removed), 'was')}"
    return f"{count} removed, with {folders}: {listed([path.name for path in removed], 5)}"


def no_record(folder: Path, file: str = RECORD_FILE) -> RunFolderError:
    """Return the error for a folder without a record: of a job, why it has none; of any other, that it is not a run.

    Args:
        folder: The folder.
        file: The name of the file that was looked for.
    """
    is_job = os.path.lexists(folder / FROZEN_FILE) and not os.path.lexists(folder / RECORD_FILE)
    is_job = is_job or folder in removed_jobs(folder.parent)
    if is_job:
        return RunFolderError(f"{folder}: this run {why_no_record(folder)}.")
    has_lost = _has_lost(file, folder)
    if has_lost:
        return has_lost
    inside = _folders_with(file, folder)
    return _not_one_run(folder, inside) if inside else not_a_run(folder, file)


def _has_lost(file: str, folder: Path) -> RunFolderError | None:
    """The error for the folder of a run of which only ``file`` is not there; None for any other folder."""
    others = CONFIG_FILES if file == RECORD_FILE else (RECORD_FILE,)
    if not all(os.path.lexists(folder / other) for other in others):
        return None
    resume = f"`metaexp train resume={shlex.quote(str(folder))}` continues the run."
    what_to_do = resume if file == RECORD_FILE else "Restore it, or leave the run out."
    return RunFolderError(f"{folder} is not a whole run folder: it has no {file}. {what_to_do}")


def _folders_with(file: str, folder: Path) -> list[Path]:
    """The folders in ``folder`` that have ``file``, as those of runs do, by name; no links or hidden ones."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, _MOST_NAMES) if entry.is_dir(follow_symlinks=False))
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return []
    return [folder / name for name in names if name[0] != "." and os.path.lexists(folder / name / file)]


def _not_one_run(folder: Path, inside: list[Path]) -> RunFolderError:
    place = shlex.quote(str(folder))
    is_sweep = is_there(folder / SWEEP_FILE, "file")
    what = f"{'the folder of a sweep' if is_sweep else 'a folder'} with {counted(len(inside), 'run folder')}"
    again = f" To continue the sweep, give the command again that `metaexp show {place}` prints." if is_sweep else ""
    return RunFolderError(
        f"{folder} is not a run folder. It is {what}, such as {shlex.quote(str(inside[0]))}: name one of them; "
        f"`metaexp ls {place}` lists them.{again}"
    )
