"""Jobs on this machine, some at once, each in a process of its own: for sweeps and for searches. Without torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from metaexp.sweep.job_process import JobProcess

_SECONDS_BETWEEN_LOOKS = 0.05

Start = Callable[[Path], JobProcess]
"""Begins or continues the job in a folder."""


class RunningJob(Protocol):
    """A job that has a process, or waits for one that another command started."""

    def look(self) -> bool:
        """Do what is due, and return whether the job has ended."""

    def stop(self) -> None:
        """Ask the job to save and stop. Asking again changes nothing."""

    def kill(self) -> None:
        """End the job's process at once, without saving."""


Job = TypeVar("Job", bound=RunningJob)


class JobQueue(Protocol[Job]):
    """Decides which job runs next. A sweep and a search have one each."""

    def next_job(self) -> Job | None:
        """Begin the next job that is left. None where none can begin now."""

    def ended(self, job: Job) -> None:
        """A job that this queue began has ended."""

    def stop(self) -> None:
        """Begin no more jobs. Asking again changes nothing."""

    def look(self, running: list[Job]) -> None:
        """Some time has passed, with these jobs running."""

    @property
    def is_done(self) -> bool:
        """Whether no job will begin any more, unless one that runs ends."""


class Pool(Generic[Job]):
    """Runs the jobs of a queue, some at once, until all have ended.

    Args:
        queue: Where the jobs come from.
        n_jobs: How many run at once.
    """

    def __init__(self, queue: JobQueue[Job], n_jobs: int) -> None:
        self.queue = queue
        self.n_jobs = n_jobs
        self.running: list[Job] = []

    def run(self, stop: Callable[[], bool]) -> None:
        """Run the jobs. If an error ends this early, their processes are killed.

        Args:
            stop: Whether to stop: then all running jobs save and stop, and no other begins.
        """
        try:
            while self.running or not self.queue.is_done:
                if stop():
                    self.queue.stop()
                    for job in self.running:
                        job.stop()
                self._begin()
                self._gather()
                self.queue.look(self.running)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for job in self.running:
                job.kill()

    def _begin(self) -> None:
        while len(self.running) < self.n_jobs:
            job = self.queue.next_job()
            if job is None:
                return
            self.running.append(job)

    def _gather(self) -> None:
        for job in [job for job in self.running if job.look()]:
            self.running.remove(job)
            self.queue.ended(job)
