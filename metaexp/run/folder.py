"""The folder of one run: where its files are, who may write there, and how a new one is made."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from metaexp.config.check import check
from metaexp.config.purpose import Purpose
from metaexp.config.schema import OwnCode, Settings
from metaexp.config.yaml_files import read_mapping, to_yaml
from metaexp.core.disk.errors import NO_SPACE, PlaceError, explain_disk_errors
from metaexp.core.disk.files import encode_text, read_regular, refuse_links, write_atomically
from metaexp.core.disk.locks import RUN_LOCK, LockedError, hold_lock
from metaexp.core.errors import RunFolderError
from metaexp.core.json_lines import METRICS_FILE
from metaexp.results.episodes import EPISODES_FILE
from metaexp.results.evaluations import EVALUATIONS
from metaexp.results.job_note import no_record
from metaexp.results.own_code import CODE
from metaexp.results.record import FROZEN_FILE, RECORD_FILE, read_record
from metaexp.run.integrity import check_config
from metaexp.run.own_options import resume_command

_LEAST_ROOM = 1 << 20
"""Bytes that every run writes: metrics, a record, checkpoints."""


class RunFolder:
    """Paths inside a run folder. The folder is all that is needed to evaluate, resume, compare, cite or rerun it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def choices(self) -> Path:
        """Group -> the file that was chosen."""
        return self.path / "choices.yaml"

    @property
    def log(self) -> Path:
        """The messages of the run, with times."""
        return self.path / "run.log"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The selected weights, without suffix: ``.safetensors`` and the manifest ``.json``."""
        return self.checkpoints / "best"

    @property
    def test_episodes(self) -> Path:
        """The test metric of every episode, after every adaptation step."""
        return self.path / EPISODES_FILE

    @property
    def plots(self) -> Path:
        """The folder of figures."""
        return self.path / "plots"

    @property
    def evaluations(self) -> Path:
        """The folder of later evaluations."""
        return self.path / EVALUATIONS

    def save_settings(self, settings: Settings) -> None:
        """Write the resolved configuration, and which file of each group it was made from.

        The model is last, and the record has its name, so that a file that was cut off does not have it.
        """
        choices = dict(sorted(settings.choices.items(), key=lambda chosen: chosen[0] == "model"))
        write_atomically(self.choices, encode_text(to_yaml(choices)))
        write_atomically(self.config, encode_text(to_yaml(settings.resolved)))

    def save_own_code(self, code: OwnCode | None) -> None:
        """Keep a copy of the user's own code, in a folder named by its digest."""
        if code is None:
            return
        for name, content in sorted(code.files.items()):
            path = self.path / CODE / code.digest[:12] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)

    def load_settings(self) -> Settings:
        """Read the settings that were saved.

        Raises:
            RunFolderError: The files cannot be read, or were changed after the run.
            ConfigError: The settings are wrong, such as those of a run without a record that were edited.
        """
        config, choices = self.read_config()
        check_config(self.path, config)
        return check(config, choices, Purpose.CONTINUE)

    def read_config(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the resolved configuration and the choices, unchecked.

        Raises:
            RunFolderError: The files cannot be read.
        """
        config, choices = read_mapping(self.config), read_mapping(self.choices)
        return config, {key: str(name) for key, name in choices.items()}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder for this block; the system unlocks it when this process dies.

        Raises:
            RunFolderError: Another process has locked the folder.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.path / RUN_LOCK))
            except LockedError as error:
                raise RunFolderError(f"{self.path} is in use by {error.holder}; wait for it to end.") from None
            yield


def create_folder(outputs: Path, name: str) -> RunFolder:
    """Make a folder for a new run: ``outputs/name`` or, if that is taken, ``outputs/name_2`` and so on.

    Making a folder is atomic, so two processes never get the same one.

    Args:
        outputs: The parent folder, made if it is missing.
        name: The wanted name.

    Returns:
        The new folder.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        path = outputs / (name if attempt == 1 else f"{name}_{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            attempt += 1
            continue
        return RunFolder(path)


def check_writable(folder: Path) -> None:
    """Raise an error now, before anything that takes time, if nothing can be written to ``folder``.

    Args:
        folder: It need not exist yet. A small file is written to it, or to the folder that it will be made in, to see
            whether the disk has room. Nothing is left behind.

    Raises:
        PlaceError: It cannot be used.
    """
    try:
        _try_to_write(folder)
    except OSError as error:
        raise PlaceError(error.errno, error.strerror, error.filename) from None


def _try_to_write(folder: Path) -> None:
    at = _existing_part(folder)
    if not at.is_dir():
        what = "it is a link to a folder that is not there" if at.is_symlink() else os.strerror(errno.ENOTDIR)
        raise NotADirectoryError(errno.ENOTDIR, what, str(at))
    try:
        with tempfile.TemporaryDirectory(prefix=".metaexp-", dir=at) as made:
            (Path(made) / "room").write_bytes(bytes(_LEAST_ROOM))
    except FileNotFoundError:  # what /proc answers
        raise PermissionError(errno.EACCES, "nothing can be made there", str(at)) from None
    except OSError as error:
        is_full = error.errno in NO_SPACE
        size = f" for {_LEAST_ROOM / 1e6:.0f} MB, which are needed at least" if is_full else ""
        raise OSError(error.errno, f"{error.strerror}{size}", str(at)) from None


def check_room(folder: Path, n_bytes: int) -> None:
    """Raise PlaceError if a disk has too little room.

    Args:
        folder: A folder on it, which need not exist yet.
        n_bytes: How much will be written at least.
    """
    at = _existing_part(folder)
    free = shutil.disk_usage(at).free
    if free < n_bytes:
        what = f"{free / 1e6:,.0f} MB are free, and checkpoints of this run take {n_bytes / 1e6:,.0f} MB at least"
        raise PlaceError(errno.ENOSPC, what, str(at))


def _existing_part(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    at = folder.absolute()
    while True:
        try:
            at.lstat()
            return at
        except FileNotFoundError:
            at = at.parent


def check_new_place(place: Path, folder: Path | None) -> None:
    """Raise an error if the run cannot be written. Called before the data are loaded.

    Args:
        place: The run folder, or the folder that it will be made in.
        folder: The run folder, if the user has named it.
    """
    check_writable(place)
    if folder is not None:
        check_unused(folder)


def check_unused(folder: Path) -> None:
    """Raise RunFolderError if the folder holds a run, or files of one."""
    if folder.is_dir():
        refuse_links(folder)
    if (folder / RECORD_FILE).exists():
        raise RunFolderError(_format_used(folder))
    if (folder / "choices.yaml").exists():
        return  # a run that was killed before it had a record
    for name in ("config.yaml", METRICS_FILE):
        if (folder / name).exists():
            raise RunFolderError(
                f"{folder} holds a {name} that is not a run's. Choose an empty folder; nothing was written."
            )


def _format_used(folder: Path) -> str:
    """What is to be done with a run that is in the way of a new one."""
    other = "Choose another folder for the new run"
    if _is_completed(folder):
        show = shlex.join(["metaexp", "show", str(folder)])
        return f"{folder} holds a completed run already. {other}; {show} has its result (in Python: load_run)."
    return f"{folder} holds a run already. {other}, or continue that one: {resume_command(folder)}."


def _is_completed(folder: Path) -> bool:
    """Whether the record of a run says so; not where it cannot be read, as resuming then says what is wrong with it."""
    try:
        return read_record(folder).status == "completed"
    except RunFolderError:
        return False


@explain_disk_errors()
def existing(path: Path) -> RunFolder:
    """The run folder at ``path``.

    Raises:
        RunFolderError: The folder holds no run, or one that has no files yet, or it holds links or special files.
    """
    folder = RunFolder(path)
    if not path.is_dir() or not folder.config.exists():
        raise no_record(path, folder.config.name)
    refuse_links(path)
    return folder


def read_varied(folder: Path) -> str:
    """Return the overrides that tell a job of a sweep, or a trial, from the others; "" for a run by itself."""
    try:
        varied = json.loads(read_regular(folder / FROZEN_FILE))["what"]
    except (OSError, RunFolderError, ValueError, TypeError, KeyError, RecursionError):
        return ""
    return varied if isinstance(varied, str) else ""
