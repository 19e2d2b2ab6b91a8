"""Estimates how long jobs will take, from finished runs or by a measurement. Only the measurement imports torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexp.config.command_line.section_overrides import kinds_of
from metaexp.config.schema import EvalSettings, TrainSettings
from metaexp.core.counted import counted
from metaexp.core.errors import RunFolderError
from metaexp.results.beginning import NO_NETWORK
from metaexp.results.job_state import JobState
from metaexp.results.record import RECORD_FILE, RunRecord, read_record
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.run_costs import costs_of

if TYPE_CHECKING:
    from metaexp.run.throughput import Throughput

_SAME_TIME = ("seed", "experiment", "reference", "paths", "tracker", "eval", "tags", "notes")
_SAME_TIME_IN_TRAIN = ("steps", "eval_every", "eval_episodes", "checkpoint_every", "log_every")
"""Keys that do not change the time of one step or of one episode."""
_PLACES = (f"*/{RECORD_FILE}", f"sweeps/*/*/{RECORD_FILE}")


class Estimate(NamedTuple):
    """How long a job will take.

    Attributes:
        seconds: Time that the job still needs.
        source: What the estimate comes from, for the user.
    """

    seconds: float
    source: str


def finished_runs(outputs: Path) -> dict[Path, RunRecord]:
    """Return folder -> record of every completed run in ``outputs`` and its sweeps. Damaged records are left out.

    So are records without the settings by which time is estimated, or with impossible ones.
    """
    found = {}
    for path in (path for pattern in _PLACES for path in sorted(outputs.glob(pattern))):
        try:
            record = read_record(path.parent)
        except RunFolderError:
            continue
        if record.status == "completed" and record.seconds is not None and _has_settings(record.config):
            found[path.parent] = record
    return found


def _has_settings(config: Mapping[str, Any]) -> bool:
    """Whether the settings of training and test are those that a run can have."""
    return all(_is_section(config.get(name), cls) for name, cls in (("train", TrainSettings), ("eval", EvalSettings)))


def _is_section(values: Any, cls: type[TrainSettings] | type[EvalSettings]) -> bool:
    """Whether a section has all keys of its dataclass that have no default, and only values that they accept."""
    if not isinstance(values, Mapping):
        return False
    kinds = kinds_of(f"{cls.__module__}.{cls.__qualname__}")
    needed = {field.name for field in fields(cls) if field.default is field.default_factory is MISSING}
    return needed <= set(values) and all(kind.accepts(values[name]) for name, kind in kinds.items() if name in values)


def estimate(job: FrozenJob, state: JobState, finished: Mapping[Path, RunRecord]) -> Estimate | None:
    """Estimate from finished runs how long a job will still take.

    The median time of runs of the same job is used. If there are none, or if the job is begun, it is computed from what
    runs with the same algorithm, network, dataset and shape of training task spent on training tasks, on episodes of
    validation and test, and once. Only runs count that have half as many steps as the longest of them, because short
    ones take longer for each task. Runs on all devices count.

    Args:
        job: The job.
        state: How far the job is.
        finished: Folder -> record of completed runs.

    Returns:
        The estimate; None if no finished run is like the job.
    """
    name = f"{job.choices.get('algorithm')} on {job.choices.get('dataset')}"
    done = _done(job, state)
    same = {folder: record for folder, record in finished.items() if record.config_hash == job.config_hash}
    whole = [record.seconds for record in same.values() if record.seconds]
    if whole and not done:
        return Estimate(median(whole), f"{_runs(len(whole))} of the same job")
    like = same if whole else {folder: record for folder, record in finished.items() if _is_like(record, job)}
    most = max((record.steps for record in like.values()), default=0)
    times = [
        _seconds(folder, record, job, done)
        for folder, record in like.items()
        if record.seconds and 2 * record.steps >= most
    ]
    if not times:
        return None
    what = "of the same job" if whole else f"of {name}, by training tasks and episodes"
    return Estimate(median(times), f"{_runs(len(times))} {what}")


def _seconds(folder: Path, record: RunRecord, job: FrozenJob, done: int) -> float:
    """What is left of a job, by one finished run; of a run without times, by training tasks alone."""
    costs = costs_of(folder, record)
    if costs is not None:
        return costs.seconds(job.config, done)
    assert record.seconds is not None
    left = 1 - (done / job.steps if job.steps else 0)
    return record.seconds / _tasks(record.config) * _tasks(job.config) * left


def measure_times(
    jobs: Sequence[FrozenJob], states: Mapping[int, JobState], threads: int | None, report: Callable[[str], None]
) -> dict[int, Estimate]:
    """Estimate how long jobs will still take, by running some steps and episodes of each kind on this machine.

    Args:
        jobs: The jobs.
        states: Number of a job -> how far it is.
        threads: Value of ``device.threads`` for jobs that leave it open.
        report: Called with a line about what is measured.

    Returns:
        Number of a job -> its estimate.

    Raises:
        MetaexpError: What the run itself would raise, such as DataError for missing data.
    """
    from metaexp.run import throughput

    rates: dict[str, Throughput] = {}
    n_kinds = len({_kind(job.config) for job in jobs})
    found = {}
    for job in jobs:
        settings, kind = job.settings(threads), _kind(job.config)
        name = f"{job.choices.get('algorithm')} on {job.choices.get('dataset')}"
        if kind not in rates:
            report(f"measuring {name} ({len(rates) + 1} of {n_kinds})")
            rates[kind] = throughput.measure(settings, report)
        seconds = rates[kind].seconds(settings, job.steps - _done(job, states[job.number]))
        found[job.number] = Estimate(seconds, f"steps and episodes of {name}, measured here")
    return found


def kind_of_job(job: FrozenJob) -> str:
    """Return a text that is equal for jobs whose steps and episodes take the same time."""
    return _kind(job.config)


def _done(job: FrozenJob, state: JobState) -> int:
    """Steps that are done already, by the job or by the run that it continues."""
    return max(state.record.steps if state.record else 0, job.first_step)


def _kind(config: Mapping[str, Any]) -> str:
    """A text that is equal for jobs whose steps and episodes take the same time; learning rates may differ."""
    kept = {key: value for key, value in config.items() if key not in _SAME_TIME}
    kept["train"] = {key: value for key, value in config["train"].items() if key not in _SAME_TIME_IN_TRAIN}
    for section, value in kept.items():
        if isinstance(value, Mapping):
            kept[section] = {key: item for key, item in value.items() if not isinstance(item, float)}
    return json.dumps(kept, sort_keys=True)


def _is_like(record: RunRecord, job: FrozenJob) -> bool:
    groups = ("algorithm", "dataset", "model")
    ours = [job.choices.get(group) for group in groups]
    if record.model == NO_NETWORK:  # whichever is chosen is not made
        ours[-1] = NO_NETWORK
    keys = ("n_way", "k_shot", "n_query")
    shapes = [[config["train"][key] for key in keys] for config in (record.config, job.config)]
    return ours == [record.algorithm, record.dataset, record.model] and shapes[0] == shapes[1]


def _tasks(config: dict[str, dict[str, int]]) -> int:
    """Training tasks of a whole run; 1 if nothing is trained."""
    return max(1, config["train"]["steps"] * config["train"]["meta_batch_size"])


def _runs(n: int) -> str:
    return counted(n, "finished run")
