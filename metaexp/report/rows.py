"""Puts published runs into rows of tables, the seeds of one setting in one row. Without torch."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from metaexp.core.counted import counted
from metaexp.report.checked import Checked
from metaexp.results.display.markdown import format_table
from metaexp.results.display.wording import (
    NOTHING,
    format_command,
    format_device,
    format_score,
    format_test_command,
    format_time,
)
from metaexp.results.record import RunRecord
from metaexp.results.seeds import combined_record
from metaexp.results.verdict import is_another_task, margin

_KINDS = ("reproduced", "within", "undecided", "not_reproduced", "shortened", "changed")
"""Kinds of verdicts, from the one that shows most."""
SEED_SUFFIX = re.compile(r"-seed\d+$")
"""The end of the name of a further seed's folder."""

_NUMBER_OF_JOB = re.compile(r"(?:(?<=/)|^)\d{3,}-")
"""The beginning of the name of a job's folder."""


class Entry(NamedTuple):
    """A committed run, or the runs of several seeds.

    Attributes:
        name: The name of its folder.
        record: Its record; over several seeds, that of all together.
        stale: Whether the settings of its experiment have changed since.
        seeds: The entries of all seeds; empty for a single run.
        test: Of a later test of the run's weights, the overrides of ``metaexp evaluate``; empty for the run itself.
        configuration: What decides the run's numbers but for its seed. Empty where the names of folders
            say which runs are seeds of one setting.
        checked: What was tested again before the row was shown; None where nothing was.
    """

    name: str
    record: RunRecord
    stale: bool
    seeds: tuple[Entry, ...] = ()
    test: tuple[str, ...] = ()
    configuration: str = ""
    checked: Checked | None = None

    @property
    def page(self) -> str:
        """The address of what the pages say about it, from the folder of results."""
        return f"{self.name}/README.md{'#other-tests-of-these-weights' if self.test else ''}"


def grouped(entries: Sequence[Entry]) -> list[Entry]:
    """Take ``<name>`` and ``<name>-seed<k>`` together, where they are seeds of one setting.

    These have different seeds and equal steps, deviations and test episodes, and all or none are stale. Later tests of
    their weights are taken together in the same way. Others stay in rows of their own. Where entries have a
    configuration, it stands for the name. A seed that is then there twice, as in two sweeps, makes a row for each
    folder, or else for each name.

    Args:
        entries: Single runs.

    Returns:
        One entry for each row, in the order of ``entries``.
    """
    rows = []
    for members in _with_seeds_once(entries, [_setting, _folder, _name]):
        if len(members) == 1 or _has_a_seed_twice(members):
            rows += members
            continue
        ordered = sorted(members, key=lambda entry: entry.record.seed)
        first = min(members, key=lambda entry: (len(entry.name), entry.record.seed))
        rows.append(
            Entry(
                first.name, combined_record([e.record for e in ordered]), first.stale, tuple(ordered), first.test,
                first.configuration,
            )
        )  # fmt: skip
    return rows


