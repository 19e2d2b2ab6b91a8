"""Runs the jobs of a sweep or a search on this machine, several at once, each in its own process. Without torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from metaexp.core.counted import listed
from metaexp.machine.signals import StopRequest, stopped_by
from metaexp.sweep.processes.job_process import JobProcess

_SECONDS_BETWEEN_LOOKS = 0.05


@contextmanager
def explain_stop_at_once(stop: StopRequest, what: str, folder: Path, command: str) -> Iterator[None]:
    """If a second signal ends this block at once, say what is saved and which command continues it.

    Args:
        stop: The request that notes the first signal.
        what: What runs, in the plural: ``jobs`` or ``trials``.
        folder: Where they are saved.
        command: The command that continues them.

    Raises:
        Interrupted: The second signal came.
    """
    try:
        yield
    except KeyboardInterrupt:
        saved = f" at once. Completed {what} are saved in {folder}. Those that ran go on from their last checkpoints"
        raise stopped_by(stop.signal_number, saved, command) from None


def format_saved(what: str, folder: Path, unsaved: Mapping[str, str]) -> str:
    """Format what is saved after a stop, for :func:`stopped_by`.

    Args:
        what: What ran, in the plural: ``jobs`` or ``trials``.
        folder: Where they are saved.
        unsaved: Those that ended without saving, each with its error.
    """
    others = [f"{name} ({error.rstrip('.')})" for name, error in unsaved.items()]
    return f"; the {what} that ran have saved in {folder}" + (f", except {listed(others, 2)}" if others else "")


class Start(Protocol):
    """Starts a process that begins or resumes the job in a folder, together with those in other folders."""

    def __call__(self, folder: Path, /, *others: Path, only_check: bool = False) -> JobProcess:
        """Start it; with ``only_check``, one that only loads data and sees whether jobs train together."""


class RunningJob(Protocol):
    """A job with its process. The process may belong to another command; the job then waits for it."""

    def poll(self) -> bool:
        """Look at the process, act on what is new, and return whether the job has ended."""

    def stop(self) -> None:
        """Ask the job to save and stop. Asking again changes nothing."""

    def kill(self) -> None:
        """Kill the job's process at once. Nothing is saved."""


Job = TypeVar("Job", bound=RunningJob)


class JobQueue(Protocol[Job]):
    """Decides which job runs next. A sweep and a search have one each."""

    def next_job(self) -> Job | None:
        """Start the next job and return it; None if no job can start now."""

    def ended(self, job: Job) -> None:
        """Handle the end of a job that ``next_job`` returned."""

    def stop(self) -> None:
        """Start no more jobs. Asking again changes nothing."""

    def tick(self, running: list[Job]) -> None:
        """Do regular work. The pool calls this again and again, with the jobs that run now."""

    @property
    def is_done(self) -> bool:
        """Whether no job is left to start. A running job that fails may still be put back."""


class Pool(Generic[Job]):
    """Runs the jobs of a queue, several at once, until all have ended.

    Args:
        queue: Hands out the jobs.
        n_jobs: How many run at once.
    """

    def __init__(self, queue: JobQueue[Job], n_jobs: int) -> None:
        self.queue = queue
        self.n_jobs = n_jobs
        self.running: list[Job] = []

    def run(self, stop: Callable[[], bool]) -> None:
        """Run the jobs. An error in this process kills those that run.

        Args:
            stop: Called regularly. Once it returns True, all running jobs save and stop, and no other starts.
        """
        try:
            while self.running or not self.queue.is_done:
                if stop():
                    self.queue.stop()
                    for job in self.running:
                        job.stop()
                self._start_jobs()
                self._collect_ended()
                self.queue.tick(self.running)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for job in self.running:
                job.kill()

    def _start_jobs(self) -> None:
        while len(self.running) < self.n_jobs:
            job = self.queue.next_job()
            if job is None:
                return
            self.running.append(job)

    def _collect_ended(self) -> None:
        for job in [job for job in self.running if job.poll()]:
            self.running.remove(job)
            self.queue.ended(job)
