"""Formats the plan of a sweep: its jobs, duplicates, what is done, and how long the rest takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from metaexp.config.classes.targets import trust_arguments
from metaexp.config.command_line.override_text import chosen_launcher
from metaexp.core.counted import counted
from metaexp.machine.threads import threads_each
from metaexp.results.display.wording import NOTHING, format_times
from metaexp.results.job_state import JobState
from metaexp.sweep.data_check import missing_data
from metaexp.sweep.decide import is_left
from metaexp.sweep.estimate import Estimate, estimate, finished_runs, measure_times
from metaexp.sweep.expand import runs_here
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.groups import in_groups, jobs_at_once
from metaexp.sweep.prepare import Prepared
from metaexp.sweep.processes.warm_start import open_job_starter
from metaexp.sweep.summary import format_counts, format_nothing_reused, format_state, format_trackers_of_copies
from metaexp.sweep.together_check import apart_only


def format_plan(prepared: Prepared, overrides: Sequence[str], measure: Callable[[str], None] | None = None) -> str:
    """Format the plan of a sweep. Nothing is written or started.

    Args:
        prepared: The sweep.
        overrides: Overrides of the command line.
        measure: Called with a line about each measurement. A job that is like no finished run is measured by running a
            few steps. None measures nothing, and leaves the time of such a job unknown.

    Returns:
        The text, of several lines.
    """
    jobs, same = prepared.jobs, prepared.duplicates()
    states = {job.number: prepared.state(job) for job in jobs if job.number not in same}
    outputs, reused = prepared.outputs, prepared.reusable_runs()
    others = [job for job in jobs if job.number not in same and job.number not in reused]
    left = [job for job in others if is_left(states[job.number], prepared.options)]
    in_pool = chosen_launcher(overrides) is None
    options = prepared.options
    at_once = jobs_at_once(options.n_jobs, jobs, together=options.together) if in_pool else None
    times = _times(left, states, outputs, threads_each(at_once) if at_once else None, measure)
    there = "not there yet" if prepared.sweep is None else format_counts(jobs, states, same)
    width = max((len(job.what) for job in jobs), default=0)
    said = dict(zip(times, format_times([time and time.seconds for time in times.values()]), strict=True))
    notes = [format_nothing_reused(outputs)] if prepared.options.reuse and prepared.sweep is None and not reused else []
    if runs_here(overrides):
        notes += [f"data that cannot be loaded: {data.format(len(left))}" for data in missing_data(left)]
    if measure is not None and in_pool and options.together and prepared.sweep is None:
        with open_job_starter(trust_arguments(), 1, measure, fork=False) as begin:
            apart = apart_only(left, begin, measure, lambda: False)
        notes += [f"will not start: {group.format(len(left))}" for group in apart]
    lines = [*prepared.notes, *notes, f"{_format_n_jobs(len(jobs))} in {prepared.path}: {there}"]
    for job in jobs:
        what = f"the same as job {same[job.number]}" if job.number in same else _format_job(job, states, said)
        what = f"done in {reused[job.number]}, which is copied" if job.number in reused else what
        lines.append(f"  {job.number:3d}  {job.what:{width}}  {what}")
    if same and prepared.sweep is None:
        repeat = "repeats another job" if len(same) == 1 else "repeat other jobs"
        lines.append(f"{_format_n_jobs(len(same))} {repeat} and will not run")
    groups = in_groups(left, together=options.together)
    if len(groups) < len(left):
        checked = "" if measure else "; the command checks whether they can, and so does --measure"
        lines.append(f"they train together in {counted(len(groups), 'process')}, which takes less{checked}")
    lines += format_trackers_of_copies(jobs, reused)
    lines.append(_format_total(left, times, outputs, at_once))
    return "\n".join(lines)


def _times(
    left: Sequence[FrozenJob],
    states: Mapping[int, JobState],
    outputs: Path,
    threads: int | None,
    measure: Callable[[str], None] | None,
) -> dict[int, Estimate | None]:
    """The time of each job that is left, from finished runs, or else by a measurement if ``measure`` is given."""
    finished = finished_runs(outputs)
    times = {job.number: estimate(job, states[job.number], finished) for job in left}
    unknown = [job for job in left if times[job.number] is None]
    if measure is not None and unknown:
        times.update(measure_times(unknown, states, threads, measure))
    return times


def _format_job(job: FrozenJob, states: Mapping[int, JobState], times: Mapping[int, str]) -> str:
    state = states[job.number]
    if job.number not in times:
        return f"done: {format_state(state)}" if state.status == "completed" else f"kept: {format_state(state)}"
    verb = {"waiting": "to run", "running": "running elsewhere"}.get(state.status, f"to resume ({format_state(state)})")
    time = times[job.number]
    return f"{verb}, {'time unknown' if time == NOTHING else f'about {time}'}"


def _format_total(
    left: Sequence[FrozenJob], times: Mapping[int, Estimate | None], outputs: Path, n_at_once: int | None
) -> str:
    """The time of all jobs together, and what it is estimated from, in sentences."""
    if not left:
        return "Nothing is left to run."
    known = [time for time in times.values() if time is not None]
    unknown = [job for job in left if times[job.number] is None]
    parts = [f"{_format_n_jobs(len(left))} to run"]
    more = []
    if known:
        seconds = sum(time.seconds for time in known)
        of_those = f" for {len(known)} of them" if unknown else ""
        in_all, at_once = format_times([seconds, seconds / min(n_at_once or 1, len(known))])
        parts.append(f"about {in_all} of computing{of_those}")
        if n_at_once is not None and n_at_once > 1:
            parts.append(f"{at_once} with {n_at_once} at once")
        sources = "; ".join(source for source, _ in Counter(t.source for t in known).most_common())
        more.append(f"The time is estimated from {sources}.")
    if unknown:
        which = sorted({f"{job.choices.get('algorithm')} on {job.choices.get('dataset')}" for job in unknown})
        like = "it" if len(unknown) == 1 else "them"
        more.append(
            f"The time of {len(unknown)} is unknown, because {outputs} has no finished run like {like} "
            f"({', '.join(which)}); --measure measures it."
        )
    return " ".join([", ".join(parts) + ".", *more])


def _format_n_jobs(n: int) -> str:
    return counted(n, "job")