def _with_seeds_once(entries: Sequence[Entry], keys: Sequence[Callable[[Entry], object]]) -> Iterator[list[Entry]]:
    """Yield the groups of entries that agree in the first key; where one has a seed twice, also in the next ones."""
    groups: dict[object, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(keys[0](entry), []).append(entry)
    for members in groups.values():
        if len(keys) > 1 and _has_a_seed_twice(members):
            yield from _with_seeds_once(members, keys[1:])
        else:
            yield members


def _has_a_seed_twice(members: Sequence[Entry]) -> bool:
    return len({entry.record.seed for entry in members}) < len(members)


def _folder(entry: Entry) -> str:
    return entry.name.rpartition("/")[0]


def _name(entry: Entry) -> str:
    return SEED_SUFFIX.sub("", entry.name)


def best_first(rows: Sequence[Entry], most: int) -> list[Entry]:
    """Return the rows that say most about published numbers: reproduced ones first, then by distance.

    If there are more rows than asked for, the best one of each algorithm on each dataset goes before its others.

    Args:
        rows: Rows of a table.
        most: How many to return.
    """
    chosen: list[tuple[bool, int, Entry]] = []
    better: Counter[tuple[str, str]] = Counter()
    for row in sorted(rows, key=_weight):
        kind = row.record.algorithm, row.record.dataset
        chosen.append((_weight(row)[0] == len(_KINDS), better[kind], row))
        better[kind] += 1
    return sorted((row for *_, row in sorted(chosen, key=lambda choice: choice[:2])[:most]), key=_weight)


def _weight(row: Entry) -> tuple[int, float, str]:
    verdict, reference = row.record.verdict, row.record.reference
    if verdict is None or reference is None or is_another_task(row.record.deviations):
        return len(_KINDS), 0.0, row.name
    limit = margin(reference)
    distance = round(abs(verdict.difference) / limit, 1) if limit else math.inf  # less is luck with the episodes
    return _KINDS.index(verdict.kind), distance, row.name


def of_row(entry: Entry, entries: Sequence[Entry]) -> Entry | None:
    """Return the row over several seeds that has the name of ``entry``; None where there is none.

    Args:
        entry: One of ``entries``.
        entries: All published runs.
    """
    return next(
        (row for row in grouped(entries) if row.seeds and (row.name, row.test) == (entry.name, entry.test)), None
    )


def format_title(entry: Entry) -> str:
    """Return the name of a copy, which always says that a stand-in is one, and what a later test was made with."""
    said = not entry.record.is_stand_in or "stand_in" in entry.name
    own = _NUMBER_OF_JOB.sub("", _name(entry)) if entry.seeds and entry.configuration else entry.name
    name = own if said else f"{own} (stand-in)"
    return f"{name}, tested with {' '.join(entry.test)}" if entry.test else name


def format_entry_command(entry: Entry, folder: str | None = None) -> str:
    """Return the command that trains a run again, or makes a later test of its published weights again.

    Args:
        entry: The row.
        folder: The folder of the run; None if it is in docs/results.
    """
    if not entry.test:
        return format_command(entry.record)
    device = entry.record.config.get("device")
    name = device.get("accelerator") if isinstance(device, Mapping) else None
    where = [f"device={name}"] if name in ("cpu", "cuda", "mps") else []  # that of the training may not be here
    return format_test_command(entry.record, folder or f"docs/results/{entry.name}", [*entry.test, *where])


def format_measured(entry: Entry) -> str:
    """Return the test score; over several seeds with their number."""
    score = format_score(entry.record.test)
    return f"{score} ({counted(len(entry.seeds), 'seed')})" if entry.seeds else score


def format_devices(entry: Entry) -> str:
    """Return the device; over several seeds all that were used, in the order of the seeds."""
    return "; ".join(dict.fromkeys(format_device(seed.record.device) for seed in entry.seeds or (entry,)))


def format_seeds_table(row: Entry) -> str:
    """Return a table of the runs in a row over several seeds, with links from the page of one of them."""
    rows = [
        [
            f"[{entry.record.seed}](../{entry.name}/README.md)",
            format_score(entry.record.test),
            entry.record.verdict.text if entry.record.verdict else NOTHING,
            format_device(entry.record.device),
            format_time(entry.record.seconds),
        ]
        for entry in row.seeds
    ]
    verdict = row.record.verdict.text if row.record.verdict else NOTHING
    time = format_time(row.record.seconds)
    rows.append([f"all {len(row.seeds)}", format_score(row.record.test), verdict, format_devices(row), time])
    return format_table(["Seed", "Measured", "Verdict", "Device", "Time"], rows, right=(1, 4))


def _setting(entry: Entry) -> object:
    record = entry.record
    test = record.test
    return (
        entry.configuration or _name(entry),
        entry.test,
        record.experiment,
        record.steps,
        record.full_steps,
        tuple(record.deviations),
        record.episode_bank,
        None if test is None else (test.metric, test.n_episodes),
        entry.stale,
    )
