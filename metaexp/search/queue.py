"""The queue of a search's trials. Locks make sure that no two processes run the same one. Without torch."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from metaexp.core.disk.locks import LockedError, acquire, hold_lock
from metaexp.core.errors import ConfigError, MachineError, RunFolderError, first_line
from metaexp.core.terminal_text import print_text
from metaexp.machine.job_warnings import JobWarnings
from metaexp.results.job_note import ADDED_EVENT
from metaexp.results.job_state import LOG_FILE
from metaexp.results.record import FROZEN_FILE, RECORD_FILE
from metaexp.search.point import Point
from metaexp.search.prepare import Prepared
from metaexp.search.space import Interval, format_value
from metaexp.search.study import Study
from metaexp.search.summary import format_trial_end
from metaexp.search.trial import LockedTrial, RunningTrial
from metaexp.sweep.folder import LOCKS_FOLDER, Sweep, check_in_place
from metaexp.sweep.frozen_job import FrozenJob, read_frozen
from metaexp.sweep.processes.pool import Start

_MOST_REPEATS = 200
"""After this many proposals in a row that were tried before, the search ends."""


class TrialQueue:
    """Hands out the trials of a search. No two processes get the same one.

    Args:
        prepared: The search.
        sweep: Its folder.
        study: Proposes points and keeps what trials measured.
        start: Starts a process that begins or resumes the job in a folder.

    Attributes:
        exhausted: Whether the sampler proposes only points that were tried before.
        unsaved: The trials that were asked to stop and ended without saving, each with its error.
        warnings: Passes on what trials warn of.
    """

    def __init__(self, prepared: Prepared, sweep: Sweep, study: Study, start: Start) -> None:
        self.prepared = prepared
        self.sweep = sweep
        self.study = study
        self.start = start
        self.exhausted = False
        self.unsaved: dict[str, str] = {}
        self.warnings = JobWarnings(partial(print_text, flush=True), prepared.notes, "trials")
        self._is_empty = False

    @property
    def is_done(self) -> bool:
        """Whether no trial is left to take."""
        return self._is_empty

    def next_job(self) -> RunningTrial | None:
        """Start an interrupted trial, or else a new one; None if none is left."""
        check_in_place(self.sweep.path, "search.folder")
        trial = None if self._is_empty else self._next()
        if trial is None:
            self._is_empty = True
            return None
        if not trial.is_new:
            print_text(f"trial {trial.point.number} ({trial.job.what}): resumed", flush=True)
        self.warnings.begin(trial.folder / LOG_FILE)
        return RunningTrial(trial, self.study, self.prepared.metric, self.start)

    def ended(self, trial: RunningTrial) -> None:
        """Print how a trial ended, unless the user stopped it."""
        assert trial.ended is not None
        trial.trial.release()
        self._warn(trial)
        self._is_empty = trial.stopping
        job, state = trial.trial.job, trial.ended.state
        if trial.ended.end == "interrupted" and state.is_unsaved:
            self.unsaved[f"trial {job.number} ({job.what})"] = state.error or state.status
        if not trial.stopping:
            print_text(format_trial_end(job, trial.ended, self.prepared.metric), flush=True)

    def has_more(self) -> bool:
        """Return whether a trial is to be continued, or another point may be tried."""
        points = self.study.points()
        n_counted = sum(point.is_counted for point in points)
        may_propose = n_counted < self.prepared.limit and self._patience(len({_written(p) for p in points})) > 0
        return may_propose or any(point.state == "running" for point in points)

    def stop(self) -> None:
        """Start no more trials."""
        self._is_empty = True

    def tick(self, running: list[RunningTrial]) -> None:
        """Check that the search's folder is there, and print new warnings. Each trial reads its own metrics."""
        check_in_place(self.sweep.path, "search.folder")
        for trial in running:
            self._warn(trial)

    def _warn(self, trial: RunningTrial) -> None:
        job = trial.trial.job
        self.warnings.look(f"trial {job.number} ({job.what})", trial.trial.folder / LOG_FILE)

    def _next(self) -> LockedTrial | None:
        with hold_lock(self._lock_file("trials"), wait=True):
            points = self.study.points()
            for point in points:
                trial = self._lock_trial(point) if point.state == "running" else None
                if trial is not None:
                    return trial
            return self._new(points)

    def _new(self, points: list[Point]) -> LockedTrial | None:
        identities = {point.notes["identity"]: point.number for point in points if "identity" in point.notes}
        tried = {_written(point): int(point.notes.get("same_as", point.number)) for point in points}
        grid = self.prepared.grid() if self.prepared.options.sampler == "grid" else None
        n_asked, left = len(points), self.prepared.limit - sum(point.is_counted for point in points)
        repeats = 0
        while left > 0 and repeats < self._patience(len(tried)) and (grid is None or n_asked < len(grid)):
            point = self.study.ask(None if grid is None else grid[n_asked])
            n_asked += 1
            same = tried.get(_written(point))
            job = self._freeze(point) if same is None else None
            if job is not None:
                same = identities.get(job.identity)
                if same is None:
                    return self._lock_trial(point, job)
            tried[_written(point)] = point.number if same is None else same
            if same is None:  # the values do not fit together
                left -= 1
            else:
                self.study.note(point.number, "same_as", same)
                self.study.fail(point.number, f"the same point as trial {same}")
                repeats += 1
        self.exhausted = grid is None and left > 0
        return None

    def _patience(self, tried: int) -> int:
        """How many repeats in a row to accept; 0 if every point of a finite space was tried."""
        dimensions = self.prepared.space.dimensions
        if any(isinstance(dimension, Interval) for dimension in dimensions):
            return _MOST_REPEATS
        return _MOST_REPEATS if tried < len(self.prepared.grid()) else 0

    def _lock_trial(self, point: Point, job: FrozenJob | None = None) -> LockedTrial | None:
        """Lock a trial of the study. None if another process has or had it, or its values do not fit together.

        Args:
            point: The trial.
            job: Its job, if the trial is new.
        """
        is_new = job is not None
        try:
            release = acquire(self._lock_file(f"trial-{point.number}"))
        except LockedError:
            return None
        if not is_new and not self._is_running(point.number):  # another process has ended it before it let go
            release()
            return None
        folder = self.sweep.path / str(point.notes.get("folder", ""))
        try:
            if "folder" in point.notes and ((folder / FROZEN_FILE).exists() or (folder / RECORD_FILE).exists()):
                return LockedTrial(point, _read_job(point, folder), folder, is_new, release)
            job = job or self._freeze(point)
        except RunFolderError as error:  # costs this trial alone
            self.study.fail(point.number, str(error), error.exit_code)
            print_text(f"trial {point.number}: FAILED, {error}", flush=True)
            job = None
        if job is None:
            release()
            return None
        self.study.note(point.number, "identity", job.identity)
        self.study.note(point.number, "folder", job.name)
        folder = self.sweep.folder(job)
        if not (folder / FROZEN_FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by a process that died before it wrote the job
            self.sweep.add(job)
            self.sweep.journal(job.number, ADDED_EVENT, job.name)
        return LockedTrial(point, job, folder, is_new, release)

    def _is_running(self, number: int) -> bool:
        """Whether the study says, now, that a trial has not ended."""
        return any(point.number == number and point.state == "running" for point in self.study.points())

    def _freeze(self, point: Point) -> FrozenJob | None:
        """The job of a point. None if its values do not fit together; the study then keeps the reason."""
        try:
            return self.prepared.freezer.freeze(point.number, self.prepared.space.overrides(point.values))
        except (ConfigError, MachineError) as error:
            self.study.fail(point.number, f"{type(error).__name__}: {first_line(error)}")
            return None

    def _lock_file(self, name: str) -> Path:
        folder = self.sweep.path / LOCKS_FOLDER
        folder.mkdir(exist_ok=True)
        return folder / name


def _read_job(point: Point, folder: Path) -> FrozenJob:
    """The frozen job of a trial. Raises RunFolderError if its file is damaged, changed or missing."""
    job = read_frozen(folder)
    if job.identity != point.notes.get("identity", job.identity):
        raise RunFolderError(f"{folder / FROZEN_FILE} holds another job than the one that the study proposed.")
    return job


def _written(point: Point) -> tuple[str, ...]:
    """The values of a point as overrides. As Python values, 1 and true would be equal."""
    return tuple(map(format_value, point.values))
