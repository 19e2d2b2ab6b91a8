"""A comparison: everything that tables, plots and pages say, computed once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from metaexp.compare.banks import check_banks
from metaexp.compare.differences import Difference, differences
from metaexp.compare.gather import LeftOut, Run
from metaexp.compare.rows import Decide, Group, Rows, group, rows
from metaexp.compare.statistics.effects import DRAWS
from metaexp.compare.statistics.pairs import Estimate, Pair, Verdicts, judge
from metaexp.results.wording import format_batch_norm, format_device, format_order

LARGER_IS_BETTER = {"accuracy": True, "mse": False}


@dataclass(frozen=True)
class Cost:
    """What a run of a row took: means over its runs, None where no record says it. ``devices``: where."""

    seconds: float | None
    episodes_per_second: float | None
    peak_memory_bytes: float | None
    n_parameters: float | None
    steps: float
    devices: list[str]


@dataclass(frozen=True)
class RowResult:
    """One row of a table, with what belongs beside its number. tied: whether another row has its rank.

    to_best: the index in the table's ``pairs`` of the pair with the first row; None for the first row itself.
    """

    label: str
    runs: list[Run]
    estimate: Estimate
    rank: int
    tied: bool
    batch_norm: str
    order: str
    cost: Cost
    pooled: list[str]
    to_best: int | None

    @property
    def seeds(self) -> list[int]:
        """The seeds of the row's runs."""
        return [run.record.seed for run in self.runs]


@dataclass(frozen=True)
class Table:
    """One group's rows, the best first, and their pairs (indices of ``rows``; the better mean is ``first``)."""

    title: str
    dataset: str
    n_way: int
    k_shot: int
    metric: str
    bank: str
    n_episodes: int
    rows: list[RowResult]
    pairs: list[Pair]
    differences: list[Difference]

    @property
    def larger_is_better(self) -> bool:
        """The direction of the metric."""
        return LARGER_IS_BETTER[self.metric]

    @property
    def has_star(self) -> bool:
        """Whether any of its intervals is over episodes only."""
        return any(not row.estimate.over_seeds for row in self.rows)


@dataclass(frozen=True)
class Comparison:
    """All tables, what was left out, and the command that made it."""

    title: str
    tables: list[Table]
    left_out: list[LeftOut]
    command: str

    @property
    def labels(self) -> list[str]:
        """Every row's label once, in alphabetical order: the order of colours."""
        return sorted({row.label for table in self.tables for row in table.rows})


def compare(
    runs: Sequence[Run],
    left_out: Sequence[LeftOut],
    by: Sequence[str],
    decide: Decide,
    title: str,
    command: str,
    draws: int = DRAWS,
) -> Comparison:
    """Compare ``runs``. Raises RunFolderError where a group has more than one bank, ConfigError for unknown keys."""
    groups = group(runs)
    check_banks(groups)
    tables = [_table(item, rows(item.runs, by, decide), decide, draws) for item in groups]
    return Comparison(title, tables, list(left_out), command)


def _table(item: Group, members: Sequence[Rows], decide: Decide, draws: int) -> Table:
    larger = LARGER_IS_BETTER[item.metric]
    means = [fmean(run.test.mean for run in row.runs) for row in members]
    order = sorted(
        range(len(members)), key=lambda index: (-means[index] if larger else means[index], members[index].label)
    )
    ordered = [members[index] for index in order]
    verdicts = judge([np.stack([run.values for run in row.runs]) for row in ordered], larger, draws)
    return Table(
        title=item.title,
        dataset=item.dataset,
        n_way=item.n_way,
        k_shot=item.k_shot,
        metric=item.metric,
        bank=item.runs[0].bank,
        n_episodes=item.runs[0].test.n_episodes,
        rows=[_row(row, index, verdicts) for index, row in enumerate(ordered)],
        pairs=verdicts.pairs,
        differences=differences(ordered, decide),
    )


def _row(row: Rows, index: int, verdicts: Verdicts) -> RowResult:
    records = [run.record for run in row.runs]
    pair = next((n for n, pair in enumerate(verdicts.pairs) if (pair.first, pair.second) == (0, index)), None)
    return RowResult(
        label=row.label,
        runs=row.runs,
        estimate=verdicts.estimates[index],
        rank=verdicts.ranks[index],
        tied=verdicts.ranks.count(verdicts.ranks[index]) > 1,
        batch_norm=_all_of(format_batch_norm(record.batch_norm) for record in records),
        order=_all_of(format_order(record.first_order) for record in records),
        cost=Cost(
            seconds=_mean([record.seconds for record in records]),
            episodes_per_second=_mean([record.episodes_per_second for record in records]),
            peak_memory_bytes=_mean([record.peak_memory_bytes for record in records]),
            n_parameters=_mean([record.n_parameters for record in records]),
            steps=fmean(record.steps for record in records),
            devices=list(dict.fromkeys(format_device(record.device) for record in records)),
        ),
        pooled=row.pooled,
        to_best=pair,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _all_of(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def shared_device(table: Table) -> str | None:
    """The device of all runs of a table, None where they ran on several: then times compare devices too."""
    devices = {device for row in table.rows for device in row.cost.devices}
    return devices.pop() if len(devices) == 1 else None
