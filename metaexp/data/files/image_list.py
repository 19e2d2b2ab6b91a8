"""A CSV list of images with their classes. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from metaexp.core.errors import DataError
from metaexp.core.shapes import SPLITS, Split
from metaexp.data.files.csv_rows import format_names, read_rows, unused
from metaexp.data.files.folders import SPLIT_NAMES

_COLUMNS = {"file": ("file", "filename", "path", "image"), "label": ("label", "class", "category")}
"""What the column of a file and that of its class may be called."""


class ImageList(NamedTuple):
    """Images and their classes.

    Attributes:
        files: Class -> its images, both sorted.
        splits: The classes of each split, sorted; None where the list does not say.
        notes: A line that says which columns are not used.
    """

    files: dict[str, list[str]]
    splits: dict[Split, list[str]] | None
    notes: tuple[str, ...] = ()


def read_image_list(path: Path, place: Path, there: Collection[str] | None = None) -> ImageList:
    """Read a list with the columns ``file`` and ``label``, and ``split`` where it divides the classes.

    Args:
        path: The CSV.
        place: The folder or archive of the images, for messages.
        there: The files in it, with forward slashes; None to take for granted that they are there.

    Raises:
        DataError: A column is missing or misspelt; a file is not there or is listed twice; a class is in two splits.
    """
    header, rows = read_rows(path)
    file, label = (_column(what, header, path) for what in ("file", "label"))
    split = header.index("split") if "split" in header else None
    cells = {name: [row[place] for _, row in rows] for place, name in enumerate(header)}
    notes = unused(cells, {header[file], header[label], "split"} & {*header}, ("split",), path)
    files: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    owner: dict[str, Split] = {}
    for line, row in rows:
        name, cls = PurePosixPath(row[file].strip().replace("\\", "/")).as_posix(), row[label].strip()
        if not cls:
            raise DataError(f"{path}, line {line}: {name} has no {header[label]}.")
        if there is not None and name not in there:
            raise DataError(
                f"{path}, line {line}: there is no file {row[file]!r} in {place}. Write paths as they are below it."
            )
        if name in lines:
            raise DataError(f"{path}: {name} is on line {lines[name]} and on line {line}. List each image once.")
        lines[name] = line
        files.setdefault(cls, []).append(name)
        if split is not None:
            _own(owner, cls, row[split].strip(), f"{path}, line {line}")
    if not files:
        raise DataError(f"{path} lists no images.")
    found = {cls: sorted(files[cls]) for cls in sorted(files)}
    return ImageList(found, None if split is None else _splits(owner, path), tuple(notes))


def _column(what: str, header: list[str], path: Path) -> int:
    found = [name for name in header if name.lower() in _COLUMNS[what]]
    if len(found) == 1:
        return header.index(found[0])
    if found:
        raise DataError(f"{path} has the columns {' and '.join(found)}. Keep the one with the {what} of an image.")
    raise DataError(f"{path} has no column {what}; it has {format_names(header) or 'none'}.")


def _own(owner: dict[str, Split], cls: str, split: str, place: str) -> None:
    known = SPLIT_NAMES.get(split.lower())
    if known is None:
        raise DataError(f"{place}: split is {split!r}; it must be {', '.join(SPLITS)}.")
    if owner.setdefault(cls, known) != known:
        raise DataError(
            f"{place}: class {cls} is in {owner[cls]} and in {known}. In meta-learning the classes of the splits must "
            "differ: new classes are what is tested."
        )


def _splits(owner: dict[str, Split], path: Path) -> dict[Split, list[str]]:
    splits: dict[Split, list[str]] = {s: sorted(cls for cls, split in owner.items() if split == s) for s in SPLITS}
    empty = [split for split in SPLITS if not splits[split]]
    if empty:
        raise DataError(f"{path}: no class is in {empty[0]}. Give each split a class, or leave the column split out.")
    return splits
