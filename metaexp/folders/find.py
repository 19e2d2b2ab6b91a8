"""Finds the folders of runs, sweeps and searches below a folder. Links are not followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from metaexp.core.disk.files import reason
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import RunFolderError
from metaexp.results.record import FROZEN_FILE, RECORD_FILE
from metaexp.search.files import REPORT_FILE, STUDY_JOURNAL
from metaexp.sweep.folder import SWEEP_FILE

DEPTH = 4
"""Folders are looked for this many levels below the one that is given."""
STUDY_FILES = (REPORT_FILE, STUDY_JOURNAL)

Kind = Literal["run", "sweep", "search"]


class Found(NamedTuple):
    """A folder that metaexp wrote.

    Attributes:
        path: The folder.
        kind: What it holds.
        owner: The sweep or search that it is a job or a trial of; None for a run of its own.
    """

    path: Path
    kind: Kind
    owner: Path | None = None


def find(place: Path) -> list[Found]:
    """Find runs, sweeps and searches in or below a folder. Their own jobs and trials are not listed; see :func:`jobs`.

    Returns:
        What was found, in the order of the paths. Folders that cannot be read are skipped.

    Raises:
        RunFolderError: ``place`` is not a folder, or cannot be read.
    """
    check_folder(place, "Give a folder of runs, such as outputs.")
    try:
        os.scandir(place).close()
    except OSError as error:
        raise RunFolderError(f"{place} cannot be read: {reason(error)}.") from error
    return list(_below(place, DEPTH))


def check_folder(path: Path, give: str) -> None:
    """Raise RunFolderError if a path is not that of a folder, with the nearest one.

    Args:
        path: The path.
        give: What to give instead, as a sentence.
    """
    if not path.is_dir():
        what = "is a file." if path.exists() else f"is not there.{format_nearest_path(path, kind='folder')}"
        raise RunFolderError(f"{path} {what} {give}")


def kind_of(folder: Path) -> Kind | None:
    """Return what a folder holds by the names of its files; None if metaexp did not write it."""

    def has(name: str) -> bool:
        return os.path.lexists(folder / name)

    if has(SWEEP_FILE):
        return "search" if any(map(has, STUDY_FILES)) else "sweep"
    is_run = has(RECORD_FILE) or has(FROZEN_FILE) or (has("config.yaml") and has("choices.yaml"))
    return "run" if is_run else None


def jobs(owner: Found) -> list[Found]:
    """Return the jobs of a sweep, or the trials of a search, in the order of their names; of a run, the run itself."""
    if owner.kind == "run":
        return [owner]
    inner = (Found(path, "run", owner.path) for path in _folders(owner.path))
    return [found for found in inner if kind_of(found.path) == "run"]


def owner_of(run: Path) -> Path | None:
    """Return the sweep or search whose job or trial is in ``run``; None if it is a run of its own."""
    above = run.parent if len(run.parts) > 1 else run.absolute().parent
    is_job = os.path.lexists(run / FROZEN_FILE)
    return above if is_job and kind_of(above) in ("sweep", "search") else None


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder. Links are not followed, and what cannot be read counts nothing."""
    total, left = 0, [str(folder)]
    while left:
        try:
            entries = list(os.scandir(left.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                state = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(state.st_mode):
                left.append(entry.path)
            else:
                total += state.st_size
    return total


def _below(folder: Path, depth: int) -> Iterator[Found]:
    kind = kind_of(folder)
    if kind is not None:
        yield Found(folder, kind, owner_of(folder) if kind == "run" else None)
    elif depth:
        for inner in _folders(folder):
            yield from _below(inner, depth - 1)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without links and hidden ones; none if it cannot be read."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        return [
            folder / entry.name
            for entry in entries
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        ]
    except OSError:
        return []
