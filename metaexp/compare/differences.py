"""Settings and conditions in which rows differ, so that an unfair comparison can be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metaexp.compare.rows import (
    ABSENT,
    OF_TEST,
    Decide,
    RowOfRuns,
    format_yaml_value,
    is_of_task,
    network_as_made,
    settings,
)
from metaexp.core.nested import values_by_key
from metaexp.results.display.wording import format_batch_norm, format_device
from metaexp.results.privacy import clean_text
from metaexp.results.record import RunRecord

_OF_TABLE = ("dataset.", "eval.episodes", "eval.seed", "trained_on", "data hash", "schedule of the experiment")
"""What keys begin with that belong to the data and the test of a table."""
_OF_RUNS = ("steps done", "code", "torch", "device")
"""Conditions of single runs that are not settings."""
_SKIPPED = ("seed", "algorithm._target_", OF_TEST)


@dataclass(frozen=True)
class Difference:
    """A key whose value is not the same in all rows.

    Attributes:
        key: A dotted key, or the name of a condition.
        values: One text for each row; several values of a row are in one text.
        own: Whether it is a setting of the algorithms themselves, in which different algorithms must differ. The
            others decide whether the comparison is fair.
    """

    key: str
    values: list[str]
    own: bool


def differing_settings(members: Sequence[RowOfRuns], decide: Decide) -> list[Difference]:
    """Return the settings and conditions that are not the same in all rows; what concerns fairness comes first.

    Args:
        members: The rows of one table.
        decide: Returns the part of a configuration that decides numbers.
    """
    leaves = [[settings(run.record) | _conditions(run.record) for run in row.runs] for row in members]
    decided = [
        [
            network_as_made(values_by_key(decide(run.record.config)), run.record) | _conditions(run.record)
            for run in row.runs
        ]
        for row in members
    ]
    keys = dict.fromkeys(key for row in decided for leaf in row for key in leaf)
    found = []
    for key in keys:
        if key in _SKIPPED or key.startswith("task."):
            continue
        if len({_texts(row, key) for row in decided}) > 1:
            values = [_shown(row, key) for row in leaves]
            found.append(Difference(key, values, own=key.startswith("algorithm.")))
    return sorted(found, key=lambda difference: (difference.own, not is_of_task(difference.key)))


def settings_of_names(rows_of: Mapping[str, Sequence[RowOfRuns]], decide: Decide) -> dict[str, list[str]]:
    """Return the settings in which the rows of one name differ between tables, by name; without names that have none.

    Tables differ in their data and their task, so settings of these are left out, and so is what single runs had.

    Args:
        rows_of: Name -> the row of that name in each table.
        decide: Returns the part of a configuration that decides numbers.
    """
    found = {
        name: [item.key for item in differing_settings(members, decide) if not _may_differ(item.key)]
        for name, members in rows_of.items()
    }
    return {name: keys for name, keys in found.items() if keys}


def _may_differ(key: str) -> bool:
    return is_of_task(key) or key.startswith(_OF_TABLE) or key in _OF_RUNS


def _conditions(record: RunRecord) -> dict[str, Any]:
    """Conditions beside the configuration that could make a comparison unfair."""
    commit = ABSENT if record.git is None else record.git.commit[:10] + (" with changes" if record.git.dirty else "")
    return {
        "batch_norm": format_batch_norm(record.batch_norm),
        "steps done": f"{record.steps:,}",
        "schedule of the experiment": ABSENT if record.full_steps is None else f"{record.full_steps:,}",
        "data hash": (record.data_hash or ABSENT)[:12],
        "code": commit,
        "torch": record.versions.get("torch", ABSENT),
        "device": format_device(record.device),
    }


def _texts(row: Sequence[dict[str, Any]], key: str) -> str:
    return ", ".join(dict.fromkeys(format_yaml_value(leaf.get(key, ABSENT)) for leaf in row))


def _shown(row: Sequence[dict[str, Any]], key: str) -> str:
    """The values of a row without paths of the machine, since they are on a page that is published."""
    return clean_text(_texts(row, key))
