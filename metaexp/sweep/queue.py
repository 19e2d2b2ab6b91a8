"""The queue of a sweep's jobs: which job runs next, and which is tried again. Without torch."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

from metaexp.sweep.decide import is_tried_again
from metaexp.sweep.folder import Sweep, check_in_place
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.job_process import BUSY, JobProcess, final_state
from metaexp.sweep.job_state import JobState, is_job_locked
from metaexp.sweep.options import SweepOptions
from metaexp.sweep.pool import Start


class Watcher(Protocol):
    """Is called when something happens to a job."""

    def ended(self, job: FrozenJob, state: JobState) -> None:
        """Handle the end of a job that is not tried again.

        Args:
            job: The job.
            state: How it ended.
        """

    def retried(self, job: FrozenJob, state: JobState, attempt: int) -> None:
        """Handle a failure of a job that is tried again.

        Args:
            job: The job.
            state: How it ended.
            attempt: Number of the attempt that follows: 2 after the first failure.
        """

    def runs_elsewhere(self, job: FrozenJob) -> None:
        """Handle a job that another command runs. The queue waits for it."""

    def tick(self, running: Sequence[FrozenJob]) -> None:
        """Do regular work, while these jobs run."""


class RunningSweepJob:
    """A job of a sweep with its process.

    Args:
        job: The frozen job.
        process: The process that runs it.
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
        """Kill the process at once. Nothing is saved."""
        self.process.kill()
        self.process.wait()


class SweepQueue:
    """Hands out the jobs of a sweep in their order, and hands out failed jobs again if the options say so.

    Args:
        sweep: The sweep.
        jobs: The jobs that are left.
        options: What to do after a failure.
        start: Starts a process that begins or resumes the job in a folder.
        watcher: Is called when something happens to a job.
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
        """Whether no job is left to start, and none runs in another command."""
        return not self.waiting and not self.elsewhere

    def next_job(self) -> RunningSweepJob | None:
        """Start the job that has waited longest; None if none waits."""
        check_in_place(self.sweep.path, "hydra.sweep.dir")
        free = [job for job in self.elsewhere if not is_job_locked(self.sweep.folder(job))]
        self.elsewhere = [job for job in self.elsewhere if job not in free]
        self.waiting.extend(free)  # a worker ends at once if its job is completed
        if not self.waiting:
            return None
        job = self.waiting.popleft()
        return RunningSweepJob(job, self.start(self.sweep.folder(job)))

    def ended(self, job: RunningSweepJob) -> None:
        """Report how a job ended, or put it back if it is tried again or another command runs it."""
        assert job.exit_code is not None
        check_in_place(self.sweep.path, "hydra.sweep.dir")
        if job.exit_code == BUSY:
            if not self.stopping:
                self.elsewhere.append(job.job)
                self.watcher.runs_elsewhere(job.job)
            return
        final_state(job.process.folder, job.exit_code, asked_to_stop=job.stopping)
        state = self.sweep.state(job.job)  # of a damaged job, the damage
        number = job.job.number
        self.failures[number] += state.ended_badly
        if is_tried_again(state, self.options, self.failures[number]) and not self.stopping:
            self.watcher.retried(job.job, state, self.failures[number] + 1)
            self.waiting.append(job.job)
            return
        if state.ended_badly and self.options.on_error == "stop":
            self.stop()
        self.watcher.ended(job.job, state)

    def stop(self) -> None:
        """Start no more jobs."""
        self.stopping = True
        self.waiting.clear()
        self.elsewhere.clear()

    def tick(self, running: Sequence[RunningSweepJob]) -> None:
        """Tell the watcher which jobs run. Stop them if one failed and ``sweep.on_error=stop`` is set."""
        check_in_place(self.sweep.path, "hydra.sweep.dir")
        if self.stopping:
            for job in running:
                job.stop()
        self.watcher.tick([job.job for job in running])
