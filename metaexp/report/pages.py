"""The results tables of the documentation, generated from committed records. Without torch.

``docs/results/<name>/`` holds one published run each (see :mod:`metaexp.report.publish`). From these records come
``docs/results/README.md``, a page beside each record, and the table in the project's README. No number is typed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.core.disk.files import encode_text, write_atomically
from metaexp.report.later_tests import departs_today, overrides_of, record_of_test
from metaexp.report.rows import Entry, best_first, format_devices, format_measured, format_title, grouped, of_row
from metaexp.report.run_page import GENERATED, format_run_page, format_verdict
from metaexp.results.display.markdown import between_markers, escape_line, format_table
from metaexp.results.display.wording import (
    NOTHING,
    format_batch_norm,
    format_order,
    format_published,
    format_steps,
    format_task,
    format_time,
)
from metaexp.results.evaluations import published_tests
from metaexp.results.record import RECORD_FILE, Reference, RunRecord, read_record
from metaexp.results.verdict import with_verdict

MARKER = "results"
README_ROWS = 10
"""Rows of the README's table. docs/results has all."""


Pages = Callable[[Sequence[Entry]], Mapping[Path, str]]
"""Makes other pages from the records: path -> text."""

Departs = Callable[[RunRecord], str]
"""Where a record's experiment departs from the paper whose number it quotes, as the header of its file says it."""


class Today(NamedTuple):
    """What the files of experiments give today for a record whose settings they have not changed.

    Attributes:
        reference: The published number, as the file of its experiment quotes it now; None where it quotes none.
    """

    reference: Reference | None


FindToday = Callable[[RunRecord], Today | None]
"""What a record's experiment and overrides give today; None if that is not the configuration that it was made with."""


def as_recorded(record: RunRecord) -> Today:
    """Return the published number in a record, for a documentation without files of experiments."""
    return Today(record.reference)


def no_departures(_: RunRecord) -> str:
    """Return an empty text, for a documentation that does not name departures."""
    return ""


def no_pages(_: Sequence[Entry]) -> Mapping[Path, str]:
    """Return no other pages."""
    return {}


@dataclass(frozen=True)
class Documentation:
    """What the pages of a documentation are generated from.

    Attributes:
        results: The folder with a subfolder for each published run, such as ``docs/results``.
        readme: The project's README, with the two markers of its table; None to leave it out.
        today: Says whether a record's settings are still those of its experiment, and which number it is compared
            with now.
        others: Makes the other pages.
        departs: Says where an experiment departs from its paper.
    """

    results: Path
    readme: Path | None
    today: FindToday = as_recorded
    others: Pages = no_pages
    departs: Departs = no_departures


def read_entries(folder: Path, find_today: FindToday = as_recorded) -> list[Entry]:
    """Read the records below a folder, and the published later tests of their weights.

    Args:
        folder: Has a subfolder for each run.
        find_today: Says whether a record's settings are still those of its experiment.

    Returns:
        The records, ordered by dataset, task and algorithm, their texts harmless in Markdown. Those that are not
        stale have the published number as it is quoted today.

    Raises:
        RunFolderError: A record or a later test is faulty.
    """
    entries = []
    for path in folder.glob(f"*/{RECORD_FILE}"):
        record = read_record(path)
        run = _entry(escape_line(path.parent.name), record, find_today(record))
        entries.append(run)
        for test in published_tests(path.parent, record):
            made = record_of_test(test, record)
            today = as_recorded(made) if test.experiment is None else find_today(made)
            overrides = tuple(map(escape_line, overrides_of(test)))
            entries.append(_entry(run.name, made, None if run.stale else today)._replace(test=overrides))
    return sorted(entries, key=_order)


def shown_entries(docs: Documentation) -> list[Entry]:
    """Return the entries of :func:`read_entries` with the verdicts that the pages show.

    Args:
        docs: The documentation.
    """
    return [_worded_today(entry, docs) for entry in read_entries(docs.results, docs.today)]


def _entry(name: str, record: RunRecord, today: Today | None) -> Entry:
    if today is not None:
        record = dataclasses.replace(record, reference=today.reference)
    return Entry(name, escape_texts(record), stale=today is None)


def _worded_today(entry: Entry, docs: Documentation) -> Entry:
    """Word a verdict as this version does, with the departures that the experiment's file states now."""
    record = entry.record
    if record.reference is None or record.verdict is None:
        return entry
    if not entry.stale:
        stated = escape_line(docs.departs(record))
        record = dataclasses.replace(record, departs=departs_today(record, stated, is_later=bool(entry.test)))
    return entry._replace(record=with_verdict(record))


