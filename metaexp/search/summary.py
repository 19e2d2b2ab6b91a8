"""Formats the results of a search: lines for trials, the table of the best, and the report in JSON. Without torch."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from metaexp.config.command_line.override_text import key_of
from metaexp.core.counted import agreeing, counted
from metaexp.core.disk.files import encode_text, write_atomically
from metaexp.core.disk.nearest import is_there
from metaexp.core.errors import RunFolderError
from metaexp.core.metric import Metric
from metaexp.results.display.wording import format_score
from metaexp.results.display.wording import format_value as format_metric
from metaexp.results.evaluations import as_trained
from metaexp.results.record import read_record
from metaexp.run.own_options import trust_of_run
from metaexp.search.files import BEST_FILE, COMMAND_OF_BEST, REPORT_FILE, TRIAL_OF_BEST
from metaexp.search.point import Point
from metaexp.search.prepare import Prepared
from metaexp.search.space import format_value, trials_for_importance
from metaexp.search.trial import TrialEnd
from metaexp.sweep.frozen_job import FrozenJob

SCHEMA_VERSION = 1
_MOST_SHOWN = 10
_OF_THE_MACHINE = ("device", "tracker", "paths")
"""Sections that say where a run runs and what it tells. An experiment does not have them, so its command does."""
_STATES = {"complete": "completed", "pruned": "stopped early", "fail": "failed", "running": "not finished"}


class SearchResult(NamedTuple):
    """The results of a search so far.

    Attributes:
        prepared: The search.
        points: All trials, by number.
        importances: Key -> how much it contributes to good results.
        exhausted: Whether the sampler proposes only points that were tried before.
        overrides: Overrides of the command line.
    """

    prepared: Prepared
    points: list[Point]
    importances: dict[str, float]
    exhausted: bool
    overrides: Sequence[str]

    @property
    def counted(self) -> list[Point]:
        """The trials, without points that repeat others."""
        return [point for point in self.points if point.is_counted]

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to try, and no trial runs in another process."""
        prepared = self.prepared
        none_left = len(self.counted) >= prepared.limit or self.exhausted
        if prepared.options.sampler == "grid":
            none_left |= len(self.points) >= len(prepared.grid())
        return none_left and all(point.state != "running" for point in self.points)

    def failed_badly(self, not_finite: int) -> bool:
        """Return whether a trial failed for another reason than numbers that are not finite, or none completed.

        Args:
            not_finite: Exit code of runs whose numbers are not finite.
        """
        bad = [p for p in self.counted if p.state == "fail" and p.notes.get("exit_code") != not_finite]
        return bool(bad) or (self.is_done and best_of(self) is None)


def best_of(found: SearchResult) -> Point | None:
    """Return the completed trial with the best validation metric, the earliest among equals; None if none completed."""
    best: Point | None = None
    for point in found.points:
        if point.value is None:
            continue
        if best is None or best.value is None or found.prepared.metric.is_better(point.value, best.value):
            best = point
    return best


def format_opening(prepared: Prepared, points: Sequence[Point]) -> list[str]:
    """Format the first lines that a search prints.

    Args:
        prepared: The search.
        points: Trials of earlier calls.
    """
    options, done = prepared.options, sum(point.is_counted and point.state != "running" for point in points)
    goal = f"{'highest' if prepared.metric.larger_is_better else 'lowest'} {prepared.metric.validation}"
    before = f", {done:,} done before" if done else ""
    at_once = f", {options.workers} at once" if options.workers > 1 else ""
    return [
        f"search={options.sampler} for the {goal}: {counted(max(prepared.limit, done), 'trial')}{before}{at_once}",
        f"search folder: {prepared.path}",
    ]


def format_trial_end(job: FrozenJob, ended: TrialEnd, metric: Metric) -> str:
    """Format a trial that ended, in one line.

    Args:
        job: The trial.
        ended: How it ended.
        metric: The metric of the search.
    """
    record = ended.state.record
    if ended.end == "completed" and record is not None:
        result = f"validation {metric.name} {format_score(record.val)}"
    elif ended.end == "pruned":
        result = f"stopped early, after the validation at {ended.step:,} of {counted(job.steps, 'step')}"
    else:
        result = f"FAILED, {ended.state.error} (log: {ended.state.log})"
    return f"trial {job.number} ({job.what}): {result}"


def format_table(found: SearchResult) -> str:
    """Format the best trials, the importance of keys, and the commands that train and test the best one."""
    lines = [format_counts(found), *_format_rows(found)]
    if found.exhausted:
        lines.append("Every point of the space has been tried; the sampler proposes nothing new.")
    if found.importances:
        shares = ", ".join(f"{key} {share * 100:.0f} %" for key, share in found.importances.items())
        lines.append(f"importance among completed trials: {shares}")
    elif too_few := format_too_few(found):
        lines.append(too_few)
    best = best_of(found)
    if best is None:
        why = shlex.join(["metaexp", "ls", str(found.prepared.path), "state=failed"])
        has_failed = any(point.state == "fail" for point in found.counted)
        told = [f"which trials failed, and why: {why}"] if has_failed else []
        return "\n".join([*lines, "No trial completed, so there is no best one.", *told])
    folder = trial_folder(found, best)
    if not is_there(folder):
        return "\n".join([*lines, *_format_removed(found, best)])
    return "\n".join(
        [
            *lines,
            f"best: trial {best.number} in {folder}",
            f"train it again: {train_command(found, best)}",
            "Chosen on validation tasks, and the best of many looks better than it is. No trial was tested; test the "
            f"best one once: {shlex.join(['metaexp', 'evaluate', *trust_of_run(folder), str(folder)])}",
        ]
    )


