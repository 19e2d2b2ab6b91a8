"""Digests of source files, noted when data are prepared, so that a file that is damaged later is found.

Published files have published digests. Of all others, such as pickles that people pass on or images of one's own, only
a digest that was taken here can tell whether they are still what they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from metaexp.core.disk.files import read_regular, write_atomically
from metaexp.core.errors import DataError, MetaexpError
from metaexp.data.files.download import file_digest
from metaexp.data.files.folder_scan import scan_folder

_MOST_LIST: Final = 500_000_000
_LINE: Final = re.compile(r"([0-9a-f]{64})  (/.+)")


def list_file(place: Path, name: str) -> Path:
    """Return the file with the digests of a dataset. ``sha256sum --check FILE`` reads it, too.

    Args:
        place: The folder of the cache.
        name: The name of the dataset.
    """
    return place / f"{name}.sha256"


def read_noted(file: Path) -> dict[str, str]:
    """Return path -> SHA-256 (hex) of a list; empty where there is none.

    Raises:
        DataError: The file is not a list of digests.
    """
    if not file.exists():
        return {}
    try:
        lines = read_regular(file, _MOST_LIST).decode("utf-8", "surrogateescape").splitlines()
    except (OSError, MetaexpError) as error:
        raise DataError(f"{file} cannot be read: {error}. Remove it.") from error
    matches = [_LINE.fullmatch(line) for line in lines]
    if not all(matches):
        raise DataError(f"{file} is not a list of SHA-256 and path. Remove it.")
    return {match[2]: match[1] for match in matches if match}


def write_noted(file: Path, digests: Mapping[str, str]) -> None:
    """Write a list of digests.

    Args:
        file: The list.
        digests: Path -> SHA-256 (hex).
    """
    lines = (f"{digest}  {path}\n" for path, digest in sorted(digests.items()) if "\n" not in path)
    write_atomically(file, "".join(lines).encode("utf-8", "surrogateescape"))


def digests_of(paths: Iterable[Path]) -> dict[str, str]:
    """Return path -> SHA-256 (hex) of files, and of all files in folders.

    Raises:
        DataError: A file cannot be read.
    """
    found: dict[str, str] = {}
    for path in paths:
        for file in scan_folder(path, follow_links=True).files.values() if path.is_dir() else [path]:
            try:
                found[str(file.absolute())] = file_digest(file, "SHA-256")
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    return found
