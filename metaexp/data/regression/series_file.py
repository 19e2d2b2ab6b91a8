"""Time series in a CSV or .npz file: the series, the time and the values of each step. Without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.core.errors import DataError
from metaexp.core.shapes import Split
from metaexp.data.files.csv_rows import format_names, read_rows, refuse_misspelt, unused
from metaexp.data.files.folder_scan import refuse_special
from metaexp.data.files.npz import read_npz
from metaexp.data.regression.columns import (
    exact_table,
    finite_number,
    lost_digits,
    named_place,
    place_of,
    require_arrays,
    require_equal_lengths,
    splits_of_tasks,
    text_array,
)
from metaexp.data.regression.time_steps import StepTimes, compact_dates, uneven_steps
from metaexp.data.values.refused_values import number_in, spelling_advice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_ADVICE = "Give each step the name of its series in a column (or array) called series."
_RESERVED = ("series", "time", "split")
_MISSING = ("", "nan", "na", "null", "none")
_LEFT_EMPTY = "If the value is missing, leave it empty."
_PUT_NAN = "Put nan where a value is missing, or divide all by a constant."


class SeriesContent(NamedTuple):
    """The series of a file.

    Attributes:
        series: Series -> its values (T, D) float32 in the order of time; nan where one is missing.
        columns: The names of the columns (D).
        targets: The columns that are forecast, as numbers below D.
        splits: The series of each split; None where the file does not say.
        notes: Lines that say which columns are used, and what float32 loses.
        times: Series -> the times of its steps; None where the file has none.
    """

    series: dict[str, Floats]
    columns: tuple[str, ...]
    targets: tuple[int, ...]
    splits: dict[Split, list[str]] | None
    notes: tuple[str, ...] = ()
    times: dict[str, StepTimes] | None = None


class _Times(NamedTuple):
    """The times of all steps, as numbers and as they are written."""

    numbers: list[float | int]
    written: list[str]


class _Steps(NamedTuple):
    """The steps of all series, in the order of the file."""

    names: list[str]
    times: _Times | None
    values: npt.NDArray[Any]
    columns: list[str]
    splits: list[str] | None
    notes: list[str]


def read_series(
    path: Path,
    values: Sequence[str] | None,
    targets: Sequence[str] | None,
    series_name: str | None = None,
    time: str | None = None,
) -> SeriesContent:
    """Read a CSV or .npz file.

    Args:
        path: The file; ``.npz`` is read as arrays, everything else as CSV with a header.
        values: The columns of values in a CSV; None for all but ``series``, ``time`` and ``split``. In an .npz, they
            are called 0, 1, ...
        targets: Those that are forecast; None for all.
        series_name: The column of the series in a CSV; None for series.
        time: The column of times in a CSV; None for time, if there is one.

    Raises:
        DataError: Columns or arrays are missing, of another kind, or do not fit together; a series is in two splits;
            a series has two values at one time.
    """
    import numpy as np

    refuse_special(path)
    if path.suffix.lower() == ".npz":
        steps = _from_arrays(path, {"values": values, "series": series_name, "time": time})
    else:
        steps = _from_csv(path, values, series_name, time)
    chosen = steps.columns if targets is None else list(targets)
    unknown = [name for name in chosen if name not in steps.columns]
    if unknown or not chosen:
        raise DataError(
            f"dataset.targets names {unknown[0] if unknown else 'no column'}; the values of {path} are "
            f"{', '.join(steps.columns)}."
        )
    twice = next((name for name in chosen if chosen.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"dataset.targets names {twice} twice. Name each column once.")
    rows: dict[str, list[int]] = {}
    for number, name in enumerate(steps.names):
        rows.setdefault(name, []).append(number)
    times = None
    if steps.times is not None:
        rows = {name: _in_order(name, found, steps.times.numbers, path) for name, found in rows.items()}
        times = {name: _step_times(found, steps.times) for name, found in rows.items()}
    numbers = steps.values.astype(np.float32)
    series = {name: numbers[found] for name, found in rows.items()}
    places = tuple(steps.columns.index(name) for name in chosen)
    notes = tuple(steps.notes + lost_digits(steps.values, steps.names, steps.columns, path))
    splits = splits_of_tasks(steps.names, steps.splits, path, "series")
    return SeriesContent(series, tuple(steps.columns), places, splits, notes, times)


def _in_order(name: str, rows: Sequence[int], times: Sequence[float | int], path: Path) -> list[int]:
    """The rows (T) of a series in the order of time."""
    order = sorted(rows, key=times.__getitem__)
    if any(times[a] == times[b] for a, b in pairwise(order)):
        raise DataError(f"{path}: series {name} has two lines with the same time. Give each step a time of its own.")
    return order


def _step_times(rows: Sequence[int], times: _Times) -> StepTimes:
    """The times of a series, whose rows (T) are in order."""
    written = [times.written[row] for row in rows]
    return StepTimes(written, uneven_steps(compact_dates(written) or [times.numbers[row] for row in rows]))


def _from_csv(path: Path, values: Sequence[str] | None, series_name: str | None, time_name: str | None) -> _Steps:
    header, lines = read_rows(path)
    if not lines:
        raise DataError(f"{path} has no values. {_ADVICE}")
    series = named_place("series", series_name, header, path, _ADVICE)
    time = None if time_name is None and "time" not in header else named_place("time", time_name, header, path, "")
    known = (header[series], "time" if time is None else header[time], "split")
    columns = [name for name in header if name not in known] if values is None else list(values)
    for name in header if values is None else ():
        refuse_misspelt(name, header, known, path)
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise DataError(f"dataset.values names {twice} twice. Name each column once.")
    places = [place_of(name, header, path, "Name the columns of values in dataset.values.") for name in columns]
    if not columns:
        raise DataError(f"{path} has no column of values beside {format_names(header)}. {_ADVICE}")
    table = exact_table(
        [[_value(row[place].strip(), header[place], line, path) for place in places] for line, row in lines]
    )
    times = None
    if time is not None:
        written = [row[time].strip() for _, row in lines]
        numbers = [_time(text, header[time], line, path) for text, (line, _) in zip(written, lines, strict=True)]
        times = _Times(numbers, written)
    splits = [row[header.index("split")] for _, row in lines] if "split" in header else None
    cells = {name: [row[place] for _, row in lines] for place, name in enumerate(header)}
    notes = unused(cells, {*known, *columns} & {*header}, known, path)
    if values is None and len(columns) > 1:
        notes.append(f"Values in {path}: {', '.join(columns)}. To use some of them, name these in dataset.values.")
    return _Steps([row[series] for _, row in lines], times, table, columns, splits, notes)


def _value(text: str, column: str, line: int, path: Path) -> float | int:
    """The number in a cell; nan where it is missing."""
    return float("nan") if text.lower() in _MISSING else finite_number(text, column, line, path, _LEFT_EMPTY)


def _time(text: str, column: str, line: int, path: Path) -> float | int:
    """A time as a number: it is one, or a date (with a time of day) of ISO 8601. Whole numbers stay exact."""
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,40}", text) else number_in(text)
    if math.isnan(number):
        with suppress(ValueError):
            found = datetime.fromisoformat(text)
            number = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if not abs(number) < float("inf"):
        wanted = "it must be a number or a date such as 2026-01-31."
        advice = spelling_advice(text)
        raise DataError(f"{path}, line {line}: {column} is {text!r}; {wanted}{f' {advice}' if advice else ''}")
    return number


def _from_arrays(path: Path, named: Mapping[str, object]) -> _Steps:
    import numpy as np

    arrays = read_npz(path)
    if key := next((key for key, name in named.items() if name is not None), None):
        raise DataError(
            f"dataset.{key} names columns of a CSV; {path} has arrays called {', '.join(named)}. Set it to null."
        )
    require_arrays(arrays, ("series", "values"), path, _ADVICE)
    names = text_array(arrays, "series", path)
    table = arrays["values"]
    if table.dtype.kind not in "fiu" or table.ndim not in (1, 2) or 0 in table.shape:
        raise DataError(
            f"{path}: values is {table.dtype} of shape {table.shape}; it must be numbers of the shape (steps) or "
            "(steps, columns)."
        )
    table = table.reshape(len(table), -1)
    with np.errstate(over="ignore"):
        is_infinite = np.isinf(table.astype(np.float32)).any()
    if is_infinite:
        raise DataError(f"{path}: values has values that are infinite, or too large for float32. {_PUT_NAN}")
    times = None
    if "time" in arrays:
        when = arrays["time"]
        if when.ndim != 1 or when.dtype.kind not in "fiuM" or not np.isfinite(when).all():
            raise DataError(f"{path}: time is {when.dtype} of shape {when.shape}; it must be a number for each step.")
        numbers = when.astype(np.int64) if when.dtype.kind == "M" else when
        times = _Times(numbers.tolist(), list(map(str, when)))
    splits = text_array(arrays, "split", path) if "split" in arrays else None
    require_equal_lengths(
        {"series": names, "values": table, "time": times and times.numbers, "split": splits}, "steps", path
    )
    texts = {
        name: array.tolist() if array.dtype.kind == "U" and array.ndim == 1 else None for name, array in arrays.items()
    }
    notes = unused(texts, {"values", *_RESERVED} & {*arrays}, _RESERVED, path, "array")
    return _Steps(names, times, table, [str(number) for number in range(table.shape[1])], splits, notes)
