"""Finds font files, and pins them by a list of their hashes. Importing this module takes no torch and no fontTools."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from metaexp.core.counted import listed
from metaexp.core.disk.files import read_regular, write_atomically
from metaexp.core.errors import DataError, RunFolderError

SUFFIXES: Final = (".ttf", ".otf", ".ttc", ".otc")
_MOST_BYTES: Final = 500_000_000
_MOST_LIST: Final = 50_000_000
_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class FontFile(NamedTuple):
    """A file of fonts.

    Attributes:
        name: Its name, without folders.
        sha256: The SHA-256 (hex) of its bytes.
        path: Where it is here.
    """

    name: str
    sha256: str
    path: Path


def machine_folders() -> list[Path]:
    """Return the folders in which this system keeps fonts, those that are there."""
    home = Path.home()
    if sys.platform == "darwin":
        places = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    elif sys.platform == "win32":
        places = [Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"]
    else:
        places = [
            Path("/usr/share/fonts"),
            Path("/usr/local/share/fonts"),
            home / ".local/share/fonts",
            home / ".fonts",
        ]
    return [place for place in places if place.is_dir()]


def find_fonts(folders: Sequence[Path]) -> list[FontFile]:
    """Return all font files in folders and the folders inside them, each content once, by name and hash.

    Args:
        folders: Where to look.

    Raises:
        DataError: A folder or a file cannot be read.
    """
    found: dict[str, FontFile] = {}
    for path in _paths(folders):
        digest = _sha256(path)
        found.setdefault(digest, FontFile(path.name, digest, path))
    return sorted(found.values(), key=lambda font: (font.name, font.sha256))


def has_fonts(folder: Path) -> bool:
    """Return whether a font file is in a folder or in one inside it.

    Args:
        folder: Where to look.
    """
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def fonts_of_list(file: Path, folders: Sequence[Path]) -> list[FontFile]:
    """Return the fonts that a list pins, wherever in the folders they are.

    Args:
        file: The list: a SHA-256, two spaces and a file name on each line, as ``sha256sum`` prints them.
        folders: Where to look.

    Raises:
        DataError: The file is not a list of fonts, or a font is missing or has another content.
    """
    named: dict[str, list[Path]] = {}
    for path in _paths(folders):
        named.setdefault(path.name, []).append(path)
    where = ", ".join(map(str, folders)) or "the folders for fonts of this machine"
    found, problems = [], []
    for digest, name in _read_list(file):
        hashes = {_sha256(path): path for path in named.get(name, [])}
        if digest in hashes:
            found.append(FontFile(name, digest, hashes[digest]))
        elif hashes:
            problems.append(f"{name} has another content ({next(iter(hashes))[:12]}, not {digest[:12]})")
        else:
            problems.append(f"{name} is missing")
    if problems:
        raise DataError(
            f"{file} lists {len(found) + len(problems)} fonts, of which {len(found)} are in {where}: "
            f"{listed(problems, 3, mark='; ')}. Install the same versions, or leave dataset.font_list out."
        )
    return sorted(found, key=lambda font: (font.name, font.sha256))


def write_list(file: Path, fonts: Sequence[FontFile]) -> None:
    """Write the list that pins fonts.

    Args:
        file: The file to write.
        fonts: The fonts.
    """
    head = "# The fonts of a dataset, for dataset=fonts dataset.font_list=FILE. One line each: SHA-256, file.\n"
    write_atomically(
        file, (head + "".join(f"{f.sha256}  {f.name}\n" for f in fonts)).encode("utf-8", "surrogateescape")
    )


def fonts_digest(fonts: Sequence[FontFile]) -> str:
    """Return the SHA-256 (hex) over the contents of fonts. Their names and places do not matter."""
    return hashlib.sha256("\n".join(sorted(font.sha256 for font in fonts)).encode()).hexdigest()


def _read_list(file: Path) -> list[tuple[str, str]]:
    """Hash and name of each font of a list."""
    try:
        lines = read_regular(file, _MOST_LIST).decode("utf-8", "surrogateescape").splitlines()
    except (OSError, RunFolderError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"dataset.font_list={file} cannot be read: {reason}.") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{file}, line {number}: a line is a SHA-256, two spaces and the name of a font file.")
        found.append((match[1], match[2]))
    if not found:
        raise DataError(f"{file} lists no fonts.")
    return found


def _paths(folders: Sequence[Path]) -> list[Path]:
    try:
        return [
            path
            for folder in folders
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file()
        ]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read for fonts: {error.strerror}.") from error


def _sha256(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is larger than {_MOST_BYTES:,} bytes, which no font is. Remove it.")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"the font {path} cannot be read: {error.strerror}.") from error
