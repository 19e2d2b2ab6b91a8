"""Published runs as one HTML file: for each dataset and task the learners, best first. Without torch.

``render_page`` escapes every text and allows the page only its own script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metaexp.core.metric import larger_is_better
from metaexp.core.terminal_text import plain
from metaexp.report.checked import Checked, format_checked, format_when, found_by
from metaexp.report.rows import Entry, format_devices, format_entry_command, format_measured, format_title, grouped
from metaexp.results.display.html_page import render_page
from metaexp.results.display.wording import (
    NOTHING,
    format_batch_norm,
    format_device,
    format_published,
    format_steps,
    format_task,
    format_time,
)
from metaexp.results.record import RunRecord

FILTERS = {
    "dataset": "data",
    "task": "task",
    "algorithm": "learner",
    "batch_norm": "batch norm",
    "together": "queries seen together",
    "departures": "departures from the paper",
    "machine": "machine",
    "checked": "tested again",
}
"""Property of a row -> what the filter for it is called. A row can have several values, such as machines of seeds."""


class Place(NamedTuple):
    """Where a run of the page is.

    Attributes:
        folder: Its folder, as the user named it.
        weights: The address of its weights, as seen from the page.
        is_given: Whether its command gives its settings, with the configuration files of today.
    """

    folder: str
    weights: str
    is_given: bool


class LeftOut(NamedTuple):
    """A run that is not on the page.

    Attributes:
        name: The name of its folder.
        reason: Why the run is not on the page.
    """

    name: str
    reason: str


def format_leaderboard(entries: Sequence[Entry], places: Mapping[str, Place], left_out: Sequence[LeftOut]) -> str:
    """Return the page.

    Args:
        entries: Runs whose weights gave their recorded numbers, of all episodes or of the first.
        places: Name of a run -> where it is.
        left_out: The other runs.
    """
    boards = _boards(entries, places)
    rows = [row for board in boards for row in board["rows"]]
    n_in_part = sum(not row["is_whole"] for row in rows)
    return render_page(
        "metaexp.report",
        "leaderboard",
        boards=boards,
        filters=[
            {"key": key, "label": label, "values": sorted({value for row in rows for value in row["keys"][key]})}
            for key, label in FILTERS.items()
        ],
        left_out=left_out,
        parts="all" if rows and n_in_part == len(rows) else n_in_part,
    )


def seen_together(record: RunRecord) -> bool:
    """Whether the queries of a task share their batch statistics, so that each prediction depends on the others."""
    return record.batch_norm == "transductive"


def _boards(entries: Sequence[Entry], places: Mapping[str, Place]) -> list[dict[str, Any]]:
    """A board for each dataset, task and metric, in the order of their names."""
    boards: dict[tuple[str, tuple[int, int], str], list[Entry]] = {}
    for entry in grouped(entries):
        record = entry.record
        if record.test is not None:
            key = (record.dataset, (record.task.n_way, record.task.k_shot), record.test.metric)
            boards.setdefault(key, []).append(entry)
    found = []
    for (dataset, _, metric), members in sorted(boards.items(), key=lambda item: item[0]):
        best = [_row(entry, places) for entry in sorted(members, key=_mean, reverse=larger_is_better(metric))]
        title = f"{dataset}, {format_task(members[0].record.task)}"
        is_compared = any(row["published"] != NOTHING for row in best)
        found.append({"title": title, "metric": metric, "is_compared": is_compared, "rows": best})
    return found


def _mean(entry: Entry) -> float:
    assert entry.record.test is not None
    return entry.record.test.mean


def _row(entry: Entry, places: Mapping[str, Place]) -> dict[str, Any]:
    record = entry.record
    seeds = entry.seeds or (entry,)
    place, checks = places.get(entry.name), _checks(entry)
    return {
        "name": format_title(entry),
        "measured": format_measured(entry),
        "mean": _mean(entry),
        "published": format_published(record),
        "verdict": record.verdict.text if record.verdict else NOTHING,
        "departs": "; ".join(filter(None, [*record.deviations, record.departs])),
        "episodes": f"{record.test.n_episodes:,}" if record.test else NOTHING,
        "steps": format_steps(record),
        "time": format_time(record.seconds),
        "seconds": record.seconds or 0.0,
        "command": format_entry_command(entry, place.folder if place else None),
        "is_given": place is None or place.is_given or bool(entry.test),
        "downloads": [
            (f"seed {seed.record.seed}", places[seed.name].weights, f"{seed.name.replace('/', '-')}.safetensors")
            for seed in seeds
            if seed.name in places
        ],
        "checked": format_checked(checks) if checks else "",
        "when": format_when(checks) if checks else "",
        "is_whole": all(check.is_whole for check in checks),
        "algorithm": record.algorithm,
        "machines": format_devices(entry),
        "batch_norm": format_batch_norm(record.batch_norm),
        "together": "yes" if seen_together(record) else "no",
        "keys": {key: [plain(value) for value in values] for key, values in _keys(entry).items()},
    }


def _checks(entry: Entry) -> list[Checked]:
    return [seed.checked for seed in entry.seeds or (entry,) if seed.checked is not None]


def _keys(entry: Entry) -> dict[str, list[str]]:
    """Property of a row -> its values, by which the row is found."""
    record = entry.record
    machines = [format_device(seed.record.device) for seed in entry.seeds or (entry,)]
    return {
        "dataset": [record.dataset],
        "task": [format_task(record.task)],
        "algorithm": [record.algorithm],
        "batch_norm": [format_batch_norm(record.batch_norm)],
        "together": ["yes" if seen_together(record) else "no"],
        "departures": ["yes" if record.deviations or record.departs else "none stated"],
        "machine": list(dict.fromkeys(machines)),
        "checked": found_by(_checks(entry)),
    }
