"""The rows of ``metaexp ls``: what a run, a sweep or a search is, how far it is, its result and its size."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from metaexp.config.yaml_files import read_mapping
from metaexp.core.counted import counted
from metaexp.core.disk.files import read_regular
from metaexp.core.errors import RunFolderError
from metaexp.core.nested import at_key
from metaexp.core.terminal_text import plain
from metaexp.folders.find import Found, jobs, size_of
from metaexp.folders.state import STATES, RunState, State, is_in_use, read_run, steps_done
from metaexp.results.display.wording import NOTHING, format_score, format_task
from metaexp.results.job_note import removed_jobs
from metaexp.results.record import Score, Task
from metaexp.search.files import REPORT_FILE
from metaexp.sweep.decide import duplicates
from metaexp.sweep.folder import Sweep, open_sweep

_MOST_BYTES = 1 << 24
_LONGEST_ERROR = 70  # characters in a column


class Row(NamedTuple):
    """One line of a list of folders.

    Attributes:
        found: The folder.
        state: How far it is; ``removed`` for a job whose folder is not there any more.
        facts: Key -> value, by which rows are filtered and sorted: ``algorithm``, ``seed``, ``test`` and so on.
        config: The resolved configuration of a run; empty for a sweep or a search.
        result: The score, or how many jobs are in which state.
        what: Algorithm, dataset, task and seed of a run; the number of jobs of a sweep.
        error: Why it failed, or which file is damaged; None if nothing is wrong.
        removed: The folders of jobs or trials that are not there any more.
    """

    found: Found
    state: State | Literal["removed"]
    facts: dict[str, Any]
    config: Mapping[str, Any]
    result: str
    what: str
    error: str | None = None
    removed: tuple[Path, ...] = ()


KEYS = (
    "folder", "kind", "state", "when", "size", "name", "experiment", "group", "algorithm", "dataset", "model", "n_way",
    "k_shot", "seed", "steps", "metric", "test", "ci95", "val", "seconds",
)  # fmt: skip
"""Keys of a row's facts. Any key of the configuration is one, too."""


def row_of(found: Found) -> Row:
    """Return the row of a run, a sweep or a search."""
    return run_row(found) if found.kind == "run" else owner_row(found)


def run_row(found: Found, state: RunState | None = None) -> Row:
    """Return the row of a run, a job or a trial.

    Args:
        found: Its folder.
        state: How far it is, if it was read before.
    """
    state = state or read_run(found)
    record, job = state.record, state.job
    facts: dict[str, Any] = dict.fromkeys(KEYS)
    facts |= {"folder": str(found.path), "kind": "run", "state": state.state, "size": size_of(found.path)}
    if record is not None:
        test, val = record.test, record.val
        measured = test or val
        facts |= {
            "name": record.name, "experiment": record.experiment, "group": record.group, "seed": record.seed,
            "algorithm": record.algorithm, "dataset": record.dataset, "model": record.model,
            "steps": steps_done(found.path, record),
            "n_way": record.task.n_way, "k_shot": record.task.k_shot, "seconds": record.seconds,
            "metric": measured.metric if measured else None, "test": test.mean if test else None,
            "ci95": test.ci95 if test else None, "val": val.mean if val else None,
            "when": _format_time(record.finished or record.started),
        }  # fmt: skip
    elif job is not None:
        facts |= {"name": job.name, "group": job.group, "steps": 0, **_facts_of_settings(job.config, job.choices)}
    elif state.settings is not None:
        facts |= {"steps": steps_done(found.path, None), **_facts_of_settings(*state.settings)}
    facts["when"] = facts["when"] or _format_change_time(found.path)
    return Row(
        found, state.state, facts, state.config, _format_result(state, facts["steps"]), _format_what(facts), state.error
    )


