"""Reads the records of runs into a table, for Python, with filters. Imports no torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from metaexp.config.classes.values import format_nearest
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.core.nested import at_key, values_by_key
from metaexp.folders.filters import OFTEN_ABSENT
from metaexp.folders.known_values import format_unknown, known_names
from metaexp.folders.rows import chosen_file
from metaexp.results.episodes import check_tested
from metaexp.results.record import RunRecord, Status, read_record
from metaexp.results.run_table import Row, RunTable

_KEYS = (
    "folder", "name", "experiment", "algorithm", "dataset", "model", "n_way", "k_shot", "seed", "status", "steps",
    "metric", "test", "ci95", "val", "seconds",
)  # fmt: skip
_STATES: tuple[str, ...] = get_args(Status)


def read_table(folders: Sequence[Path], filters: Mapping[str, Any]) -> RunTable:
    """Read the records of run folders. A value of a filter that cannot be meant brings a warning.

    Args:
        folders: The run folders.
        filters: Key -> the value that a run must have, or a list of such values. A key is one of a row, or a dotted
            key of the configuration; of a section, such as ``optimizer``, the value is the file that was chosen.

    Raises:
        ConfigError: No run has such a key, or there is no such status.
    """
    filters = {key: _plain(wanted) for key, wanted in filters.items()}
    rows: list[Row] = []
    left_out: dict[Path, str] = {}
    seen: dict[str, list[Any]] = {key: [] for key in filters}
    known: set[str] = set()
    _check_status(filters)
    for folder in folders:
        try:
            record = read_record(folder)
            check_tested(folder, record)
        except RunFolderError as error:
            left_out[folder] = str(error)
            continue
        row = _row(folder, record)
        known |= {*_KEYS, *values_by_key(record.config)}
        found = {key: _values(key, row, record.config) for key in filters}
        for key, values in found.items():
            seen[key] += values
        if all(any(_fits(value, filters[key]) for value in values) for key, values in found.items()):
            rows.append(row)
    if len(left_out) < len(folders):
        _check_keys(seen, known)
        for line in _unknown(filters, seen):
            warnings.warn(line, stacklevel=3)  # where runs() was called
    return RunTable(rows, left_out)


def _row(folder: Path, record: RunRecord) -> Row:
    test, val = record.test, record.val
    values = (
        folder, record.name, record.experiment, record.algorithm, record.dataset, record.model, record.task.n_way,
        record.task.k_shot, record.seed, record.status, record.steps, None if test is None else test.metric,
        None if test is None else test.mean, None if test is None else test.ci95, None if val is None else val.mean,
        record.seconds,
    )  # fmt: skip
    return dict(zip(_KEYS, values, strict=True))


def _values(key: str, row: Row, config: Mapping[str, Any]) -> list[Any]:
    """The value of a key, and of a section the file that was chosen, too; an empty list where there is no such key."""
    if key in row:
        return [row[key]]
    found = at_key(config, key)
    return [*found, chosen_file(row["folder"], key)] if found and isinstance(found[0], Mapping) else found


def _plain(wanted: Any) -> Any:
    """A filter in types that compare: a list for an array, a frozenset, a generator and the like."""
    if hasattr(wanted, "tolist"):  # of numpy, torch and pandas
        return wanted.tolist()
    is_one = isinstance(wanted, (str, bytes, Mapping, range)) or not isinstance(wanted, Iterable)
    return wanted if is_one else list(wanted)


def _several(wanted: Any) -> list[Any]:
    return list(wanted) if isinstance(wanted, (list, tuple, range)) else [wanted]


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one or among them; of a list, such as tags, whether one of its values is."""
    if isinstance(value, list):
        return value == wanted or any(_fits(item, wanted) for item in value)
    if isinstance(value, Path):
        value = str(value)
    return any(bool(value == (str(one) if isinstance(one, Path) else one)) for one in _several(wanted))


def _check_status(filters: Mapping[str, Any]) -> None:
    for status in _several(filters.get("status", _STATES)):
        if status not in _STATES:
            near = format_nearest(str(status), _STATES)
            raise ConfigError(f"status={status!r} is not a status of runs.{near} Known: {', '.join(_STATES)}.")


def _check_keys(seen: Mapping[str, Sequence[Any]], known: set[str]) -> None:
    """Raise ConfigError for a key that no run has."""
    unknown = [key for key, values in seen.items() if not values and key not in OFTEN_ABSENT]
    if unknown:
        raise ConfigError(
            f"no run has a key {unknown[0]}.{format_nearest(unknown[0], sorted(known))} Known: {', '.join(_KEYS)}, and "
            "keys of the configuration such as train.steps."
        )


def _unknown(filters: Mapping[str, Any], seen: Mapping[str, Sequence[Any]]) -> list[str]:
    """A sentence for each value of a filter that no run has, and that cannot be meant."""
    absent = [
        (key, value) for key, wanted in filters.items() for value in _several(wanted)
        if key != "status" and not any(_fits(one, value) for one in seen[key])
    ]  # fmt: skip
    if not absent:
        return []
    names = known_names()
    return [line for key, value in absent if (line := format_unknown(key, value, seen[key], names))]
