"""A sweep in words: a line for a job that ends, and the table of all of them. Without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from metaexp.results.record import RunRecord
from metaexp.results.wording import format_score, format_time
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.job_state import JobState, Status

_LOUD = {"failed": "FAILED", "killed": "KILLED"}
_ORDER: tuple[Status, ...] = ("failed", "killed", "interrupted", "running", "waiting")
_WORDS = {"waiting": "not begun", "running": "running elsewhere"}


def format_result(record: RunRecord | None) -> str:
    """The test metric of a run in a few words; of one that is not tested, the validation's."""
    score = None if record is None else record.test or record.val
    if record is None or score is None:
        return "no result"
    return f"{'test' if record.test else 'validation'} {score.metric} {format_score(score)}"


def format_state(state: JobState) -> str:
    """How a job ended, or how far it is."""
    if state.status == "completed":
        seconds = state.record.seconds if state.record else None
        return format_result(state.record) + (f", {format_time(seconds)}" if seconds is not None else "")
    if state.status in _LOUD:
        return f"{_LOUD[state.status]}, {state.error}"
    if state.status == "interrupted":
        return f"interrupted{format_steps_done(state)}"
    return _WORDS[state.status]


def format_steps_done(state: JobState) -> str:
    """How far an interrupted run came."""
    return f" after {state.record.steps:,} meta-updates" if state.record else ""


def format_job(job: FrozenJob) -> str:
    """``job 3 (seed=0 algorithm=maml)``."""
    return f"job {job.number} ({job.what})" if job.what else f"job {job.number}"


def line(job: FrozenJob, state: JobState) -> str:
    """One job in one line."""
    return f"{format_job(job)}: {format_state(state)}"


def table(
    name: str,
    jobs: Sequence[FrozenJob],
    states: Mapping[int, JobState],
    same: Mapping[int, int],
    kept: frozenset[int] = frozenset(),
) -> str:
    """All jobs, with folders, and the reason and the log of those that failed.

    states: by number. same: jobs that are the same as another one. kept: completed before.
    """
    width = max((len(job.what) for job in jobs), default=0)
    lines = [f"{name}: {counts(jobs, states, same, kept)}"]
    for job in jobs:
        if job.number in same:
            lines.append(f"  {job.number:3d}  {job.what:{width}}  the same as job {same[job.number]}")
            continue
        state = states[job.number]
        before = " (from before)" if job.number in kept else ""
        lines.append(f"  {job.number:3d}  {job.what:{width}}  {format_state(state)}{before}")
        if state.ended_badly:
            lines.append(f"       {'':{width}}  log: {state.log}")
    return "\n".join(lines)


def counts(
    jobs: Sequence[FrozenJob],
    states: Mapping[int, JobState],
    same: Mapping[int, int],
    kept: frozenset[int] = frozenset(),
) -> str:
    """``6 of 8 jobs completed (2 before), 1 failed, 1 killed``."""
    found = Counter(states[job.number].status for job in jobs if job.number not in same)
    before = f" ({len(kept)} before)" if kept else ""
    words = [f"{found['completed']} of {len(jobs) - len(same)} jobs completed{before}"]
    words += [f"{found[status]} {_WORDS.get(status, status)}" for status in _ORDER if found[status]]
    words += [f"{len(same)} the same as others and not run"] if same else []
    return ", ".join(words)


def format_nothing_taken(outputs: Path) -> str:
    """What is said where ``sweep.reuse=true`` finds nothing."""
    return (
        f"sweep.reuse=true takes nothing over: {outputs} holds no completed run of these jobs "
        "by the code as it is (of the same commit, with nothing changed since) and the same versions"
    )


def format_folder(path: Path) -> str:
    """Where the sweep is."""
    return f"sweep folder: {path}"
