"""The jobs of a sweep, in their order: which runs next, and which is tried again. Without torch."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

from metaexp.sweep.decide import is_tried_again
from metaexp.sweep.folder import Sweep
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.job_process import BUSY, JobProcess, final_state
from metaexp.sweep.job_state import JobState, is_job_locked
from metaexp.sweep.options import SweepOptions
from metaexp.sweep.pool import Start


class Watcher(Protocol):
    """Told what happens to jobs."""

    def ended(self, job: FrozenJob, state: JobState) -> None:
        """A job ended, and is not tried again."""

    def again(self, job: FrozenJob, state: JobState, attempt: int) -> None:
        """A job failed and is tried again, for the ``attempt``-th time."""

    def elsewhere(self, job: FrozenJob) -> None:
        """Another command runs the job; it is waited for."""

    def tick(self, running: Sequence[FrozenJob]) -> None:
        """Some time has passed."""


class RunningSweepJob:
    """A job of a sweep and its process.

    Args:
        job: The frozen job.
        process: The process that was started on it.
    """

    def __init__(self, job: FrozenJob, process: JobProcess) -> None:
        self.job = job
        self.process = process
        self.exit_code: int | None = None
        self.stopping = False

    def poll(self) -> bool:
        """Return whether the process has ended."""
        self.exit_code = self.process.poll()
        return self.exit_code is not None

    def stop(self) -> None:
        """Ask the job to save and stop."""
        self.stopping = True
        self.process.stop()

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()


class SweepQueue:
    """Hands out ``jobs`` of a sweep in their order, and those again that failed and are to be retried.

    Args:
        sweep: The sweep.
        jobs: Those of its jobs that are left.
        options: What to do after a failure.
        start: Begins a job.
        watcher: Told what happens.
    """

    def __init__(
        self, sweep: Sweep, jobs: Sequence[FrozenJob], options: SweepOptions, start: Start, watcher: Watcher
    ) -> None:
        self.sweep = sweep
        self.options = options
        self.start = start
        self.watcher = watcher
        self.waiting = deque(jobs)
        self.elsewhere: list[FrozenJob] = []
        self.failures: Counter[int] = Counter()
        self.stopping = False

    @property
    def is_done(self) -> bool:
        """Whether no job waits, here or for another command to end."""
        return not self.waiting and not self.elsewhere

    def next_job(self) -> RunningSweepJob | None:
        """Begin the job that has waited longest; None where none waits."""
        free = [job for job in self.elsewhere if not is_job_locked(self.sweep.folder(job))]
        self.elsewhere = [job for job in self.elsewhere if job not in free]
        self.waiting.extend(free)  # their workers find out whether they are complete
        if not self.waiting:
            return None
        job = self.waiting.popleft()
        return RunningSweepJob(job, self.start(self.sweep.folder(job)))

    def ended(self, job: RunningSweepJob) -> None:
        """Say how a job ended, or put it back where it is tried again or where another command runs it."""
        assert job.exit_code is not None
        if job.exit_code == BUSY:
            if not self.stopping:
                self.elsewhere.append(job.job)
                self.watcher.elsewhere(job.job)
            return
        state = final_state(job.process.folder, job.exit_code, asked_to_stop=job.stopping)
        number = job.job.number
        self.failures[number] += state.ended_badly
        if is_tried_again(state, self.options, self.failures[number]) and not self.stopping:
            self.watcher.again(job.job, state, self.failures[number] + 1)
            self.waiting.append(job.job)
            return
        if state.ended_badly and self.options.on_error == "stop":
            self.stop()
        self.watcher.ended(job.job, state)

    def stop(self) -> None:
        """Begin no more jobs."""
        self.stopping = True
        self.waiting.clear()
        self.elsewhere.clear()

    def tick(self, running: Sequence[RunningSweepJob]) -> None:
        """Tell the watcher which jobs run; stop them where one failed and ``sweep.on_error=stop``."""
        if self.stopping:
            for job in running:
                job.stop()
        self.watcher.tick([job.job for job in running])
