"""Sentences about the conditions of a comparison: what is not equal between its rows."""

from __future__ import annotations

from metaexp.compare.comparison import ComparedRuns, Table
from metaexp.compare.differences import Difference
from metaexp.compare.rows import is_of_task
from metaexp.core.counted import counted, listed
from metaexp.results.display.wording import shorten

_MOST_NAMES = 5
_BUDGET = ("train.steps", "train.meta_batch_size", "train.patience", "steps done")


def _conditions(table: Table) -> dict[str, list[Difference]]:
    """What decides whether a comparison is fair -> the settings of it in which rows differ."""
    found: dict[str, list[Difference]] = {}
    for item in table.differences:
        what = (
            "the training budget" if item.key in _BUDGET
            else "the training tasks" if is_of_task(item.key)
            else "the network" if item.key.partition(".")[0] == "model"
            else ""
        )  # fmt: skip
        if what and not item.own:
            found.setdefault(what, []).append(item)
    return found


def format_unequal_conditions(table: Table) -> list[str]:
    """Return the warning that budgets, training tasks or networks differ, which comes first; none where none do."""
    parts = []
    for what, items in _conditions(table).items():
        first = items[0]
        is_class = first.key.endswith("_target_")
        values = list(dict.fromkeys(value.rpartition(".")[2] if is_class else shorten(value) for value in first.values))
        others = f" and {counted(len(items) - 1, 'other setting')}" if len(items) > 1 else ""
        parts.append(f"{what} ({first.key}: {listed(values, 4)}{others})")
    if not parts:
        return []
    return [
        f"The conditions are not equal: rows differ in {format_names(parts)}. A row can be better because of this, and "
        "not because of its algorithm."
    ]


def format_other_differences(table: Table) -> list[str]:
    """Return the sentence about other settings in which rows differ, which comes last; none where there are none."""
    said = {item.key for items in _conditions(table).values() for item in items}
    keys = [difference.key for difference in table.differences if not difference.own and difference.key not in said]
    if not keys:
        return []
    return [
        f"Rows also differ in {listed(keys, 6)}. The table below has the values: check whether the comparison is fair."
    ]


def format_two_seeds(table: Table) -> list[str]:
    """Return the sentence about rows of two seeds; none where there are none."""
    two = [row.name for row in table.rows if len(row.runs) == 2]
    if not two:
        return []
    several = "All rows have" if len(two) == len(table.rows) else "Some rows have"
    subject, those = (f"{two[0]} has", "its") if len(two) == 1 else (several, "their")
    return [f"{subject} two seeds. Two say little about how much seeds differ, so {those} intervals are wide."]


def format_unlike(comparison: ComparedRuns, metric: str) -> str:
    """Return the sentence about rows that have one name and other settings on other tasks; empty where none have.

    Args:
        comparison: What the runs show.
        metric: The metric of the tables that are shown together.
    """
    rows = [f"{name} ({listed(keys, 4)})" for name, keys in comparison.unlike[metric].items()]
    return f"Not the same settings on all tasks: {format_names(rows)}." if rows else ""


def format_names(names: list[str]) -> str:
    """Return one or more names as ``a, b and c``, or ``a, b, c, d and 7 more``."""
    if len(names) > _MOST_NAMES:
        return listed(names, _MOST_NAMES - 1)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
