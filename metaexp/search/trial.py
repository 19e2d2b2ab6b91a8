"""A running trial: its process, and the validations that it reports to the study. Without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from metaexp.core.errors import ExitCode
from metaexp.core.json_lines import METRICS_FILE, read_lines
from metaexp.core.metric import Metric
from metaexp.results.job_state import JobState, is_job_locked
from metaexp.run.folder import check_writable
from metaexp.search.point import Point
from metaexp.search.study import Study
from metaexp.sweep.folder import check_in_place
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.processes.job_process import BUSY, final_state
from metaexp.sweep.processes.pool import Start

_MOST_DEATHS = 3
"""A trial whose process is killed this often, for example because memory runs out, has failed."""

End = Literal["completed", "pruned", "failed", "interrupted"]


class TrialEnd(NamedTuple):
    """How a trial ended.

    Attributes:
        end: The kind of end.
        state: State of its job.
        step: Step of the last validation that was read.
    """

    end: End
    state: JobState
    step: int


@dataclass
class LockedTrial:
    """A trial that this process has locked, so that no other process runs it.

    Attributes:
        point: The point that the sampler proposed.
        job: The trial as a job.
        folder: The job's folder.
        is_new: Whether it runs for the first time.
        release: Unlocks it.
    """

    point: Point
    job: FrozenJob
    folder: Path
    is_new: bool
    release: Callable[[], None]


class RunningTrial:
    """A trial with its process. It reports the trial's validations to the study and stops the trial early.

    Args:
        trial: The locked trial.
        study: Gets the trial's validations, and decides whether to stop it early.
        metric: Metric that trials are judged by.
        start: Starts a process that begins or resumes the job in a folder.

    Attributes:
        ended: How the trial ended; None while it runs.
    """

    def __init__(self, trial: LockedTrial, study: Study, metric: Metric, start: Start) -> None:
        self.trial = trial
        self.study = study
        self.metric = metric
        self.ended: TrialEnd | None = None
        self._start = start
        self._process = start(trial.folder)
        self._step = max(trial.point.reported, default=-1)
        self._size = -1
        self._deaths = int(trial.point.notes.get("deaths", 0))
        self._waits = False
        last = max(trial.point.reported, default=trial.job.steps)
        # an earlier command may have decided to stop this trial early, and ended before it did
        self.pruned = last < trial.job.steps and study.is_hopeless(trial.point.number)
        self.stopping = False

    def stop(self) -> None:
        """Ask the trial to save and stop. The same command, given again, resumes it."""
        self.stopping = True
        self._process.stop()

    def kill(self) -> None:
        """Kill the process at once. Nothing is saved."""
        self._process.kill()
        self._process.wait()

    def poll(self) -> bool:
        """Read new validations, stop the trial if the pruner says so, and return whether it has ended.

        Raises:
            PlaceError: It failed, and the disk of the search is full or may not be written. The study has no end of
                it, so the same command, given again, resumes it.
        """
        check_in_place(self.trial.folder.parent, "search.folder")
        self.ended = self._poll()
        return self.ended is not None

    def _poll(self) -> TrialEnd | None:
        if self._waits:  # an earlier command left a process behind, which is about to stop
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
        return self._ended(final_state(self.trial.folder, code, asked_to_stop=self.stopping or self.pruned))

    def _ended(self, state: JobState) -> TrialEnd | None:
        number = self.trial.point.number
        if self.pruned:
            self.study.prune(number)
            return TrialEnd("pruned", state, self._step)
        if state.status == "completed":
            assert state.record is not None
            assert state.record.val is not None
            self.study.complete(number, state.record.val.mean)
            return TrialEnd("completed", state, self._step)
        if self.stopping:
            return TrialEnd("interrupted", state, self._step)
        if state.status != "failed" and self._dies():
            return self._begin_again()
        if state.exit_code == ExitCode.MACHINE:
            check_writable(self.trial.folder.parent)  # the trial is then resumed later
        self.study.fail(number, state.error or "it failed", state.exit_code)
        return TrialEnd("failed", state, self._step)

    def _dies(self) -> bool:
        """Count an end that the machine may have caused; return whether to try again."""
        self._deaths += 1
        self.study.note(self.trial.point.number, "deaths", self._deaths)
        return self._deaths < _MOST_DEATHS

    def _begin_again(self) -> TrialEnd | None:
        if self.stopping:
            return TrialEnd("interrupted", self._process.state(), self._step)
        self._waits = is_job_locked(self.trial.folder)
        if not self._waits:
            self._process = self._start(self.trial.folder)
        return None

    def _read(self) -> None:
        """Report new validations in the order of their steps, so that the same numbers lead to the same decisions."""
        path = self.trial.folder / METRICS_FILE
        size = path.stat().st_size if path.exists() else -1
        if size == self._size or self.pruned:
            return
        self._size = size
        for step, values in read_lines(path):
            if step <= self._step or self.metric.validation not in values:
                continue
            self._step = step
            hopeless = self.study.report(self.trial.point.number, step, values[self.metric.validation])
            if hopeless and step < self.trial.job.steps:
                self.pruned = True
                return
