"""The queue of a sweep's jobs: which job runs next, and which is tried again. Without torch."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

from metaexp.results.job_state import JobState, is_job_locked
from metaexp.sweep.decide import is_tried_again
from metaexp.sweep.folder import Sweep, check_in_place
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.groups import in_groups
from metaexp.sweep.options import SweepOptions
from metaexp.sweep.processes.job_process import BUSY, JobProcess, final_state
from metaexp.sweep.processes.pool import Start


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
    """The process of a job of a sweep, or of several jobs that are trained together.

    Args:
        jobs: The frozen jobs.
        process: The process that runs them.
    """

    def __init__(self, jobs: Sequence[FrozenJob], process: JobProcess) -> None:
        self.jobs = jobs
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
        self.waiting = deque(in_groups(jobs, together=options.together))
        self.elsewhere: list[FrozenJob] = []
        self.failures: Counter[int] = Counter()
        self.stopping = False

    @property
    def is_done(self) -> bool:
        """Whether no job is left to start, and none runs in another command."""
        return not self.waiting and not self.elsewhere

    def next_job(self) -> RunningSweepJob | None:
        """Start the job that has waited longest, or the jobs that are trained together; None if none waits."""
        check_in_place(self.sweep.path, "hydra.sweep.dir")
        free = [job for job in self.elsewhere if not is_job_locked(self.sweep.folder(job))]
        self.elsewhere = [job for job in self.elsewhere if job not in free]
        self.waiting.extend([job] for job in free)  # a worker ends at once if its job is completed
        if not self.waiting:
            return None
        jobs = self.waiting.popleft()
        return RunningSweepJob(jobs, self.start(*map(self.sweep.folder, jobs)))

    def ended(self, job: RunningSweepJob) -> None:
        """Report how each job ended, or put it back if it is tried again or another command runs it."""
        check_in_place(self.sweep.path, "hydra.sweep.dir")
        again = [one for one in job.jobs if self._is_tried_again(one, job)]
        if again:
            self.waiting.append(again)

    def _is_tried_again(self, job: FrozenJob, ended: RunningSweepJob) -> bool:
        """Report how a job ended whose process has ended, and return whether it is tried again."""
        assert ended.exit_code is not None
        if ended.exit_code == BUSY or (len(ended.jobs) > 1 and is_job_locked(self.sweep.folder(job))):
            if not self.stopping:
                self.elsewhere.append(job)
                self.watcher.runs_elsewhere(job)
            return False
        final_state(self.sweep.folder(job), ended.exit_code, asked_to_stop=ended.stopping)
        state = self.sweep.state(job)  # of a damaged job, the damage
        self.failures[job.number] += state.ended_badly
        if is_tried_again(state, self.options, self.failures[job.number]) and not self.stopping:
            self.watcher.retried(job, state, self.failures[job.number] + 1)
            return True
        if state.ended_badly and self.options.on_error == "stop":
            self.stop()
        self.watcher.ended(job, state)
        return False

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
        self.watcher.tick([one for job in running for one in job.jobs])
