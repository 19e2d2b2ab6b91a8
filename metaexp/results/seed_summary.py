"""The summary of an experiment's seeds beside its published number, as a file and as lines. Without torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaexp.core.counted import counted
from metaexp.core.disk.files import encode_text, write_atomically
from metaexp.results.display.wording import NOTHING, format_batch_norm, format_reference, format_score, format_task
from metaexp.results.record import Reference, RunRecord
from metaexp.results.seeds import SeedsResult, combine_seeds

SUMMARY_FILE = "summary.json"


def write_summary(
    folder: Path, name: str, records: Sequence[RunRecord], failed: Mapping[int, str], departs: str | None
) -> SeedsResult:
    """Write ``folder/summary.json``.

    Args:
        folder: Where the seeds' runs are.
        name: The experiment.
        records: The records of the completed runs.
        failed: Seed -> error, for the other runs.
        departs: Where the experiment departs from its paper; None where its file says nothing.

    Returns:
        All seeds taken together.
    """
    whole = combine_seeds(records)
    content: dict[str, Any] = {
        "schema_version": 1,
        "experiment": name,
        "seeds": whole.seeds,
        "failed": {str(seed): error for seed, error in failed.items()},
        "test": _plain(whole.test),
        "verdict": _plain(whole.verdict),
        "reference": _plain(records[0].reference) if records else None,
        "departs": departs,
        "deviations": list(dict.fromkeys(item for record in records for item in record.deviations)),
        "runs": [_run(record) for record in records],
    }
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(folder / SUMMARY_FILE, encode_text(text))
    return whole


def seed_rows(records: Sequence[RunRecord], whole: SeedsResult) -> list[list[str]]:
    """Return lines of a table: the seed, its test score, its verdict; and one for all seeds if there are several.

    Args:
        records: The records of the seeds.
        whole: The result over all of them.
    """
    found = [[f"seed {r.seed}", format_score(r.test), r.verdict.text if r.verdict else NOTHING] for r in records]
    if len(records) > 1:
        verdict = whole.verdict.text if whole.verdict else NOTHING
        found.append([f"mean of {counted(len(records), 'seed')}", format_score(whole.test), verdict])
    return found


def format_notes(records: Sequence[RunRecord], departs: str | None) -> list[str]:
    """Return what belongs beside the verdict: both protocols, departures from the paper, changed settings, commits.

    Args:
        records: The records of the seeds.
        departs: How the experiment departs from the paper; None where it does not.
    """
    if not records:
        return []
    first = records[0]
    lines = [*_published(first.reference), f"measured with: {format_protocol(first)}"]
    if departs is not None:
        lines.append(f"departs from the paper: {departs}")
    lines += [f"changed settings: {item}" for item in dict.fromkeys(d for r in records for d in r.deviations)]
    commits = {r.git.commit[:12] + (" with changes" if r.git.dirty else "") for r in records if r.git is not None}
    if len(commits) > 1:
        lines.append(f"the seeds were run from several states of the source: {', '.join(sorted(commits))}")
    return lines


def format_protocol(record: RunRecord) -> str:
    """Return a line such as ``600 tasks, 5-way 1-shot, 1 query per class, batch norm transductive``."""
    n_episodes = record.test.n_episodes if record.test else 0
    queries = counted(record.task.n_query, "query")
    steps = len(record.after_steps) - 1
    parts = [
        counted(n_episodes, "task"),
        format_task(record.task),
        f"{queries} per class" if record.task.n_way else queries,
        *([f"{counted(steps, 'adaptation step')} at test"] if record.after_steps else []),
        f"batch norm {format_batch_norm(record.batch_norm)}",
    ]
    return ", ".join(parts)


def _published(reference: Reference | None) -> list[str]:
    if reference is None:
        return ["no published number to compare with"]
    return [
        f"published: {format_reference(reference)} ({reference.paper}, {reference.table})",
        f"published with: {reference.protocol}",
    ]


def _run(record: RunRecord) -> dict[str, Any]:
    return {
        "seed": record.seed,
        "steps": record.steps,
        "full_steps": record.full_steps,
        "selected_step": record.selected_step,
        "test": _plain(record.test),
        "verdict": _plain(record.verdict),
        "episode_bank": record.episode_bank,
        "config_hash": record.config_hash,
        "seconds": record.seconds,
    }


def _plain(value: Any) -> Any:
    return None if value is None else dataclasses.asdict(value)
