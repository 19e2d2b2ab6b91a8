"""A table of published and measured numbers for each algorithm, for the page about algorithms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metaexp.report.rows import Entry
from metaexp.report.run_page import format_verdict
from metaexp.results.display.markdown import between_markers, format_table
from metaexp.results.display.wording import (
    NOTHING,
    format_batch_norm,
    format_marked,
    format_score,
    format_steps,
    format_task,
)
from metaexp.results.record import Reference, Task
from metaexp.results.verdict import is_another_task


class Setting(NamedTuple):
    """A saved experiment.

    Attributes:
        experiment: Its name.
        dataset: Its data.
        task: Its task.
        reference: The published number; None where there is none.
    """

    experiment: str
    dataset: str
    task: Task
    reference: Reference | None


class Page(NamedTuple):
    """The page about algorithms.

    Attributes:
        path: Its file, in which the name of an algorithm marks the place of its table.
        settings: Algorithm -> its saved experiments.
    """

    path: Path
    settings: Mapping[str, Sequence[Setting]]


def format_page(page: Page, entries: Sequence[Entry], link: str) -> str:
    """Return the page with the tables that the records give now.

    Args:
        page: The page.
        entries: The records.
        link: Leads from the page to the folder of results.

    Raises:
        RunFolderError: An algorithm has no place for its table.
    """
    text = page.path.read_text(encoding="utf-8")
    for name, settings in page.settings.items():
        own = [entry for entry in entries if entry.record.algorithm == name]
        text = between_markers(text, name, format_algorithm_table(settings, own, link))
    return text


def format_algorithm_table(settings: Sequence[Setting], entries: Sequence[Entry], link: str) -> str:
    """Return a table with a line for each record, each experiment without one, and records of no saved experiment.

    Args:
        settings: The published experiments of the algorithm.
        entries: The committed records.
        link: Prefix of links to the pages of the records.
    """
    header = ["Experiment", "Task", "Published", "Measured", "Verdict", "Steps", "Batch norm", "Data"]
    known = {setting.experiment for setting in settings}
    rows = [row for setting in sorted(settings, key=_order) for row in _rows(setting, entries, link)]
    rows += [
        _measured("-", None, entry, link)
        for entry in entries
        if entry.record.experiment not in known or entry.record.is_stand_in
    ]
    if not rows:
        return "No saved experiment, and no record yet.\n"
    return format_table(header, rows, right=(2, 3, 5))


def _rows(setting: Setting, entries: Sequence[Entry], link: str) -> Iterator[list[str]]:
    own = [e for e in entries if e.record.experiment == setting.experiment and not e.record.is_stand_in]
    for entry in own:
        yield _measured(f"`{setting.experiment}`", setting.reference, entry, link)
    if not own:
        yield [
            f"`{setting.experiment}`", format_task(setting.task), format_marked(setting.reference),
            NOTHING, NOTHING, NOTHING, NOTHING, setting.dataset,
        ]  # fmt: skip


def _measured(experiment: str, reference: Reference | None, entry: Entry, link: str) -> list[str]:
    record = entry.record
    return [
        experiment,
        format_task(record.task),
        NOTHING if is_another_task(record.deviations) else format_marked(reference),
        f"[{format_score(record.test)}]({link}/{entry.page})",
        format_verdict(entry),
        format_steps(record),
        format_batch_norm(record.batch_norm),
        record.dataset,
    ]


def _order(setting: Setting) -> tuple[object, ...]:
    return setting.dataset, setting.task.n_way, setting.task.k_shot, setting.experiment
