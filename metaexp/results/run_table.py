"""Lists the runs below a folder as rows: what they are, how they ended, and their scores. Imports no torch."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from metaexp.core.counted import counted
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.metric import decimals
from metaexp.core.nested import at_key
from metaexp.core.terminal_text import plain
from metaexp.results.episodes import check_tested
from metaexp.results.record import RunRecord, read_record

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


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
        lines = [f"{row['name']}  {row['status']}  {_score(row)}" for row in self.rows]
        return plain(f"<{counted(len(self.rows), 'run')}>") + "".join(f"\n  {plain(line)}" for line in lines[:50])

    def _repr_html_(self) -> str:
        """The table, for a notebook."""
        return format_html_table(self.rows)

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


def format_html_table(rows: Sequence[Row]) -> str:
    """Return rows as an HTML table, with a column for each key of the first.

    Args:
        rows: The rows; all have the same keys.
    """
    columns = list(rows[0]) if rows else []
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(row[name]))}</td>" for name in columns) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(str(value))


def read_table(folders: Sequence[Path], filters: Mapping[str, Any]) -> RunTable:
    """Read the records of run folders.

    Args:
        folders: The run folders.
        filters: Key -> the value that a run must have, or a list of such values. A key is one of a row, or a dotted
            key of the configuration.

    Raises:
        ConfigError: No run has such a key.
    """
    rows: list[Row] = []
    left_out: dict[Path, str] = {}
    known: set[str] = set()
    for folder in folders:
        try:
            record = read_record(folder)
            check_tested(folder, record)
        except RunFolderError as error:
            left_out[folder] = str(error)
            continue
        row = _row(folder, record)
        found = {key: _value(key, row, record.config) for key in filters}
        known |= {key for key, values in found.items() if values}
        if all(values and _fits(values[0], filters[key]) for key, values in found.items()):
            rows.append(row)
    unknown = [key for key in filters if key not in known]
    if unknown and len(left_out) < len(folders):
        raise ConfigError(
            f"no run has a key {unknown[0]}. Known: {', '.join(_row_keys())}, and keys of the configuration such as "
            "train.steps."
        )
    return RunTable(rows, left_out)


def _row(folder: Path, record: RunRecord) -> Row:
    test, val = record.test, record.val
    values = (
        folder, record.name, record.experiment, record.algorithm, record.dataset, record.model, record.task.n_way,
        record.task.k_shot, record.seed, record.status, record.steps, None if test is None else test.metric,
        None if test is None else test.mean, None if test is None else test.ci95, None if val is None else val.mean,
        record.seconds,
    )  # fmt: skip
    return dict(zip(_row_keys(), values, strict=True))


def _row_keys() -> tuple[str, ...]:
    return (
        "folder", "name", "experiment", "algorithm", "dataset", "model", "n_way", "k_shot", "seed", "status", "steps",
        "metric", "test", "ci95", "val", "seconds",
    )  # fmt: skip


def _value(key: str, row: Row, config: Mapping[str, Any]) -> list[Any]:
    """The value of a key in a list; an empty list where there is no such key."""
    return [row[key]] if key in row else at_key(config, key)


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(value, list) and isinstance(wanted, str):  # such as tags
        return wanted in value
    return value in wanted if isinstance(wanted, (list, tuple, set, range)) else bool(value == wanted)


def _score(row: Row) -> str:
    if row["test"] is None:
        return "not tested"
    places = decimals(row["ci95"])
    return f"test {row['metric']} {row['test']:.{places}f} +- {row['ci95']:.{places}f}"
