"""The accuracy of each class in each row, where the runs were tested with ``eval.metrics=[per_class]``."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import NamedTuple

from metaexp.compare.comparison import ComparedRuns, RowResult, Table
from metaexp.compare.output.cells import Cell, Cells, Column
from metaexp.core.counted import agreeing, counted
from metaexp.results.display.wording import NOTHING
from metaexp.results.per_class.files import ClassResult

CLASSES_TABLE = "classes.csv"
HEADER = ("dataset", "n_way", "k_shot", "row", "class", "accuracy", "right", "queries")
_MOST_CLASSES, _MOST_ROWS = 20, 5


class RowWithClasses(NamedTuple):
    """The answers of all runs of a row, by class."""

    row: RowResult
    classes: dict[str, ClassResult]


def rows_with_classes(table: Table) -> list[RowWithClasses]:
    """Return the rows of which every run knows its classes, with their answers added up over the runs.

    There are none where fewer than two rows know them, for then nothing is compared.
    """
    found = []
    for row in table.rows:
        if all(run.classes for run in row.runs):
            right, queries = Counter[str](), Counter[str]()
            for item in (item for run in row.runs for item in run.classes):
                right[item.name] += item.right
                queries[item.name] += item.queries
            found.append(
                RowWithClasses(row, {name: ClassResult(name, right[name], n, 0, ()) for name, n in queries.items()})
            )
    return found if len(found) > 1 else []


def classes_cells(table: Table, most: int = _MOST_CLASSES, columns: int = _MOST_ROWS) -> Cells:
    """Return the accuracy of the hardest classes, a column for each row; no lines where rows do not know it.

    Args:
        table: The rows.
        most: How many classes are shown.
        columns: How many rows are shown, the best ones.
    """
    found = rows_with_classes(table)
    title = f"{table.title}: accuracy of the hardest classes"
    if not found:
        return Cells(title, [], [])
    shown = found[:columns]
    names = {name for row in found for name in row.classes}
    accuracy = {name: fmean(row.classes[name].accuracy for row in found if name in row.classes) for name in names}
    hardest = sorted(names, key=lambda name: (accuracy[name], name))[:most]
    queries = {name: max(row.classes[name].queries for row in found if name in row.classes) for name in hardest}
    lines = [
        [Cell(name), Cell(f"{queries[name]:,}", queries[name]), *(_accuracy(row, name) for row in shown)]
        for name in hardest
    ]
    headings = [Column("Class"), Column("Queries", True), *(Column(row.row.name, True) for row in shown)]
    which = f"The {len(hardest)} hardest of {len(names):,} classes" if len(hardest) < len(names) else "All classes"
    note = f"{which}, by the mean over the rows. Which classes with few queries are hardest is partly chance."
    return Cells(title, headings, lines, f"{note} {_format_rest(table, found, shown)}".rstrip())


def class_lines(comparison: ComparedRuns) -> list[list[str | float | int | None]]:
    """Return the lines of ``classes.csv``: every class of every row that knows its classes."""
    return [
        [table.dataset, table.n_way, table.k_shot, row.row.label, item.name, item.accuracy, item.right, item.queries]
        for table in comparison.tables
        for row in rows_with_classes(table)
        for item in sorted(row.classes.values(), key=lambda item: (item.accuracy, item.name))
    ]


def _accuracy(row: RowWithClasses, name: str) -> Cell:
    item = row.classes.get(name)
    return Cell(NOTHING) if item is None else Cell(f"{item.accuracy * 100:.1f} %", item.accuracy)


def _format_rest(table: Table, found: list[RowWithClasses], shown: list[RowWithClasses]) -> str:
    without = len(table.rows) - len(found)
    texts = []
    if left := len(found) - len(shown):
        texts.append(f"The other {counted(left, 'row')} {agreeing(left, 'is')} in {CLASSES_TABLE}.")
    if without:
        texts.append(f"{counted(without, 'row')} {agreeing(without, 'was')} tested without per_class.")
    return " ".join(texts)
