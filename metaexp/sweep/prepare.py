"""Checks a sweep's command and finds what already exists of the sweep. Writes nothing; without torch."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from metaexp.config.command_line.hydra_dirs import check_hydra_keys
from metaexp.config.command_line.override_text import key_of
from metaexp.config.compose import Composer
from metaexp.config.identity import format_changed_keys
from metaexp.core.counted import counted
from metaexp.core.disk.outputs import usual_outputs
from metaexp.core.errors import ConfigError, RunFolderError
from metaexp.results.job_state import JobState
from metaexp.run.progress import Display, Silent
from metaexp.sweep.decide import duplicates, is_complete, is_left
from metaexp.sweep.expand import check_new_classes, digest, expand, freeze_all, runs_here, sweep_name, swept_keys
from metaexp.sweep.folder import SWEEP_FILE, Sweep, open_sweep
from metaexp.sweep.freezer import Freezer
from metaexp.sweep.frozen_job import FrozenJob
from metaexp.sweep.options import SweepOptions
from metaexp.sweep.reuse import find_reusable_runs

_MANY_JOBS = 50
"""Jobs that take more than a second to check."""


class Prepared(NamedTuple):
    """A checked sweep that can start.

    Attributes:
        composer: Composes configurations.
        path: The sweep's folder.
        sweep: The sweep on disk; None if it does not exist yet.
        jobs: Its jobs, frozen before or now.
        options: Options of the sweep.
        overrides: Overrides of the jobs, some with several values.
        digest: Hash of the command.
        notes: Lines that the user should read before it starts.
    """

    composer: Composer
    path: Path
    sweep: Sweep | None
    jobs: list[FrozenJob]
    options: SweepOptions
    overrides: list[str]
    digest: str
    notes: list[str]

    def state(self, job: FrozenJob) -> JobState:
        """Return how far a job is."""
        return JobState("waiting", self.path / job.name) if self.sweep is None else self.sweep.state(job)

    def left(self) -> list[FrozenJob]:
        """Return the jobs that the command runs."""
        same = self.duplicates()
        return [job for job in self.jobs if job.number not in same and is_left(self.state(job), self.options)]

    def lacks_folders(self) -> bool:
        """Return whether the folder of a job was removed from a sweep that exists."""
        return self.sweep is not None and not all(os.path.lexists(self.sweep.folder(job)) for job in self.jobs)

    def duplicates(self) -> dict[int, int]:
        """Return the number of each job that repeats an earlier one -> the number of that one. Only that one runs."""
        return duplicates(self.jobs)

    def reusable_runs(self) -> dict[int, Path]:
        """Return the number of a job -> the completed run to copy. Empty without ``sweep.reuse`` and for old sweeps."""
        if self.sweep is not None or not self.options.reuse:
            return {}
        same = self.duplicates()
        return find_reusable_runs([job for job in self.jobs if job.number not in same], self.outputs)

    @property
    def outputs(self) -> Path:
        """The folder of finished runs."""
        return Path(str(self.jobs[0].config["paths"]["outputs"])).expanduser()


def prepare(
    overrides: Sequence[str],
    config_dir: Path | None,
    config_name: str,
    display: Display | None = None,
    *,
    keeps_files: bool = True,
) -> Prepared:
    """Find the sweep of a command, or compose, check and freeze its jobs.

    A sweep that is not complete continues with the jobs that it froze, even if the configuration files have changed. If
    a complete sweep's files have changed, the command is a new sweep.

    Args:
        overrides: Overrides of the command line.
        config_dir: The user's own configuration folder; None if there is none.
        config_name: Name of the root file.
        display: Shows how many jobs are checked; nothing by default.
        keeps_files: Whether jobs keep Hydra's files. Jobs that are only listed do not need them.

    Raises:
        ConfigError: A job is wrong, or a job of a new sweep would be tested on classes that it or its initial weights
            train on. The message lists the mistakes of all jobs.
        RunFolderError: The folder holds another sweep.
    """
    composer = Composer(config_dir, config_name)
    check_hydra_keys(overrides, "sweep", composer.parse)
    command = SweepOptions.parse(overrides, composer)
    swept = swept_keys(composer, command.job_overrides)
    hashed = digest(overrides, config_dir, config_name)
    in_order = [key for key in dict.fromkeys(map(key_of, command.job_overrides)) if key in swept]
    name = command.options.name or sweep_name(command.name, in_order, hashed)
    common = (command.options, command.job_overrides, hashed)
    freezer = Freezer(composer, name, swept, on_this_machine=runs_here(overrides), keeps_files=keeps_files)
    now = _jobs_now(freezer, command.job_overrides, display)
    if now.refusal and command.options.new:
        raise now.refusal
    place = _sweep_folder(composer, overrides, now.jobs, name)
    found = _newest_sweep(place, hashed)
    frozen = [] if found is None else _frozen_jobs(found, now.jobs)
    if now.refusal and (found is None or is_complete(found, frozen)):
        raise now.refusal
    if found is None:
        jobs = now.jobs
        return Prepared(composer, place, None, _with_group(jobs, place.name), *common, check_new_classes(jobs))
    if not command.options.new and not _is_outdated(found, frozen, now):
        changed = now.format_changes(frozen)
        notes = [_format_continuing(found, changed)] if changed else []
        return Prepared(composer, found.path, found, frozen, *common, notes)
    path = _new_folder(place, overrides)
    progress = "is complete, and" if is_complete(found, frozen) else "is not complete, but"
    why = f"{found.path} {progress} {now.format_changes(frozen)}: this is a new sweep, {path}."
    notes = [*([] if command.options.new else [why]), *check_new_classes(now.jobs)]
    return Prepared(composer, path, None, _with_group(now.jobs, path.name), *common, notes)


class _Now(NamedTuple):
    """What a command gives with the files as they are now.

    Attributes:
        jobs: Its jobs; none if they are refused.
        refusal: Why they are refused; None if they are correct.
    """

    jobs: list[FrozenJob]
    refusal: ConfigError | None = None

    def format_changes(self, then: Sequence[FrozenJob]) -> str:
        """Format what has changed since jobs were frozen, as a clause for a sentence; empty if nothing has."""
        if self.refusal:
            return f"the files as they are now are refused ({self.refusal.problems[0]})"
        return format_changes(then, self.jobs)


def _jobs_now(freezer: Freezer, overrides: Sequence[str], display: Display | None) -> _Now:
    """Compose and check the jobs of a command."""
    try:
        expanded = expand(freezer.composer, overrides)
        shown = display if display and len(expanded) >= _MANY_JOBS else Silent()
        with shown.show_progress("jobs checked", len(expanded)) as advance:
            return _Now(freeze_all(freezer, expanded, advance))
    except ConfigError as error:
        return _Now([], error)


def _is_outdated(found: Sweep, frozen: Sequence[FrozenJob], now: _Now) -> bool:
    """Whether a command that gave a sweep gives another one now. What is not complete continues as it was frozen."""
    if now.refusal:
        return False
    if [job.own_code for job in frozen] != [job.own_code for job in now.jobs]:  # a changed code cannot be frozen
        return True
    return _other_numbers(frozen, now.jobs) and is_complete(found, frozen)


def format_changes(then: Sequence[FrozenJob], now: Sequence[FrozenJob]) -> str:
    """Format what has changed since the jobs were frozen.

    Args:
        then: The frozen jobs.
        now: The jobs that the same command gives now.

    Returns:
        A clause for a sentence; empty if nothing has changed.
    """
    if len(then) != len(now):
        return f"the files have changed since: it has {counted(len(then), 'job')}, and would have {len(now)} now"
    for before, after in zip(then, now, strict=True):
        if before.own_code != after.own_code:
            return f"the code of your own that job {before.number} uses has changed since"
        if _parent(before) != _parent(after):
            return f"the run that job {before.number} continues has changed since"
        if before.identity != after.identity:
            changed = format_changed_keys(before.config, after.config)
            return f"the files have changed since: {changed} in job {before.number}"
    return ""


def _frozen_jobs(sweep: Sweep, now: Sequence[FrozenJob]) -> list[FrozenJob]:
    """The frozen jobs of a sweep. A job whose file is damaged is shown as it is composed now, and does not run."""
    jobs: dict[int, FrozenJob] = {}
    for name, read in sweep.read_all().items():
        number = read.number if isinstance(read, FrozenJob) else int(name.partition("-")[0])
        if isinstance(read, FrozenJob):
            jobs[number] = read
        elif number < len(now):
            jobs[number] = replace(now[number], name=name, group=sweep.name)
        else:
            raise read
    return [jobs[number] for number in sorted(jobs)]


def _format_continuing(sweep: Sweep, why: str) -> str:
    return (
        f"{sweep.path} is not complete and continues with its jobs as they were frozen, although {why}. "
        "To start a new sweep with the files as they are, add sweep.new=true."
    )


def _other_numbers(then: Sequence[FrozenJob], now: Sequence[FrozenJob]) -> bool:
    return [(job.config_hash, _parent(job)) for job in then] != [(job.config_hash, _parent(job)) for job in now]


def _parent(job: FrozenJob) -> list[str | int] | None:
    return job.parent.identity if job.parent else None


def _with_group(jobs: Sequence[FrozenJob], group: str) -> list[FrozenJob]:
    return [replace(job, group=group) for job in jobs]


def _sweep_folder(composer: Composer, overrides: Sequence[str], jobs: Sequence[FrozenJob], name: str) -> Path:
    """The folder of the sweep. Without jobs that could be composed, ``paths.outputs`` is read from the command."""
    chosen = composer.sweep_folder(overrides, [job.config for job in jobs])
    if chosen is not None:
        return chosen
    given = {key_of(line): line.partition("=")[2] for line in overrides}
    usual = given.get("paths.outputs") or usual_outputs()
    outputs = str(jobs[0].config["paths"]["outputs"]) if jobs else usual
    return Path(outputs).expanduser() / "sweeps" / name


def _newest_sweep(place: Path, hashed: str) -> Sweep | None:
    """The newest sweep of a command, in ``place``, ``place_2`` and so on; None if there is none."""
    found = None
    for number in range(1, 10_000):
        path = _numbered_folder(place, number)
        if not (path / SWEEP_FILE).exists():
            break
        found = open_sweep(path)
        if found.head.digest != hashed:
            raise RunFolderError(
                f"{path} holds another sweep ({shlex.join(found.head.command)}). Choose another folder or sweep.name. "
                "sweep.reuse=true then copies the runs of its jobs that this sweep would repeat."
            )
    return found


def _new_folder(place: Path, overrides: Sequence[str]) -> Path:
    """A new folder for another sweep of the same command."""
    if any(key_of(line) == "hydra.sweep.dir" for line in overrides):
        raise RunFolderError(f"{place} holds a sweep already. Choose another folder with hydra.sweep.dir.")
    return next(path for n in range(2, 10_000) if not (path := _numbered_folder(place, n)).exists())


def _numbered_folder(place: Path, number: int) -> Path:
    return place if number == 1 else place.with_name(f"{place.name}_{number}")