def _facts_of_settings(config: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """What a run without a record is, by its configuration and the chosen files."""
    task = _task(config)
    return {
        "seed": config.get("seed"), "n_way": task and task.n_way, "k_shot": task and task.k_shot,
        **{group: choices.get(group) for group in ("algorithm", "dataset", "model")},
    }  # fmt: skip


def owner_row(found: Found) -> Row:
    """Return the row of a sweep or a search, over all its jobs or trials."""
    inner = [(job, read_run(job)) for job in jobs(found)]
    states = [state for _, state in inner]
    in_use = is_in_use(found.path) or any(state.state == "running" for state in states)
    facts: dict[str, Any] = dict.fromkeys(KEYS)
    times = [_format_time(s.record.finished or s.record.started) for s in states if s.record is not None]
    facts |= {"folder": str(found.path), "kind": found.kind, "name": found.path.name, "size": size_of(found.path)}
    facts["when"] = max((time for time in times if time), default=None) or _format_change_time(found.path)
    if found.kind == "search":
        state, result, error = _search_state(found.path, states, in_use=in_use)
        what = counted(len(inner), "trial")
    else:
        state, result, error = _sweep_state(found.path, states, in_use=in_use)
        what = counted(len(inner), "job")
    if removed := tuple(removed_jobs(found.path)):
        what += f", {len(removed):,} removed"
    facts["state"] = state
    return Row(found, state, facts, {}, result, what, error, removed)


def format_reason(error: str, most: int = 500) -> str:
    """Return why a run failed, or what is damaged, in one line; " ..." ends what is too long.

    Args:
        error: The message.
        most: The most characters of the line.
    """
    line = plain(error)
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def has_value(row: Row, key: str) -> bool:
    """Return whether a row has a key.

    Args:
        row: The row.
        key: A key of its facts or of its configuration.
    """
    return key in row.facts or bool(at_key(row.config, key))


def value_of(row: Row, key: str) -> Any:
    """Return the value of a key; None if a row has no such key.

    Args:
        row: The row.
        key: A key of its facts or of its configuration.
    """
    found = at_key(row.config, key)
    return row.facts[key] if key in row.facts else (found[0] if found else None)


def chosen_file(run: Path, group: str) -> str | None:
    """Return the file of a group of the configuration that a run was made with, such as ``adam`` of ``optimizer``.

    Args:
        run: The run folder.
        group: The group.

    Returns:
        The name of the file; None if the run has none of this group, or if its choices cannot be read.
    """
    try:
        name = read_mapping(run / "choices.yaml").get(group)
    except RunFolderError:  # of a copy without that file
        return None
    return None if name is None else str(name)


def _task(config: Mapping[str, Any]) -> Task | None:
    values = [at_key(config, f"task.{key}") for key in ("n_way", "k_shot", "n_query")]
    numbers = [value[0] for value in values if value and type(value[0]) is int]
    return Task(*numbers) if len(numbers) == 3 else None


def _format_result(state: RunState, done: int | None) -> str:
    record = state.record
    score: Score | None = None if record is None else record.test or record.val
    if record is not None and score is not None:
        return f"{'test' if record.test else 'val'} {score.metric} {format_score(score)}"
    if state.state in ("failed", "damaged") and state.error:
        return format_reason(state.error, _LONGEST_ERROR)
    steps = at_key(state.config, "train.steps")
    if state.state in ("running", "stopped") and record is not None and steps:
        return f"step {done:,} of {steps[0]:,}" if type(steps[0]) is int else f"step {done:,}"
    return NOTHING


def _format_what(facts: Mapping[str, Any]) -> str:
    if facts["algorithm"] is None:
        return NOTHING
    n_way, k_shot = facts["n_way"], facts["k_shot"]
    task = f", {format_task(Task(n_way, k_shot, 0))}" if n_way is not None and k_shot is not None else ""
    return f"{facts['algorithm']} on {facts['dataset']}{task}, seed {facts['seed']}"


def _sweep_state(path: Path, states: Sequence[RunState], *, in_use: bool) -> tuple[State, str, str | None]:
    """State, counts and error of a sweep. A job that repeats another one is not run, and counts as neither."""
    try:
        sweep = open_sweep(path)
    except RunFolderError as error:
        return "damaged", NOTHING, str(error)
    repeated = _repeated(sweep) if any(state.state == "waiting" for state in states) else 0
    tally = Counter(state.state for state in states)
    tally["waiting"] -= repeated
    total = len(states) - repeated
    parts = [f"{tally['completed']} of {total} completed"]
    parts += [f"{tally[state]} {state}" for state in STATES if state != "completed" and tally[state] > 0]
    return _worst(tally, total, in_use=in_use), ", ".join(parts), None


def _worst(tally: Mapping[State, int], total: int, *, in_use: bool) -> State:
    if in_use:
        return "running"
    if tally["completed"] == total:
        return "completed"
    return "failed" if tally["failed"] or tally["damaged"] else "stopped"


def _repeated(sweep: Sweep) -> int:
    return len(duplicates(sweep.jobs()))


def _search_state(path: Path, states: Sequence[RunState], *, in_use: bool) -> tuple[State, str, str | None]:
    """State, best result and error of a search, from its report and from its trials."""
    try:
        report = read_report(path)
    except RunFolderError as error:
        return ("running" if in_use else "damaged"), NOTHING, str(error)
    best = report.best
    value = f"best {report.metric} {best[1]:.4g} in trial {best[0]}" if best else NOTHING
    if in_use:
        return "running", value, None
    bad = any(state.state in ("failed", "damaged") for state in states)
    return ("completed" if report.is_done else "failed" if bad else "stopped"), value, None


class Report(NamedTuple):
    """What ``search.json`` says, as far as it is needed here.

    Attributes:
        metric: The metric that trials are judged by.
        is_done: Whether nothing is left to try.
        best: Number and value of the best trial; None if none completed.
        numbers: Name of a trial's folder -> its number.
    """

    metric: str
    is_done: bool
    best: tuple[int, float] | None
    numbers: dict[str, int]


def read_report(path: Path) -> Report:
    """Read the report of a search. Before its end there is none, and the report is empty.

    Args:
        path: The search's folder.

    Raises:
        RunFolderError: The report is damaged.
    """
    file = path / REPORT_FILE
    try:
        content = json.loads(read_regular(file, _MOST_BYTES))
        numbers = {str(t["folder"]): int(t["number"]) for t in content["trials"]}
        values = {t["number"]: t["value"] for t in content["trials"]}
        number = content["best"]
        best = None if number is None else (int(number), float(values[number]))
        return Report(str(content["metric"])[:100], content["is_done"] is True, best, numbers)
    except FileNotFoundError:
        return Report("", False, None, {})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise RunFolderError(f"{file} is damaged: {type(error).__name__}: {str(error)[:80]}. Restore it.") from error


def _format_time(text: str | None) -> str | None:
    """A time of a record as ``2026-11-26 14:03:21`` in UTC; None if it is not a time."""
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return f"{(when.astimezone(UTC) if when.tzinfo else when):%Y-%m-%d %H:%M:%S}"


def _format_change_time(path: Path) -> str | None:
    """When a folder was changed, for one without a record."""
    try:
        return f"{datetime.fromtimestamp(path.lstat().st_mtime, UTC):%Y-%m-%d %H:%M:%S}"
    except (OSError, ValueError, OverflowError):
        return None
