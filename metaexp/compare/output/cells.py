"""The tables of a comparison as text cells, the same for terminal, Markdown, CSV, LaTeX and page."""

from __future__ import annotations

from typing import NamedTuple

from metaexp.compare.comparison import Comparison, RowResult, Table, shared_device
from metaexp.compare.output import wording as c
from metaexp.compare.statistics.pairs import Estimate
from metaexp.results.wording import NOTHING, format_time


class Cell(NamedTuple):
    """Text, what to sort by (None: the text), and a second line in small print."""

    text: str
    value: float | None = None
    below: str = ""


class Column(NamedTuple):
    """A heading, and whether the column holds numbers, which are aligned right."""

    name: str
    is_number: bool = False


class Cells(NamedTuple):
    """A titled table. ``note`` stands below it."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str = ""


def scores(table: Table) -> Cells:
    """Rank, mean, difference to the best row, and what belongs beside every number."""
    metric = {"accuracy": "Accuracy", "mse": "Mean squared error"}[table.metric]
    columns = [
        Column("Rank", True), Column("Row"), Column("Batch norm"), Column("Gradient order"), Column(metric, True),
        Column("95 % interval", True), Column("Behind the best", True), Column("95 % interval of that", True),
        Column("p, corrected", True), Column("Seeds", True), Column("Episodes", True),
    ]  # fmt: skip
    note = f"{table.title}; test bank {table.bank[:12]}."
    return Cells(table.title, columns, [_score(table, row) for row in table.rows], note)


def _score(table: Table, row: RowResult) -> list[Cell]:
    behind = [Cell(NOTHING), Cell(NOTHING), Cell(NOTHING)]
    if row.to_best is not None:
        pair = table.pairs[row.to_best]
        sign = 1.0 if table.larger_is_better else -1.0
        item = pair.difference if sign > 0 else Estimate(
            -pair.difference.mean, -pair.difference.high, -pair.difference.low, pair.difference.over_seeds
        )  # fmt: skip
        behind = [
            Cell(c.format_difference(table.metric, item.mean).removeprefix("+"), item.mean),
            Cell(c.format_range(table.metric, item) + _only(item), item.low),
            Cell(c.format_p(pair.corrected), pair.corrected),
        ]
    return [
        Cell(c.format_rank(row), row.rank),
        Cell(row.label),
        Cell(row.batch_norm),
        Cell(row.order),
        Cell(c.format_mean(table.metric, row.estimate.mean), row.estimate.mean),
        Cell(c.format_range(table.metric, row.estimate) + _only(row.estimate), row.estimate.low),
        *behind,
        Cell(c.format_seeds(row), len(row.runs)),
        Cell(f"{table.n_episodes:,}", table.n_episodes),
    ]


def compact(table: Table) -> Cells:
    """The scores in few columns, with the rest as second lines, so that a phone and a terminal show them."""
    full = scores(table)
    columns = [
        Column("Rank", True), Column("Row"), Column(full.columns[4].name, True), Column("Behind the best", True),
        Column("Time", True),
    ]  # fmt: skip
    rows = []
    for row, line in zip(table.rows, full.rows, strict=True):
        rank, label, _, _, mean, interval, behind, its_interval, p, _, _ = line
        below = f"{its_interval.text}; p {p.text}" if row.to_best is not None else ""
        time = Cell(format_time(row.cost.seconds), row.cost.seconds)
        mean, behind = mean._replace(below=interval.text), behind._replace(below=below)
        rows.append([rank, label._replace(below=_beside(row)), mean, behind, time])
    return Cells(full.title, columns, rows, full.note)


def _beside(row: RowResult) -> str:
    order = "" if row.order == NOTHING else f", {row.order} order"
    seeds = f"{len(row.runs)} seed{'s' if len(row.runs) != 1 else ''}"
    return f"{seeds}; batch norm {row.batch_norm}{order}"


def _only(item: Estimate) -> str:
    return "" if item.over_seeds else " *"


def pairs(table: Table) -> Cells:
    """Every pair of rows: the difference, how sure, and what would settle an open one."""
    columns = [
        Column("Better mean"), Column("Other"), Column("Ahead by", True), Column("95 % interval", True),
        Column("p", True), Column("p, corrected", True), Column("Verdict"), Column("Would settle it"),
        Column("Pairing narrows", True),
    ]  # fmt: skip
    sign = 1.0 if table.larger_is_better else -1.0
    rows = []
    for pair in table.pairs:
        low, high = sorted((sign * pair.difference.low, sign * pair.difference.high))
        item = Estimate(sign * pair.difference.mean, low, high, pair.difference.over_seeds)
        rows.append(
            [
                Cell(table.rows[pair.first].label),
                Cell(table.rows[pair.second].label),
                Cell(c.format_difference(table.metric, item.mean).removeprefix("+"), item.mean),
                Cell(c.format_range(table.metric, item) + _only(item), item.low),
                Cell(c.format_p(pair.p), pair.p),
                Cell(c.format_p(pair.corrected), pair.corrected),
                Cell("different" if pair.significant else "open"),
                Cell(c.format_required_sample(pair.needs)),
                Cell(NOTHING if pair.narrower is None else f"{pair.narrower:.2f} x", pair.narrower),
            ]
        )
    return Cells(f"{table.title}: pairs", columns, rows)


def costs(table: Table) -> Cells:
    """What a run of each row took, as means over its runs. Devices have a column where they differ."""
    device = shared_device(table)
    columns = [
        Column("Row"), Column("Updates", True), Column("Time", True), Column("Episodes/s", True),
        Column("Memory", True), Column("Parameters", True), *([] if device else [Column("Device")]),
    ]  # fmt: skip
    rows = [
        [
            Cell(row.label),
            Cell(c.format_count(row.cost.steps), row.cost.steps),
            Cell(format_time(row.cost.seconds), row.cost.seconds),
            Cell(c.format_throughput(row.cost.episodes_per_second), row.cost.episodes_per_second),
            Cell(c.format_memory(row.cost.peak_memory_bytes), row.cost.peak_memory_bytes),
            Cell(c.format_count(row.cost.n_parameters), row.cost.n_parameters),
            *([] if device else [Cell("; ".join(row.cost.devices))]),
        ]
        for row in table.rows
    ]
    where = f" All ran on {device}." if device else ""
    note = f"Means over the runs of a row; time of a whole run, training episodes per second, peak memory.{where}"
    return Cells(f"{table.title}: cost", columns, rows, note)


def settings(table: Table) -> Cells:
    """The settings and conditions in which rows differ; what concerns fairness first."""
    columns = [Column("Setting"), *(Column(row.label) for row in table.rows)]
    rows = [
        [Cell(item.key, below="" if not item.own else "of the algorithm"), *map(Cell, item.values)]
        for item in table.differences
    ]
    return Cells(f"{table.title}: differences between the rows", columns, rows)


def pooled(table: Table) -> list[str]:
    """A warning for every row that pools runs of different settings."""
    return [
        f"{row.label} pools runs that differ in {', '.join(row.pooled)}, beside the seed."
        for row in table.rows
        if row.pooled
    ]


def left_out(comparison: Comparison) -> Cells:
    """The run folders that are not compared, and why."""
    rows = [[Cell(item.name), Cell(item.reason)] for item in comparison.left_out]
    return Cells("Left out", [Column("Run"), Column("Reason")], rows)


STAR = "* over episodes only: a row with one seed says nothing about other seeds."
