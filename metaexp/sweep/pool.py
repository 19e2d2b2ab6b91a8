"""Jobs of a sweep on this machine, some at once, each in a process of its own. Without torch."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from metaexp.sweep.decide import is_tried_again
from metaexp.sweep.folder import Sweep
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.job_process import BUSY, JobProcess, settled
from metaexp.sweep.job_state import JobState, is_job_locked
from metaexp.sweep.options import SweepOptions

_SECONDS_BETWEEN_LOOKS = 0.05

Start = Callable[[Path], JobProcess]
"""Begins or continues the job in a folder."""


class Watcher(Protocol):
    """Told what happens to jobs."""

    def ended(self, job: FrozenJob, state: JobState) -> None:
        """A job ended, and is not tried again."""

    def again(self, job: FrozenJob, state: JobState, attempt: int) -> None:
        """A job failed and is tried again, for the ``attempt``-th time."""

    def elsewhere(self, job: FrozenJob) -> None:
        """Another invocation runs the job; it is waited for."""

    def look(self, running: Sequence[FrozenJob]) -> None:
        """Some time has passed."""


class Pool:
    """Runs ``jobs`` of a sweep, ``options.n_jobs`` at once, until all have ended or ``stop`` says to stop."""

    def __init__(
        self, sweep: Sweep, jobs: Sequence[FrozenJob], options: SweepOptions, start: Start, watcher: Watcher
    ) -> None:
        self.sweep = sweep
        self.options = options
        self.start = start
        self.watcher = watcher
        self.waiting = deque(jobs)
        self.running: dict[int, tuple[FrozenJob, JobProcess]] = {}
        self.elsewhere: dict[int, FrozenJob] = {}
        self.failures: Counter[int] = Counter()
        self.stopping = False

    def run(self, stop: Callable[[], bool]) -> None:
        """Run them. On a way out that nobody planned, the workers are ended at once."""
        try:
            while self.waiting or self.running or self.elsewhere:
                if self.stopping or stop():
                    self._stop()
                self._begin()
                self._gather()
                self._ask_elsewhere()
                self.watcher.look([job for job, _ in self.running.values()])
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for _, process in self.running.values():
                process.kill()
                process.wait()

    def _stop(self) -> None:
        self.stopping = True
        self.waiting.clear()
        self.elsewhere.clear()
        for _, process in self.running.values():
            process.stop()

    def _begin(self) -> None:
        while self.waiting and len(self.running) < self.options.n_jobs:
            job = self.waiting.popleft()
            self.running[job.number] = (job, self.start(self.sweep.folder(job)))

    def _gather(self) -> None:
        for number, (job, process) in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[number]
            if code == BUSY:
                self.elsewhere[number] = job
                self.watcher.elsewhere(job)
            else:
                self._ended(job, settled(process.folder, code, asked_to_stop=self.stopping))

    def _ended(self, job: FrozenJob, state: JobState) -> None:
        self.failures[job.number] += state.ended_badly
        if is_tried_again(state, self.options, self.failures[job.number]) and not self.stopping:
            self.watcher.again(job, state, self.failures[job.number] + 1)
            self.waiting.append(job)
            return
        self.stopping |= state.ended_badly and self.options.on_error == "stop"
        self.watcher.ended(job, state)

    def _ask_elsewhere(self) -> None:
        for number, job in list(self.elsewhere.items()):
            if not is_job_locked(self.sweep.folder(job)):
                del self.elsewhere[number]
                self.waiting.append(job)  # its worker finds out whether it is complete
