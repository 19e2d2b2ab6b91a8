"""Checks whether the data of jobs can be loaded, once for all jobs with the same data, before any of them starts.

Torch is not imported here; a process of its own loads the data.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from metaexp.config.check import SLOTS
from metaexp.config.classes.checker import class_spec
from metaexp.config.classes.make import make
from metaexp.core.disk.files import read_regular
from metaexp.core.errors import ConfigError, DataError, ExitCode, MetaexpError, RunFolderError
from metaexp.data.base import Dataset
from metaexp.data.inventory.sources import Sources
from metaexp.results.job_note import Note, read_note
from metaexp.results.job_state import LOG_FILE
from metaexp.sweep.expand import format_where
from metaexp.sweep.frozen_job import FrozenJob, write_frozen
from metaexp.sweep.groups import in_groups
from metaexp.sweep.processes.job_process import JobProcess
from metaexp.sweep.processes.pool import Start
from metaexp.sweep.summary import format_job

_SECONDS_BETWEEN_LOOKS = 0.05
_SAME_FOR_EACH = (ExitCode.BUG, ExitCode.CONFIG, ExitCode.DATA)
"""Exit codes with which each job of the same data would end. A lack of memory, say, can pass."""


class UnusableData(NamedTuple):
    """Data that cannot be loaded, or cannot be trained on by several jobs together.

    Attributes:
        jobs: The jobs that need them.
        code: The exit code with which each of them would end.
        error: Why they cannot start.
    """

    jobs: list[FrozenJob]
    code: int
    error: str

    def format(self, n_jobs: int) -> str:
        """Return the error with the jobs that it is about in front, unless there is only one job.

        Args:
            n_jobs: How many jobs there are in all.
        """
        return format_where(self.error, list(map(format_job, self.jobs)), n_jobs)


def missing_data(jobs: Iterable[FrozenJob]) -> list[UnusableData]:
    """Find data that are not here and cannot be fetched. Nothing is read, so this takes no time.

    Args:
        jobs: The jobs. Those that run on other machines may find there what is missing here.
    """
    found = []
    for group in _by_data(jobs):
        sources = _sources(group[0])
        if sources is not None and sources.advice and sources.how != "fetched":
            found.append(UnusableData(group, ExitCode.DATA, sources.advice))
    return found


def unusable_data(
    jobs: Sequence[FrozenJob],
    begin: Start,
    print_line: Callable[[str], None],
    stop: Callable[[], bool],
    *,
    together: bool = False,
    tries: int = 1,
) -> list[UnusableData]:
    """Find data that cannot be loaded. Data that several processes need are loaded for that, which may fetch them.

    Args:
        jobs: The jobs.
        begin: Starts a process that loads the data.
        print_line: Called with the lines that loading prints.
        stop: Called regularly. Once it returns True, loading is given up.
        together: Whether jobs that can be trained together share a process.
        tries: How often data are loaded that cannot be.
    """
    found = missing_data(jobs)
    known = {job.number for data in found for job in data.jobs}
    for group in _by_data(job for job in jobs if job.number not in known):
        sources = _sources(group[0])
        if len(in_groups(group, together=together)) == 1 or (sources is not None and sources.how == "computed"):
            continue
        note = None
        for _ in range(tries):
            note = None if stop() else try_out(group[:1], begin, print_line, stop)
            if note is None or note.exit_code not in _SAME_FOR_EACH:
                break
        if note is not None and note.exit_code in _SAME_FOR_EACH:
            error = note.error or "its data cannot be loaded."
            if note.exit_code == ExitCode.BUG:
                error = f"loading its data raises {error} (the lines above say where)."
            found.append(UnusableData(group, note.exit_code, error))
    return found


def try_out(
    jobs: Sequence[FrozenJob], begin: Start, print_line: Callable[[str], None], stop: Callable[[], bool]
) -> Note | None:
    """Load the data of a job in a process of its own, or see there whether several jobs can be trained together.

    Args:
        jobs: The jobs.
        begin: Starts the process.
        print_line: Called with the lines that it prints.
        stop: Called regularly. Once it returns True, the process is killed.

    Returns:
        How that ended; None if it is not known.
    """
    with TemporaryDirectory(prefix="metaexp-check-") as place:
        folders = [Path(place, str(job.number)) for job in jobs]
        for job, folder in zip(jobs, folders, strict=True):
            folder.mkdir()
            write_frozen(job, folder)
        process = begin(*folders, only_check=True)
        try:
            _wait(process, folders[0] / LOG_FILE, print_line, stop)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        with suppress(RunFolderError):
            return read_note(folders[0])
    return None


def refusal(found: Sequence[UnusableData], n_jobs: int) -> MetaexpError:
    """Return the error of a command none of whose jobs can start.

    Args:
        found: Why jobs cannot start; at least one reason.
        n_jobs: How many jobs there are in all.
    """
    problems = [data.format(n_jobs) for data in found]
    if {data.code for data in found} == {ExitCode.CONFIG}:
        return ConfigError(problems)
    return DataError("\n".join(problems))


def _by_data(jobs: Iterable[FrozenJob]) -> list[list[FrozenJob]]:
    """Jobs with the same data, together."""
    groups: dict[str, list[FrozenJob]] = {}
    for job in jobs:
        parts = [job.config["dataset"], job.config["paths"]["data"], job.config["device"].get("examples")]
        groups.setdefault(json.dumps(parts, sort_keys=True), []).append(job)
    return list(groups.values())


def _sources(job: FrozenJob) -> Sources | None:
    """What a dataset of metaexp is read from; None where it is not known, as of a dataset of the user's own."""
    with suppress(MetaexpError, OSError):  # the job reports what is wrong with it
        spec = class_spec(job.config["dataset"], SLOTS["dataset"], "dataset")
        if spec.path.startswith("metaexp."):
            dataset = make(spec, Dataset)  # type: ignore[type-abstract]
            return dataset.sources(Path(job.config["paths"]["data"]).expanduser())
    return None


def _wait(process: JobProcess, log: Path, print_line: Callable[[str], None], stop: Callable[[], bool]) -> None:
    """Pass on the whole lines of a log until the process has ended."""
    n_printed = 0
    has_ended = False
    while not has_ended and not stop():
        has_ended = process.poll() is not None
        lines = read_regular(log).decode("utf-8", "replace").split("\n")[:-1] if log.exists() else []
        for line in lines[n_printed:]:
            print_line(line)
        n_printed = len(lines)
        if not has_ended:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
