"""Where the runs of a comparison are. Without torch and numpy, so that a wrong path is answered at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaexp.core.errors import RunFolderError
from metaexp.results.record import RECORD_FILE

DEPTH = 4
"""Run folders are looked for this many levels below a sweep's folder."""
JOB_FILE = "frozen.json"
"""What a sweep writes into the folder of each of its jobs, before any begins."""
PAGE = "index.html"
_MARK = "pairs.csv"


def is_earlier(folder: Path) -> bool:
    """Whether ``folder`` holds an earlier comparison, which may be replaced."""
    return (folder / PAGE).is_file() and (folder / _MARK).is_file()


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """The folders with a record in or below ``paths``, each once, and those of jobs that have none yet.

    Raises RunFolderError for a path with none.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise RunFolderError(f"{path}: there is no such folder. Give run folders, or a folder that holds some.")
        below = _below(path if path.is_dir() else path.parent, DEPTH)
        if not below:
            raise RunFolderError(
                f"{path} is not a run folder, and no {RECORD_FILE} lies within {DEPTH} levels below it."
            )
        for folder in below:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _below(folder: Path, depth: int) -> list[Path]:
    if (folder / RECORD_FILE).is_file() or (folder / JOB_FILE).is_file():
        return [folder]
    if depth == 0:
        return []
    inner = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    return [found for item in inner for found in _below(item, depth - 1)]
