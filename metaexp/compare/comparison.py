"""A comparison: the numbers of all tables, figures and pages, computed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from metaexp.compare.banks import check_banks
from metaexp.compare.budget import tasks_per_step
from metaexp.compare.differences import Difference, differing_settings, settings_of_names
from metaexp.compare.domains import with_domains
from metaexp.compare.gather import GatheredRun, LeftOut
from metaexp.compare.learning import read_histories
from metaexp.compare.rows import Decide, Group, RowOfRuns, group, rows
from metaexp.compare.statistics.pairs import Estimate, Pair, Verdicts, compare_rows
from metaexp.core.metric import is_hit_rate, larger_is_better, least_value
from metaexp.results.display.names import format_label
from metaexp.results.display.wording import format_batch_norm, format_device, format_order
from metaexp.results.history import History
from metaexp.results.record import RunRecord


@dataclass(frozen=True)
class Cost:
    """What the runs of a row took, as means over them; None where no record says it.

    Attributes:
        seconds: The time of a whole run.
        episodes_per_second: Training episodes over training time.
        peak_memory_bytes: The most memory.
        n_parameters: Meta-parameters.
        steps: Training steps.
        tasks: Training tasks seen; None for algorithms that train on batches of examples.
        devices: Where they ran.
    """

    seconds: float | None
    episodes_per_second: float | None
    peak_memory_bytes: float | None
    n_parameters: float | None
    steps: float
    tasks: float | None
    devices: list[str]


@dataclass(frozen=True)
class RowResult:
    """One row of a table.

    Attributes:
        label: Its name in files, which tells it from the other rows.
        name: Its label with the algorithm's name in full, for tables and figures.
        runs: One for each seed.
        estimate: The mean with its interval.
        rank: The first place that it may hold; None for a row with one seed.
        rank_last: The last place that it may hold.
        batch_norm: The batch-norm mode at test.
        order: The order of the meta-gradient.
        cost: What its runs took.
        pooled: Keys other than the seed in which its runs differ.
        to_best: The index in the table's ``pairs`` of the pair with the first row; None for the first row itself.
    """

    label: str
    name: str
    runs: list[GatheredRun]
    estimate: Estimate
    rank: int | None
    rank_last: int | None
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
    """The table of one group.

    Attributes:
        title: Dataset and task.
        dataset: The name of the dataset.
        n_way: Classes of a task; 0 for regression.
        k_shot: Support examples per class.
        metric: accuracy or mse.
        bank: The hash of the test episodes.
        n_episodes: How many of them.
        rows: Rows of several seeds first, the best mean first; then rows of one seed, which have no rank.
        pairs: Every pair of rows; ``first`` and ``second`` are indices of ``rows``.
        differences: The settings and conditions that are not the same in all rows.
    """

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
        return larger_is_better(self.metric)

    @property
    def single_seed_rows(self) -> list[RowResult]:
        """The rows of one seed, which say nothing about other seeds."""
        return [row for row in self.rows if len(row.runs) == 1]

    def lead(self, pair: Pair) -> Estimate:
        """How far the first row of a pair is ahead; negative where it is behind."""
        return pair.difference if self.larger_is_better else pair.difference.negated()

    @property
    def has_star(self) -> bool:
        """Whether any of its intervals is over episodes only."""
        return any(not row.estimate.over_seeds for row in self.rows)


@dataclass(frozen=True)
class ComparedRuns:
    """The result of a comparison.

    Attributes:
        title: The heading.
        tables: One for each group.
        left_out: The run folders that are not compared, and the learning curves that cannot be read.
        command: The command that made it.
        histories: The scalars of training, by run folder, of every run whose file of them can be read.
        unlike: Metric -> name of a row -> settings in which its rows differ between the tables of this metric.
    """

    title: str
    tables: list[Table]
    left_out: list[LeftOut]
    command: str
    histories: Mapping[Path, History]
    unlike: Mapping[str, Mapping[str, list[str]]]

    @property
    def labels(self) -> list[str]:
        """Every row's label once, in alphabetical order."""
        return sorted({row.label for table in self.tables for row in table.rows})


