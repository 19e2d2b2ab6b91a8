"""Lists runs, sweeps and searches below folders, as lines or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from metaexp.config.classes.values import format_setting
from metaexp.core.terminal_text import align_columns, plain, wrap_lines
from metaexp.folders.find import Found, find, jobs, kind_of
from metaexp.folders.rows import KEYS, Row, format_reason, has_value, row_of, value_of
from metaexp.results.display.wording import NOTHING
from metaexp.results.job_note import format_removed, removed_jobs, why_no_record

_SECONDS_WITHOUT_PROGRESS = 0.7
_MOST_REASONS = 10
_UNITS = ("kB", "MB", "GB", "TB")

Item = TypeVar("Item")


def list_rows(places: Sequence[Path], *, with_jobs: bool) -> list[Row]:
    """Read the rows of all runs, sweeps and searches in or below some folders.

    Args:
        places: The folders. In a sweep or a search, its jobs are listed.
        with_jobs: Whether to list the jobs of sweeps and the trials of searches in place of the sweeps and searches.

    Raises:
        RunFolderError: A folder is not there, or cannot be read.
    """
    found: dict[Path, Found] = {}
    for place in places:
        for item in _opened(place, deep=with_jobs):
            found.setdefault(item.path.absolute(), item)
    read = with_progress([*found.values()], "read")
    return [row_of(item) for item in read]


def _opened(place: Path, *, deep: bool) -> list[Found]:
    """What is listed of a folder; of a sweep or a search that is itself given, its jobs."""
    found = find(place)
    if deep or kind_of(place) in ("sweep", "search"):
        return [job for item in found for job in jobs(item)]
    return found


def removed_rows(places: Sequence[Path], *, with_jobs: bool) -> list[Row]:
    """Return a row, in the state ``removed``, for each job whose folder was removed from the sweeps that are listed.

    Args:
        places: As for :func:`list_rows`.
        with_jobs: As for :func:`list_rows`. A sweep or search that is listed itself names them, see :func:`to_json`.
    """
    owners: dict[Path, None] = {}
    for place in places:
        if with_jobs or kind_of(place) in ("sweep", "search"):
            owners |= dict.fromkeys(item.path for item in find(place) if item.kind != "run")
    return [_removed_row(folder, owner) for owner in owners for folder in removed_jobs(owner)]


def _removed_row(folder: Path, owner: Path) -> Row:
    facts = dict.fromkeys(KEYS) | {"folder": str(folder), "kind": "run", "state": "removed", "size": 0}
    return Row(Found(folder, "run", owner), "removed", facts, {}, NOTHING, NOTHING, f"it {why_no_record(folder)}")


def sort_rows(rows: Sequence[Row], key: str, *, reverse: bool) -> list[Row]:
    """Sort rows by the value of a key, the smallest first; rows without a value come first.

    Args:
        rows: The rows.
        key: A key of a row, or of the configuration.
        reverse: Whether to put the largest first.
    """
    return sorted(rows, key=lambda row: _order(value_of(row, key)), reverse=reverse)


def _order(value: Any) -> tuple[int, float, str]:
    if isinstance(value, (int, float)):
        return (1, float(value), "")
    return (0, 0.0, "") if value is None else (2, 0.0, str(value))


def format_rows(rows: Sequence[Row], none_found: str, more: Sequence[str] = ()) -> str:
    """Format rows as aligned lines, with the folder at the end of each, and a line that sums them up.

    Lines after these name jobs that were removed from the sweeps of the others, and say why runs failed or are damaged,
    where the column of results has no room for it.

    Args:
        rows: The rows.
        none_found: The text if there are no rows.
        more: Keys of further columns.
    """
    if not rows:
        return none_found
    head = ["state", "when (UTC)", "size", "result", "what", *more, "folder"]
    cells = [
        [row.state, str(row.facts["when"] or NOTHING)[:16], format_size(row.facts["size"]), row.result, row.what,
         *(format_setting(value_of(row, key)) if has_value(row, key) else NOTHING for key in more), str(row.found.path)]
        for row in rows
    ]  # fmt: skip
    ends = [_format_sum(rows), *_format_removed(rows), *_format_reasons(rows)]
    return "\n".join([*format_columns([head, *cells], right=(2,)), *ends])


def format_columns(lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Align the columns of lines, each text in one line and without control characters.

    Args:
        lines: The lines, the head first.
        right: Columns whose texts end below each other.
    """
    return align_columns([[plain(text) for text in line] for line in lines], right)


def _format_sum(rows: Sequence[Row]) -> str:
    parts = []
    for kind, many in (("run", "runs"), ("sweep", "sweeps"), ("search", "searches")):
        n = sum(row.found.kind == kind for row in rows)
        parts += [f"{n} {kind if n == 1 else many}"] if n else []
    return f"{', '.join(parts)}, {format_size(sum(row.facts['size'] for row in rows))}"


def _format_removed(rows: Sequence[Row]) -> list[str]:
    """A line for each sweep or search of which jobs are listed and others were removed."""
    owners = dict.fromkeys(row.found.owner for row in rows if row.found.owner is not None)
    found = [(owner, format_removed(removed_jobs(owner))) for owner in owners]
    return [wrap_lines(plain(f"{owner}: {line}")) for owner, line in found if line]


def _format_reasons(rows: Sequence[Row]) -> list[str]:
    found = [
        f"  {row.found.path}: {format_reason(row.error)}"
        for row in rows
        if row.error and row.state in ("failed", "damaged") and plain(row.error) != row.result
    ]
    if len(found) > _MOST_REASONS + 1:
        found[_MOST_REASONS:] = [f"  and {len(found) - _MOST_REASONS:,} more, which --json has as well"]
    return [wrap_lines("\n".join(["failed or damaged:", *found]))] if found else []


def to_json(rows: Sequence[Row]) -> str:
    """Return rows as a JSON list, with every fact, the settings of runs, and why a row failed or is damaged.

    A sweep or a search has the folders of its jobs that were removed, too.
    """
    return json.dumps([_to_json(row) for row in rows], indent=1)


def _to_json(row: Row) -> dict[str, Any]:
    removed = [str(folder) for folder in row.removed]
    return {**row.facts, "result": row.result, "error": row.error, "removed": removed, "settings": row.config}


def format_size(n_bytes: int) -> str:
    """Return ``812 B``, ``1.2 MB`` or ``34 GB``."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    value = float(n_bytes)
    for unit in _UNITS:
        value /= 1000
        if value < 999.5 or unit == _UNITS[-1]:
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    raise AssertionError


def with_progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield items, and show how many are done if that takes longer than a moment.

    Args:
        items: The items.
        what: What is done with them, for the line.
    """
    since, advance = monotonic(), None
    with ExitStack() as stack:
        for number, item in enumerate(items):
            if advance is None and monotonic() - since > _SECONDS_WITHOUT_PROGRESS:
                from metaexp.run.progress import default_display  # imports rich

                advance = stack.enter_context(default_display().show_progress(what, len(items), number))
            if advance is not None:
                advance(number)
            yield item


def paths_of(rows: Iterable[Row]) -> list[str]:
    """Return the folders of rows."""
    return [str(row.found.path) for row in rows]
