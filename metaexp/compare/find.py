"""Finds the run folders of a comparison. Without torch and numpy, so that a wrong path is answered at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaexp.core.counted import agreeing, counted
from metaexp.core.disk.nearest import format_nearest_path
from metaexp.core.errors import RunFolderError
from metaexp.results.job_note import SWEEP_FILE, removed_jobs
from metaexp.results.record import FROZEN_FILE, RECORD_FILE

DEPTH = 4
"""Run folders are looked for this many levels below a sweep's folder."""
PAGE = "index.html"
UNFINISHED = ".comparison"
"""Files of a comparison are written into this folder first, inside the one that is to hold them."""
_MARK = "pairs.csv"


def is_earlier(folder: Path) -> bool:
    """Whether a folder holds an earlier comparison, or files of one that was killed. Both may be replaced."""
    return ((folder / PAGE).is_file() and (folder / _MARK).is_file()) or (folder / UNFINISHED).is_dir()


def run_folders(
    paths: Sequence[Path], unreadable: list[Path] | None = None, removed: list[Path] | None = None
) -> list[Path]:
    """Find the folders with a record in or below some paths, and those of jobs that have none yet.

    Args:
        paths: Run folders, or folders with run folders below them.
        unreadable: Gets the folders that cannot be read, which are skipped.
        removed: Gets the folders that jobs of a sweep had, and that are not there any more.

    Returns:
        Each folder once.

    Raises:
        RunFolderError: A path does not exist, cannot be read, or has no run in or below it.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            near = format_nearest_path(path)
            raise RunFolderError(f"{path}: there is no such folder.{near} Give run folders, or a folder with some.")
        if not path.is_dir() and path.name != RECORD_FILE:
            raise RunFolderError(f"{path} is a file. Give run folders, or a folder with some.")
        closed: list[Path] = []
        gone: list[Path] = []
        below = _below(path if path.is_dir() else path.parent, DEPTH, closed, gone)
        if closed and not below:
            raise RunFolderError(f"{closed[0]} cannot be read: give yourself the right to, or leave it out.")
        if unreadable is not None:
            unreadable += closed
        if removed is not None:
            removed += [folder for folder in gone if folder not in removed]
        if gone and not below:
            raise RunFolderError(
                f"{path} has no run any more: {counted(len(gone), 'job')} {agreeing(len(gone), 'was')} removed, such "
                f"as {gone[0].name}."
            )
        if not below:
            raise RunFolderError(
                f"{path} is not a run folder, and no {RECORD_FILE} lies within {DEPTH} levels below it."
            )
        for folder in below:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _below(folder: Path, depth: int, unreadable: list[Path], removed: list[Path]) -> list[Path]:
    try:
        names = {item.name for item in folder.iterdir()}
        if names & {RECORD_FILE, FROZEN_FILE}:
            return [folder]
        removed += removed_jobs(folder) if SWEEP_FILE in names else []
        inner = sorted(folder / name for name in names if not name.startswith(".") and (folder / name).is_dir())
    except OSError:
        unreadable.append(folder)
        return []
    return [found for item in inner for found in _below(item, depth - 1, unreadable, removed)] if depth else []
