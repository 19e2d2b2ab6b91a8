"""How long jobs will take, told from finished runs. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from metaexp.core.errors import RunFolderError
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.runner.sweep.frozen import FrozenJob
from metaexp.runner.sweep.state import JobState

_PLACES = (f"*/{RECORD_FILE}", f"sweeps/*/*/{RECORD_FILE}")


class Estimate(NamedTuple):
    """seconds: that a job will still take. source: what tells so."""

    seconds: float
    source: str


def finished_runs(outputs: Path) -> list[RunRecord]:
    """The records of completed runs in ``outputs`` and its sweeps; those that cannot be read tell nothing."""
    found = []
    for path in (path for pattern in _PLACES for path in sorted(outputs.glob(pattern))):
        try:
            record = read_record(path.parent)
        except RunFolderError:
            continue
        if record.status == "completed" and record.seconds is not None:
            found.append(record)
    return found


def estimate(job: FrozenJob, state: JobState, finished: Sequence[RunRecord]) -> Estimate | None:
    """How long a job will still take; None where no finished run tells.

    Runs of the same job tell best. Else those of the same algorithm, network, dataset and shape of training task do:
    their time for a training task, times the tasks of the job. Runs on all devices count.
    """
    name = f"{job.choices.get('algorithm')} on {job.choices.get('dataset')}"
    left = 1 - (state.record.steps / job.steps if state.record and job.steps else 0)
    same = [record.seconds for record in finished if record.config_hash == job.config_hash and record.seconds]
    if same:
        return Estimate(median(same) * left, f"{_runs(len(same))} of the same job")
    rates = [record.seconds / _tasks(record.config) for record in finished if record.seconds and _is_like(record, job)]
    if rates:
        return Estimate(median(rates) * _tasks(job.config) * left, f"{_runs(len(rates))} of {name}, by training tasks")
    return None


def _is_like(record: RunRecord, job: FrozenJob) -> bool:
    groups = ("algorithm", "dataset", "model")
    ours = [job.choices.get(group) for group in groups]
    keys = ("n_way", "k_shot", "n_query")
    shapes = [[config["train"][key] for key in keys] for config in (record.config, job.config)]
    return ours == [record.algorithm, record.dataset, record.model] and shapes[0] == shapes[1]


def _tasks(config: dict[str, dict[str, int]]) -> int:
    """Training tasks of a whole run; 1 where nothing is trained."""
    return max(1, config["train"]["steps"] * config["train"]["meta_batch_size"])


def _runs(n: int) -> str:
    return f"{n} finished run{'s' if n > 1 else ''}"
