"""Removes folders that metaexp wrote: nothing that is in use, nothing of the user's, and nothing through a link."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from metaexp.core.counted import listed
from metaexp.core.disk.files import reason
from metaexp.core.disk.locks import RUN_LOCK
from metaexp.core.errors import MachineError, RunFolderError
from metaexp.core.json_lines import METRICS_FILE, TIMINGS_FILE
from metaexp.folders.find import Found, check_folder, jobs, kind_of, owner_of
from metaexp.folders.state import is_in_use
from metaexp.results.episodes import EPISODES_FILE, METRICS_OF_EPISODES
from metaexp.results.evaluations import EVALUATIONS, PUBLISHED_TESTS
from metaexp.results.job_note import CONFIG_FILES, LOCK_FILE, STATE_FILE
from metaexp.results.job_state import LOG_FILE
from metaexp.results.own_code import CODE
from metaexp.results.per_class.files import CLASSES_FILE, CONFUSIONS_FILE
from metaexp.results.progress_file import PROFILE_FILE, PROGRESS_FILE
from metaexp.results.record import FROZEN_FILE, RECORD_FILE, read_record
from metaexp.search.files import REPORT_FILE, STUDY_DATABASE, STUDY_JOURNAL
from metaexp.sweep.folder import JOURNAL_FILE, LOCKS_FOLDER, SWEEP_FILE, TABLE_FILE, open_sweep
from metaexp.sweep.frozen_job import read_frozen

_OF_RUN = {
    *CONFIG_FILES, ".hydra", METRICS_FILE, TIMINGS_FILE, EPISODES_FILE, METRICS_OF_EPISODES,
    CLASSES_FILE, CONFUSIONS_FILE, RECORD_FILE, "checkpoints", "plots", EVALUATIONS, PUBLISHED_TESTS,
    CODE, "run.log", RUN_LOCK, LOCK_FILE, FROZEN_FILE, STATE_FILE, LOG_FILE, "wandb", "tensorboard", "mlflow",
    ".submitit", PROGRESS_FILE, PROFILE_FILE,
}  # fmt: skip
"""What a run, or the tracker of a run, writes into its folder."""
_OF_SWEEP = {
    SWEEP_FILE, JOURNAL_FILE, TABLE_FILE, "multirun.yaml", LOCKS_FOLDER, ".submitit", REPORT_FILE,
    STUDY_JOURNAL, STUDY_DATABASE, f"{STUDY_DATABASE}-journal", "best", "plots",
}  # fmt: skip
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
"""What a process that was killed leaves half-written."""
_MOST_NAMED = 5


def check_removable(path: Path) -> Found:
    """Return the run, sweep or search in a folder, if it may be removed.

    Raises:
        RunFolderError: The folder is a link, missing, a job of a sweep or in use, or it holds files that metaexp
            does not write.
    """
    if path.is_symlink():
        raise RunFolderError(f"{path} is a link, and links are not followed. Give the folder itself.")
    check_folder(path, "Give the folder of a run.")
    kind = kind_of(path)
    if kind is None:
        raise RunFolderError(
            f"{path} is not the folder of a run, a sweep or a search, so it is not removed. "
            f"`metaexp ls {shlex.quote(str(path))}` lists those below it."
        )
    owner = owner_of(path) if kind == "run" else None
    if owner is not None:
        what = "job" if kind_of(owner) == "sweep" else "trial"
        raise RunFolderError(
            f"{path} is a {what} of {owner}, which would be damaged without it. Remove the whole: "
            f"metaexp rm {shlex.quote(str(owner))}"
        )
    found = Found(path, kind)
    _check_ours(found)
    _check_content(found)
    _check_rights(path)
    _check_unused(found)
    return found


def remove(found: Found) -> None:
    """Remove a folder. It gets a hidden name first, so that no process can start to work in it meanwhile.

    Args:
        found: What :func:`check_removable` returned.

    Raises:
        RunFolderError: A process has begun to work in it. Nothing is removed.
        MachineError: The folder cannot be removed, or only a part of it.
    """
    path = found.path.absolute()
    hidden = path.with_name(f".{path.name}.{os.getpid()}.removed")
    try:
        path.rename(hidden)
    except OSError as error:
        raise MachineError(f"{path} cannot be removed: {reason(error)}.") from error
    if _folders_in_use(found._replace(path=hidden)):
        hidden.rename(path)
        raise RunFolderError(_in_use(found.path, found.path))
    try:
        shutil.rmtree(hidden)
    except OSError as error:
        hidden.rename(path)
        raise MachineError(
            f"{found.path} was not removed as a whole: {reason(error)} ({error.filename}). The rest is still there."
        ) from error


def _check_ours(found: Found) -> None:
    """Check that the file that makes it a run or a sweep is whole: an empty record.json would name any folder so."""
    path = found.path
    if found.kind != "run":
        open_sweep(path)
    elif os.path.lexists(path / RECORD_FILE):
        if not all(os.path.lexists(path / name) for name in CONFIG_FILES):
            read_record(path)  # with these, it is a run whose record may be damaged
    elif os.path.lexists(path / FROZEN_FILE):
        read_frozen(path)


def _check_content(found: Found) -> None:
    foreign = [name for folder, known in _parts(found) for name in _foreign(folder, known)]
    if foreign:
        raise RunFolderError(
            f"{found.path} holds what metaexp does not write there: {listed(foreign, _MOST_NAMED)}. Move it "
            "elsewhere first; nothing was removed."
        )


def _parts(found: Found) -> Iterator[tuple[Path, set[str]]]:
    """The folder and those of its jobs, each with the names that may be in it."""
    if found.kind == "run":
        yield found.path, _OF_RUN
        return
    inner = jobs(found)
    yield found.path, _OF_SWEEP | {job.path.name for job in inner}
    for job in inner:
        yield job.path, _OF_RUN


def _foreign(folder: Path, known: set[str]) -> list[str]:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be read: {reason(error)}. Nothing was removed.") from error
    return [str(folder / name) for name in names if name not in known and not _TEMPORARY.fullmatch(name)]


def _check_rights(folder: Path) -> None:
    """Check that every folder in a folder may be changed, so that removing does not end half-way."""
    is_effective = os.access in os.supports_effective_ids
    for inner in [str(folder), *_folders_below(folder)]:
        if not os.access(inner, os.W_OK | os.X_OK, effective_ids=is_effective):
            raise RunFolderError(f"{inner} may not be changed by you. Make it writable; nothing was removed.")


def _folders_below(folder: Path) -> Iterator[str]:
    for where, names, _ in os.walk(folder, followlinks=False):
        inner = (Path(where, name) for name in names)
        yield from (str(path) for path in inner if not path.is_symlink())


def _check_unused(found: Found) -> None:
    busy = _folders_in_use(found)
    if busy:
        raise RunFolderError(_in_use(found.path, busy[0]))


def _in_use(path: Path, busy: Path) -> str:
    where = f" ({busy.name})" if busy != path else ""
    return f"{path} is in use by a running process{where}, so it is not removed. Stop it, or wait for its end."


def _folders_in_use(found: Found) -> Sequence[Path]:
    return [folder for folder, _ in _parts(found) if is_in_use(folder)]
