"""The tables of a comparison as text cells, the same for terminal, Markdown, CSV, LaTeX and page."""

from __future__ import annotations

from typing import NamedTuple

from metaexp.compare.comparison import ComparedRuns, RowResult, Table, shared_device
from metaexp.compare.differences import Difference
from metaexp.compare.output.fairness import format_unlike
from metaexp.compare.output.wording import (
    format_count,
    format_difference,
    format_mean,
    format_memory,
    format_p,
    format_range,
    format_rank,
    format_required_sample,
    format_seeds,
)
from metaexp.compare.statistics.pairs import Estimate
from metaexp.core.counted import counted
from metaexp.core.metric import format_metric_name
from metaexp.results.display.wording import NOTHING, format_throughput, format_times

_MOST_COLUMNS = 8
"""Rows that fit beside each other, with their names above, on a printed page."""


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: What it shows.
        value: What to sort by; None for the text.
        below: A second line in small print.
    """

    text: str
    value: float | None = None
    below: str = ""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: Its heading.
        is_number: Whether it holds numbers, which are aligned right.
    """

    name: str
    is_number: bool = False


class Cells(NamedTuple):
    """A table with its title, and a note below it."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str = ""


def scores_cells(table: Table) -> Cells:
    """Return rank, mean, difference to the first row, and what belongs beside every number."""
    metric = format_metric_name(table.metric).capitalize()
    columns = [
        Column("Rank", True), Column("Row"), Column("Batch norm"), Column("Gradient order"), Column(metric, True),
        Column("95 % interval", True), Column("Behind the best", True), Column("Interval of the difference", True),
        Column("p, corrected", True), Column("Seeds", True), Column("Episodes", True),
    ]  # fmt: skip
    note = f"{table.title}; bank of test episodes {table.bank[:12]}."
    return Cells(table.title, columns, [_score(table, row) for row in table.rows], note)


def _score(table: Table, row: RowResult) -> list[Cell]:
    behind = [Cell(NOTHING), Cell(NOTHING), Cell(NOTHING)]
    if row.to_best is not None:
        pair = table.pairs[row.to_best]
        behind = [*_lead(table, table.lead(pair)), Cell(format_p(pair.corrected), pair.corrected)]
    return [
        Cell(format_rank(row), row.rank),
        Cell(row.name),
        Cell(row.batch_norm),
        Cell(row.order),
        Cell(format_mean(table.metric, row.estimate.mean), row.estimate.mean),
        Cell(format_range(table.metric, row.estimate) + _star(row.estimate), row.estimate.low),
        *behind,
        Cell(format_seeds(row), len(row.runs)),
        Cell(f"{table.n_episodes:,}", table.n_episodes),
    ]


def _lead(table: Table, lead: Estimate) -> list[Cell]:
    """The cells of a difference and its interval."""
    return [
        Cell(format_difference(table.metric, lead.mean).removeprefix("+"), lead.mean),
        Cell(format_range(table.metric, lead) + _star(lead), lead.low),
    ]


def compact_cells(table: Table) -> Cells:
    """Return the scores in few columns, with the rest in second lines, so that a phone and a terminal can show them."""
    full = scores_cells(table)
    columns = [
        Column("Rank", True), Column("Row"), Column(full.columns[4].name, True), Column("Behind the best", True),
        Column("Time", True),
    ]  # fmt: skip
    rows, times = [], time_cells(table)
    for row, line, time in zip(table.rows, full.rows, times, strict=True):
        rank, label, _, _, mean, interval, behind, its_interval, p, _, _ = line
        below = "" if row.to_best is None else its_interval.text + (f"; p {p.text}" if p.text != NOTHING else "")
        mean, behind = mean._replace(below=interval.text), behind._replace(below=below)
        rows.append([rank, label._replace(below=_beside(row)), mean, behind, time])
    return Cells(full.title, columns, rows, full.note)


def time_cells(table: Table) -> list[Cell]:
    """Return the time of a run of each row, in one unit."""
    seconds = [row.cost.seconds for row in table.rows]
    return [Cell(text, value) for text, value in zip(format_times(seconds), seconds, strict=True)]


def _beside(row: RowResult) -> str:
    order = "" if row.order == NOTHING else f", {row.order} order"
    seeds = counted(len(row.runs), "seed")
    return f"{seeds}; batch norm {row.batch_norm}{order}"


def _star(estimate: Estimate) -> str:
    return "" if estimate.over_seeds or estimate.low is None else " *"


def pairs_cells(table: Table) -> Cells:
    """Return every pair of rows: the difference, its p-value, and the sample that would show an open one."""
    columns = [
        Column("Better mean"), Column("Other"), Column("Ahead by", True), Column("95 % interval", True),
        Column("p", True), Column("p, corrected", True), Column("Verdict"), Column("Sample that would show it"),
        Column("Narrower by pairing", True),
    ]  # fmt: skip
    rows = []
    for pair in table.pairs:
        lead, first, second = table.lead(pair), pair.first, pair.second
        if lead.mean < 0.0:
            lead, first, second = lead.negated(), second, first
        gain = pair.pairing_gain
        rows.append(
            [
                Cell(table.rows[first].name),
                Cell(table.rows[second].name),
                *_lead(table, lead),
                Cell(format_p(pair.p), pair.p),
                Cell(format_p(pair.corrected), pair.corrected),
                Cell("no verdict" if pair.decision == "withheld" else pair.decision),
                Cell(format_required_sample(pair)),
                Cell(NOTHING if gain is None else f"{gain:.2f} x", gain),
            ]
        )
    return Cells(f"{table.title}: pairs", columns, rows)


def costs_cells(table: Table) -> Cells:
    """Return what the runs of each row took, as means. Devices have a column where they differ."""
    device = shared_device(table)
    columns = [
        Column("Row"), Column("Steps", True), Column("Tasks seen", True), Column("Time", True),
        Column("Episodes/s", True), Column("Memory", True), Column("Parameters", True),
        *([] if device else [Column("Device")]),
    ]  # fmt: skip
    rows = [
        [
            Cell(row.name),
            Cell(format_count(row.cost.steps), row.cost.steps),
            Cell(NOTHING if row.cost.tasks is None else format_count(row.cost.tasks), row.cost.tasks),
            time,
            Cell(format_throughput(row.cost.episodes_per_second), row.cost.episodes_per_second),
            Cell(format_memory(row.cost.peak_memory_bytes), row.cost.peak_memory_bytes),
            Cell(format_count(row.cost.n_parameters), row.cost.n_parameters),
            *([] if device else [Cell("; ".join(row.cost.devices))]),
        ]
        for row, time in zip(table.rows, time_cells(table), strict=True)
    ]
    where = f" All ran on {device}." if device else ""
    note = (
        "Each number is the mean over the runs of a row. Time is that of a whole run, episodes per second are those of "
        f"training, and memory is the peak.{where}"
    )
    return Cells(f"{table.title}: cost", columns, rows, note)


def tasks_cells(comparison: ComparedRuns) -> Cells:
    """Return the means of all rows on all tasks, a row for each algorithm; no lines where there is one task."""
    tables = [table for table in comparison.tables if table.metric == comparison.tables[0].metric]
    names = list(dict.fromkeys(row.name for table in tables for row in table.rows))
    found = [{row.name: row for row in table.rows} for table in tables]
    lines = []
    for name in names if len(tables) > 1 else []:
        line = [Cell(name)]
        for table, rows in zip(tables, found, strict=True):
            row = rows.get(name)
            line.append(
                Cell(NOTHING)
                if row is None
                else Cell(
                    format_mean(table.metric, row.estimate.mean), row.estimate.mean,
                    format_range(table.metric, row.estimate) + _star(row.estimate),
                )
            )  # fmt: skip
        lines.append(line)
    columns = [Column("Row"), *(Column(table.title, True) for table in tables)]
    if not tables:
        return Cells("", columns, lines)
    metric = tables[0].metric
    title = f"{format_metric_name(metric).capitalize()} on all tasks"
    return Cells(title, columns, lines, format_unlike(comparison, metric))


def settings_cells(table: Table) -> Cells:
    """Return the settings and conditions in which rows differ; what concerns fairness first.

    Few rows are columns. Of many rows, each value has a line that names the rows with it.
    """
    title = f"{table.title}: differences between the rows"
    if len(table.rows) > _MOST_COLUMNS:
        lines = [line for item in table.differences for line in _values_of(item, [row.name for row in table.rows])]
        return Cells(title, [Column("Setting"), Column("Value"), Column("Rows")], lines)
    columns = [Column("Setting"), *(Column(row.name) for row in table.rows)]
    return Cells(title, columns, [[_key(item), *map(Cell, item.values)] for item in table.differences])


def _key(item: Difference) -> Cell:
    return Cell(item.key, below="of the algorithm" if item.own else "")


def _values_of(item: Difference, names: list[str]) -> list[list[Cell]]:
    """A line for each value of a setting; the rows of the most frequent one, which comes last, are not named."""
    rows_of: dict[str, list[str]] = {}
    for value, name in zip(item.values, names, strict=True):
        rows_of.setdefault(value, []).append(name)
    found = sorted(rows_of.items(), key=lambda entry: len(entry[1]))
    texts = [(value, ", ".join(rows)) for value, rows in found[:-1]]
    texts.append((found[-1][0], f"the other {counted(len(found[-1][1]), 'row')}"))
    return [[_key(item), Cell(value), Cell(text)] for value, text in texts]


def format_pooled_warnings(table: Table) -> list[str]:
    """Return a warning for every row that pools runs of different settings."""
    return [
        f"The row {row.name} has runs that differ in {', '.join(row.pooled)}, and not in the seed alone."
        for row in table.rows
        if row.pooled
    ]


def left_out_cells(comparison: ComparedRuns) -> Cells:
    """Return the run folders that are not compared and the learning curves that cannot be read, and why."""
    rows = [[Cell(item.name), Cell(item.reason)] for item in comparison.left_out]
    return Cells("Left out", [Column("Run"), Column("Reason")], rows)


STAR = "* A row with one seed: this interval is about its trained weights, and says nothing about other seeds."
