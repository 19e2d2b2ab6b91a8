"""Proposes the nearest path for one that is not there: that of a run, a dataset or a file of weights."""

from __future__ import annotations

import os
import shlex
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from metaexp.core.errors import RunFolderError

_MOST_NAMES = 5000
"""As many names of a folder are compared with one that is mistyped."""


def nearest_path(path: Path, *, within: Path = Path(), kind: str = "") -> Path | None:
    """Return the path that is there and differs from ``path`` in one name, which is alike; None if there is none.

    Args:
        path: A path that is not there.
        within: Where a relative path begins. The result is relative to it, too.
        kind: What the path must be: ``file`` or ``folder``; empty if both are allowed.
    """
    found = Path(path.anchor)
    for name in path.parts[len(found.parts) :]:
        if not is_there(within / found / name):
            rest = path.parts[len(found.parts) + 1 :]
            paths = [Path(found, other, *rest) for other in _alike(name, _names(within / found))]
            return next((near for near in paths if is_there(within / near, kind)), None)
        found /= name
    return None


def format_nearest_path(path: Path, *, key: str = "", kind: str = "") -> str:
    """Return ' Did you mean X?' for the nearest path that is there, or '' where none is near.

    A path that is there and of the other kind is called so.

    Args:
        path: A path that is not there, relative to the current folder.
        key: What stands before the path where it is written, such as ``model.weights=``.
        kind: What the path must be: ``file`` or ``folder``; empty if both are allowed.
    """
    other = format_other_kind(path, kind)
    if other:
        near = path.parent if kind == "folder" and path.parent != Path() else None
    else:
        near = nearest_path(path, kind=kind)
    return other + (f" Did you mean {shlex.quote(f'{key}{near}')}?" if near else "")


def format_other_kind(path: Path, kind: str) -> str:
    """Return ' It is a file.' or ' It is a folder.' for a path that is there and of the other kind; else ''.

    Args:
        path: The path.
        kind: What it must be: ``file`` or ``folder``; empty if both are allowed.
    """
    if not kind or not is_there(path) or is_there(path, kind):
        return ""
    return f" It is a {'file' if kind == 'folder' else 'folder'}."


def not_a_run(path: Path, file: str) -> RunFolderError:
    """Return the error for a path which is not that of a run folder. It proposes the nearest folder.

    Args:
        path: Where ``file`` was looked for: a folder, or ``file`` itself.
        file: The name of a file that every run folder has.
    """
    kind = "file" if path.name == file else "folder"
    if path.is_dir():
        what = f"it has no {file}."
    elif path.exists():
        what = "it is a file."
    else:
        what = f"there is no such {kind}.{format_nearest_path(path, kind=kind)}"
    return RunFolderError(f"{path} is not a run folder: {what}")


def is_there(path: Path, kind: str = "") -> bool:
    """Whether a path is there. One that the system does not allow is not.

    Args:
        path: The path.
        kind: What must be there: ``file`` or ``folder``; empty if both are allowed.
    """
    try:
        return {"file": path.is_file, "folder": path.is_dir}.get(kind, path.exists)()
    except OSError:  # such as a name of too many letters
        return False


def _alike(name: str, names: list[str]) -> list[str]:
    """Return those of ``names`` that are ``name`` but for small and capital letters, then others that are alike."""
    same = [other for other in names if other.lower() == name.lower()]
    return [*same, *get_close_matches(name, names, n=20, cutoff=0.6)]


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, _MOST_NAMES)]
    except OSError:
        return []
