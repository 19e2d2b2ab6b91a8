"""Reads a CSV file with a header, and says which columns are not read. Importing this module does not import torch."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from metaexp.core.counted import counted, listed
from metaexp.core.errors import DataError
from metaexp.data.files.folder_scan import refuse_special
from metaexp.data.files.folders import SPLIT_NAMES

_OTHERS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What other files have between columns."""
_NAMED: Final = 8
"""How many columns that are not read a line names."""


def format_names(names: Iterable[str], most: int = 1000) -> str:
    """Return the names of columns for a message: one without letters, or with a comma, is put in quotes.

    Args:
        names: The names.
        most: How many are named where there are many.
    """
    return listed([f'"{name}"' if "," in name or not name.strip() else name for name in names], most)


def read_rows(path: Path, comment: str | None = None) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the header of a CSV, and its rows with the numbers of their lines.

    Args:
        path: A file in UTF-8. Empty lines are skipped.
        comment: Lines that begin with it are skipped, too; None for no such lines.

    Raises:
        DataError: The file cannot be read, has two columns of one name, or a row of another length than the header.
    """
    refuse_special(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = (line if comment is None or not line.startswith(comment) else "\n" for line in file)
            reader = csv.reader(lines, strict=True)
            header = [name.strip() for name in next(filter(None, reader), [])]
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"{path} cannot be read as CSV: {reason}. Save it as UTF-8 with commas and a header."
        ) from error
    separators = [word for sign, word in _OTHERS.items() if len(header) == 1 and sign in header[0]]
    if separators:
        raise DataError(
            f"{path} has {separators[0]} where commas are expected: its header is {header[0]!r}. Save it with commas "
            "between columns, and points in numbers."
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns called {twice[0]}. Give each column a name of its own.")
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} values under {len(header)} column names.")
    return header, rows


def unused(
    found: Mapping[str, Sequence[object] | None],
    used: Collection[str],
    known: Collection[str],
    path: Path,
    what: str = "column",
) -> list[str]:
    """Return a line that names what is not read, or no line.

    Args:
        found: The name of each column -> its values; None where these are not known.
        used: The names of those that are read.
        known: The names that mean something in such a file, such as ``split``.
        path: The file, for messages.
        what: What messages call one of them: ``column`` or ``array``.

    Raises:
        DataError: One that is not read has the name of a known one in another spelling, or it divides the examples
            into splits. It would be ignored, and the data be divided at random.
    """
    left = [name for name in found if name not in used]
    for name in left:
        refuse_misspelt(name, used, known, path, what)
        values = found[name]
        if "split" in known and "split" not in used and values is not None and _names_splits(values):
            raise DataError(
                f"{path}: the {what} {name} has the names of splits, but it is not called split, so it would be "
                f"ignored. Call it split, or leave it out to divide the data by dataset.fractions."
            )
    if not left:
        return []
    return [f"Not used in {path}: {counted(len(left), what)} ({format_names(left, _NAMED)})."]


def refuse_misspelt(name: str, used: Collection[str], known: Collection[str], path: Path, what: str = "column") -> None:
    """Refuse a name that is that of a known column but for capitals, signs or a plural.

    Args:
        name: The name of a column.
        used: The names of the columns that are read.
        known: The names that mean something in such a file.
        path: The file, for messages.
        what: What messages call a column.

    Raises:
        DataError: It is another spelling of a known name, and the known one is not there.
    """
    meant = next((word for word in known if word not in used and _letters(word) == _letters(name)), None)
    if meant is not None:
        raise DataError(
            f"{path} has the {what} {name}, which is not read; it has no {meant}. Call it {meant}, or give it "
            f"a name that is not so near to one of {', '.join(known)}."
        )


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower()).removesuffix("s")


def _names_splits(values: Sequence[object]) -> bool:
    words = {str(value).strip().lower() for value in values}
    return len(words) > 1 and words <= set(SPLIT_NAMES)