def escape_texts(value: Any) -> Any:
    """Return a record, or a part of one, whose texts have no meaning in Markdown.

    Its configuration is left as it is: no page shows it.
    """
    if isinstance(value, str):
        return escape_line(value)
    if isinstance(value, list):
        return [escape_texts(item) for item in value]
    if isinstance(value, dict):
        return {escape_line(str(key)): escape_texts(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name != "config"]
        return dataclasses.replace(value, **{name: escape_texts(getattr(value, name)) for name in names})
    return value


def generate(docs: Documentation) -> dict[Path, str]:
    """Return what every generated file must hold: path -> text.

    Raises:
        RunFolderError: A record is faulty, or the README lacks its markers.
    """
    folder, readme = docs.results, docs.readme
    entries = shown_entries(docs)
    files = {
        folder / entry.name / "README.md": format_run_page(
            entry, folder / entry.name, of_row(entry, entries), docs.departs(entry.record), _tests_of(entry, entries)
        )
        for entry in entries
        if not entry.test
    }
    files[folder / "README.md"] = format_results_page(entries)
    if readme is not None:
        link = folder.absolute().relative_to(readme.absolute().parent).as_posix()
        files[readme] = between_markers(readme.read_text(encoding="utf-8"), MARKER, format_short_table(entries, link))
    files.update(docs.others(grouped(entries)))
    return files


def _tests_of(run: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """The later tests of a run's weights, each followed by that of all seeds if this run stands for them."""
    found: list[Entry] = []
    for entry in entries:
        if entry.test and entry.name == run.name:
            row = of_row(entry, entries)
            found += [entry] if row is None else [entry, row]
    return found


def write_outdated(docs: Documentation) -> list[Path]:
    """Write the generated files that are not up to date, and return their paths."""
    files = generate(docs)
    changed = _differing(files)
    for path in changed:
        write_atomically(path, encode_text(files[path]))
    return changed


def outdated(docs: Documentation) -> list[Path]:
    """Return the generated files whose text is not what the records give now."""
    return _differing(generate(docs))


def _differing(files: Mapping[Path, str]) -> list[Path]:
    return [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def format_results_page(entries: Sequence[Entry]) -> str:
    """Return the page with everything that belongs beside a number; rows with a published number come first."""
    published: list[Entry] = []
    others: list[Entry] = []
    for entry in grouped(entries):
        (others if format_published(entry.record) == NOTHING else published).append(entry)
    parts = [f"{GENERATED}\n# Results\n\n{_LEGEND}"]
    if published:
        parts.append(f"## With a published number\n\n{_format_long_table(published, ('Published', 'Verdict'))}")
    if others:
        parts.append(f"## Without a published number\n\n{_format_long_table(others)}")
    return "\n".join(parts)


def _format_long_table(entries: Sequence[Entry], compared: tuple[str, ...] = ()) -> str:
    """A table of rows; ``compared`` names the columns about the published number, which not all tables have."""
    header = [
        "Run", "Measured", *compared, "Algorithm", "Data", "Task", "Episodes", "Steps", "Batch norm", "Gradient order",
        "Device", "Time",
    ]  # fmt: skip
    rows = [
        [
            f"[{format_title(entry)}]({entry.page})",
            format_measured(entry),
            *([format_published(entry.record), format_verdict(entry)] if compared else []),
            entry.record.algorithm,
            entry.record.dataset,
            format_task(entry.record.task),
            NOTHING if entry.record.test is None else f"{entry.record.test.n_episodes:,}",
            format_steps(entry.record),
            format_batch_norm(entry.record.batch_norm),
            format_order(entry.record.first_order),
            format_devices(entry),
            format_time(entry.record.seconds),
        ]
        for entry in entries
    ]
    numbers = {"Measured", "Published", "Episodes", "Steps", "Time"}
    return format_table(header, rows, right=[place for place, name in enumerate(header) if name in numbers])


def format_short_table(entries: Sequence[Entry], link: str) -> str:
    """Return the table of the project's README: the rows that say most about published numbers, best first.

    Args:
        entries: The records.
        link: Leads from the README to the folder of results.
    """
    header = ["Run", "Measured", "Published", "Verdict", "Batch norm", "Time"]
    rows = [
        [
            f"[{format_title(entry)}]({link}/{entry.page})",
            format_measured(entry),
            format_published(entry.record),
            format_verdict(entry),
            format_batch_norm(entry.record.batch_norm),
            format_time(entry.record.seconds),
        ]
        for entry in best_first(grouped(entries), README_ROWS)
    ]
    return format_table(header, rows, right=(1, 2, 5))


_LEGEND = """*Measured* is the mean over the test episodes with its 95 % interval. If there are several seeds, it is
their mean with the interval over seeds, and the time is the sum over them.

*Batch norm* says where the statistics at test come from: the current batch with the other queries (transductive), the
support set of the episode (episode), or averages of training (running). *None* means that there is no batch norm.

A run with fewer steps than published has the verdict *shortened*, whatever its result.

A row that says *tested with* is a later test of the weights of a run. Steps, device and time are those of its training.
"""


def _order(entry: Entry) -> tuple[object, ...]:
    record = entry.record
    return record.dataset, record.task.n_way, record.task.k_shot, record.algorithm, entry.name, entry.test
