"""Jobs of a sweep on this machine, some at once, each in a process of its own. Without torch."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from metaexp.runner.sweep.frozen import FrozenJob
from metaexp.runner.sweep.ledger import Sweep
from metaexp.runner.sweep.options import SweepOptions
from metaexp.runner.sweep.process import BUSY, JobProcess, settled
from metaexp.runner.sweep.state import JobState, is_claimed

_SECONDS_BETWEEN_LOOKS = 0.05
ENDS_THE_SAME_WAY = (2, 5)
"""Exit codes of configurations and of not-finite numbers: the same job would end so again."""

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
            if not is_claimed(self.sweep.folder(job)):
                del self.elsewhere[number]
                self.waiting.append(job)  # its worker finds out whether it is complete


def is_tried_again(state: JobState, options: SweepOptions, failures: int) -> bool:
    """Whether a job that ended so is begun again at once, after ``failures`` failures."""
    retries = options.on_error == "retry" and state.ended_badly and state.exit_code not in ENDS_THE_SAME_WAY
    return retries and failures <= options.retries


def is_left(state: JobState, options: SweepOptions) -> bool:
    """Whether the same command runs a job in this state: if it is missing, or its failure may be the machine's.

    A failure that would come again is tried again only with ``sweep.on_error=retry``.
    """
    if state.status == "completed":
        return False
    return state.status != "failed" or state.exit_code not in ENDS_THE_SAME_WAY or options.on_error == "retry"