def trial_folder(found: SearchResult, point: Point) -> Path:
    """Return the folder of a trial, which may have been removed.

    Args:
        found: The results of the search.
        point: The trial.
    """
    return found.prepared.path / str(point.notes["folder"])


def _format_removed(found: SearchResult, best: Point) -> list[str]:
    """What is left to do with the best trial whose folder was removed: train it again, if its experiment was kept."""
    keys = [dimension.key for dimension in found.prepared.space.dimensions]
    values = [f"{key}={format_value(value)}" for key, value in zip(keys, best.values, strict=True)]
    lines = [
        f"best: trial {best.number}; its folder {trial_folder(found, best)} was removed, so it cannot be tested",
        f"its values: {', '.join(values)}",
    ]
    try:
        text = (found.prepared.path / BEST_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return lines
    head = [line for line in text.splitlines() if line.startswith("#")]
    commands = [line.removeprefix(COMMAND_OF_BEST) for line in head if line.startswith(COMMAND_OF_BEST)]
    is_of_best = any(line.startswith(f"{TRIAL_OF_BEST}{best.number}, ") for line in head)
    return [*lines, *(f"train it again, and test it: {command}" for command in commands if is_of_best)]


def format_too_few(found: SearchResult) -> str:
    """Format how many trials the importance of keys needs; empty where there are enough or none, and with one key."""
    n_keys, done = len(found.prepared.space.dimensions), sum(point.state == "complete" for point in found.counted)
    if n_keys < 2 or done == 0 or done >= trials_for_importance(n_keys):
        return ""
    return (
        f"importance of the {counted(n_keys, 'key')}: it needs {trials_for_importance(n_keys)} completed trials; "
        f"{done} {agreeing(done, 'is')} not enough"
    )


def format_counts(found: SearchResult) -> str:
    """Format how many trials are in which state: ``20 trials: 12 completed, 7 stopped early, 1 failed``."""
    tally = Counter(point.state for point in found.counted)
    parts = [f"{tally[state]} {text}" for state, text in _STATES.items() if tally[state]]
    left = found.prepared.limit - len(found.counted)
    parts += [f"{left} not started"] if left > 0 and not found.is_done else []
    return f"{counted(len(found.counted), 'trial')}: {', '.join(parts) or 'none started'}"


def train_command(found: SearchResult, best: Point) -> str:
    """Return the command that trains the best point again as its trial was trained, and tests it.

    Args:
        found: The results of the search.
        best: The best trial.
    """
    place = found.prepared.path / "best"
    given = found.prepared.space.overrides(best.values)
    machine = [line for line in given if key_of(line).partition(".")[0] in _OF_THE_MACHINE]
    trust = trust_of_run(trial_folder(found, best))
    return shlex.join(["metaexp", "train", "--config-dir", str(place), *trust, "experiment=best", *machine])


def write_report(found: SearchResult) -> Path:
    """Write ``search.json`` with all trials and the best one, and return its path."""
    prepared, best = found.prepared, best_of(found)
    content = {
        "schema_version": SCHEMA_VERSION,
        "command": list(found.overrides),
        "metric": prepared.metric.validation,
        "larger_is_better": prepared.metric.larger_is_better,
        "options": asdict(prepared.options),
        "is_done": found.is_done,
        "best": None if best is None else best.number,
        "importances": found.importances,
        "trials": [_entry(prepared, point) for point in found.points],
    }
    path = prepared.path / REPORT_FILE
    write_atomically(path, encode_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n"))
    return path


def format_earlier_test(folder: Path) -> str:
    """Format the result of an earlier test of a trial's selected weights; empty if there was none."""
    kept = as_trained(folder, read_record(folder))
    if kept is None:
        return ""
    test = kept.evaluation.test
    return f"the best trial was tested before: test {test.metric} {format_score(test)} ({kept.path})"


def _entry(prepared: Prepared, point: Point) -> dict[str, Any]:
    keys = [dimension.key for dimension in prepared.space.dimensions]
    return {
        "number": point.number,
        "state": point.state,
        "value": point.value,
        "values": dict(zip(keys, point.values, strict=True)),
        "folder": point.notes.get("folder"),
        "last_step": max(point.reported, default=None),
        "same_as": point.notes.get("same_as"),
        "error": point.notes.get("error"),
    }


def _format_rows(found: SearchResult) -> list[str]:
    """The best completed trials as a table."""
    done = [point for point in found.points if point.value is not None]
    sign = -1.0 if found.prepared.metric.larger_is_better else 1.0
    done.sort(key=lambda point: (sign * (point.value or 0.0), point.number))
    if not done:
        return []
    head = ["trial", found.prepared.metric.validation, *(d.key for d in found.prepared.space.dimensions)]
    rows = [[str(p.number), _format_score(found, p), *map(_format_short, p.values)] for p in done[:_MOST_SHOWN]]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]
    ]


def _format_score(found: SearchResult, point: Point) -> str:
    """The validation metric of a completed trial. Without a readable record, it comes from the study."""
    folder = found.prepared.path / str(point.notes.get("folder"))
    try:
        val = read_record(folder).val
    except RunFolderError:
        val = None
    return format_metric(found.prepared.metric.name, point.value or 0.0, None) if val is None else format_score(val)


def _format_short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)
