"""The files below a folder, with the links among them. Importing this module does not import torch."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from metaexp.core.errors import DataError

_MOST_LEVELS = 40


class Scan(NamedTuple):
    """What is below a folder."""

    files: dict[str, Path]
    """Path below the folder, with forward slashes -> where the file is. Sorted."""
    ignored: dict[str, int]
    """Kind of entry that is not a file, such as ``FIFOs`` -> how many there are."""


def scan_folder(root: Path, follow_links: bool = False) -> Scan:
    """List the regular files below a folder.

    Links to what is inside the folder are followed.

    Args:
        root: The folder, which may itself be a link.
        follow_links: Whether links to what is outside are followed, too.

    Raises:
        DataError: A folder cannot be read; a link leads outside, to nothing, or round in a circle.
    """
    files: dict[str, Path] = {}
    ignored: Counter[str] = Counter()
    inside = root.resolve()
    waiting: list[tuple[str, Path, tuple[Path, ...]]] = [("", root, (inside,))]
    while waiting:
        prefix, folder, above = waiting.pop()
        entries = _entries(folder)
        ignored["empty folder"] += bool(prefix) and not entries
        for entry in entries:
            name, path = prefix + entry.name, Path(entry.path)
            mode = _mode(root, inside, name, path, entry, follow_links)
            if stat.S_ISDIR(mode):
                real = path.resolve() if entry.is_symlink() else above[-1] / entry.name
                if real in above or len(above) > _MOST_LEVELS:
                    raise DataError(f"{root}: {name} leads back to a folder that it is in. Remove the link.")
                waiting.append((f"{name}/", path, (*above, real)))
            elif stat.S_ISREG(mode):
                files[name] = path
            else:
                ignored["special file (FIFO, socket or device)"] += 1
    return Scan({name: files[name] for name in sorted(files)}, {what: n for what, n in ignored.items() if n})


def refuse_special(path: Path) -> None:
    """Raise DataError when ``path`` is neither a regular file nor a folder: reading a FIFO or a device can hang."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(f"{path} is a FIFO, a socket or a device. Give a regular file or a folder.")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"The folder {folder} cannot be read: {reason}. Give read permission, or remove it.") from error


def _mode(root: Path, inside: Path, name: str, path: Path, entry: os.DirEntry[str], follow_links: bool) -> int:
    """The file mode of an entry, of its target where it is a link that may be followed."""
    if not entry.is_symlink():
        return entry.stat().st_mode
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise DataError(f"{root}: {name} is a link to {path.readlink()}, which cannot be read. Remove it.") from error
    if not follow_links and not target.is_relative_to(inside):
        raise DataError(
            f"{root}: {name} is a link to {target}, which is outside. Set dataset.follow_links=true to follow such "
            "links, or copy the files."
        )
    return mode
