"""How long jobs will take, told from finished runs, or measured. Without torch, but for what is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.core.errors import RunFolderError
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.job_state import JobState

if TYPE_CHECKING:
    from metaexp.run.throughput import Throughput

_SAME_TIME = ("seed", "experiment", "reference", "paths", "tracker", "eval")
_SAME_TIME_IN_TRAIN = ("steps", "eval_every", "eval_episodes", "checkpoint_every", "log_every")
"""Keys that leave the time of one update and of one episode alone."""
_PLACES = (f"*/{RECORD_FILE}", f"sweeps/*/*/{RECORD_FILE}")


class Estimate(NamedTuple):
    """seconds: that a job will still take. source: what tells so."""

    seconds: float
    source: str


def finished_runs(outputs: Path) -> dict[Path, RunRecord]:
    """Folder -> record of the completed runs in ``outputs`` and its sweeps; those that cannot be read tell nothing."""
    found = {}
    for path in (path for pattern in _PLACES for path in sorted(outputs.glob(pattern))):
        try:
            record = read_record(path.parent)
        except RunFolderError:
            continue
        if record.status == "completed" and record.seconds is not None:
            found[path.parent] = record
    return found


def estimate(job: FrozenJob, state: JobState, finished: Sequence[RunRecord]) -> Estimate | None:
    """How long a job will still take; None where no finished run tells.

    Runs of the same job tell best. Else those of the same algorithm, network, dataset and shape of training task do:
    their time for a training task, times the tasks of the job. Runs on all devices count.
    """
    name = f"{job.choices.get('algorithm')} on {job.choices.get('dataset')}"
    left = 1 - (_done(job, state) / job.steps if job.steps else 0)
    same = [record.seconds for record in finished if record.config_hash == job.config_hash and record.seconds]
    if same:
        return Estimate(median(same) * left, f"{_runs(len(same))} of the same job")
    rates = [record.seconds / _tasks(record.config) for record in finished if record.seconds and _is_like(record, job)]
    if rates:
        return Estimate(median(rates) * _tasks(job.config) * left, f"{_runs(len(rates))} of {name}, by training tasks")
    return None


def measured(
    jobs: Sequence[FrozenJob], states: Mapping[int, JobState], threads: int | None, say: Callable[[str], None]
) -> dict[int, Estimate]:
    """How long jobs will still take, from some updates and episodes of each kind, run here and now.

    threads: of each job, where it leaves them open. Raises what a run would: DataError where the data are not there.
    """
    from metaexp.run import throughput

    rates: dict[str, Throughput] = {}
    n_kinds = len({_kind(job.config) for job in jobs})
    found = {}
    for job in jobs:
        settings, kind = job.settings(threads), _kind(job.config)
        name = f"{job.choices.get('algorithm')} on {job.choices.get('dataset')}"
        if kind not in rates:
            say(f"measuring {name} ({len(rates) + 1} of {n_kinds})")
            rates[kind] = throughput.measure(settings, say)
        seconds = rates[kind].seconds(settings, job.steps - _done(job, states[job.number]))
        found[job.number] = Estimate(seconds, f"updates and episodes of {name}, measured here")
    return found


def _done(job: FrozenJob, state: JobState) -> int:
    """Steps that need not be made any more."""
    return max(state.record.steps if state.record else 0, job.first_step)


def _kind(config: Mapping[str, Any]) -> str:
    """What jobs share whose updates and episodes take the same time. Learning rates and the like do not matter."""
    kept = {key: value for key, value in config.items() if key not in _SAME_TIME}
    kept["train"] = {key: value for key, value in config["train"].items() if key not in _SAME_TIME_IN_TRAIN}
    for section, value in kept.items():
        if isinstance(value, Mapping):
            kept[section] = {key: item for key, item in value.items() if not isinstance(item, float)}
    return json.dumps(kept, sort_keys=True)


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
