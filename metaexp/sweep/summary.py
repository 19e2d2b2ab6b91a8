"""Formats the results of a sweep: a line for a job that ends, and the table of all jobs. Without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from metaexp.core.counted import counted
from metaexp.results.display.wording import format_score, format_time, format_times
from metaexp.results.job_state import JobState, Status
from metaexp.results.record import RunRecord
from metaexp.sweep.frozen_job import FrozenJob

_LOUD = {"failed": "FAILED", "killed": "KILLED"}
_LONG = 100
"""Letters of an error that is written only once into a table."""
_TRACKERS_WITH_GROUPS = {"wandb": "Weights & Biases", "mlflow": "MLflow"}
_ORDER: tuple[Status, ...] = ("failed", "killed", "interrupted", "running", "waiting")
_STATUS_TEXTS = {"waiting": "not started", "running": "running elsewhere"}


def format_result(record: RunRecord | None) -> str:
    """Format the test metric of a run, or the validation metric if the run was not tested."""
    score = None if record is None else record.test or record.val
    if record is None or score is None:
        return "no result"
    return f"{'test' if record.test else 'validation'} {score.metric} {format_score(score)}"


def format_state(state: JobState, time: str = "") -> str:
    """Format how a job ended, or how far it is.

    Args:
        state: Its state.
        time: What a completed one took, if it is not to be formatted by itself.
    """
    if state.status == "completed":
        seconds = _seconds(state)
        return format_result(state.record) + (f", {time or format_time(seconds)}" if seconds is not None else "")
    if state.status in _LOUD:
        return f"{_LOUD[state.status]}, {state.error}"
    if state.status == "interrupted":
        return f"interrupted{format_steps_done(state)}"
    return _STATUS_TEXTS[state.status]


def _seconds(state: JobState) -> float | None:
    return state.record.seconds if state.record and state.status == "completed" else None


def format_steps_done(state: JobState) -> str:
    """Format how many steps an interrupted run has done; empty if it has no record."""
    return f" after {counted(state.record.steps, 'step')}" if state.record else ""


def format_job(job: FrozenJob) -> str:
    """Format the name of a job: ``job 3 (seed=0 algorithm=maml)``."""
    return f"job {job.number} ({job.what})" if job.what else f"job {job.number}"


def format_job_line(job: FrozenJob, state: JobState) -> str:
    """Format one job with its state in one line.

    Args:
        job: The job.
        state: Its state.
    """
    return f"{format_job(job)}: {format_state(state)}"


def format_table(
    name: str,
    jobs: Sequence[FrozenJob],
    states: Mapping[int, JobState],
    same: Mapping[int, int],
    kept: frozenset[int] = frozenset(),
) -> str:
    """Format all jobs with their results; of failed jobs, the error and the log.

    Args:
        name: Name of the sweep.
        jobs: Its jobs.
        states: Number of a job -> how far it is.
        same: Number of a job that repeats another one -> number of the other.
        kept: Numbers of the jobs that were completed before this command.
    """
    width = max((len(job.what) for job in jobs), default=0)
    lines = [f"{name}: {format_counts(jobs, states, same, kept)}"]
    first: dict[str, int] = {}
    times = dict(zip(states, format_times([_seconds(state) for state in states.values()]), strict=True))
    for job in jobs:
        if job.number in same:
            lines.append(f"  {job.number:3d}  {job.what:{width}}  the same as job {same[job.number]}")
            continue
        state = states[job.number]
        before = " (from before)" if job.number in kept else ""
        text = format_state(state, times[job.number])
        if state.ended_badly and len(state.error or "") > _LONG:
            n_first = first.setdefault(state.error or "", job.number)
            text = text if n_first == job.number else f"{_LOUD[state.status]}, with the same error as job {n_first}"
        lines.append(f"  {job.number:3d}  {job.what:{width}}  {text}{before}")
        if state.ended_badly:
            lines.append(f"       {'':{width}}  log: {state.log}")
    return "\n".join(lines)


def format_counts(
    jobs: Sequence[FrozenJob],
    states: Mapping[int, JobState],
    same: Mapping[int, int],
    kept: frozenset[int] = frozenset(),
) -> str:
    """Format how many jobs are in which state: ``6 of 8 jobs completed (2 before), 1 failed, 1 killed``.

    Args:
        jobs: The jobs.
        states: Number of a job -> how far it is.
        same: Number of a job that repeats another one -> number of the other.
        kept: Numbers of the jobs that were completed before this command.
    """
    found = Counter(states[job.number].status for job in jobs if job.number not in same)
    before = f" ({len(kept)} before)" if kept else ""
    parts = [f"{found['completed']} of {counted(len(jobs) - len(same), 'job')} completed{before}"]
    parts += [f"{found[status]} {_STATUS_TEXTS.get(status, status)}" for status in _ORDER if found[status]]
    parts += [f"{len(same)} the same as others and not run"] if same else []
    return ", ".join(parts)


def format_nothing_reused(outputs: Path) -> str:
    """Format the note that ``sweep.reuse=true`` finds no run to copy."""
    return (
        f"sweep.reuse=true copies nothing: {outputs} has no completed run of these jobs "
        "with the same code (the same commit, without uncommitted changes) and the same versions"
    )


def format_trackers_of_copies(jobs: Sequence[FrozenJob], reused: Mapping[int, Path]) -> list[str]:
    """Format the note that W&B and MLflow do not have copied runs among those of the new sweep, if there are any.

    Args:
        jobs: The jobs of the sweep.
        reused: Number of a job -> the completed run that is copied.
    """
    used = {name for job in jobs if job.number in reused for name in job.config["tracker"]}
    shown = [title for name, title in _TRACKERS_WITH_GROUPS.items() if name in used]
    if not shown:
        return []
    return [f"in {' and '.join(shown)}, runs that are copied stay where they were logged, and are not in this sweep"]


def format_folder(path: Path) -> str:
    """Format the line that names the sweep's folder."""
    return f"sweep folder: {path}"