def compare(
    runs: Sequence[GatheredRun],
    left_out: Sequence[LeftOut],
    by: Sequence[str],
    decide: Decide,
    title: str,
    command: str,
) -> ComparedRuns:
    """Compare runs.

    Args:
        runs: Tested runs. Those on a mixture are also compared on each of its datasets.
        left_out: Run folders that cannot be compared, listed beside the tables.
        by: Keys whose values make a row; empty for everything that decides numbers but the seed.
        decide: Gives the part of a configuration that decides numbers.
        title: The heading.
        command: The command, to be shown.

    Raises:
        RunFolderError: A group was tested on more than one bank of episodes.
        ConfigError: No run has a key of ``by``.
    """
    groups = group(with_domains(runs))
    check_banks(groups)
    tables = [_table(item, rows(item.runs, by, decide), decide) for item in groups]
    given = set(map(id, runs))
    histories, unread = read_histories([run for item in groups for run in item.runs if id(run) in given])
    return ComparedRuns(title, tables, [*left_out, *unread], command, histories, _unlike(tables, decide))


def _table(item: Group, members: Sequence[RowOfRuns], decide: Decide) -> Table:
    larger = larger_is_better(item.metric)
    means = [fmean(run.test.mean for run in row.runs) for row in members]
    order = sorted(
        range(len(members)),
        key=lambda i: (len(members[i].runs) == 1, -means[i] if larger else means[i], members[i].label),
    )
    ordered = [members[index] for index in order]
    values = [np.stack([run.values for run in row.runs]) for row in ordered]
    verdicts = compare_rows(values, larger, is_hit_rate(item.metric), least_value(item.metric))
    names = _names(ordered)
    return Table(
        title=item.title,
        dataset=item.dataset,
        n_way=item.n_way,
        k_shot=item.k_shot,
        metric=item.metric,
        bank=item.runs[0].bank,
        n_episodes=item.runs[0].test.n_episodes,
        rows=[_row(row, name, index, verdicts) for index, (row, name) in enumerate(zip(ordered, names, strict=True))],
        pairs=verdicts.pairs,
        differences=differing_settings(ordered, decide),
    )


def _unlike(tables: Sequence[Table], decide: Decide) -> dict[str, dict[str, list[str]]]:
    """The settings in which rows of one name differ between the tables of a metric, which are shown together."""
    rows_of: dict[str, dict[str, list[RowOfRuns]]] = {table.metric: {} for table in tables}
    for table in tables:
        for row in table.rows:
            rows_of[table.metric].setdefault(row.name, []).append(RowOfRuns(row.label, row.runs, row.pooled))
    return {metric: settings_of_names(named, decide) for metric, named in rows_of.items()}


def _names(members: Sequence[RowOfRuns]) -> list[str]:
    """The names of rows in full; where two would have the same, their labels, which differ."""
    records = [row.runs[0].record for row in members]
    names = [format_label(row.label, r.algorithm, r.config) for row, r in zip(members, records, strict=True)]
    return [name if names.count(name) == 1 else row.label for row, name in zip(members, names, strict=True)]


def _row(row: RowOfRuns, name: str, index: int, verdicts: Verdicts) -> RowResult:
    records, places = [run.record for run in row.runs], verdicts.places[index]
    pair = next((n for n, pair in enumerate(verdicts.pairs) if (pair.first, pair.second) == (0, index)), None)
    return RowResult(
        label=row.label,
        name=name,
        runs=row.runs,
        estimate=verdicts.estimates[index],
        rank=None if places is None else places[0],
        rank_last=None if places is None else places[1],
        batch_norm=_all_of(format_batch_norm(record.batch_norm) for record in records),
        order=_all_of(format_order(record.first_order) for record in records),
        cost=Cost(
            seconds=_mean([record.seconds for record in records]),
            episodes_per_second=_mean([record.episodes_per_second for record in records]),
            peak_memory_bytes=_mean([record.peak_memory_bytes for record in records]),
            n_parameters=_mean([record.n_parameters for record in records]),
            steps=fmean(record.steps for record in records),
            tasks=_mean([_tasks(record) for record in records]),
            devices=list(dict.fromkeys(format_device(record.device) for record in records)),
        ),
        pooled=row.pooled,
        to_best=pair,
    )


def _tasks(record: RunRecord) -> float | None:
    each = tasks_per_step(record)
    return None if each is None else float(record.steps * each)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _all_of(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def shared_device(table: Table) -> str | None:
    """Return the device of all runs of a table; None where they ran on several, so that times cannot be compared."""
    devices = {device for row in table.rows for device in row.cost.devices}
    return devices.pop() if len(devices) == 1 else None
