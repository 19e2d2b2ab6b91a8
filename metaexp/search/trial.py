"""One trial while it runs: a process that trains, and an eye on what it measures on validation tasks. Without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from metaexp.core.json_lines import METRICS_FILE, read_lines
from metaexp.core.metric import Metric
from metaexp.search.queue import LockedTrial
from metaexp.search.study import Study
from metaexp.sweep.job_process import BUSY, JobProcess, settled
from metaexp.sweep.job_state import JobState, is_job_locked

Start = Callable[[Path], JobProcess]
_MOST_DEATHS = 3
"""A trial whose process is killed so often, by the memory killer perhaps, is given up."""

End = Literal["completed", "pruned", "failed", "interrupted"]


class Ended(NamedTuple):
    """How a trial ended. step: of its last validation that was read."""

    end: End
    state: JobState
    step: int


class LiveTrial:
    """Runs the trial of ``claim``, begun or continued by ``start``; tells the study what it measures."""

    def __init__(self, claim: LockedTrial, study: Study, metric: Metric, start: Start) -> None:
        self.claim = claim
        self.study = study
        self.metric = metric
        self._start = start
        self._process = start(claim.folder)
        self._step = max(claim.point.reported, default=-1)
        self._size = -1
        self._deaths = int(claim.point.notes.get("deaths", 0))
        self._waits = False
        last = max(claim.point.reported, default=claim.job.steps)
        self.pruned = last < claim.job.steps and study.is_hopeless(
            claim.point.number
        )  # and nobody was there to stop it
        self.stopping = False

    def stop(self) -> None:
        """Ask it to save and stop; another invocation will go on with it."""
        self.stopping = True
        self._process.stop()

    def kill(self) -> None:
        """End its process at once."""
        self._process.kill()
        self._process.wait()

    def look(self) -> Ended | None:
        """Read what is new, and stop the trial where it is not worth more; how it ended once it has."""
        if self._waits:  # for a process that an earlier invocation left behind, and that is about to stop
            return self._begin_again()
        code = self._process.poll()
        self._read()
        if self.pruned and code is None:
            self._process.stop()
            return None
        if code is None:
            return None
        if code == BUSY:
            self._waits = True
            return None
        return self._ended(settled(self.claim.folder, code, asked_to_stop=self.stopping or self.pruned))

    def _ended(self, state: JobState) -> Ended | None:
        number = self.claim.point.number
        if self.pruned:
            self.study.prune(number)
            return Ended("pruned", state, self._step)
        if state.status == "completed":
            assert state.record is not None
            assert state.record.val is not None
            self.study.complete(number, state.record.val.mean)
            return Ended("completed", state, self._step)
        if self.stopping:
            return Ended("interrupted", state, self._step)
        if state.status != "failed" and self._dies():
            return self._begin_again()
        self.study.fail(number, state.error or "it failed", state.exit_code)
        return Ended("failed", state, self._step)

    def _dies(self) -> bool:
        """Count an end that may have been the machine's; True where it is worth another try."""
        self._deaths += 1
        self.study.note(self.claim.point.number, "deaths", self._deaths)
        return self._deaths < _MOST_DEATHS

    def _begin_again(self) -> Ended | None:
        if self.stopping:
            return Ended("interrupted", self._process.state(), self._step)
        self._waits = is_job_locked(self.claim.folder)
        if not self._waits:
            self._process = self._start(self.claim.folder)
        return None

    def _read(self) -> None:
        """Report validations in the order of their steps, so that the same numbers always give the same decisions."""
        path = self.claim.folder / METRICS_FILE
        size = path.stat().st_size if path.exists() else -1
        if size == self._size or self.pruned:
            return
        self._size = size
        for step, values in read_lines(path):
            if step <= self._step or self.metric.validation not in values:
                continue
            self._step = step
            hopeless = self.study.report(self.claim.point.number, step, values[self.metric.validation])
            if hopeless and step < self.claim.job.steps:
                self.pruned = True
                return
