"""A table of runs: what they are, how they ended, and their scores. Imports no torch."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError
from metaexp.core.metric import decimals
from metaexp.core.terminal_text import plain

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

_MOST_LEFT_OUT = 10


class RunTable(Sequence[Row]):
    """Rows of runs, one dict for each.

    Args:
        rows: The rows, each with the key ``folder``.
        left_out: Folder -> why it is not a row.

    Attributes:
        rows: The rows.
        left_out: Folders of runs whose record cannot be read, and why.
    """

    def __init__(self, rows: Sequence[Row], left_out: Mapping[Path, str]) -> None:
        self.rows = list(rows)
        self.left_out = dict(left_out)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> RunTable: ...
    def __getitem__(self, index: int | slice) -> Row | RunTable:
        """Return one row, or a table of some."""
        return RunTable(self.rows[index], self.left_out) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows."""
        return iter(self.rows)

    def __repr__(self) -> str:
        """Name, status and score of each run, a line for each."""
        lines = [f"{row['name']}  {row['status']}  {_score(row)}" for row in self.rows][:50]
        return "\n  ".join(map(plain, [f"<{counted(len(self.rows), 'run')}>", *lines, *self._left_out()]))

    def _repr_html_(self) -> str:
        """The table and what it leaves out, for a notebook."""
        return format_html_table(self.rows, self._left_out())

    def _left_out(self) -> list[str]:
        return format_left_out([(str(folder), reason) for folder, reason in self.left_out.items()])

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs."""
        return [row["folder"] for row in self.rows]

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        return make_frame(self.rows)


def make_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as a pandas DataFrame.

    Args:
        rows: The rows.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ConfigError(
            "to_frame() needs pandas: pip install pandas. The rows are plain dicts without it."
        ) from error
    return pd.DataFrame(rows)


def format_left_out(left_out: Sequence[tuple[str, str]]) -> list[str]:
    """Return a line for each run that is left out. Of many, the first ten have one, and the last line counts the rest.

    Args:
        left_out: The name of each run, and why it is left out.
    """
    lines = [f"left out: {name}: {_of(name, reason)}" for name, reason in left_out[:_MOST_LEFT_OUT]]
    more = len(left_out) - len(lines)
    return [*lines, f"left out: {more} more, see left_out"] if more else lines


def _of(name: str, reason: str) -> str:
    """A reason without the name of the run before it or before a file, as the line has the name already."""
    return reason.removeprefix(f"{name}: ").removeprefix(f"{name} ").replace(f"{name}/", "")


def format_html_table(rows: Sequence[Row], lines: Sequence[str] = ()) -> str:
    """Return rows as an HTML table, with a column for each key of the first, and lines of text below it.

    Args:
        rows: The rows; all have the same keys.
        lines: The lines.
    """
    columns = list(rows[0]) if rows else []
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(row[name]))}</td>" for name in columns) + "</tr>" for row in rows
    )
    below = "".join(f"<div>{html.escape(plain(line))}</div>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(str(value))


def _score(row: Row) -> str:
    if row["test"] is None:
        return "not tested"
    places = decimals(row["ci95"])
    return f"test {row['metric']} {row['test']:.{places}f} +- {row['ci95']:.{places}f}"
