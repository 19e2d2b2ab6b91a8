"""Reads a CSV file with a header. Importing this module does not import torch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from metaexp.core.errors import DataError
from metaexp.data.files.folder_scan import refuse_special

_OTHERS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What other files have between columns."""


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
