"""Filters of ``metaexp ls``: ``algorithm=maml train.steps=600 state=failed,stopped``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from metaexp.config.classes.values import format_nearest
from metaexp.core.errors import ConfigError
from metaexp.folders.known_values import format_unknown, known_names
from metaexp.folders.rows import KEYS, Row, chosen_file, has_value, value_of
from metaexp.folders.state import STATES

_OTHER_NAMES = {"status": "state"}
_MOST_NAMED = 12
OFTEN_ABSENT = ("tags", "notes")
"""Keys of the configuration that runs have only where the user gave them."""
_KEY = re.compile(r"\w[\w.\-/@]*")


class Filter(NamedTuple):
    """One filter: a row passes if the key has one of the values.

    Attributes:
        key: A key of a row, or of the configuration.
        values: The values as they were given.
    """

    key: str
    values: tuple[str, ...]


def parse_filters(words: Sequence[str]) -> list[Filter]:
    """Read filters from a command line.

    Args:
        words: Each ``KEY=VALUE`` or ``KEY=VALUE,VALUE``.

    Raises:
        ConfigError: A filter has no key or no value, or a state is not known.
    """
    found, problems = [], []
    for word in words:
        key, equals, text = word.partition("=")
        values = tuple(value.strip() for value in _split(text))
        if not equals or not _KEY.fullmatch(key) or not all(values):
            problems.append(f"{word!r} is not a filter. Write KEY=VALUE, as in algorithm=maml or state=failed,stopped.")
            continue
        key = _OTHER_NAMES.get(key, key)
        unknown = [value for value in values if key == "state" and value not in STATES]
        if unknown:
            hint = format_nearest(unknown[0], STATES)
            problems.append(f"state={unknown[0]} is not a state.{hint} Known: {', '.join(STATES)}.")
        found.append(Filter(key, values))
    if problems:
        raise ConfigError(problems)
    return found


def passing(rows: Sequence[Row], filters: Sequence[Filter]) -> list[Row]:
    """Return the rows that pass all filters.

    Args:
        rows: Rows of runs.
        filters: The filters.

    Raises:
        ConfigError: No row has a key of a filter.
    """
    for item in filters:
        check_key(rows, item.key)
    return [row for row in rows if all(_passes(row, item) for item in filters)]


def check_key(rows: Sequence[Row], key: str) -> None:
    """Raise ConfigError if no row has a key. Without rows, any key is right.

    Args:
        rows: Rows of runs.
        key: The key of a filter, of the order, or of a column.
    """
    if not rows or key in OFTEN_ABSENT or any(has_value(row, key) for row in rows):
        return
    known = [*KEYS, *_leaves(row.config for row in rows)]
    more = f", and keys of the settings, such as {', '.join(known[len(KEYS) : len(KEYS) + _MOST_NAMED])}"
    raise ConfigError(
        f"{key}: no run here has such a key.{format_nearest(key, known)} Known: {', '.join(KEYS)}"
        f"{more if len(known) > len(KEYS) else ''}."
    )


def unknown_values(rows: Sequence[Row], filters: Sequence[Filter]) -> list[str]:
    """Return a sentence for each name in a filter that no row has, and that is not a file of the configuration either.

    Args:
        rows: Rows of runs, before they are filtered.
        filters: The filters.
    """
    present = {item.key: [_value(row, item.key) for row in rows] for item in filters}
    absent = [
        (item.key, text)
        for item in filters
        for text in item.values
        if item.key != "state" and text != "null" and not any(_equals(one, text) for one in present[item.key])
    ]
    if not absent or not rows:
        return []
    names = known_names()
    found = [format_unknown(key, text, present[key], names) for key, text in absent if key in names]
    return [line for line in found if line]


def _passes(row: Row, item: Filter) -> bool:
    value = _value(row, item.key)
    return any(_equals(value, text) for text in item.values)


def _value(row: Row, key: str) -> Any:
    """The value of a key; of a section, such as ``optimizer``, the file that was chosen."""
    value = value_of(row, key)
    return chosen_file(row.found.path, key) if isinstance(value, dict) else value


def _equals(value: Any, text: str) -> bool:
    if value is None or isinstance(value, bool):
        return text.lower() == {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        try:
            return math.isclose(value, float(text), rel_tol=1e-12)
        except (ValueError, OverflowError):
            return False
    if isinstance(value, list):
        is_all = "".join(str(value).split()).replace("'", "") == "".join(text.split())
        return is_all or any(_equals(item, text) for item in value)
    return str(value) == text


def _split(text: str) -> list[str]:
    """The parts between commas, but not between commas in brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _leaves(configs: Iterable[Any]) -> list[str]:
    """The dotted keys of configurations, without lists, each once."""
    found: dict[str, None] = {}
    for config in configs:
        left = [("", config)]
        while left:
            prefix, node = left.pop()
            for key, value in node.items():
                if isinstance(value, dict):
                    left.append((f"{prefix}{key}.", value))
                else:
                    found.setdefault(f"{prefix}{key}")
    return list(found)
