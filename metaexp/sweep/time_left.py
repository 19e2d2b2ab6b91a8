"""Estimates how long the rest of a sweep takes, from jobs that have ended and from those that run. Without torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import mean

from metaexp.results.progress_file import Progress
from metaexp.sweep.estimate import kind_of_job
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.run_costs import RunCosts
from metaexp.sweep.summary import format_job

_MOST_NAMED = 2


class TimeLeft:
    """Estimates the time that jobs still take together.

    A job takes as long as others of its kind, by steps and episodes; one of another kind as long as all others do on
    average, by steps.

    Args:
        jobs: The jobs that are left to run.
    """

    def __init__(self, jobs: Sequence[FrozenJob]) -> None:
        self._kinds = {job.number: kind_of_job(job) for job in jobs}
        self._waiting = {job.number: job for job in jobs}
        self._rates: dict[str, float] = {}
        self._costs: dict[str, RunCosts] = {}

    def ended(self, job: FrozenJob, seconds: float | None, costs: RunCosts | None = None) -> None:
        """Learn from a job that ended.

        Args:
            job: The job.
            seconds: How long it took; None if that is not known, or if it failed.
            costs: Where this time went; None if that is not known.
        """
        self._waiting.pop(job.number, None)
        if seconds is not None:
            self._rates[self._kinds[job.number]] = seconds / max(job.steps, 1)
        if costs is not None:
            self._costs[self._kinds[job.number]] = costs

    def seconds(self, running: Mapping[int, Progress | None], without: Collection[int] = ()) -> float | None:
        """Return the estimate; None before any rate is known.

        Args:
            running: Number of a running job -> how far it is; None if it has not said so yet.
            without: Numbers of jobs that do not run again.
        """
        lefts: list[float] = []
        for number, progress in running.items():
            job = self._waiting.get(number)
            if job is None:  # a job that began again after it had ended
                continue
            left = None if progress is None else progress.seconds_left(test_episodes(job))
            if progress is not None and left is not None:
                lefts.append(left)
                if progress.step > 0 and self._kinds[number] not in self._rates:
                    self._rates[self._kinds[number]] = (progress.seconds + left) / max(job.steps, 1)
        if not self._rates:
            return None
        others = [job for number, job in self._waiting.items() if number not in running and number not in without]
        started = [number for number, progress in running.items() if progress is None]
        unknown = [*others, *(self._waiting[number] for number in started if number in self._waiting)]
        average = mean(self._rates.values())
        total = sum(lefts) + sum(self._seconds(job, average) for job in unknown)
        return max([total / max(len(running), 1), *lefts])

    def _seconds(self, job: FrozenJob, average: float) -> float:
        """The time of a job that has not begun; ``average`` are the seconds of a step in jobs of other kinds."""
        kind = self._kinds[job.number]
        costs = self._costs.get(kind)
        return self._rates.get(kind, average) * job.steps if costs is None else costs.seconds(job.config)


def test_episodes(job: FrozenJob) -> int:
    """Return how many episodes the test of a job has; 0 if it has none."""
    section = job.config.get("eval")
    if not isinstance(section, Mapping) or section.get("test") is False:
        return 0
    number = section.get("episodes")
    return number if isinstance(number, int) else 0


def format_running(jobs: Sequence[FrozenJob], running: Mapping[int, Progress | None]) -> str:
    """Format what the running jobs do: ``job 3: train 120/600, job 4: validate 50/200``; a single one with its name.

    Args:
        jobs: The running jobs.
        running: Number of a running job -> how far it is; None if it has not said so yet.
    """
    if len(jobs) == 1:
        return f"{format_job(jobs[0])}: {format_phase(running[jobs[0].number])}"
    named = [f"job {job.number}: {format_phase(running[job.number])}" for job in jobs[:_MOST_NAMED]]
    more = [f"{len(jobs) - _MOST_NAMED} more"] if len(jobs) > _MOST_NAMED else []
    return ", ".join([*named, *more])


def format_phase(progress: Progress | None) -> str:
    """Format the phase of a run and how far it is: ``validate 50/200``; ``starting`` before it has one."""
    return "starting" if progress is None else f"{progress.phase} {progress.done:,}/{progress.total:,}"
