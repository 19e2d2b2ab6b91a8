"""The trials of a search, handed out so that no two processes get the same one. Without torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metaexp.core.errors import ConfigError, MachineError
from metaexp.core.locks import LockedError, acquire, hold_lock
from metaexp.search.prepare import Prepared
from metaexp.search.space import Interval, write
from metaexp.search.study import Point, Study
from metaexp.sweep.folder import Sweep
from metaexp.sweep.frozen_job import FROZEN_FILE, FrozenJob, read_frozen

_MOST_REPEATS = 200
"""Proposals in a row that were tried before, after which there is held to be nothing new."""


@dataclass
class LockedTrial:
    """A trial that this process has locked.

    Attributes:
        point: What the sampler proposed.
        job: The trial as a job.
        folder: The job's folder.
        is_new: Whether nobody ran it before.
        release: Lets other processes take it, if it is not finished.
    """

    point: Point
    job: FrozenJob
    folder: Path
    is_new: bool
    release: Callable[[], None]


class TrialQueue:
    """Hands out the trials of a search. exhausted: whether the sampler proposes nothing new any more."""

    def __init__(self, prepared: Prepared, sweep: Sweep, study: Study) -> None:
        self.prepared = prepared
        self.sweep = sweep
        self.study = study
        self.exhausted = False

    def next(self) -> LockedTrial | None:
        """The next trial: one that was interrupted, else a new one; None when there is none left to take."""
        with hold_lock(self._lock_file("trials"), wait=True):
            points = self.study.points()
            for point in points:
                claim = self._claim(point, is_new=False) if point.state == "running" else None
                if claim is not None:
                    return claim
            return self._new(points)

    def _new(self, points: list[Point]) -> LockedTrial | None:
        identities = {point.notes["identity"]: point.number for point in points if "identity" in point.notes}
        tried = {_written(point): int(point.notes.get("same_as", point.number)) for point in points}
        grid = self.prepared.grid() if self.prepared.options.sampler == "grid" else None
        asked, left = len(points), self.prepared.limit - sum(point.is_counted for point in points)
        repeats = 0
        while left > 0 and repeats < self._patience(len(tried)) and (grid is None or asked < len(grid)):
            point = self.study.ask(None if grid is None else grid[asked])
            asked += 1
            same = tried.get(_written(point))
            job = self._freeze(point) if same is None else None
            if job is not None:
                same = identities.get(job.identity)
                if same is None:
                    return self._claim(point, is_new=True)
            tried[_written(point)] = point.number if same is None else same
            if same is None:  # an impossible point
                left -= 1
            else:
                self.study.note(point.number, "same_as", same)
                self.study.fail(point.number, f"the same point as trial {same}")
                repeats += 1
        self.exhausted = grid is None and left > 0
        return None

    def _patience(self, tried: int) -> int:
        """Repeats in a row after which there is nothing new; none where every point of a finite space was tried."""
        dimensions = self.prepared.space.dimensions
        if any(isinstance(dimension, Interval) for dimension in dimensions):
            return _MOST_REPEATS
        return _MOST_REPEATS if tried < len(self.prepared.grid()) else 0

    def _claim(self, point: Point, *, is_new: bool) -> LockedTrial | None:
        """Take a trial that is running by name; None where a process has it, or its point is impossible."""
        try:
            release = acquire(self._lock_file(f"trial-{point.number}"))
        except LockedError:
            return None
        folder = self.sweep.path / str(point.notes.get("folder", ""))
        if "folder" in point.notes and (folder / FROZEN_FILE).exists():
            return LockedTrial(point, read_frozen(folder), folder, is_new, release)
        job = self._freeze(point)
        if job is None:
            release()
            return None
        self.study.note(point.number, "identity", job.identity)
        self.study.note(point.number, "folder", job.name)
        folder = self.sweep.folder(job)
        if not (folder / FROZEN_FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that died before it had written the job
            self.sweep.add(job)
        return LockedTrial(point, job, folder, is_new, release)

    def _freeze(self, point: Point) -> FrozenJob | None:
        """The job of a point; None, with the reason kept, where its values do not go together."""
        try:
            return self.prepared.freezer.freeze(point.number, self.prepared.space.overrides(point.values))
        except (ConfigError, MachineError) as error:
            self.study.fail(point.number, f"{type(error).__name__}: {str(error).splitlines()[0]}")
            return None

    def _lock_file(self, name: str) -> Path:
        folder = self.sweep.path / ".locks"
        folder.mkdir(exist_ok=True)
        return folder / name


def _written(point: Point) -> tuple[str, ...]:
    """The values of a point as they stand in overrides: 1 and true are equal in Python, and different values."""
    return tuple(map(write, point.values))
